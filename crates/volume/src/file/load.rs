//! From the description of an image to its voxels, of the type that was asked for.
//!
//! Sizes are believed once the files are long enough for them: a plain file has a length, and a compressed
//! one expands to at most 1032 times its length. Then the result is taken and filled: from a plain file by
//! all threads of the pool; from a compressed one in one go (`whole`) or, if it is large or unusual, piece by
//! piece while another thread decompresses (`unpack`).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use rayon::prelude::*;

use super::decode::{Encoding, Fit, Misfit, decode};
use super::limits::ReadLimits;
use super::stored::{Compression, Part, StoredImage};
use super::stream::{length_of, read_error};
use super::text_voxels::{check_text, load_text};
use super::unpack::{Damage, unpack};
#[cfg(feature = "libdeflate")]
use super::whole::load_whole;
use super::zeros::zeros;
use crate::{VolumeError, Voxel};

/// Deflate makes at most 258 bytes of two bits.
pub(crate) const MAX_EXPANSION: u64 = 1032;

/// Voxels of a plain file that one task reads.
const TASK: usize = 1 << 20;

/// Bytes it reads at a time, if they are not the voxels themselves.
const READ: usize = 1 << 18;

/// What may follow the voxels in a compressed file, besides as much again as they take: up to there the
/// stream is followed so that its checksum counts. Whatever holds more is a bomb, or a series whose header
/// says one image. All files of an image together.
const TRAILING: u64 = 1 << 20;

/// All voxels of `image`, found at `path`; `misfit` is the error for one that does not fit.
pub(super) fn load<T: Voxel>(
    path: &Path,
    image: &StoredImage,
    limits: ReadLimits,
    fit: Fit,
    misfit: &(dyn Fn(Misfit) -> VolumeError + Sync),
) -> Result<Vec<T>, VolumeError> {
    let share = bytes_of_a_part::<T>(path, image, limits)?;
    let count = image.info.grid.voxel_count();
    let too_large = || VolumeError::TooLarge {
        path: path.to_path_buf(),
        bytes: (count * size_of::<T>()) as u64,
        limit: limits.max_bytes,
    };
    #[cfg(feature = "libdeflate")]
    if let ([part], true) = (&image.parts[..], image.compression != Compression::None)
        && let Some(voxels) = load_whole(part, image.compression, share, count, image.encoding(), fit, limits)
    {
        return voxels.map_err(misfit);
    }
    let mut voxels = zeros::<T>(count).ok_or_else(too_large)?;
    let encoding = image.encoding();
    let voxels_of_a_part = count / image.parts.len();
    let shift = |part: usize| move |m: Misfit| misfit(Misfit { at: m.at + part * voxels_of_a_part, ..m });
    let parts = image.parts.iter().zip(voxels.chunks_mut(voxels_of_a_part)).enumerate();
    for (i, (part, voxels)) in parts {
        if image.is_text {
            load_text(part, encoding, fit, voxels, &shift(i))?;
        } else if image.compression == Compression::None {
            load_plain(part, encoding, fit, voxels, &shift(i))?;
        } else {
            let trailing = TRAILING / image.parts.len() as u64;
            load_packed(part, image.compression, [share, trailing], encoding, fit, voxels, &shift(i))?;
        }
    }
    Ok(voxels)
}

/// Stored bytes in each file, after the files' lengths and the limit have been held against them.
fn bytes_of_a_part<T>(path: &Path, image: &StoredImage, limits: ReadLimits) -> Result<u64, VolumeError> {
    let count = image.info.grid.voxel_count() as u64;
    let too_large =
        |bytes| VolumeError::TooLarge { path: path.to_path_buf(), bytes, limit: limits.max_bytes };
    let stored = count.checked_mul(image.info.data_type.bytes() as u64);
    let converted = count.checked_mul(size_of::<T>() as u64);
    let (Some(stored), Some(converted)) = (stored, converted) else {
        return Err(too_large(u64::MAX));
    };
    let share = stored / image.parts.len() as u64;
    let within_limit = || {
        let needed = stored.saturating_add(converted);
        if needed > limits.max_bytes || usize::try_from(needed).is_err() {
            return Err(too_large(needed));
        }
        Ok(())
    };
    for part in &image.parts {
        let length = length_of(&part.path)?;
        if image.is_text {
            check_text(part, length, share / image.info.data_type.bytes() as u64)?;
        } else if image.compression == Compression::None {
            let begins = part.begins.saturating_add(part.skip);
            if length < begins {
                return Err(no_beginning(part, length, begins));
            }
            if length - begins < share {
                return Err(truncated(part, share, length - begins));
            }
        } else {
            within_limit()?;
            let most = length.saturating_sub(part.begins).saturating_mul(MAX_EXPANSION);
            if most < share.saturating_add(part.skip) {
                return Err(too_short(part, image.compression, share));
            }
        }
    }
    within_limit()?;
    Ok(share)
}

