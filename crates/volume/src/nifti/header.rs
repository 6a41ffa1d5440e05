//! What a NIfTI-1 header says, checked before anything is believed.

use std::path::Path;

use ::nifti::NiftiHeader;
use ::nifti::header::{MAGIC_CODE_NI1, MAGIC_CODE_NIP1};

use super::geometry::{affine_of, qform_beside_sform};
use super::names::voxel_path;
use crate::file::{Part, Start, StoredImage};
use crate::{DataType, Grid, ImageFormat, ImageInfo, VolumeError};

/// Bytes of a NIfTI-1 header.
pub(super) const HEADER_BYTES: usize = 348;

/// First bytes of a NIfTI-2 header, whose layout is another.
const NIFTI_2_BYTES: i32 = 540;

/// The voxels begin before this byte: extensions of a gigabyte are a broken header.
const MAX_OFFSET: f32 = 1e9;

/// The NIfTI image whose header begins at `start`.
pub(crate) fn describe(start: &Start) -> Result<StoredImage, VolumeError> {
    let path = &start.path;
    let Some(bytes) = start.bytes.first_chunk::<HEADER_BYTES>() else {
        let reason =
            format!("it ends after {} bytes, a NIfTI-1 header has {HEADER_BYTES}", start.bytes.len());
        return Err(VolumeError::Format { path: path.clone(), reason });
    };
    let Header { info, big_endian, offset, separate } = Header::parse(bytes, path)?;
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
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) info: ImageInfo,
    /// Whether the values are stored most significant byte first.
    pub(super) big_endian: bool,
    /// Bytes from the start of the voxels' file to the voxels.
    pub(super) offset: u64,
    /// Whether the voxels lie in a file of their own.
    pub(super) separate: bool,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES], path: &Path) -> Result<Self, VolumeError> {
        let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
        let big_endian = is_big_endian(bytes).map_err(broken)?;
        let separate = match &[bytes[344], bytes[345], bytes[346], bytes[347]] {
            MAGIC_CODE_NI1 => true,
            MAGIC_CODE_NIP1 => false,
            found => {
                let (found, pair, single) =
                    (found.escape_ascii(), MAGIC_CODE_NI1.escape_ascii(), MAGIC_CODE_NIP1.escape_ascii());
                let reason = format!("it is not a NIfTI-1 file: magic {found}, expected {single} or {pair}");
                return Err(broken(reason));
            }
        };
        // The `nifti` crate guesses the byte order from the number of axes, and is right if that is sound.
        let axes = [bytes[40], bytes[41]];
        let axes = if big_endian { i16::from_be_bytes(axes) } else { i16::from_le_bytes(axes) };
        if !(1..=7).contains(&axes) {
            return Err(broken(format!("its header says {axes} axes, expected 1 to 7")));
        }
        let raw = NiftiHeader::from_reader(&bytes[..])
            .map_err(|error| broken(format!("its NIfTI-1 header cannot be read: {error}")))?;
        let size = size_of(&raw, path)?;
        let data_type = data_type_of(&raw).map_err(broken)?;
        let expected_bits = 8 * data_type.bytes();
        if raw.bitpix as usize != expected_bits {
            let found = raw.bitpix;
            return Err(broken(format!("{found} bits a voxel, expected {expected_bits} for {data_type:?}")));
        }
        let (affine, affine_source) = affine_of(&raw).map_err(|error| error.in_file(path))?;
        let grid = Grid::new(size, affine).map_err(|error| error.in_file(path))?;
        let least = if separate { 0 } else { HEADER_BYTES as u64 };
        let offset = raw.vox_offset;
        if !(0.0..MAX_OFFSET).contains(&offset) {
            return Err(broken(format!("the voxels begin at byte {offset}, expected {least} or later")));
        }
        // Some writers leave 0 in a single file: the voxels then follow the header.
        let offset = if offset == 0.0 && !separate { HEADER_BYTES as u64 + 4 } else { offset as u64 };
        if offset < least {
            return Err(broken(format!("the voxels begin at byte {offset}, within the header")));
        }
        let (slope, intercept) = (f64::from(raw.scl_slope), f64::from(raw.scl_inter));
        // A slope of 0 means "not scaled"; NaN and infinity are taken so too.
        let scaled = slope != 0.0 && slope.is_finite() && intercept.is_finite();
        let (slope, intercept) = if scaled { (slope, intercept) } else { (1.0, 0.0) };
        let format = if separate { ImageFormat::Nifti1Pair } else { ImageFormat::Nifti1 };
        let info = ImageInfo {
            slope,
            intercept,
            qform: qform_beside_sform(&raw),
            ..ImageInfo::new(format, grid, data_type, affine_source)
        };
        Ok(Self { info, big_endian, offset, separate })
    }
}
/// Byte order, from the first field, which holds the header's own size.
fn is_big_endian(bytes: &[u8; HEADER_BYTES]) -> Result<bool, String> {
    let first = [bytes[0], bytes[1], bytes[2], bytes[3]];
    let orders = [i32::from_le_bytes(first), i32::from_be_bytes(first)];
    if let Some(order) = orders.iter().position(|&size| size == HEADER_BYTES as i32) {
        return Ok(order == 1);
    }
    Err(if orders.contains(&NIFTI_2_BYTES) {
        "it is a NIfTI-2 file, expected NIfTI-1".to_string()
    } else {
        format!("it is not a NIfTI-1 file: header size {}, expected {HEADER_BYTES}", orders[0])
    })
}

/// Size along x, y, z; further axes must have one entry.
fn size_of(raw: &NiftiHeader, path: &Path) -> Result<[usize; 3], VolumeError> {
    let dim = raw.dim.map(|d| d as i16);
    let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
    let axes = &dim[1..=dim[0] as usize];
    if let Some(bad) = axes.iter().find(|&&n| n < 1) {
        return Err(broken(format!("an axis has {bad} entries, expected at least 1 (size {axes:?})")));
    }
    if axes.iter().skip(3).any(|&n| n != 1) {
        let size = axes.iter().map(|&n| n as usize).collect();
        return Err(VolumeError::NotThreeDimensional { path: path.to_path_buf(), size });
    }
    let mut size = [1; 3];
    for (size, &n) in size.iter_mut().zip(axes) {
        *size = n as usize;
    }
    Ok(size)
}

fn data_type_of(raw: &NiftiHeader) -> Result<DataType, String> {
    Ok(match raw.datatype {
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
