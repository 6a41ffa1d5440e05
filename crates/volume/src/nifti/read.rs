//! Voxels out of NIfTI files.

use std::io::{self, Read};
use std::path::Path;

use super::decode::{Fit, decode};
use super::header::Header;
use super::open::{OpenImage, read_error};
use crate::{LabelVolume, Volume, VolumeError, Voxel};

/// Memory taken before a byte of a compressed file's voxels has been seen; from there the buffer grows
/// with what arrives, so that a lying header costs no more than this.
const FIRST_BYTES: usize = 16 << 20;

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most bytes that the voxels may take in memory, as stored or as converted.
    pub max_bytes: u64,
}

impl Default for ReadLimits {
    /// The memory of the machine where the system says how much it has, else 16 GiB.
    fn default() -> Self {
        Self { max_bytes: physical_memory().unwrap_or(16 << 30) }
    }
}

fn physical_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Reads the image at `path` as floats, slope and intercept applied. What `f32` cannot hold becomes the
/// nearest that it can.
///
/// # Errors
/// [`VolumeError::Io`] if the file cannot be read; [`VolumeError::Format`], [`VolumeError::InFile`],
/// [`VolumeError::NotThreeDimensional`], [`VolumeError::TooLarge`], [`VolumeError::Truncated`] or
/// [`VolumeError::DamagedGzip`] if it is not a sound 3D NIfTI-1 image. All name the file.
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
    let (header, bytes) = read_bytes(path, size_of::<T>(), limits)?;
    let grid = header.info.grid;
    let voxels = decode(&header, bytes, fit).map_err(|misfit| {
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
    bytes_per_result: usize,
    limits: ReadLimits,
) -> Result<(Header, Vec<u8>), VolumeError> {
    let OpenImage { header, mut voxels, available, path } = OpenImage::open(path)?;
    let count = header.info.grid.voxel_count() as u64;
    let too_large = |bytes| VolumeError::TooLarge { path: path.clone(), bytes, limit: limits.max_bytes };
    let truncated = |expected, found| VolumeError::Truncated { path: path.clone(), expected, found };
    let stored = count.checked_mul(header.info.data_type.bytes() as u64);
    let converted = count.checked_mul(bytes_per_result as u64);
    let (Some(stored), Some(converted)) = (stored, converted) else {
        return Err(too_large(u64::MAX));
    };
    if let Some(available) = available.filter(|&available| available < stored) {
        return Err(truncated(stored, available));
    }
    let needed = stored.saturating_add(converted);
    let Some(expected) = usize::try_from(stored).ok().filter(|_| needed <= limits.max_bytes) else {
        return Err(too_large(needed));
    };
    let first = if available.is_some() { expected } else { expected.min(FIRST_BYTES) };
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(first).map_err(|_| too_large(needed))?;
    while bytes.len() < expected {
        let have = bytes.len();
        if have == bytes.capacity() {
            bytes.try_reserve_exact(have.min(expected - have)).map_err(|_| too_large(needed))?;
        }
        let room = (bytes.capacity() - have).min(expected - have) as u64;
        match (&mut voxels).take(room).read_to_end(&mut bytes) {
            Ok(0) => return Err(truncated(stored, have as u64)),
            Ok(_) => {}
            Err(error) => return Err(read_error(&path, header.offset + bytes.len() as u64, error)),
        }
    }
    // What follows must still be a sound stream: the checksum at its end covers the voxels.
    if available.is_none() {
        io::copy(&mut voxels, &mut io::sink()).map_err(|e| read_error(&path, header.offset + stored, e))?;
    }
    Ok((header, bytes))
}