/// The error for a compressed file that cannot hold what it promises: what it does hold.
fn too_short(part: &Part, compression: Compression, share: u64) -> VolumeError {
    match unpack(&part.path, part.begins, compression, |_| true) {
        Ok(Ok(found)) => ends_early(part, share, found),
        Ok(Err(damage)) => damaged(part, damage),
        Err(error) => error,
    }
}

fn ends_early(part: &Part, share: u64, found: u64) -> VolumeError {
    match found.checked_sub(part.skip) {
        Some(found) => truncated(part, share, found),
        None => no_beginning(part, found, part.skip),
    }
}

fn truncated(part: &Part, expected: u64, found: u64) -> VolumeError {
    VolumeError::Truncated { path: part.path.clone(), expected, found }
}

fn no_beginning(part: &Part, found: u64, expected: u64) -> VolumeError {
    let reason = format!("it ends after {found} bytes, its voxels should begin at byte {expected}");
    VolumeError::Format { path: part.path.clone(), reason }
}

fn damaged(part: &Part, damage: Damage) -> VolumeError {
    read_error(&part.path, damage.decoded, damage.source)
}

fn load_plain<T: Voxel>(
    part: &Part,
    encoding: Encoding,
    fit: Fit,
    voxels: &mut [T],
    misfit: &(dyn Fn(Misfit) -> VolumeError + Sync),
) -> Result<(), VolumeError> {
    let width = encoding.data_type.bytes();
    let tasks = voxels.par_chunks_mut(TASK).enumerate().map(|(task, voxels)| {
        let first = task * TASK;
        let io = |source| VolumeError::Io { path: part.path.clone(), source };
        let mut file = File::open(&part.path).map_err(io)?;
        file.seek(SeekFrom::Start(part.begins + part.skip + (first * width) as u64)).map_err(io)?;
        if encoding.is_memory_of::<T>() {
            return file.read_exact(T::bytes_mut(voxels)).map_err(io);
        }
        let mut bytes = vec![0; READ];
        for (i, voxels) in voxels.chunks_mut(READ / width).enumerate() {
            let bytes = &mut bytes[..voxels.len() * width];
            file.read_exact(bytes).map_err(io)?;
            decode(encoding, fit, bytes, voxels)
                .map_err(|m| misfit(Misfit { at: m.at + first + i * (READ / width), ..m }))?;
        }
        Ok(())
    });
    // The first of the errors, whoever comes upon one first.
    tasks.collect::<Vec<Result<(), VolumeError>>>().into_iter().collect()
}

fn load_packed<T: Voxel>(
    part: &Part,
    compression: Compression,
    [share, trailing]: [u64; 2],
    encoding: Encoding,
    fit: Fit,
    voxels: &mut [T],
    misfit: &(dyn Fn(Misfit) -> VolumeError + Sync),
) -> Result<(), VolumeError> {
    let mut filler = Filler::new(encoding, fit, part.skip, voxels);
    let enough = share.saturating_mul(2).saturating_add(part.skip).saturating_add(trailing);
    let mut seen = 0;
    let unpacked = unpack(&part.path, part.begins, compression, |bytes| {
        filler.take(bytes);
        seen += bytes.len() as u64;
        seen < enough
    });
    match unpacked? {
        // Damage comes first: it may be the reason why a value does not fit.
        Err(damage) => Err(damaged(part, damage)),
        Ok(found) if found < part.skip + share => Err(ends_early(part, share, found)),
        Ok(found) if found >= enough => {
            let reason = format!("its header promises {share} bytes of voxels, it holds more than {found}");
            Err(VolumeError::Format { path: part.path.clone(), reason })
        }
        Ok(_) => filler.misfit.map_or(Ok(()), |m| Err(misfit(m))),
    }
}

