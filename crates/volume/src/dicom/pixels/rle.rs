//! RLE lossless (PS3.5, annex G).
//!
//! Sixteen numbers of 32 bits: how many segments there are, and where each begins. One segment for each
//! byte of a pixel, the most significant first, each packed as *PackBits*: a byte n from 0 to 127 is
//! followed by n + 1 bytes as they are, one from 129 to 255 by a byte that stands for 257 − n of them, and
//! 128 by nothing.

use super::bytes::Plane;
use super::codestream::check_ratio;

const HEADER_BYTES: usize = 64;

/// Two bytes stand for 128 at most.
pub(super) const MAX_RATIO: u64 = 64;

/// The pixels that `compressed` holds, least significant byte first.
pub(super) fn decode(compressed: &[u8], plane: Plane) -> Result<Vec<u8>, String> {
    let header = compressed.get(..HEADER_BYTES).ok_or("its RLE header breaks off")?;
    let mut numbers = header
        .chunks_exact(4)
        .map(|bytes| u32::from_le_bytes(bytes.try_into().expect("chunks of four")) as usize);
    let segments = numbers.next().unwrap_or_default();
    if segments != plane.width {
        return Err(format!("it has {segments} RLE segments, expected {}", plane.width));
    }
    check_ratio(compressed.len() as u64, plane.bytes() as u64, MAX_RATIO)?;
    let starts: Vec<usize> = numbers.take(segments).collect();
    let mut pixels = vec![0; plane.bytes()];
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(compressed.len());
        let segment = compressed.get(start..end).ok_or("an RLE segment lies outside the fragment")?;
        let places = pixels[segments - 1 - i..].iter_mut().step_by(segments);
        unpack(segment, places).ok_or("an RLE segment ends before its last pixel")?;
    }
    Ok(pixels)
}

/// Fills `places` from `packed`; nothing if it ends before.
fn unpack<'a>(packed: &[u8], mut places: impl ExactSizeIterator<Item = &'a mut u8>) -> Option<()> {
    let mut packed = packed.iter().copied();
    while places.len() > 0 {
        let n = usize::from(packed.next()?);
        match n {
            0..128 => {
                for place in places.by_ref().take(n + 1) {
                    *place = packed.next()?;
                }
            }
            128 => {}
            _ => {
                let byte = packed.next()?;
                places.by_ref().take(257 - n).for_each(|place| *place = byte);
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(segments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = (segments.len() as u32).to_le_bytes().to_vec();
        let mut start = HEADER_BYTES;
        for segment in segments {
            bytes.extend((start as u32).to_le_bytes());
            start += segment.len();
        }
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(segments.concat());
        bytes
    }

    const PLANE: Plane = Plane { columns: 5, rows: 1, width: 2 };

    #[test]
    fn runs_and_copies_make_the_bytes_of_pixels() {
        // High bytes 1 1 1 2 3, low bytes five times 7, with a byte that means nothing before.
        let packed = stream(&[&[254, 1, 1, 2, 3], &[128, 252, 7]]);
        assert_eq!(decode(&packed, PLANE), Ok(vec![7, 1, 7, 1, 7, 1, 7, 2, 7, 3]));
    }

    #[test]
    fn damaged_streams_are_refused() {
        let sound = stream(&[&[254, 1, 1, 2, 3], &[128, 252, 7]]);
        for length in 0..sound.len() {
            assert!(decode(&sound[..length], PLANE).is_err(), "{length}");
        }
        let mut outside = sound.clone();
        outside[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(decode(&outside, PLANE).is_err());
        assert!(decode(&stream(&[&[252, 7]]), PLANE).unwrap_err().contains("1 RLE segments, expected 2"));
        let huge = Plane { columns: 65535, rows: 65535, width: 2 };
        assert!(decode(&sound, huge).unwrap_err().contains("cannot hold"));
    }
}
