//! Deflate streams (RFC 1951) decompressed piece by piece.
//!
//! The bits of the input stand in a 64-bit buffer, next bit lowest. Eleven of them index a table whose entry says
//! what they begin with: one, two or three literals, which are written together, or the code of a match,
//! or that a longer code begins, whose remaining bits index a second table. In pseudo-code:
//!
//! ```text
//! loop:
//!     refill the buffer to at least 56 bits
//!     up to 5 times while table[next 11 bits] holds literals: write them, drop their bits
//!     refill; a match: length, distance, copy from what was written; the end of the block: stop
//! ```
//!
//! Whoever calls keeps the last 32 KiB of what was written before `out[at..]`, which is all that a match can
//! refer to: a stream of any length passes through one small buffer.

mod bits;
mod table;

use std::io::{self, Read};

use bits::Bits;
use table::{DISTANCE_BITS, LITERAL_BITS, Table, distance_entry, literal_entry, pack_literals};

/// How far back a match may refer.
pub(super) const HISTORY: usize = 1 << 15;

/// Bytes that may be written behind the limit: five groups of literals, one match and the rounding up of
/// its length to words.
pub(super) const SLACK: usize = 512;

/// Order in which a block's header lists the lengths of the codes for code lengths.
const LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

const BITS_FOR_LENGTHS: u32 = 7;

/// A deflate stream being decompressed.
pub(super) struct Inflater<R> {
    bits: Bits<R>,
    literals: Table,
    distances: Table,
    state: State,
    is_last: bool,
}

#[derive(Clone, Copy)]
enum State {
    BlockStart,
    Stored { left: usize },
    Coded,
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the compressed stream is corrupt: {what}"))
}

