//! What a NIfTI header says, checked before anything is believed.

use std::path::Path;

use super::NiftiVersion;
use super::fields::{Fields, ONE, Reader, TWO};
use super::geometry::{affine_of, qform_beside_sform};
use super::names::voxel_path;
use crate::file::{Part, Start, StoredImage, scaling};
use crate::{DataType, Grid, ImageFormat, ImageInfo, VolumeError};

/// The voxels begin before this byte: extensions of a gigabyte are a broken header.
const MAX_OFFSET: f64 = 1e9;

/// The NIfTI image whose header begins at `start`.
pub(crate) fn describe(start: &Start) -> Result<StoredImage, VolumeError> {
    let path = &start.path;
    let Header { info, big_endian, offset, separate } = Header::parse(&start.bytes, path)?;
    let (path, compression) = if separate {
        let voxels = voxel_path(path)?;
        let compression = Start::of(&voxels)?.compression;
        (voxels, compression)
    } else {
        (path.clone(), start.compression)
    };
    let parts = vec![Part { path, begins: 0, skip: offset }];
    Ok(StoredImage { info, big_endian, compression, is_text: false, parts })
}

/// A header whose claims are consistent with each other.
struct Header {
    info: ImageInfo,
    /// Whether the values are stored most significant byte first.
    big_endian: bool,
    /// Bytes from the start of the voxels' file to the voxels.
    offset: u64,
    /// Whether the voxels lie in a file of their own.
    separate: bool,
}

impl Header {
    fn parse(bytes: &[u8], path: &Path) -> Result<Self, VolumeError> {
        let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
        if bytes.len() < ONE.bytes {
            let found = bytes.len();
            return Err(broken(format!("it ends after {found} bytes, a NIfTI-1 header has {}", ONE.bytes)));
        }
        let (fields, big_endian) = version_of(bytes).map_err(broken)?;
        let name = if fields.version == NiftiVersion::Two { "NIfTI-2" } else { "NIfTI-1" };
        let Some(bytes) = bytes.get(..fields.bytes) else {
            let found = bytes.len();
            return Err(broken(format!("it ends after {found} bytes, a {name} header has {}", fields.bytes)));
        };
        let raw = Reader { fields, bytes, big_endian };
        let magic = &bytes[fields.magic..fields.magic + fields.magics[0].len()];
        let Some(kind) = fields.magics.iter().position(|&expected| expected == magic) else {
            let [found, single, pair] = [magic, fields.magics[0], fields.magics[1]].map(<[u8]>::escape_ascii);
            return Err(broken(format!(
                "it is not a {name} file: magic {found}, expected {single} or {pair}"
            )));
        };
        let separate = kind == 1;
        let size = size_of(&raw, path)?;
        let data_type = data_type_of(raw.integer(fields.datatype, 2)).map_err(broken)?;
        let (bits, expected_bits) = (raw.integer(fields.bitpix, 2), 8 * data_type.bytes() as i64);
        if bits != expected_bits {
            return Err(broken(format!("{bits} bits a voxel, expected {expected_bits} for {data_type:?}")));
        }
        let (affine, affine_source) = affine_of(&raw).map_err(|error| error.in_file(path))?;
        let grid = Grid::new(size, affine).map_err(|error| error.in_file(path))?;
        let least = if separate { 0 } else { fields.bytes as u64 };
        let offset = raw.vox_offset();
        if !(0.0..MAX_OFFSET).contains(&offset) {
            return Err(broken(format!("the voxels begin at byte {offset}, expected {least} or later")));
        }
        // Some writers leave 0 in a single file: the voxels then follow the header.
        let offset = if offset == 0.0 && !separate { least + 4 } else { offset as u64 };
        if offset < least {
            return Err(broken(format!("the voxels begin at byte {offset}, within the header")));
        }
        let [slope, intercept] = raw.reals(fields.scl_slope);
        let (slope, intercept) = scaling(slope, intercept);
        let format = match (fields.version, separate) {
            (NiftiVersion::Two, false) => ImageFormat::Nifti2,
            (NiftiVersion::Two, true) => ImageFormat::Nifti2Pair,
            (_, false) => ImageFormat::Nifti1,
            (_, true) => ImageFormat::Nifti1Pair,
        };
        let info = ImageInfo {
            slope,
            intercept,
            qform: qform_beside_sform(&raw),
            ..ImageInfo::new(format, grid, data_type, affine_source)
        };
        Ok(Self { info, big_endian, offset, separate })
    }
}

/// Version and byte order, from the first field, which holds the header's own size.
fn version_of(bytes: &[u8]) -> Result<(&'static Fields, bool), String> {
    let first = bytes.first_chunk().copied().unwrap_or_default();
    let orders = [i32::from_le_bytes(first), i32::from_be_bytes(first)];
    for fields in [&ONE, &TWO] {
        if let Some(order) = orders.iter().position(|&size| size == fields.bytes as i32) {
            return Ok((fields, order == 1));
        }
    }
    let (one, two) = (ONE.bytes, TWO.bytes);
    Err(format!("it is not a NIfTI-1 file: header size {}, expected {one}, or {two} for NIfTI-2", orders[0]))
}

/// Size along x, y, z; further axes must have one entry.
fn size_of(raw: &Reader<'_>, path: &Path) -> Result<[usize; 3], VolumeError> {
    let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
    let count = raw.dim(0);
    if !(1..=7).contains(&count) {
        return Err(broken(format!("its header says {count} axes, expected 1 to 7")));
    }
    let axes: Vec<i64> = (1..=count as usize).map(|i| raw.dim(i)).collect();
    if let Some(bad) = axes.iter().find(|&&n| n < 1) {
        return Err(broken(format!("an axis has {bad} entries, expected at least 1 (size {axes:?})")));
    }
    if axes.iter().skip(3).any(|&n| n != 1) {
        let size = axes.iter().map(|&n| n as usize).collect();
        return Err(VolumeError::NotThreeDimensional { path: path.to_path_buf(), size });
    }
    let mut size = [1; 3];
    for (size, &n) in size.iter_mut().zip(&axes) {
        *size =
            usize::try_from(n).map_err(|_| broken(format!("an axis has {n} entries, too many to count")))?;
    }
    Ok(size)
}

fn data_type_of(code: i64) -> Result<DataType, String> {
    Ok(match code {
        2 => DataType::U8,
        4 => DataType::I16,
        8 => DataType::I32,
        16 => DataType::F32,
        64 => DataType::F64,
        256 => DataType::I8,
        512 => DataType::U16,
        768 => DataType::U32,
        1024 => DataType::I64,
        1280 => DataType::U64,
        other => {
            let name = match other {
                1 => " (bits)",
                32 | 1792 | 2048 => " (complex)",
                128 | 2304 => " (colour)",
                1536 => " (128-bit float)",
                _ => "",
            };
            return Err(format!(
                "voxels of NIfTI type {other}{name}, expected integers or floats of 8 to 64 bits"
            ));
        }
    })
}
