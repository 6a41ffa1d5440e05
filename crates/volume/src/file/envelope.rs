//! What gzip (RFC 1952) and zlib (RFC 1950) put around a deflate stream.

use super::checksum::Checksum;
use super::stored::Compression;

/// Bits of a gzip header's flags: a checksum of the header, a field of the writer's own, a file name, a comment.
const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;

/// A file of one compressed stream, taken apart.
#[derive(Debug, PartialEq)]
pub(super) struct Envelope<'a> {
    /// The deflate stream.
    pub(super) deflate: &'a [u8],
    pub(super) seal: Seal,
}

/// What an envelope says of the bytes before compression.
#[derive(Debug, PartialEq)]
pub(super) struct Seal {
    compression: Compression,
    sum: u32,
    /// How many there are modulo 2³², where the format says.
    length: Option<u32>,
}

impl<'a> Envelope<'a> {
    /// Takes `packed` apart, or nothing if it does not begin and end like one stream of that kind.
    pub(super) fn open(packed: &'a [u8], compression: Compression) -> Option<Self> {
        match compression {
            Compression::None => None,
            Compression::Gzip => {
                let (body, trailer) = packed[gzip_header(packed)?..].split_last_chunk::<8>()?;
                let [a, b, c, d, length @ ..] = *trailer;
                let sum = u32::from_le_bytes([a, b, c, d]);
                let length = Some(u32::from_le_bytes(length));
                Some(Self { deflate: body, seal: Seal { compression, sum, length } })
            }
            Compression::Zlib => {
                let ([method, flags], rest) = packed.split_first_chunk::<2>()?;
                let (body, trailer) = rest.split_last_chunk::<4>()?;
                // Deflate with a window of at most 32 kB, no dictionary, and the check of these two bytes.
                let sound = method & 0xf == 8
                    && method >> 4 <= 7
                    && flags & 0x20 == 0
                    && u16::from_be_bytes([*method, *flags]).is_multiple_of(31);
                let seal = Seal { compression, sum: u32::from_be_bytes(*trailer), length: None };
                sound.then_some(Self { deflate: body, seal })
            }
        }
    }
}

impl Seal {
    /// Whether what was compressed had the checksum and length of `found`.
    pub(super) fn holds(&self, found: &Checksum) -> bool {
        found.value() == self.sum && self.length.is_none_or(|length| length == found.length() as u32)
    }

    /// The checksum of no bytes, of this stream's kind.
    pub(super) fn checksum(&self) -> Checksum {
        Checksum::new(self.compression)
    }
}

/// Bytes of the gzip header that `packed` begins with.
fn gzip_header(packed: &[u8]) -> Option<usize> {
    let ([0x1f, 0x8b, 8, flags, _, _, _, _, _, _], mut rest) = packed.split_first_chunk::<10>()? else {
        return None;
    };
    if flags & 0xe0 != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let (length, behind) = rest.split_first_chunk::<2>()?;
        rest = behind.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = &rest[end + 1..];
        }
    }
    if flags & HEADER_CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    Some(packed.len() - rest.len())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn gzip_with_every_field_is_taken_apart() {
        let mut gzip = flate2::GzBuilder::new()
            .filename("scan.nii")
            .comment("a comment")
            .extra(vec![1, 2, 3])
            .write(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"123456789").expect("memory takes every byte");
        let packed = gzip.finish().expect("memory takes every byte");
        let envelope = Envelope::open(&packed, Compression::Gzip).expect("it is sound");
        let mut sum = envelope.seal.checksum();
        sum.update(b"123456789");
        assert!(envelope.seal.holds(&sum));
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        bare.write_all(b"123456789").expect("memory takes every byte");
        assert_eq!(envelope.deflate, bare.finish().expect("memory takes every byte"));
        sum.update(b"0");
        assert!(!envelope.seal.holds(&sum));
        for length in 0..packed.len() {
            // However it is cut, no panic; what is left may look like a stream, but not like this one.
            let cut = Envelope::open(&packed[..length], Compression::Gzip);
            assert!(cut.is_none_or(|cut| cut.seal.sum != envelope.seal.sum));
        }
    }

    #[test]
    fn zlib_is_taken_apart() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"123456789").expect("memory takes every byte");
        let mut packed = zlib.finish().expect("memory takes every byte");
        let envelope = Envelope::open(&packed, Compression::Zlib).expect("it is sound");
        let mut sum = envelope.seal.checksum();
        sum.update(b"123456789");
        assert!(envelope.seal.holds(&sum));
        packed[1] ^= 1;
        assert_eq!(Envelope::open(&packed, Compression::Zlib), None);
        assert_eq!(Envelope::open(&packed[..5], Compression::Zlib), None);
    }
}
