//! Compressed files in one go, by libdeflate, which is faster than decompressors that can stop half-way.
//!
//! The compressed file, the stored values and, unless those are the voxels, the result are in memory
//! together. While threads read the file or decompress it, others touch for the first time the
//! memory that comes next: fresh pages cost a quarter as much as decompressing into them.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use libdeflater::Decompressor;
use rayon::prelude::*;

use super::checksum::Checksum;
use super::decode::{Encoding, Fit, Misfit, decode};
use super::envelope::{Envelope, Seal};
use super::limits::ReadLimits;
use super::stored::{Compression, Part};
use super::zeros::zeros;
use crate::Voxel;

/// Most bytes, compressed and stored together, that may be held besides the result; larger images are read
/// through a small window instead.
const MOST_BYTES: u64 = 512 << 20;

/// Most bytes before the voxels that are decompressed with them.
const MOST_LEAD: u64 = 1 << 20;

/// Memory is touched ahead for up to so many bytes for each compressed one, several times what scans compress to: a
/// file that only claims to hold more shall not have it.
const TOUCHED_AHEAD: usize = 32;

/// Voxels converted by one task.
const TASK: usize = 1 << 17;

/// Bytes read from the file, or touched, by one task.
const BLOCK: usize = 4 << 20;

/// Size of a page, or less.
const PAGE: usize = 4096;

/// All `count` voxels of `part`, `share` bytes, or nothing if it is too large, for `limits` too, or anything is unusual: several
/// gzip streams in a row, bytes behind the voxels, damage. To read on, and to say what is wrong, is left to the
/// way through the window.
pub(super) fn load_whole<T: Voxel>(
    part: &Part,
    compression: Compression,
    share: u64,
    count: usize,
    encoding: Encoding,
    fit: Fit,
    limits: ReadLimits,
) -> Option<Result<Vec<T>, Misfit>> {
    let length = std::fs::metadata(&part.path).ok()?.len().checked_sub(part.begins)?;
    let stored_bytes = share.checked_add(part.skip)?;
    let held = length.checked_add(stored_bytes)?;
    let converted = (count as u64).checked_mul(size_of::<T>() as u64)?;
    if held > MOST_BYTES || part.skip > MOST_LEAD || held.checked_add(converted)? > limits.max_bytes {
        return None;
    }
    if compression == Compression::Gzip && promised(part)? != stored_bytes as u32 {
        return None;
    }
    let (length, stored_bytes, skip) = (length as usize, stored_bytes as usize, part.skip as usize);
    if encoding.is_memory_of::<T>() && skip % size_of::<T>() == 0 {
        let lead = skip / size_of::<T>();
        let mut voxels = zeros::<T>(lead + count)?;
        let bytes = T::bytes_mut(&mut voxels);
        let ahead = bytes.len().min(length.saturating_mul(TOUCHED_AHEAD));
        let packed = read_and_touch(part, length, &mut bytes[..ahead])?;
        let Envelope { deflate, seal } = Envelope::open(&packed, compression)?;
        inflate(deflate, bytes)?;
        let (sound, ()) = rayon::join(|| drop_lead(&mut voxels, lead, &seal), || drop(packed));
        return sound.then_some(Ok(voxels));
    }
    let mut stored = zeros::<u8>(stored_bytes)?;
    let mut voxels = zeros::<T>(count)?;
    let ahead = stored_bytes.min(length.saturating_mul(TOUCHED_AHEAD));
    let packed = read_and_touch(part, length, &mut stored[..ahead])?;
    let Envelope { deflate, seal } = Envelope::open(&packed, compression)?;
    let bytes = T::bytes_mut(&mut voxels);
    let ahead = bytes.len().min(ahead / encoding.data_type.bytes() * size_of::<T>());
    let (inflated, ()) = rayon::join(|| inflate(deflate, &mut stored), || touch(&mut bytes[..ahead]));
    inflated?;
    let (lead, stored) = stored.split_at(skip);
    let mut sum = seal.checksum();
    sum.update(lead);
    let tasks = voxels.par_chunks_mut(TASK).zip(stored.par_chunks(TASK * encoding.data_type.bytes()));
    let done: Vec<(Checksum, Option<Misfit>)> = tasks
        .enumerate()
        .map(|(task, (voxels, bytes))| {
            let mut sum = seal.checksum();
            sum.update(bytes);
            let misfit = decode(encoding, fit, bytes, voxels).err();
            (sum, misfit.map(|misfit| Misfit { at: misfit.at + task * TASK, ..misfit }))
        })
        .collect();
    done.iter().for_each(|(part, _)| sum.append(part));
    let misfit = done.into_iter().find_map(|(_, misfit)| misfit);
    seal.holds(&sum).then_some(misfit.map_or(Ok(voxels), Err))
}

