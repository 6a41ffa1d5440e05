//! Voxels as bytes in a file, compressed or not.
//!
//! Compression is cut into pieces of a megabyte that the threads of the pool compress side by side, each
//! ended by an empty block so that it stops at a byte. In a row they are one deflate stream; the piece
//! borders are fixed, so the file is the same whatever the number of threads.

use std::borrow::Cow;
use std::io::{self, Write};

use flate2::{Compress, FlushCompress, Status};
use rayon::prelude::*;

use super::checksum::Checksum;
use super::stored::Compression;
use crate::Voxel;

/// Level of compression: beyond 4, CT scans get hardly smaller and writing much slower.
const LEVEL: u32 = 4;

/// Bytes of voxels compressed at a time: a piece cannot refer to the one before, but deflate looks back no
/// further than 32 KiB anyway.
const PIECE: usize = 1 << 20;

/// Pieces compressed before any is written.
const BATCH: usize = 16;

/// Writes `head`, then `voxels` least significant byte first, all of it compressed.
///
/// No name and no time go into a gzip header: they would make equal volumes differ.
pub(crate) fn write_voxels<T: Voxel>(
    file: &mut dyn Write,
    compression: Compression,
    head: &[u8],
    voxels: &[T],
) -> io::Result<()> {
    let first: &[u8] = match compression {
        Compression::None => {
            file.write_all(head)?;
            return voxels.chunks(PIECE).try_for_each(|chunk| file.write_all(&le_bytes(chunk)));
        }
        // Method 8, no flags, no time, unknown system.
        Compression::Gzip => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff],
        // Method 8 with a window of 32 KiB, usual effort.
        Compression::Zlib => &[0x78, 0x9c],
    };
    file.write_all(first)?;
    let mut sum = Checksum::new(compression);
    let pieces: Vec<&[T]> = voxels.chunks(PIECE / size_of::<T>()).collect();
    let last = pieces.len().saturating_sub(1);
    // An image without voxels still has its head.
    let indices: Vec<usize> = (0..=last).collect();
    for batch in indices.chunks(BATCH) {
        let compress = || Compress::new(flate2::Compression::new(LEVEL), false);
        let packed: Vec<(Vec<u8>, Checksum)> = batch
            .par_iter()
            .map_init(compress, |compress, &i| {
                let mut bytes = le_bytes(pieces.get(i).copied().unwrap_or_default());
                if i == 0 {
                    bytes = Cow::Owned([head, &bytes].concat());
                }
                let mut sum = Checksum::new(compression);
                sum.update(&bytes);
                (pack(compress, &bytes, i == last), sum)
            })
            .collect();
        for (bytes, piece_sum) in packed {
            file.write_all(&bytes)?;
            sum.append(&piece_sum);
        }
    }
    if compression == Compression::Zlib {
        return file.write_all(&sum.value().to_be_bytes());
    }
    file.write_all(&sum.value().to_le_bytes())?;
    file.write_all(&(sum.length() as u32).to_le_bytes())
}

/// `bytes` as deflate blocks that end at a byte; the last of the stream, if it is.
fn pack(compress: &mut Compress, bytes: &[u8], is_last: bool) -> Vec<u8> {
    compress.reset();
    let flush = if is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut packed = Vec::with_capacity(bytes.len() / 4 * 3 + 64);
    loop {
        let rest = &bytes[compress.total_in() as usize..];
        let status = compress.compress_vec(rest, &mut packed, flush).expect("any bytes can be compressed");
        let has_room = packed.len() < packed.capacity();
        let all_in = compress.total_in() as usize == bytes.len();
        if status == Status::StreamEnd || (!is_last && all_in && has_room) {
            return packed;
        }
        packed.reserve(bytes.len() / 4 + 64);
    }
}

/// The voxels' bytes, least significant first.
fn le_bytes<T: Voxel>(voxels: &[T]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(T::bytes(voxels));
    }
    let mut bytes = Vec::with_capacity(size_of_val(voxels));
    for voxel in voxels {
        voxel.push_le_bytes(&mut bytes);
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn written(compression: Compression, voxels: &[i16]) -> Vec<u8> {
        let mut file = Vec::new();
        write_voxels(&mut file, compression, b"head", voxels).expect("memory takes every byte");
        file
    }

    #[test]
    fn another_decoder_reads_one_stream() {
        let noise = |i: usize| (i.wrapping_mul(0x9e37_79b9) >> 13) as i16;
        for count in [0, 1, PIECE / 2, PIECE / 2 + 1, BATCH * PIECE / 2 + 12_345] {
            let voxels: Vec<i16> = (0..count).map(noise).collect();
            let mut expected = b"head".to_vec();
            expected.extend(voxels.iter().flat_map(|v| v.to_le_bytes()));
            let mut found = Vec::new();
            let gzip = written(Compression::Gzip, &voxels);
            // Not the decoder of several members: there is one.
            flate2::read::GzDecoder::new(&gzip[..]).read_to_end(&mut found).unwrap();
            assert!(found == expected, "{count} voxels through gzip");
            found.clear();
            let zlib = written(Compression::Zlib, &voxels);
            flate2::read::ZlibDecoder::new(&zlib[..]).read_to_end(&mut found).unwrap();
            assert!(found == expected, "{count} voxels through zlib");
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let voxels: Vec<i16> = (0..3 * PIECE).map(|i| (i / 7 % 1000) as i16).collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| written(Compression::Gzip, &voxels))
        };
        assert!(with(1) == with(3));
    }
}
