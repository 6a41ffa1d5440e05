//! A NIfTI header as bytes, least significant first.

use super::NiftiVersion;
use super::fields::{ONE, TWO, Writer};
use super::geometry::quaternion_of;
use crate::{DataType, Grid, Spacing, VolumeError};

/// Axes this close to right angles are told in the qform too, which cannot say more.
const MAX_QFORM_RESIDUAL: f64 = 1e-5;

/// `NIFTI_XFORM_SCANNER_ANAT`: the affine leads to the scanner's own millimetres.
const SCANNER_CODE: i64 = 1;

/// Millimetres and seconds.
const UNITS: u8 = 2 | 8;

/// Where NIfTI-1 still has the `regular` of Analyze files.
const REGULAR: usize = 38;

/// Longest axis of NIfTI-1, which counts in 16 bits with a sign.
const MAX_ENTRIES: usize = 32767;

/// The header of an image of type `data_type` on `grid`, in a file of its own if `separate`, else with the
/// four bytes behind it that say that there are no extensions. Values are stored as they are: slope 1,
/// intercept 0.
pub(super) fn encode(
    grid: &Grid,
    data_type: DataType,
    separate: bool,
    version: NiftiVersion,
) -> Result<Vec<u8>, VolumeError> {
    let is_long = grid.size().into_iter().any(|n| n > MAX_ENTRIES);
    let fields = match version {
        NiftiVersion::Two => &TWO,
        NiftiVersion::Fitting if is_long => &TWO,
        _ if is_long => return Err(VolumeError::InvalidSize { size: grid.size() }),
        _ => &ONE,
    };
    if fields.version == NiftiVersion::One {
        check_single_precision(grid)?;
    }
    let mut header = Writer::new(fields);
    let [nx, ny, nz] = grid.size().map(|n| n as i64);
    header.dims([3, nx, ny, nz, 1, 1, 1, 1]);
    header.integer(fields.datatype, 2, code_of(data_type));
    header.integer(fields.bitpix, 2, 8 * data_type.bytes() as i64);

    let affine = grid.affine();
    let spacing = affine.spacing().to_array();
    let qfac = if affine.determinant() < 0.0 { -1.0 } else { 1.0 };
    header.reals(fields.pixdim, [qfac, spacing[0], spacing[1], spacing[2]]);
    header.vox_offset(if separate { 0 } else { fields.bytes + 4 });
    header.reals(fields.scl_slope, [1.0, 0.0]);
    header.units(UNITS);

    if affine.orthogonality_residual() <= MAX_QFORM_RESIDUAL {
        let column = |k: usize| affine.column(k).map(|v| v / spacing[k]);
        let (x, y, z) = (column(0), column(1), column(2).map(|v| v * qfac));
        let rotation = [0, 1, 2].map(|r| [x[r], y[r], z[r]]);
        let [_, b, c, d] = quaternion_of(rotation);
        header.code(fields.qform_code, SCANNER_CODE);
        header.reals(fields.quatern, [b, c, d].into_iter().chain(affine.origin_mm()));
    }
    header.code(fields.qform_code + fields.code, SCANNER_CODE);
    header.reals(fields.srow, affine.to_rows().into_iter().take(3).flatten());
    header.put(fields.magic, fields.magics[usize::from(separate)]);
    if fields.version == NiftiVersion::One {
        header.put(REGULAR, b"r");
    }
    let mut bytes = header.bytes;
    if !separate {
        bytes.extend([0; 4]);
    }
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

fn code_of(data_type: DataType) -> i64 {
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