/// Moves all voxels `lead` places down, over what stood before them, and gives up the last. Whether they, with what
/// stood before them, have the checksum that `seal` says.
fn drop_lead<T: Voxel>(voxels: &mut Vec<T>, lead: usize, seal: &Seal) -> bool {
    let task = TASK.max(lead);
    // What each task needs of the next one, before that moves it.
    let firsts: Vec<Vec<T>> =
        voxels.chunks(task).skip(1).map(|voxels| voxels[..lead.min(voxels.len())].to_vec()).collect();
    let sums: Vec<Checksum> = voxels
        .par_chunks_mut(task)
        .enumerate()
        .map(|(i, voxels)| {
            let mut sum = seal.checksum();
            sum.update(T::bytes_mut(voxels));
            if lead > 0 {
                voxels.copy_within(lead.min(voxels.len()).., 0);
                let next = firsts.get(i).map_or(&[][..], Vec::as_slice);
                let end = voxels.len().saturating_sub(lead);
                voxels[end..end + next.len()].copy_from_slice(next);
            }
            sum
        })
        .collect();
    voxels.truncate(voxels.len() - lead);
    let mut sum = seal.checksum();
    sums.iter().for_each(|part| sum.append(part));
    seal.holds(&sum)
}

/// Makes the system provide the pages now.
fn touch(bytes: &mut [u8]) {
    for page in bytes.chunks_mut(PAGE) {
        page[0] = std::hint::black_box(0);
    }
}

/// The length before compression that the last four bytes of a gzip file say, modulo 2³².
fn promised(part: &Part) -> Option<u32> {
    let mut file = File::open(&part.path).ok()?;
    file.seek(SeekFrom::End(-4)).ok()?;
    let mut length = [0; 4];
    file.read_exact(&mut length).ok()?;
    Some(u32::from_le_bytes(length))
}

/// The `length` bytes of the file from where `part` begins, while the pages of `fresh` are provided.
fn read_and_touch(part: &Part, length: usize, fresh: &mut [u8]) -> Option<Vec<u8>> {
    let mut packed = zeros::<u8>(length)?;
    let read = |(i, block): (usize, &mut [u8])| {
        let mut file = File::open(&part.path)?;
        file.seek(SeekFrom::Start(part.begins + (i * BLOCK) as u64))?;
        file.read_exact(block)
    };
    let blocks = packed.par_chunks_mut(BLOCK).enumerate();
    let (done, ()): (io::Result<()>, ()) =
        rayon::join(|| blocks.try_for_each(read), || fresh.par_chunks_mut(BLOCK).for_each(touch));
    done.ok()?;
    Some(packed)
}

/// Fills `bytes` if `deflate` is a sound stream of exactly as many.
fn inflate(deflate: &[u8], bytes: &mut [u8]) -> Option<()> {
    let found = Decompressor::new().deflate_decompress(deflate, bytes);
    (found.ok()? == bytes.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn voxels_move_down_however_long_the_lead() {
        for (lead, count) in
            [(0, 5), (3, 0), (176, 10), (176, 3 * TASK - 176), (TASK + 5, 2 * TASK), (7, 2 * TASK + 3)]
        {
            let all: Vec<u16> = (0..lead + count).map(|i| (i * i / 8) as u16).collect();
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            zlib.write_all(bytemuck::cast_slice(&all)).expect("memory takes every byte");
            let packed = zlib.finish().expect("memory takes every byte");
            let envelope = Envelope::open(&packed, Compression::Zlib).expect("it is sound");
            let mut voxels = all.clone();
            assert!(drop_lead(&mut voxels, lead, &envelope.seal), "lead {lead}, {count} voxels");
            assert_eq!(voxels, all[lead..]);
            let mut other = all;
            other[0] ^= 1;
            assert!(!drop_lead(&mut other, lead, &envelope.seal));
        }
    }

    #[test]
    fn a_part_of_many_blocks_is_read_from_where_it_begins_and_no_further_than_it_is() {
        let bytes: Vec<u8> = (0..2 * BLOCK + 777).map(|i| (i * i / 1009) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().expect("there is room for temporary files");
        file.write_all(&bytes).expect("there is room for temporary files");
        let part = Part { path: file.path().to_path_buf(), begins: 100, skip: 0 };
        let mut fresh = vec![0; BLOCK + 1];
        assert_eq!(read_and_touch(&part, bytes.len() - 100, &mut fresh).as_deref(), Some(&bytes[100..]));
        assert_eq!(read_and_touch(&part, bytes.len() - 99, &mut []), None, "a byte less than announced");
        assert_eq!(read_and_touch(&part, 0, &mut []), Some(vec![]));
    }

    #[test]
    fn what_a_file_only_claims_is_left_to_the_window() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&[7; 1000]).expect("memory takes every byte");
        let sound = gzip.finish().expect("memory takes every byte");
        let mut other_length = sound.clone();
        *other_length.last_mut().expect("it is not empty") ^= 1;
        let encoding =
            Encoding { data_type: crate::DataType::U8, big_endian: false, slope: 1.0, intercept: 0.0 };
        let read = |bytes: &[u8], skip: u64, limit: u64| {
            let mut file = tempfile::NamedTempFile::new().expect("there is room for temporary files");
            file.write_all(bytes).expect("there is room for temporary files");
            let part = Part { path: file.path().to_path_buf(), begins: 0, skip };
            let (count, limits) = (1000 - skip, ReadLimits { max_bytes: limit });
            load_whole::<u8>(&part, Compression::Gzip, count, count as usize, encoding, Fit::Exact, limits)
        };
        assert_eq!(read(&sound, 10, 3000), Some(Ok(vec![7; 990])));
        assert_eq!(read(&other_length, 10, 3000), None);
        assert_eq!(read(&sound, 10, 1000), None, "held together it is above the limit");
    }
}
