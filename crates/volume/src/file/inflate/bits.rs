//! The input of a decompressor, bit by bit, lowest first.

use std::io::{self, Read};

/// Bytes read from the file at a time.
const BUFFER: usize = 1 << 17;

/// Zeros behind the end of the input, so that words can be read up to its last byte.
const PADDING: usize = 32;

/// Bits that a reader gives.
pub(super) struct Bits<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Next byte that is not in `word`.
    at: usize,
    /// Behind the last byte that can be read, padding included.
    end: usize,
    /// Behind the last byte that the reader gave, once it gives no more.
    true_end: Option<usize>,
    /// The next `count` bits, and maybe some of those after them.
    word: u64,
    count: u32,
}

/// What changes while symbols are decoded, apart from the rest so that it stays in registers.
pub(super) struct Registers<'a> {
    input: &'a [u8],
    at: usize,
    word: u64,
    count: u32,
}

impl Registers<'_> {
    #[inline(always)]
    pub(super) fn can_refill_twice(&self) -> bool {
        self.at + 16 <= self.input.len()
    }

    /// To at least 56 bits.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let bytes = self.input[self.at..self.at + 8].try_into().expect("the slice has 8 bytes");
        self.word |= u64::from_le_bytes(bytes) << self.count;
        // As many whole bytes as fit; of the others some bits are in the word, and come again.
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 56;
    }

    #[inline(always)]
    pub(super) fn drop(&mut self, n: u32) {
        self.word >>= n;
        self.count -= n;
    }

    /// The next `n` bits as an index.
    #[inline(always)]
    pub(super) fn index(&self, n: u32) -> usize {
        (self.word & ((1 << n) - 1)) as usize
    }

    /// Place in the second table that `entry`, found by `root` bits, leads to.
    #[inline(always)]
    pub(super) fn index_behind(&self, entry: u32, root: u32) -> usize {
        let bits = (entry >> 8) & 15;
        (entry >> 16) as usize + ((self.word >> root) & ((1 << bits) - 1)) as usize
    }

    /// The number that `entry` and the bits after its code stand for.
    #[inline(always)]
    pub(super) fn base_and_extra(&mut self, entry: u32) -> usize {
        let extra = (entry >> 8) & 15;
        self.drop(entry & 31);
        let value = (entry >> 16) as usize + (self.word & ((1 << extra) - 1)) as usize;
        self.drop(extra);
        value
    }

    pub(super) fn release(self) -> (usize, u64, u32) {
        (self.at, self.word, self.count)
    }
}

impl<R: Read> Bits<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER + PADDING], at: 0, end: 0, true_end: None, word: 0, count: 0 }
    }

    pub(super) fn registers(&self) -> Registers<'_> {
        Registers { input: &self.buffer[..self.end], at: self.at, word: self.word, count: self.count }
    }

    pub(super) fn restore(&mut self, (at, word, count): (usize, u64, u32)) {
        (self.at, self.word, self.count) = (at, word, count);
    }

    /// Reads on if the buffered input is nearly used up.
    pub(super) fn fill(&mut self) -> io::Result<()> {
        if self.at + PADDING <= self.end || self.true_end.is_some() {
            return Ok(());
        }
        // A few bytes that are in the word stay, since they may be given back.
        let kept = self.at.saturating_sub(8);
        self.buffer.copy_within(kept..self.end, 0);
        (self.at, self.end) = (self.at - kept, self.end - kept);
        while self.end < BUFFER {
            match self.reader.read(&mut self.buffer[self.end..BUFFER]) {
                Ok(0) => {
                    self.true_end = Some(self.end);
                    self.buffer[self.end..self.end + PADDING].fill(0);
                    self.end += PADDING;
                    break;
                }
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Refuses to have used bits behind the end.
    pub(super) fn check_end(&self) -> io::Result<()> {
        match self.true_end {
            Some(end) if 8 * self.at - self.count as usize > 8 * end => Err(cut_short()),
            // The decoding of symbols stops here; nothing was left of them.
            Some(_) if self.at + 16 > self.end => Err(cut_short()),
            _ => Ok(()),
        }
    }

    /// The next `n` ≤ 16 bits, which stay; zeros behind the end.
    pub(super) fn peek(&mut self, n: u32) -> io::Result<u32> {
        if self.count < n {
            self.fill()?;
            let mut registers = self.registers();
            if !registers.can_refill_twice() {
                return Err(cut_short());
            }
            registers.refill();
            let registers = registers.release();
            self.restore(registers);
        }
        Ok((self.word & ((1 << n) - 1)) as u32)
    }

    /// The next `n` ≤ 16 bits.
    pub(super) fn take(&mut self, n: u32) -> io::Result<u32> {
        let value = self.peek(n)?;
        self.word >>= n;
        self.count -= n;
        Ok(value)
    }

    /// Drops the bits up to the next byte.
    pub(super) fn to_byte_border(&mut self) {
        self.at -= (self.count / 8) as usize;
        (self.word, self.count) = (0, 0);
    }

    /// The next bytes; at a byte border only.
    pub(super) fn read_bytes(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut found = 0;
        while found < bytes.len() {
            self.fill()?;
            let end = self.true_end.unwrap_or(self.end);
            let n = end.saturating_sub(self.at).min(bytes.len() - found);
            if n == 0 {
                return Err(cut_short());
            }
            bytes[found..found + n].copy_from_slice(&self.buffer[self.at..self.at + n]);
            self.at += n;
            found += n;
        }
        Ok(())
    }

    /// The next byte, which stays, if there is one; at a byte border only.
    pub(super) fn next_byte(&mut self) -> io::Result<Option<u8>> {
        self.fill()?;
        let end = self.true_end.unwrap_or(self.end);
        Ok((self.at < end).then(|| self.buffer[self.at]))
    }
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the compressed stream is cut short")
}
