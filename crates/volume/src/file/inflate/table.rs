//! Tables that decode Huffman codes.
//!
//! An entry of 32 bits:
//!
//! | bits | literals | match or distance | second table |
//! |---|---|---|---|
//! | 0–4 | bits to drop | length of the code | 0 |
//! | 5–6 | how many: 1 to 3 | 0 | 0 |
//! | 8–11 | the literals, | extra bits | bits of its index |
//! | 12–14 | first lowest, | [`MATCH`] | [`SUBTABLE`] |
//! | 16–31 | in bits 8–31 | number without the extra bits | place of its first entry |
//!
//! [`END`] is the end of a block, 0 a code that does not occur.

/// Bits that index the first table of literals and lengths, and of distances.
pub(super) const LITERAL_BITS: u32 = 11;
pub(super) const DISTANCE_BITS: u32 = 9;

/// Longest code.
const MAX_BITS: usize = 15;

/// Set in an entry that holds literals.
pub(super) const LITERALS: u32 = 3 << 5;

/// What an entry without literals is.
pub(super) const KIND: u32 = (7 << 12) | LITERALS;
pub(super) const MATCH: u32 = 1 << 12;
pub(super) const SUBTABLE: u32 = 2 << 12;
pub(super) const END: u32 = 4 << 12;

/// How many literals the entry holds.
#[inline(always)]
pub(super) fn group_size(entry: u32) -> usize {
    ((entry >> 5) & 3) as usize
}

/// The entry of a symbol of the first alphabet: literals, end of block, lengths; without its code's length.
pub(super) fn literal_entry(symbol: usize) -> u32 {
    const BASES: [u16; 29] = [
        3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163,
        195, 227, 258,
    ];
    match symbol {
        0..256 => (1 << 5) | ((symbol as u32) << 8),
        256 => END,
        257..286 => {
            let i = symbol - 257;
            let extra = if i < 8 || i == 28 { 0 } else { i as u32 / 4 - 1 };
            MATCH | (extra << 8) | (u32::from(BASES[i]) << 16)
        }
        _ => 0,
    }
}

/// The entry of a distance, without its code's length.
pub(super) fn distance_entry(symbol: usize) -> u32 {
    let symbol = symbol as u32;
    let extra = if symbol < 4 { 0 } else { symbol / 2 - 1 };
    let base = if symbol < 4 { symbol + 1 } else { ((2 + (symbol & 1)) << extra) + 1 };
    MATCH | (extra << 8) | (base << 16)
}

/// The first table, indexed by `root` bits, and the second ones behind it.
pub(super) struct Table {
    root: u32,
    pub(super) entries: Vec<u32>,
}

impl Table {
    pub(super) fn new(root: u32) -> Self {
        Self { root, entries: vec![0; 1 << root] }
    }

    /// Canonical codes of these lengths (0: no code); false if there are no such codes. As everywhere, codes
    /// may be left over only if there is a single one, of length 1, or none at all, and `sparse` says so.
    pub(super) fn build(&mut self, lengths: &[u8], entry: impl Fn(usize) -> u32, sparse: bool) -> bool {
        let mut count = [0usize; MAX_BITS + 1];
        for &length in lengths {
            count[usize::from(length)] += 1;
        }
        count[0] = 0;
        let longest = count.iter().rposition(|&n| n > 0).unwrap_or(0);
        let mut left = 1i32;
        for &n in &count[1..] {
            left = 2 * left - n as i32;
            if left < 0 {
                return false;
            }
        }
        if left > 0 && !(sparse && longest <= 1) {
            return false;
        }
        // Symbols by the length of their codes.
        let mut next = [0usize; MAX_BITS + 2];
        for length in 1..=MAX_BITS {
            next[length + 1] = next[length] + count[length];
        }
        let mut sorted = [0u16; 288];
        for (symbol, &length) in lengths.iter().enumerate().filter(|&(_, &length)| length > 0) {
            sorted[next[usize::from(length)]] = symbol as u16;
            next[usize::from(length)] += 1;
        }
        let root = self.root as usize;
        self.entries.clear();
        self.entries.resize(1 << root, 0);
        let (mut code, mut symbols) = (0u32, sorted.iter());
        let (mut prefix, mut second) = (usize::MAX, 0);
        for length in 1..=longest {
            code <<= 1;
            for i in 0..count[length] {
                let symbol = usize::from(*symbols.next().expect("every code has a symbol"));
                // Bits come lowest first.
                let reversed = (code.reverse_bits() >> (32 - length)) as usize;
                let value = entry(symbol) | length as u32;
                code += 1;
                if length <= root {
                    for place in self.entries[reversed..1 << root].iter_mut().step_by(1 << length) {
                        *place = value;
                    }
                    continue;
                }
                if reversed & ((1 << root) - 1) != prefix {
                    prefix = reversed & ((1 << root) - 1);
                    second = self.entries.len();
                    let second_bits = bits_behind(root, length, longest, count[length] - i, &count);
                    self.entries.resize(second + (1 << second_bits), 0);
                    self.entries[prefix] = SUBTABLE | ((second_bits as u32) << 8) | ((second as u32) << 16);
                }
                let first = second + (reversed >> root);
                for place in self.entries[first..].iter_mut().step_by(1 << (length - root)) {
                    *place = value;
                }
            }
        }
        true
    }
}

/// Bits behind the first `root` that tell apart all codes which begin alike, where `here` codes of `length`
/// and those that are longer are not yet in a table.
fn bits_behind(
    root: usize,
    length: usize,
    longest: usize,
    here: usize,
    count: &[usize; MAX_BITS + 1],
) -> usize {
    let mut bits = length - root;
    let mut left = (1usize << bits).saturating_sub(here);
    while left > 0 && root + bits < longest {
        bits += 1;
        left = (2 * left).saturating_sub(count[root + bits]);
    }
    bits
}

/// Joins literals whose codes together are short enough for the first table.
pub(super) fn pack_literals(entries: &mut [u32]) {
    const SINGLE: u32 = 1 << 5;
    for i in (1..1usize << LITERAL_BITS).rev() {
        let first = entries[i];
        if first & LITERALS != SINGLE {
            continue;
        }
        // Smaller than i, so not yet joined with others.
        let bits = first & 31;
        let second = entries[i >> bits];
        let both = bits + (second & 31);
        if second & LITERALS != SINGLE || both > LITERAL_BITS {
            continue;
        }
        let mut joined = both | (2 << 5) | (first & 0xff00) | ((second & 0xff00) << 8);
        let third = entries[i >> both];
        let all = both + (third & 31);
        if third & LITERALS == SINGLE && all <= LITERAL_BITS {
            joined = all | (3 << 5) | (joined & 0xff_ff00) | ((third & 0xff00) << 16);
        }
        entries[i] = joined;
    }
}
