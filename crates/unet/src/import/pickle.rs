//! The part of Python's pickle format (protocol 2) that a state dict is written in.
//!
//! A pickle is a program for a stack machine. Here it builds nothing and calls nothing: a call is a [`Value`] that
//! says what would be called. Values lie in one list and refer to each other by their place in it, so that
//! taking a value out of the memo copies nothing, and values within values need no recursion, however deep
//! a hostile file nests them. Each byte of the file makes one value at most; [`MAX_BYTES`] bounds them all.

use std::collections::HashMap;

/// Largest pickle that is read. One of a thousand tensors takes some 150 kB, that of a checkpoint with an optimizer's
/// state thrice as much; a hostile one takes some 60 times its size in memory.
pub(super) const MAX_BYTES: u64 = 8 << 20;

/// The place of a value in [`Pickle::values`].
pub(super) type Id = usize;

/// What a pickle holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    /// A class or function: module and name.
    Global(&'a str, &'a str),
    Integer(i64),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// Something kept beside the pickle: a storage of numbers.
    Persistent(Id),
    /// A call of the first with the arguments in the second.
    Call(Id, Id),
    /// The first, then given the state in the second.
    Built(Id, Id),
    /// None, true, false, fractions, and integers of more than 64 bits: nothing that a tensor is made of.
    Other,
}

/// What a pickle holds, with what it has at its top.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    top: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle in `bytes`; else where it goes wrong and what is wrong there.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, (usize, String)> {
        let mut machine = Machine { bytes, at: 0, values: vec![Value::Other], ..Machine::default() };
        loop {
            let start = machine.at;
            match machine.step() {
                Ok(None) => {}
                Ok(Some(top)) => return Ok(Self { values: machine.values, top }),
                Err(reason) => return Err((start, reason)),
            }
        }
    }

    pub(super) fn top(&self) -> &Value<'a> {
        &self.values[self.top]
    }

    pub(super) fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id]
    }
}

