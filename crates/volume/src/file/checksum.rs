//! The checksums of compressed streams: CRC-32 of gzip, Adler-32 of zlib.

use super::stored::Compression;

/// Largest prime below 2¹⁶ (RFC 1950).
const ADLER_MODULUS: u32 = 65521;

/// So many bytes can be added up before a sum of Adler-32 leaves 32 bits.
const ADLER_RUN: usize = 5552;

/// Checksum and number of the bytes so far.
#[derive(Clone)]
pub(super) struct Checksum {
    kind: Kind,
    length: u64,
}

#[derive(Clone)]
enum Kind {
    Crc(crc32fast::Hasher),
    /// Sum of the bytes plus one, and sum of those sums, both modulo 65521.
    Adler(u32, u32),
}

impl Checksum {
    /// Of no bytes.
    pub(super) fn new(compression: Compression) -> Self {
        let kind = match compression {
            Compression::Zlib => Kind::Adler(1, 0),
            _ => Kind::Crc(crc32fast::Hasher::new()),
        };
        Self { kind, length: 0 }
    }

    /// With `bytes` behind those so far.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        match &mut self.kind {
            Kind::Crc(hasher) => hasher.update(bytes),
            Kind::Adler(a, b) => {
                for run in bytes.chunks(ADLER_RUN) {
                    for &byte in run {
                        *a += u32::from(byte);
                        *b += *a;
                    }
                    (*a, *b) = (*a % ADLER_MODULUS, *b % ADLER_MODULUS);
                }
            }
        }
    }

    /// With the bytes of `next` behind those so far.
    pub(super) fn append(&mut self, next: &Self) {
        match (&mut self.kind, &next.kind) {
            (Kind::Crc(hasher), Kind::Crc(next)) => hasher.combine(next),
            (Kind::Adler(a, b), Kind::Adler(next_a, next_b)) => {
                // Each sum of `next` began at 1 where it should have begun at a.
                let modulus = u64::from(ADLER_MODULUS);
                let shift = u64::from(*a) + modulus - 1;
                let sums = u64::from(*b) + u64::from(*next_b) + shift % modulus * (next.length % modulus);
                *b = (sums % modulus) as u32;
                *a = ((shift + u64::from(*next_a)) % modulus) as u32;
            }
            _ => unreachable!("a stream has one kind of checksum"),
        }
        self.length += next.length;
    }

    pub(super) fn value(&self) -> u32 {
        match &self.kind {
            Kind::Crc(hasher) => hasher.clone().finalize(),
            Kind::Adler(a, b) => (b << 16) | a,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_have_their_checksums() {
        // `zlib.crc32` and `zlib.adler32` of Python.
        for (compression, expected) in [(Compression::Gzip, 0xcbf4_3926), (Compression::Zlib, 0x091e_01de)] {
            let mut sum = Checksum::new(compression);
            sum.update(b"123456789");
            assert_eq!((sum.value(), sum.length()), (expected, 9));
        }
    }

    #[test]
    fn checksums_of_parts_make_that_of_the_whole() {
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        for compression in [Compression::Gzip, Compression::Zlib] {
            let mut whole = Checksum::new(compression);
            whole.update(&bytes);
            let mut joined = Checksum::new(compression);
            for part in bytes.chunks(30_011) {
                let mut sum = Checksum::new(compression);
                sum.update(part);
                joined.append(&sum);
            }
            assert_eq!((joined.value(), joined.length()), (whole.value(), 100_000));
        }
    }
}
