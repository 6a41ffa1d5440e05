//! Voxels out of NIfTI files.

use std::path::Path;

use rayon::prelude::*;

use super::header::{Header, OpenImage, read_error};
use crate::{DataType, LabelVolume, Volume, VolumeError, Voxel};

/// Memory taken before a byte of a compressed file's voxels has been seen; from there the buffer grows
/// with what arrives, so that a lying header costs no more than this.
const FIRST_BYTES: usize = 16 << 20;

/// Voxels converted by one task.
const CHUNK: usize = 1 << 16;

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

/// Reads the image at `path` as floats, slope and intercept applied.
///
/// # Errors
/// [`VolumeError::Io`] if the file cannot be read; [`VolumeError::Format`], [`VolumeError::InFile`],
/// [`VolumeError::NotThreeDimensional`] or [`VolumeError::TooLarge`] if it is not a sound 3D NIfTI-1
/// image. All name the file.
pub fn read_image(path: impl AsRef<Path>) -> Result<Volume<f32>, VolumeError> {
    let (header, bytes) = read_bytes(path.as_ref(), size_of::<f32>(), ReadLimits::default())?;
    let (slope, intercept) = (header.info.slope, header.info.intercept);
    let unscaled = slope == 1.0 && intercept == 0.0;
    let voxels = convert(&header, &bytes, |stored| {
        let value = if unscaled { stored.value } else { slope * stored.value + intercept };
        Some(value as f32)
    });
    Volume::from_vec(header.info.grid, voxels.map_err(|at| misfit(path.as_ref(), &header, at, "f32"))?)
}

/// Reads the segmentation at `path`.
///
/// # Errors
/// As [`read_image`], and [`VolumeError::Value`] for a voxel that is not a whole number from 0 to 255.
pub fn read_labels(path: impl AsRef<Path>) -> Result<LabelVolume, VolumeError> {
    read(path)
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
    let path = path.as_ref();
    let (header, bytes) = read_bytes(path, size_of::<T>(), limits)?;
    let (slope, intercept) = (header.info.slope, header.info.intercept);
    let unscaled = slope == 1.0 && intercept == 0.0;
    let voxels = convert(&header, &bytes, |stored| {
        if unscaled { exactly::<T>(stored) } else { exactly(Stored::float(slope * stored.value + intercept)) }
    });
    let name = format!("{:?}", T::DATA_TYPE).to_lowercase();
    Volume::from_vec(header.info.grid, voxels.map_err(|at| misfit(path, &header, at, &name))?)
}

/// A stored value as a double, and as an integer where it is one: 64-bit integers do not fit a double.
#[derive(Clone, Copy)]
struct Stored {
    value: f64,
    integer: Option<i128>,
}

impl Stored {
    fn float(value: f64) -> Self {
        Self { value, integer: None }
    }
}

/// `stored` as a `T`, if `T` can hold it.
fn exactly<T: Voxel>(stored: Stored) -> Option<T> {
    match T::DATA_TYPE {
        // A float holds every float, rounded, NaN and infinity included. Integers must survive.
        DataType::F32 | DataType::F64 => {
            let converted = T::from_f64(stored.value);
            let kept = stored.integer.is_none_or(|i| converted.to_f64() as i128 == i);
            kept.then_some(converted)
        }
        _ => match stored.integer {
            Some(integer) => T::from_integer(integer),
            None => {
                let converted = T::from_f64(stored.value);
                (converted.to_f64() == stored.value).then_some(converted)
            }
        },
    }
}

fn misfit(path: &Path, header: &Header, at: usize, expected: &str) -> VolumeError {
    let [nx, ny, _] = header.info.grid.size();
    VolumeError::Value {
        path: path.to_path_buf(),
        voxel: [at % nx, at / nx % ny, at / (nx * ny)],
        expected: expected.to_string(),
    }
}

