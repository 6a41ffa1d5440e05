//! Rotating and scaling a sample around its centre.
//!
//! For each voxel p of the result, the source lies at c + S⁻¹ Rᵀ S (p − c) / s, with the centre c,
//! the spacing S = diag(spacing) and the magnification s. The image is interpolated linearly, labels
//! take the nearest voxel; beyond the border both repeat the outermost voxel, so that an organ that
//! touches the border stays whole in both.

use crate::Sample;

/// A rotation about x, then y, then z, and a magnification.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transform {
    pub(crate) angles_degrees: [f64; 3],
    pub(crate) scale: f64,
}

impl Transform {
    /// Row `r` times a voxel offset of the result gives the offset along axis `r` in the source.
    fn source_rows(&self, spacing_mm: [f64; 3]) -> [[f64; 3]; 3] {
        // Columns of the rotation matrix: where each axis goes.
        let mut columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        for (axis, angle) in self.angles_degrees.into_iter().enumerate() {
            let (sin, cos) = angle.to_radians().sin_cos();
            // A turn in the plane of the two axes that follow.
            let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
            for column in &mut columns {
                let (u, v) = (column[a], column[b]);
                column[a] = cos * u - sin * v;
                column[b] = sin * u + cos * v;
            }
        }
        // The transpose of a rotation is its inverse: from the result back to the source.
        [0, 1, 2].map(|r| [0, 1, 2].map(|c| columns[r][c] * spacing_mm[c] / spacing_mm[r] / self.scale))
    }
}

/// `sample` rotated and scaled; its size stays.
pub(crate) fn resample_sample(sample: &Sample, spacing_mm: [f64; 3], transform: &Transform) -> Sample {
    let rows = transform.source_rows(spacing_mm);
    let size = sample.size;
    let [nx, ny, nz] = size;
    let centre = size.map(|n| (n - 1) as f64 / 2.0);
    let mut image = Vec::with_capacity(sample.image.len());
    let mut labels = Vec::with_capacity(sample.labels.len());
    for z in 0..nz {
        for y in 0..ny {
            for x in 0..nx {
                let offset = [x as f64 - centre[0], y as f64 - centre[1], z as f64 - centre[2]];
                let place = [0, 1, 2].map(|a| {
                    let moved = rows[a][0] * offset[0] + rows[a][1] * offset[1] + rows[a][2] * offset[2];
                    (centre[a] + moved).clamp(0.0, (size[a] - 1) as f64)
                });
                image.push(linear(&sample.image, size, place));
                let [i, j, k] = place.map(|v| v.round() as usize);
                labels.push(sample.labels[i + nx * (j + ny * k)]);
            }
        }
    }
    Sample { image, labels, size }
}

/// Linear interpolation at `place`, which lies between the first and the last voxel along each axis.
fn linear(image: &[f32], size: [usize; 3], place: [f64; 3]) -> f32 {
    let low = place.map(|v| v as usize);
    let high = [0, 1, 2].map(|a| (low[a] + 1).min(size[a] - 1));
    let part = [0, 1, 2].map(|a| (place[a] - low[a] as f64) as f32);
    let row = |y: usize, z: usize| {
        let start = size[0] * (y + size[1] * z);
        let (a, b) = (image[start + low[0]], image[start + high[0]]);
        a + part[0] * (b - a)
    };
    let plane = |z: usize| {
        let (a, b) = (row(low[1], z), row(high[1], z));
        a + part[1] * (b - a)
    };
    let (a, b) = (plane(low[2]), plane(high[2]));
    a + part[2] * (b - a)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: [f64; 3] = [1.0; 3];

    /// A ramp that is linear in all three axes, with labels in the upper half of x.
    fn ramp(size: [usize; 3]) -> Sample {
        let [nx, ny, nz] = size;
        let mut image = Vec::new();
        let mut labels = Vec::new();
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    image.push((x + 10 * y + 100 * z) as f32);
                    labels.push(u8::from(2 * x >= nx));
                }
            }
        }
        Sample { image, labels, size }
    }

    #[test]
    fn no_rotation_and_no_scaling_change_nothing() {
        let sample = ramp([5, 4, 6]);
        let identity = Transform { angles_degrees: [0.0; 3], scale: 1.0 };
        assert_eq!(resample_sample(&sample, UNIT, &identity), sample);
    }

    #[test]
    fn a_quarter_turn_about_z_moves_x_to_y() {
        let sample = ramp([5, 5, 2]);
        let turn = Transform { angles_degrees: [0.0, 0.0, 90.0], scale: 1.0 };
        let turned = resample_sample(&sample, UNIT, &turn);
        for z in 0..2 {
            for y in 0..5 {
                for x in 0..5 {
                    // (x, y) of the source comes to (−y, x) around the centre.
                    let expected = sample.image[y + 5 * ((4 - x) + 5 * z)];
                    let found = turned.image[x + 5 * (y + 5 * z)];
                    assert!((found - expected).abs() < 1e-4, "{x} {y}: {found}, expected {expected}");
                }
            }
        }
    }

    #[test]
    fn magnification_spreads_from_the_centre() {
        let sample = ramp([9, 9, 9]);
        let double = Transform { angles_degrees: [0.0; 3], scale: 2.0 };
        let result = resample_sample(&sample, UNIT, &double);
        // Two voxels from the centre shows what was one voxel from it.
        let at = |s: &Sample, [x, y, z]: [usize; 3]| s.image[x + 9 * (y + 9 * z)];
        assert!((at(&result, [6, 2, 4]) - at(&sample, [5, 3, 4])).abs() < 1e-4);
        assert!((at(&result, [4, 4, 4]) - at(&sample, [4, 4, 4])).abs() < 1e-4);
    }

    #[test]
    fn rotation_is_rigid_in_millimetres() {
        // Slices twice as far apart: a quarter turn about x takes two voxels along y to one along z.
        let spacing = [1.0, 1.0, 2.0];
        let turn = Transform { angles_degrees: [90.0, 0.0, 0.0], scale: 1.0 };
        let sample = ramp([1, 9, 5]);
        let turned = resample_sample(&sample, spacing, &turn);
        let at = |s: &Sample, y: usize, z: usize| s.image[y + 9 * z];
        assert!((at(&turned, 4, 3) - at(&sample, 6, 2)).abs() < 1e-3);
    }

    #[test]
    fn labels_follow_the_image() {
        let sample = ramp([12, 12, 4]);
        let turn = Transform { angles_degrees: [0.0, 0.0, 180.0], scale: 1.0 };
        let turned = resample_sample(&sample, UNIT, &turn);
        for (index, &label) in turned.labels.iter().enumerate() {
            assert_eq!(label, u8::from(index % 12 < 6));
        }
    }

    #[test]
    fn a_single_voxel_survives() {
        let sample = Sample { image: vec![3.0], labels: vec![2], size: [1; 3] };
        let turn = Transform { angles_degrees: [20.0, 30.0, 40.0], scale: 0.7 };
        assert_eq!(resample_sample(&sample, UNIT, &turn), sample);
    }
}
