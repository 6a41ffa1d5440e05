//! Voxels as bytes in a file, compressed or not.

use std::io::{self, Write};

use flate2::GzBuilder;
use flate2::write::ZlibEncoder;

use super::stored::Compression;
use crate::Voxel;

/// Level of gzip: beyond 4, CT scans get hardly smaller and writing much slower.
const LEVEL: u32 = 4;

/// Voxels turned into bytes at a time.
const CHUNK: usize = 1 << 16;

/// Writes `head`, then `voxels` least significant byte first, all of it compressed.
///
/// No name and no time go into a gzip header: they would make equal volumes differ.
pub(crate) fn write_voxels<T: Voxel>(
    file: &mut dyn Write,
    compression: Compression,
    head: &[u8],
    voxels: &[T],
) -> io::Result<()> {
    let level = flate2::Compression::new(LEVEL);
    match compression {
        Compression::None => write_raw(file, head, voxels),
        Compression::Gzip => {
            let mut gzip = GzBuilder::new().mtime(0).write(file, level);
            write_raw(&mut gzip, head, voxels)?;
            gzip.finish().map(drop)
        }
        Compression::Zlib => {
            let mut zlib = ZlibEncoder::new(file, level);
            write_raw(&mut zlib, head, voxels)?;
            zlib.finish().map(drop)
        }
    }
}

fn write_raw<T: Voxel>(file: &mut dyn Write, head: &[u8], voxels: &[T]) -> io::Result<()> {
    file.write_all(head)?;
    let mut bytes = Vec::with_capacity(CHUNK * T::DATA_TYPE.bytes());
    for chunk in voxels.chunks(CHUNK) {
        bytes.clear();
        for voxel in chunk {
            voxel.push_le_bytes(&mut bytes);
        }
        file.write_all(&bytes)?;
    }
    Ok(())
}