/// The value of None and the like, of which one is enough.
const OTHER: Id = 0;

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Does what the next byte says; the value at the top if it says stop.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.take::<1>()?[0] {
            0x80 => {
                self.take::<1>()?; // the protocol; what is of a later one is refused where it occurs
            }
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(module, name));
            }
            b'K' => {
                let [byte] = self.take()?;
                self.push(Value::Integer(i64::from(byte)));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.take()?);
                self.push(Value::Integer(i64::from(value)));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.take()?);
                self.push(Value::Integer(i64::from(value)));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take::<8>()?;
                self.stack.push(OTHER);
            }
            b'N' | 0x88 | 0x89 => self.stack.push(OTHER),
            b'X' => {
                let length = u32::from_le_bytes(self.take()?);
                let text = self.slice(length as usize)?;
                let text = str::from_utf8(text).map_err(|_| "text that is not UTF-8".to_string())?;
                self.push(Value::Text(text));
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Value::Tuple(items));
            }
            code @ 0x85..=0x87 => {
                let mut items = (0..=code - 0x85).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.push(Value::Tuple(items));
            }
            b'd' => {
                let items = pairs(&self.pop_to_mark()?)?;
                self.push(Value::Dict(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let items = pairs(&self.pop_to_mark()?)?;
                self.set(items)?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Persistent(id));
            }
            b'R' | 0x81 => self.call()?,
            b'b' => {
                let (state, object) = (self.pop()?, self.pop()?);
                match self.values[object] {
                    // An ordered dict's state is what it has beside its items.
                    Value::Dict(_) => self.stack.push(object),
                    _ => self.push(Value::Built(object, state)),
                }
            }
            b'q' => {
                let [key] = self.take()?;
                self.remember(u32::from(key))?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.take()?);
                self.remember(key)?;
            }
            b'h' => {
                let [key] = self.take()?;
                self.recall(u32::from(key))?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.take()?);
                self.recall(key)?;
            }
            code => return Err(format!("operation 0x{code:02x}, expected one of those of a state dict")),
        }
        Ok(None)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let slice = rest.get(..length).ok_or_else(|| {
            format!("{length} bytes more expected, found {} before the end of the file", rest.len())
        })?;
        self.at += length;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.slice(N)?.try_into().expect("as many as asked for"))
    }

    /// What is left of the line.
    fn line(&mut self) -> Result<&'a str, String> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n');
        let line = self.slice(length.ok_or("a name without an end")?)?;
        self.at += 1;
        str::from_utf8(line).map_err(|_| "a name that is not UTF-8".to_string())
    }

    /// An integer of as many bytes as its first one says.
    fn long(&mut self) -> Result<(), String> {
        let [length] = self.take()?;
        let bytes = self.slice(usize::from(length))?;
        if bytes.len() > 8 {
            self.stack.push(OTHER);
            return Ok(());
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Integer(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// Takes a class and its arguments, gives what the one makes of the other.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let dict =
            matches!(self.values[callable], Value::Global("collections", "OrderedDict" | "defaultdict"));
        self.push(if dict { Value::Dict(Vec::new()) } else { Value::Call(callable, arguments) });
        Ok(())
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match &mut self.values[*self.stack.last().ok_or(EMPTY)?] {
            Value::List(list) => list.extend(items),
            _ => return Err("items for something that is no list".to_string()),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<(Id, Id)>) -> Result<(), String> {
        match &mut self.values[*self.stack.last().ok_or(EMPTY)?] {
            Value::Dict(dict) => dict.extend(items),
            _ => return Err("keys for something that is no dict".to_string()),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), String> {
        self.memo.insert(key, *self.stack.last().ok_or(EMPTY)?);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let id = self.memo.get(&key).ok_or_else(|| format!("value {key}, which was never put aside"))?;
        self.stack.push(*id);
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    /// The last value since the last mark.
    fn pop(&mut self) -> Result<Id, String> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(EMPTY.to_string());
        }
        Ok(self.stack.pop().expect("it is not empty"))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("the end of a list that has no beginning")?;
        Ok(self.stack.split_off(mark))
    }
}

const EMPTY: &str = "an operation on a value that is not there";

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err("a key without a value".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(bytes: &[u8]) -> String {
        Pickle::read(bytes).err().map(|(at, reason)| format!("{at}: {reason}")).expect("it is wrong")
    }

    #[test]
    fn a_dict_with_what_was_put_aside() {
        // {"a": (1, -2), "b": the same}
        let pickle = Pickle::read(
            b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01\x8a\x01\xfe\x86q\x01X\x01\x00\x00\x00bh\x01u.",
        );
        let pickle = pickle.map_err(|(_, reason)| reason).unwrap();
        let Value::Dict(items) = pickle.top() else { panic!("{:?}", pickle.top()) };
        assert_eq!(items.len(), 2);
        assert_eq!(items[0].1, items[1].1);
        let Value::Tuple(numbers) = pickle.value(items[1].1) else { panic!("no tuple") };
        let numbers: Vec<_> = numbers.iter().map(|&id| pickle.value(id)).collect();
        assert_eq!(numbers, [&Value::Integer(1), &Value::Integer(-2)]);
    }

    /// Each used to end the process, of a full stack or of memory.
    #[test]
    fn deep_nests_doubled_values_and_lists_in_themselves_cost_no_more_than_their_bytes() {
        let nest = [&b")"[..], &b"\x85".repeat(4 << 20), b"."].concat();
        assert!(Pickle::read(&nest).is_ok());
        // (x, x), then that twice, and so on: 2 to the 100000 at the end if it were copied.
        let doubled = [&b")q\x00"[..], &b"h\x00h\x00\x86q\x00".repeat(100_000), b"."].concat();
        assert!(Pickle::read(&doubled).is_ok());
        assert!(Pickle::read(b"]q\x00h\x00a.").is_ok());
    }

    #[test]
    fn what_is_too_long_too_short_or_of_another_protocol_is_an_error_with_its_place() {
        assert_eq!(
            error_of(b"\x80\x02X\xff\xff\xff\xffab"),
            "2: 4294967295 bytes more expected, found 2 before the end of the file"
        );
        assert_eq!(error_of(b"K"), "0: 1 bytes more expected, found 0 before the end of the file");
        assert_eq!(error_of(b"}\x85"), "2: 1 bytes more expected, found 0 before the end of the file");
        assert_eq!(error_of(b"R"), format!("0: {EMPTY}"));
        assert_eq!(error_of(b"K\x01(R."), format!("3: {EMPTY}"));
        assert_eq!(error_of(b"u"), "0: the end of a list that has no beginning");
        assert_eq!(error_of(b"}(K\x01u."), "4: a key without a value");
        assert_eq!(error_of(b"h\x07."), "0: value 7, which was never put aside");
        assert_eq!(error_of(b"\x80\x04\x95"), "2: operation 0x95, expected one of those of a state dict");
        assert_eq!(error_of(b"ctorch"), "0: a name without an end");
    }
}
