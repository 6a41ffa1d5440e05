//! The voxel-to-world affine of a NIfTI header: sform, else qform, else spacing alone.

use super::NiftiVersion;
use super::fields::Reader;
use crate::{Affine, Spacing, VolumeError};

/// Below this, 1 − (b² + c² + d²) is the rounding of b, c, d and not an angle; as in the reference
/// implementation, `nifti_quatern_to_mat44` of nifti1_io, in single precision, and of nifti2_io, in double.
fn half_turn(version: NiftiVersion) -> f64 {
    if version == NiftiVersion::Two { 1e-15 } else { 1e-7 }
}

/// The affine in RAS+ millimetres and which part of the header it is from.
///
/// The sform counts if its code is positive, else the qform if its code is, else the voxels lie along
/// the world's axes with voxel (0, 0, 0) at the origin. The sform needs no spacing beside it. Lengths in metres or micrometres become
/// millimetres; without a unit they are taken to be millimetres.
pub(super) fn affine_of(raw: &Reader<'_>) -> Result<(Affine, &'static str), VolumeError> {
    let fields = raw.fields;
    let scale = millimetres_in_a_unit(raw);
    if raw.code(fields.qform_code + fields.code) > 0 {
        let sform: [f64; 12] = raw.reals(fields.srow);
        let row = |r: usize| [0, 1, 2, 3].map(|k| sform[4 * r + k] * scale);
        let rows = [row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]];
        return Ok((Affine::new(rows)?, "sform"));
    }
    let spacing = spacing_of(raw, scale)?;
    if raw.code(fields.qform_code) > 0 {
        return Ok((qform(raw, spacing, scale)?, "qform"));
    }
    Ok((Affine::from_spacing(spacing, [0.0; 3]), "pixdim"))
}

/// The affine of the qform if there is one that does not count, since there is a sform too. One that makes no
/// sense is as good as none.
pub(super) fn qform_beside_sform(raw: &Reader<'_>) -> Option<Affine> {
    let scale = millimetres_in_a_unit(raw);
    let code = raw.fields.qform_code;
    let both = raw.code(code) > 0 && raw.code(code + raw.fields.code) > 0;
    both.then(|| qform(raw, spacing_of(raw, scale)?, scale)).and_then(Result::ok)
}

fn millimetres_in_a_unit(raw: &Reader<'_>) -> f64 {
    match raw.units() & 0o7 {
        1 => 1e3,
        3 => 1e-3,
        _ => 1.0,
    }
}

fn spacing_of(raw: &Reader<'_>, scale: f64) -> Result<Spacing, VolumeError> {
    let axes = raw.dim(0).clamp(0, 3) as usize;
    let pixdim: [f64; 4] = raw.reals(raw.fields.pixdim);
    let pixdim = [0, 1, 2].map(|axis| {
        let value = pixdim[axis + 1];
        // An axis that the image does not have needs no spacing.
        let used = axis < axes || (value > 0.0 && value.is_finite());
        if used { value } else { 1.0 }
    });
    Spacing::new(pixdim.map(|v| v * scale))
}

/// Rotation by the quaternion (a, b, c, d), spacing, and the sign qfac = pixdim[0] along the third axis;
/// "method 2" of nifti1.h.
fn qform(raw: &Reader<'_>, spacing: Spacing, scale: f64) -> Result<Affine, VolumeError> {
    let [mut b, mut c, mut d, x, y, z] = raw.reals(raw.fields.quatern);
    let squared = b * b + c * c + d * d;
    let mut a = 0.0;
    if 1.0 - squared >= half_turn(raw.fields.version) {
        a = (1.0 - squared).sqrt();
    } else {
        // A half turn, or rounding has pushed the vector part just past one.
        let length = squared.sqrt();
        (b, c, d) = (b / length, c / length, d / length);
    }
    let rotation = rotation_of([a, b, c, d]);
    let [qfac] = raw.reals(raw.fields.pixdim);
    let qfac = if qfac < 0.0 { -1.0 } else { 1.0 };
    let [sx, sy, sz] = spacing.to_array();
    let steps = [sx, sy, sz * qfac];
    let origin = [x, y, z].map(|v| v * scale);
    let mut rows = [[0.0; 4], [0.0; 4], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
    for r in 0..3 {
        for k in 0..3 {
            rows[r][k] = rotation[r][k] * steps[k];
        }
        rows[r][3] = origin[r];
    }
    Affine::new(rows)
}

/// Rotation matrix of a unit quaternion.
pub(super) fn rotation_of([a, b, c, d]: [f64; 4]) -> [[f64; 3]; 3] {
    [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - c * c - b * b],
    ]
}

/// Unit quaternion with a ≥ 0 of a rotation matrix: the largest of its four parts is computed from the
/// diagonal and the others from it, which loses no digits.
pub(super) fn quaternion_of(r: [[f64; 3]; 3]) -> [f64; 4] {
    let squares = [
        1.0 + r[0][0] + r[1][1] + r[2][2],
        1.0 + r[0][0] - r[1][1] - r[2][2],
        1.0 - r[0][0] + r[1][1] - r[2][2],
        1.0 - r[0][0] - r[1][1] + r[2][2],
    ];
    let largest = (0..4).max_by(|&i, &j| squares[i].total_cmp(&squares[j])).expect("there are four");
    let twice = squares[largest].sqrt();
    let (xy, xz, yz) = (r[1][0] + r[0][1], r[2][0] + r[0][2], r[2][1] + r[1][2]);
    let (ax, ay, az) = (r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]);
    let quadruples = match largest {
        0 => [twice * twice, ax, ay, az],
        1 => [ax, twice * twice, xy, xz],
        2 => [ay, xy, twice * twice, yz],
        _ => [az, xz, yz, twice * twice],
    };
    let q = quadruples.map(|v| v / (2.0 * twice));
    if q[0] < 0.0 { q.map(|v| -v) } else { q }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_rotation_survives_its_quaternion(v in prop::array::uniform4(-1.0f64..1.0)) {
            let length = v.iter().map(|x| x * x).sum::<f64>().sqrt();
            prop_assume!(length > 0.1);
            let r = rotation_of(v.map(|x| x / length));
            let back = rotation_of(quaternion_of(r));
            for (a, b) in r.iter().flatten().zip(back.iter().flatten()) {
                prop_assert!((a - b).abs() < 1e-12);
            }
        }
    }
}