impl<R: Read> Inflater<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            bits: Bits::new(reader),
            literals: Table::new(LITERAL_BITS),
            distances: Table::new(DISTANCE_BITS),
            state: State::BlockStart,
            is_last: false,
        }
    }

    /// Decompresses from `out[*at]` on until `at` reaches `limit`, then gives false, or the stream ends, then
    /// true. Matches refer to `out[..at]`, behind `limit` lie [`SLACK`] more bytes. Whatever happens, `at`
    /// is behind the last byte that counts.
    pub(super) fn run(&mut self, out: &mut [u8], at: &mut usize, limit: usize) -> io::Result<bool> {
        while *at < limit {
            match self.state {
                State::BlockStart if self.is_last => {
                    self.is_last = false;
                    self.bits.to_byte_border();
                    return Ok(true);
                }
                State::BlockStart => self.block_start()?,
                State::Stored { left: 0 } => self.state = State::BlockStart,
                State::Stored { left } => {
                    let n = left.min(limit - *at);
                    self.bits.read_bytes(&mut out[*at..*at + n])?;
                    *at += n;
                    self.state = State::Stored { left: left - n };
                }
                State::Coded => {
                    self.bits.fill()?;
                    if self.coded(out, at, limit)? {
                        self.state = State::BlockStart;
                    }
                    self.bits.check_end()?;
                }
            }
        }
        Ok(false)
    }

    /// Bytes that stand before or behind a deflate stream.
    pub(super) fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.bits.read_bytes(&mut bytes)?;
        Ok(bytes)
    }

    /// The byte that [`bytes`](Self::bytes) would give next, if there is one.
    pub(super) fn next_byte(&mut self) -> io::Result<Option<u8>> {
        self.bits.next_byte()
    }

    fn block_start(&mut self) -> io::Result<()> {
        self.is_last = self.bits.take(1)? == 1;
        self.state = match self.bits.take(2)? {
            0 => {
                self.bits.to_byte_border();
                let mut lengths = [0; 4];
                self.bits.read_bytes(&mut lengths)?;
                let [length, inverse] = [[lengths[0], lengths[1]], [lengths[2], lengths[3]]];
                if u16::from_le_bytes(length) != !u16::from_le_bytes(inverse) {
                    return Err(damaged("the length of a stored block contradicts itself"));
                }
                State::Stored { left: u16::from_le_bytes(length).into() }
            }
            1 => {
                let mut lengths = [8u8; 288];
                lengths[144..256].fill(9);
                lengths[256..280].fill(7);
                self.tables(&lengths, &[5; 30])?;
                State::Coded
            }
            2 => {
                self.block_header()?;
                State::Coded
            }
            _ => return Err(damaged("a block of unknown kind")),
        };
        Ok(())
    }

    /// The code lengths at the beginning of a block, themselves coded.
    fn block_header(&mut self) -> io::Result<()> {
        let literals = 257 + self.bits.take(5)? as usize;
        let distances = 1 + self.bits.take(5)? as usize;
        let codes = 4 + self.bits.take(4)? as usize;
        if literals > 286 || distances > 30 {
            return Err(damaged("too many codes"));
        }
        let mut code_lengths = [0; 19];
        for &i in &LENGTH_ORDER[..codes] {
            code_lengths[i] = self.bits.take(3)? as u8;
        }
        let mut table = Table::new(BITS_FOR_LENGTHS);
        if !table.build(&code_lengths, |symbol| (symbol as u32) << 16, false) {
            return Err(damaged("code lengths that make no code"));
        }
        let mut lengths = [0u8; 286 + 30];
        let total = literals + distances;
        let mut i = 0;
        while i < total {
            let entry = table.entries[self.bits.peek(BITS_FOR_LENGTHS)? as usize];
            self.bits.take(entry & 31)?;
            let symbol = (entry >> 16) as u8;
            let (value, repeat) = match symbol {
                0..16 => (symbol, 1),
                16 if i == 0 => return Err(damaged("a length that repeats nothing")),
                16 => (lengths[i - 1], 3 + self.bits.take(2)? as usize),
                17 => (0, 3 + self.bits.take(3)? as usize),
                _ => (0, 11 + self.bits.take(7)? as usize),
            };
            if i + repeat > total {
                return Err(damaged("more code lengths than codes"));
            }
            lengths[i..i + repeat].fill(value);
            i += repeat;
        }
        self.bits.check_end()?;
        let (literal_lengths, rest) = lengths.split_at(literals);
        if literal_lengths[256] == 0 {
            return Err(damaged("a block without an end"));
        }
        self.tables(literal_lengths, &rest[..distances])
    }

    fn tables(&mut self, literals: &[u8], distances: &[u8]) -> io::Result<()> {
        if !self.literals.build(literals, literal_entry, true) {
            return Err(damaged("literal lengths that make no code"));
        }
        pack_literals(&mut self.literals.entries);
        if !self.distances.build(distances, distance_entry, true) {
            return Err(damaged("distance lengths that make no code"));
        }
        Ok(())
    }

    /// The symbols of a block until its end (true), the limit or the end of the buffered input.
    fn coded(&mut self, out: &mut [u8], at: &mut usize, limit: usize) -> io::Result<bool> {
        use table::{END, KIND, LITERALS, MATCH, SUBTABLE, group_size};
        let (literals, distances) = (&*self.literals.entries, &*self.distances.entries);
        let mut bits = self.bits.registers();
        let mut pos = *at;
        let result = 'symbols: loop {
            if pos >= limit || !bits.can_refill_twice() {
                break Ok(false);
            }
            bits.refill();
            let mut entry = literals[bits.index(LITERAL_BITS)];
            let mut rounds = 5;
            while entry & LITERALS != 0 {
                out[pos..pos + 4].copy_from_slice(&(entry >> 8).to_le_bytes());
                pos += group_size(entry);
                bits.drop(entry & 31);
                rounds -= 1;
                if rounds == 0 {
                    continue 'symbols;
                }
                entry = literals[bits.index(LITERAL_BITS)];
            }
            bits.refill();
            if entry & KIND == SUBTABLE {
                entry = literals[bits.index_behind(entry, LITERAL_BITS)];
                if entry & LITERALS != 0 {
                    out[pos] = (entry >> 8) as u8;
                    pos += 1;
                    bits.drop(entry & 31);
                    continue;
                }
            }
            if entry & KIND != MATCH {
                break if entry & KIND == END {
                    bits.drop(entry & 31);
                    Ok(true)
                } else {
                    Err(damaged("a literal of no meaning"))
                };
            }
            let length = bits.base_and_extra(entry);
            let mut entry = distances[bits.index(DISTANCE_BITS)];
            if entry & KIND == SUBTABLE {
                entry = distances[bits.index_behind(entry, DISTANCE_BITS)];
            }
            if entry & KIND != MATCH {
                break Err(damaged("a distance of no meaning"));
            }
            let distance = bits.base_and_extra(entry);
            if distance > pos {
                break Err(damaged("a distance beyond the beginning"));
            }
            copy_match(out, pos, distance, length);
            pos += length;
        };
        *at = pos;
        let registers = bits.release();
        self.bits.restore(registers);
        result
    }
}

/// `length` bytes from `distance` bytes before `pos` on to `pos`; those behind them may be overwritten.
#[inline]
fn copy_match(out: &mut [u8], pos: usize, distance: usize, length: usize) {
    let out = &mut out[pos - distance..pos + length + 8];
    if distance >= 8 {
        let mut i = 0;
        while i < length {
            let word: [u8; 8] = out[i..i + 8].try_into().expect("the slice has 8 bytes");
            out[i + distance..i + distance + 8].copy_from_slice(&word);
            i += 8;
        }
    } else {
        for i in 0..length {
            out[i + distance] = out[i];
        }
    }
}