/// Voxels being filled from pieces of any length.
pub(super) struct Filler<'a, T> {
    encoding: Encoding,
    fit: Fit,
    /// Bytes still to come before the first voxel.
    skip: u64,
    voxels: &'a mut [T],
    /// Voxels filled.
    done: usize,
    /// The first bytes of a voxel whose others are in the next piece.
    begun: Vec<u8>,
    pub(super) misfit: Option<Misfit>,
}

impl<'a, T: Voxel> Filler<'a, T> {
    pub(super) fn new(encoding: Encoding, fit: Fit, skip: u64, voxels: &'a mut [T]) -> Self {
        Self { encoding, fit, skip, voxels, done: 0, begun: Vec::with_capacity(8), misfit: None }
    }

    /// Takes the next bytes of the stream; those behind the last voxel are ignored.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        let mut bytes = &bytes[skipped as usize..];
        let width = self.encoding.data_type.bytes();
        if !self.begun.is_empty() {
            let (more, rest) = bytes.split_at(bytes.len().min(width - self.begun.len()));
            self.begun.extend_from_slice(more);
            bytes = rest;
            if self.begun.len() == width {
                let begun = std::mem::take(&mut self.begun);
                self.fill(&begun);
            }
        }
        let (whole, rest) = bytes.split_at(bytes.len() / width * width);
        self.fill(whole);
        self.begun.extend_from_slice(rest);
    }

    /// Whether every voxel has its value.
    pub(super) fn is_full(&self) -> bool {
        self.done == self.voxels.len()
    }

    fn fill(&mut self, bytes: &[u8]) {
        let width = self.encoding.data_type.bytes();
        let n = (bytes.len() / width).min(self.voxels.len() - self.done);
        let voxels = &mut self.voxels[self.done..self.done + n];
        if self.misfit.is_none()
            && let Err(m) = decode(self.encoding, self.fit, &bytes[..n * width], voxels)
        {
            self.misfit = Some(Misfit { at: m.at + self.done, ..m });
        }
        self.done += n;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DataType;

    proptest! {
        /// Pieces may end anywhere, also within a voxel.
        #[test]
        fn pieces_of_any_length_fill_the_same_voxels(
            values in prop::collection::vec(any::<i32>(), 1..40),
            cuts in prop::collection::vec(1usize..9, 1..60),
            skip in 0u64..20,
            big_endian in any::<bool>(),
        ) {
            let mut bytes = vec![0xaa; skip as usize];
            bytes.extend(values.iter().flat_map(|v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }));
            bytes.extend([0xbb; 5]);
            let encoding = Encoding { data_type: DataType::I32, big_endian, slope: 1.0, intercept: 0.0 };
            let mut voxels = vec![0i64; values.len()];
            let mut filler = Filler::new(encoding, Fit::Exact, skip, &mut voxels);
            let mut rest = &bytes[..];
            for cut in cuts {
                let (piece, behind) = rest.split_at(cut.min(rest.len()));
                filler.take(piece);
                rest = behind;
            }
            filler.take(rest);
            prop_assert!(filler.misfit.is_none());
            prop_assert_eq!(voxels, values.into_iter().map(i64::from).collect::<Vec<_>>());
        }

        /// The misfit is found where it is, however the stream is cut.
        #[test]
        fn the_first_misfit_is_named(at in 0usize..50, cut in 1usize..7) {
            let mut values = [7i16; 50];
            values[at..].fill(-1);
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let encoding =
                Encoding { data_type: DataType::I16, big_endian: false, slope: 1.0, intercept: 0.0 };
            let mut voxels = [0u8; 50];
            let mut filler = Filler::new(encoding, Fit::Exact, 0, &mut voxels);
            bytes.chunks(cut).for_each(|piece| filler.take(piece));
            prop_assert_eq!(filler.misfit, Some(Misfit { at, found: "-1".to_string() }));
        }
    }
}
