//! Compressed files in one go, by libdeflate, which is faster than decompressors that can stop half-way.
//!
//! The compressed file, the stored values and, unless those are the voxels, the result are in memory
//! together. While one thread reads the file or decompresses it, another touches for the first time the
//! memory that comes next: fresh pages cost a quarter as much as decompressing into them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use libdeflater::Decompressor;
use rayon::prelude::*;

use super::decode::{Encoding, Fit, Misfit, decode};
use super::stored::{Compression, Part};
use crate::Voxel;

/// Most bytes, compressed and stored together, that may be held besides the result; larger images are read
/// through a small window instead.
const MOST_BYTES: u64 = 512 << 20;

/// Voxels converted by one task.
const TASK: usize = 1 << 17;

/// Size of a page, or less.
const PAGE: usize = 4096;

/// All `count` voxels of `part`, `share` bytes, or nothing if it is too large or anything is unusual: several
/// gzip streams in a row, bytes behind the voxels, damage. To read on, and to say what is wrong, is left to the
/// way through the window.
pub(super) fn load_whole<T: Voxel>(
    part: &Part,
    compression: Compression,
    share: u64,
    count: usize,
    encoding: Encoding,
    fit: Fit,
) -> Option<Result<Vec<T>, Misfit>> {
    let length = std::fs::metadata(&part.path).ok()?.len().checked_sub(part.begins)?;
    let stored_bytes = share.checked_add(part.skip)?;
    if length.checked_add(stored_bytes)? > MOST_BYTES {
        return None;
    }
    let (length, stored_bytes, skip) = (length as usize, stored_bytes as usize, part.skip as usize);
    if encoding.is_memory_of::<T>() && skip % size_of::<T>() == 0 {
        let lead = skip / size_of::<T>();
        let mut voxels = zeroed::<T>(lead + count)?;
        let bytes = T::bytes_mut(&mut voxels);
        let (packed, ()) = rayon::join(|| read_packed(part, length), || touch(bytes));
        inflate(&packed.ok()?, compression, bytes)?;
        voxels.drain(..lead);
        return Some(Ok(voxels));
    }
    let mut stored = zeroed::<u8>(stored_bytes)?;
    let mut voxels = zeroed::<T>(count)?;
    let (packed, ()) = rayon::join(|| read_packed(part, length), || touch(&mut stored));
    let packed = packed.ok()?;
    let (inflated, ()) =
        rayon::join(|| inflate(&packed, compression, &mut stored), || touch(T::bytes_mut(&mut voxels)));
    inflated?;
    drop(packed);
    let tasks = voxels.par_chunks_mut(TASK).zip(stored[skip..].par_chunks(TASK * encoding.data_type.bytes()));
    let misfit = tasks
        .enumerate()
        .filter_map(|(task, (voxels, bytes))| {
            let misfit = decode(encoding, fit, bytes, voxels).err()?;
            Some(Misfit { at: misfit.at + task * TASK, ..misfit })
        })
        .min_by_key(|misfit| misfit.at);
    Some(misfit.map_or(Ok(voxels), Err))
}

/// Zeros that have not been touched, if there is the memory.
fn zeroed<T: Voxel>(count: usize) -> Option<Vec<T>> {
    // Only `vec!` asks the system for zeros, and it aborts where this fails.
    Vec::<T>::new().try_reserve_exact(count).ok()?;
    Some(vec![T::default(); count])
}

/// Makes the system provide the pages now.
fn touch(bytes: &mut [u8]) {
    for page in bytes.chunks_mut(PAGE) {
        page[0] = std::hint::black_box(0);
    }
}

fn read_packed(part: &Part, length: usize) -> io::Result<Vec<u8>> {
    let mut file = File::open(&part.path)?;
    file.seek(SeekFrom::Start(part.begins))?;
    let mut packed = Vec::new();
    packed.try_reserve_exact(length).map_err(io::Error::other)?;
    file.take(length as u64).read_to_end(&mut packed)?;
    Ok(packed)
}

/// Fills `bytes` if `packed` begins with a sound stream of exactly as many.
fn inflate(packed: &[u8], compression: Compression, bytes: &mut [u8]) -> Option<()> {
    let mut decompressor = Decompressor::new();
    let found = match compression {
        Compression::None => return None,
        Compression::Gzip => decompressor.gzip_decompress(packed, bytes),
        Compression::Zlib => decompressor.zlib_decompress(packed, bytes),
    };
    (found.ok()? == bytes.len()).then_some(())
}