/// The stored bytes of the voxels, all of them.
fn read_bytes(
    path: &Path,
    bytes_per_result: usize,
    limits: ReadLimits,
) -> Result<(Header, Vec<u8>), VolumeError> {
    let OpenImage { header, mut voxels, voxel_bytes: available, path } = OpenImage::open(path)?;
    let count = header.info.grid.voxel_count() as u64;
    let expected = header.voxel_bytes();
    let in_memory = count.checked_mul(bytes_per_result as u64);
    let (Some(expected), Some(in_memory)) = (expected, in_memory) else {
        return Err(VolumeError::TooLarge { path, bytes: u64::MAX, limit: limits.max_bytes });
    };
    if let Some(available) = available {
        if available < expected {
            return Err(short(&path, expected, available));
        }
    }
    let needed = expected.saturating_add(in_memory);
    if needed > limits.max_bytes {
        return Err(VolumeError::TooLarge { path, bytes: needed, limit: limits.max_bytes });
    }
    let expected = expected as usize;
    let known = if available.is_some() { expected } else { expected.min(FIRST_BYTES) };
    let mut bytes: Vec<u8> = Vec::new();
    let too_large = |path: &Path| VolumeError::TooLarge {
        path: path.to_path_buf(),
        bytes: needed,
        limit: limits.max_bytes,
    };
    bytes.try_reserve_exact(known).map_err(|_| too_large(&path))?;
    while bytes.len() < expected {
        let have = bytes.len();
        if have == bytes.capacity() {
            let more = have.min(expected - have);
            bytes.try_reserve_exact(more).map_err(|_| too_large(&path))?;
        }
        let room = (bytes.capacity() - have).min(expected - have) as u64;
        let got = std::io::Read::read_to_end(&mut std::io::Read::take(&mut voxels, room), &mut bytes)
            .map_err(|source| read_error(&path, source))?;
        if got == 0 {
            return Err(short(&path, expected as u64, have as u64));
        }
    }
    // What follows must still be a sound stream: the checksum at its end covers the voxels.
    if available.is_none() {
        std::io::copy(&mut voxels, &mut std::io::sink()).map_err(|source| read_error(&path, source))?;
    }
    Ok((header, bytes))
}

fn short(path: &Path, expected: u64, found: u64) -> VolumeError {
    let reason = format!("its header promises {expected} bytes of voxels, the file holds {found}");
    VolumeError::Format { path: path.to_path_buf(), reason }
}

/// Every stored value through `to`; the first voxel for which it gives nothing, otherwise.
fn convert<T: Voxel>(
    header: &Header,
    bytes: &[u8],
    to: impl Fn(Stored) -> Option<T> + Sync,
) -> Result<Vec<T>, usize> {
    macro_rules! decode {
        ($type:ty, $integer:expr) => {{
            let decode = |raw: &[u8]| {
                let raw = raw.try_into().expect("chunks have the size of the type");
                let value =
                    if header.big_endian { <$type>::from_be_bytes(raw) } else { <$type>::from_le_bytes(raw) };
                let integer: fn($type) -> Option<i128> = $integer;
                to(Stored { value: value as f64, integer: integer(value) })
            };
            convert_all(bytes, size_of::<$type>(), decode)
        }};
    }
    match header.info.data_type {
        DataType::U8 => decode!(u8, |v| Some(v.into())),
        DataType::I8 => decode!(i8, |v| Some(v.into())),
        DataType::U16 => decode!(u16, |v| Some(v.into())),
        DataType::I16 => decode!(i16, |v| Some(v.into())),
        DataType::U32 => decode!(u32, |v| Some(v.into())),
        DataType::I32 => decode!(i32, |v| Some(v.into())),
        DataType::U64 => decode!(u64, |v| Some(v.into())),
        DataType::I64 => decode!(i64, |v| Some(v.into())),
        DataType::F32 => decode!(f32, |_| None),
        DataType::F64 => decode!(f64, |_| None),
    }
}

fn convert_all<T: Voxel>(
    bytes: &[u8],
    width: usize,
    decode: impl Fn(&[u8]) -> Option<T> + Sync,
) -> Result<Vec<T>, usize> {
    let mut voxels = vec![T::default(); bytes.len() / width];
    let failed = voxels
        .par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(CHUNK * width))
        .enumerate()
        .filter_map(|(chunk, (voxels, bytes))| {
            for (i, (voxel, raw)) in voxels.iter_mut().zip(bytes.chunks_exact(width)).enumerate() {
                match decode(raw) {
                    Some(value) => *voxel = value,
                    None => return Some(chunk * CHUNK + i),
                }
            }
            None
        })
        .min();
    match failed {
        Some(at) => Err(at),
        None => Ok(voxels),
    }
}
