//! A NIfTI-1 header as 348 bytes, least significant byte first.

use super::geometry::quaternion_of;
use super::header::HEADER_BYTES;
use crate::{DataType, Grid, Spacing, VolumeError};

/// Axes this close to right angles are told in the qform too, which cannot say more.
const MAX_QFORM_RESIDUAL: f64 = 1e-5;

/// `NIFTI_XFORM_SCANNER_ANAT`: the affine leads to the scanner's own millimetres.
const SCANNER_CODE: i16 = 1;

/// Millimetres and seconds.
const UNITS: u8 = 2 | 8;

/// The header of an image of type `data_type` on `grid`; `separate` if the voxels lie in a file of their
/// own. Values are stored as they are: slope 1, intercept 0.
pub(super) fn encode(
    grid: &Grid,
    data_type: DataType,
    separate: bool,
) -> Result<[u8; HEADER_BYTES], VolumeError> {
    let mut size = [0i16; 3];
    for (size, n) in size.iter_mut().zip(grid.size()) {
        // Each axis of NIfTI-1 is counted in 16 bits with a sign.
        *size = i16::try_from(n).map_err(|_| VolumeError::InvalidSize { size: grid.size() })?;
    }
    let mut bytes = [0u8; HEADER_BYTES];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, &(HEADER_BYTES as i32).to_le_bytes());
    put(38, b"r");
    let dim = [3, size[0], size[1], size[2], 1, 1, 1, 1];
    for (i, n) in dim.into_iter().enumerate() {
        put(40 + 2 * i, &n.to_le_bytes());
    }
    put(70, &code_of(data_type).to_le_bytes());
    put(72, &(8 * data_type.bytes() as i16).to_le_bytes());

    let affine = grid.affine();
    let spacing = affine.spacing().to_array();
    let qfac = if affine.determinant() < 0.0 { -1.0 } else { 1.0 };
    check_single_precision(grid)?;
    let pixdim = [qfac, spacing[0], spacing[1], spacing[2], 0.0, 0.0, 0.0, 0.0];
    for (i, length) in pixdim.into_iter().enumerate() {
        put(76 + 4 * i, &(length as f32).to_le_bytes());
    }
    let offset: f32 = if separate { 0.0 } else { (HEADER_BYTES + 4) as f32 };
    put(108, &offset.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(123, &[UNITS]);

    if affine.orthogonality_residual() <= MAX_QFORM_RESIDUAL {
        let column = |k: usize| affine.column(k).map(|v| v / spacing[k]);
        let (x, y, z) = (column(0), column(1), column(2).map(|v| v * qfac));
        let rotation = [0, 1, 2].map(|r| [x[r], y[r], z[r]]);
        let [_, b, c, d] = quaternion_of(rotation);
        put(252, &SCANNER_CODE.to_le_bytes());
        for (i, value) in [b, c, d].into_iter().chain(affine.origin_mm()).enumerate() {
            put(256 + 4 * i, &(value as f32).to_le_bytes());
        }
    }
    put(254, &SCANNER_CODE.to_le_bytes());
    for (i, value) in affine.to_rows()[..3].iter().flatten().enumerate() {
        put(280 + 4 * i, &(*value as f32).to_le_bytes());
    }
    put(344, if separate { b"ni1\0" } else { b"n+1\0" });
    Ok(bytes)
}

/// Refuses an affine that would not be read back: too large for single precision, or so small that it
/// rounds to zero there.
fn check_single_precision(grid: &Grid) -> Result<(), VolumeError> {
    let affine = grid.affine();
    let numbers = affine.to_rows().into_iter().flatten();
    if let Some(value) = numbers.into_iter().find(|&v| !(v as f32).is_finite()) {
        let reason = format!("it holds {value:e}, a NIfTI-1 header at most {:e}", f32::MAX);
        return Err(VolumeError::InvalidAffine { reason });
    }
    Spacing::new(affine.spacing().to_array().map(|length| f64::from(length as f32))).map(drop)
}

fn code_of(data_type: DataType) -> i16 {
    match data_type {
        DataType::U8 => 2,
        DataType::I16 => 4,
        DataType::I32 => 8,
        DataType::F32 => 16,
        DataType::F64 => 64,
        DataType::I8 => 256,
        DataType::U16 => 512,
        DataType::U32 => 768,
        DataType::I64 => 1024,
        DataType::U64 => 1280,
    }
}
