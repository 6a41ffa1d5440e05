//! Voxels out of files, whatever the format.

use std::io::{self, Read};
use std::path::Path;

use super::decode::{Fit, decode};
use super::limits::ReadLimits;
use super::open::open;
use super::stored::{Compression, StoredImage};
use super::stream::{Stream, length_of, read_error};
use crate::{LabelVolume, Volume, VolumeError, Voxel};

/// Memory taken before a byte of a compressed file's voxels has been seen; from there the buffer grows
/// with what arrives, so that a lying header costs no more than this.
const FIRST_BYTES: usize = 16 << 20;

/// Reads the image at `path` as floats, slope and intercept applied. What `f32` cannot hold becomes the
/// nearest that it can.
///
/// # Errors
/// [`VolumeError::Io`] if the file cannot be read; [`VolumeError::Format`], [`VolumeError::InFile`],
/// [`VolumeError::NotThreeDimensional`], [`VolumeError::TooLarge`], [`VolumeError::Truncated`] or
/// [`VolumeError::DamagedGzip`] if it is not a sound 3D image. All name the file.
pub fn read_image(path: impl AsRef<Path>) -> Result<Volume<f32>, VolumeError> {
    read_as(path.as_ref(), ReadLimits::default(), Fit::Nearest, "")
}

/// Reads the segmentation at `path`.
///
/// # Errors
/// As [`read_image`], and [`VolumeError::Value`] for a voxel that is not a whole number from 0 to 255.
pub fn read_labels(path: impl AsRef<Path>) -> Result<LabelVolume, VolumeError> {
    read_as(path.as_ref(), ReadLimits::default(), Fit::Exact, "a label, a whole number from 0 to 255")
}

/// Reads the image at `path` without loss, slope and intercept applied.
///
/// # Errors
/// As [`read_image`], and [`VolumeError::Value`] for a voxel that `T` cannot hold exactly. Floats take
/// any float: a double rounds to the nearest `f32`.
pub fn read<T: Voxel>(path: impl AsRef<Path>) -> Result<Volume<T>, VolumeError> {
    read_with_limits(path, ReadLimits::default())
}

/// [`read`] with a limit of one's own.
///
/// # Errors
/// As [`read`].
pub fn read_with_limits<T: Voxel>(
    path: impl AsRef<Path>,
    limits: ReadLimits,
) -> Result<Volume<T>, VolumeError> {
    let name = format!("{:?}", T::DATA_TYPE).to_lowercase();
    read_as(path.as_ref(), limits, Fit::Exact, &format!("a value that {name} holds exactly"))
}

fn read_as<T: Voxel>(
    path: &Path,
    limits: ReadLimits,
    fit: Fit,
    expected: &str,
) -> Result<Volume<T>, VolumeError> {
    let image = open(path)?;
    let grid = image.info.grid;
    let bytes = read_bytes(path, &image, size_of::<T>(), limits)?;
    let voxels = decode(&image, bytes, fit).map_err(|misfit| {
        let [nx, ny, _] = grid.size();
        VolumeError::Value {
            path: path.to_path_buf(),
            voxel: [misfit.at % nx, misfit.at / nx % ny, misfit.at / (nx * ny)],
            found: misfit.found,
            expected: expected.to_string(),
        }
    })?;
    Volume::from_vec(grid, voxels)
}

/// The stored bytes of the voxels, all of them.
fn read_bytes(
    path: &Path,
    image: &StoredImage,
    bytes_per_result: usize,
    limits: ReadLimits,
) -> Result<Vec<u8>, VolumeError> {
    let count = image.info.grid.voxel_count() as u64;
    let too_large =
        |bytes| VolumeError::TooLarge { path: path.to_path_buf(), bytes, limit: limits.max_bytes };
    let stored = count.checked_mul(image.info.data_type.bytes() as u64);
    let converted = count.checked_mul(bytes_per_result as u64);
    let (Some(stored), Some(converted)) = (stored, converted) else {
        return Err(too_large(u64::MAX));
    };
    let needed = stored.saturating_add(converted);
    let mut bytes: Vec<u8> = Vec::new();
    let share = stored / image.parts.len() as u64;
    for part in &image.parts {
        let length = length_of(&part.path)?;
        let truncated = |found| VolumeError::Truncated { path: part.path.clone(), expected: share, found };
        let plain = image.compression == Compression::None;
        let begins = part.begins.saturating_add(if plain { part.skip } else { 0 });
        if length < begins {
            let reason = format!("it ends after {length} bytes, its voxels should begin at byte {begins}");
            return Err(VolumeError::Format { path: part.path.clone(), reason });
        }
        if plain && length - begins < share {
            return Err(truncated(length - begins));
        }
        let Some(expected) = usize::try_from(share).ok().filter(|_| needed <= limits.max_bytes) else {
            return Err(too_large(needed));
        };
        let mut stream = Stream::open(&part.path, begins, image.compression)?.reader;
        if !plain {
            let skipped = io::copy(&mut (&mut stream).take(part.skip), &mut io::sink())
                .map_err(|source| read_error(&part.path, 0, source))?;
            if skipped < part.skip {
                let reason =
                    format!("it ends after {skipped} bytes, its voxels should begin at byte {}", part.skip);
                return Err(VolumeError::Format { path: part.path.clone(), reason });
            }
        }
        let end = bytes.len() + expected;
        let first = if plain { expected } else { expected.min(FIRST_BYTES) };
        bytes.try_reserve_exact(first).map_err(|_| too_large(needed))?;
        while bytes.len() < end {
            let have = bytes.len();
            if have == bytes.capacity() {
                bytes.try_reserve_exact(have.min(end - have)).map_err(|_| too_large(needed))?;
            }
            let room = (bytes.capacity() - have).min(end - have) as u64;
            let found = (have + expected - end) as u64;
            match (&mut stream).take(room).read_to_end(&mut bytes) {
                Ok(0) => return Err(truncated(found)),
                Ok(_) => {}
                Err(error) => {
                    let decoded = part.skip + (bytes.len() + expected - end) as u64;
                    return Err(read_error(&part.path, decoded, error));
                }
            }
        }
        // What follows must still be a sound stream: the checksum at its end covers the voxels.
        if !plain {
            io::copy(&mut stream, &mut io::sink())
                .map_err(|e| read_error(&part.path, part.skip + share, e))?;
        }
    }
    Ok(bytes)
}
