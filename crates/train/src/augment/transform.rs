//! Where each voxel of a varied sample comes from: rotation, scaling, mirroring and an elastic deformation as
//! one field of coordinates.
//!
//! A voxel at offset o from the sample's centre c shows what lies at c + S⁻¹ Rᵀ S F (o + u) / s: the
//! displacement u of the deformation, mirroring F = diag(±1), the spacing S = diag(spacing), the rotation R and
//! the magnification s. Where slices are not to be mixed, R turns about the axis of their stack, along which s is 1:
//! then it is the same whether what is turned or what is not yet turned is divided by it.

use super::elastic::{Elastic, RowDisplacements};

/// A rotation about x, then y, then z, a magnification along each axis of the source, and the axes to mirror along.
#[derive(Clone, Debug)]
pub(super) struct Transform {
    pub(super) angles_degrees: [f64; 3],
    pub(super) scale: [f64; 3],
    pub(super) mirrored: [bool; 3],
    pub(super) elastic: Option<Elastic>,
}

/// Source coordinates of a row of voxels along (x, y, z).
#[derive(Default)]
pub(super) struct RowPlaces {
    pub(super) along: [Vec<f32>; 3],
    displacements: RowDisplacements,
}

impl Transform {
    /// The field for a sample of `size` voxels around `centre`, a place in the source in voxels.
    pub(super) fn field(&self, size: [usize; 3], centre: [f64; 3], spacing_mm: [f64; 3]) -> Field<'_> {
        Field { rows: self.source_rows(spacing_mm), size, centre, elastic: self.elastic.as_ref() }
    }

    /// Row `r` times an offset in the result gives the offset along axis `r` in the source.
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
        let sign = self.mirrored.map(|mirrored| if mirrored { -1.0 } else { 1.0 });
        [0, 1, 2].map(|r| {
            [0, 1, 2].map(|c| sign[c] * columns[r][c] * spacing_mm[c] / spacing_mm[r] / self.scale[r])
        })
    }
}

/// Source coordinates of every voxel of a sample.
pub(super) struct Field<'a> {
    rows: [[f64; 3]; 3],
    size: [usize; 3],
    centre: [f64; 3],
    elastic: Option<&'a Elastic>,
}

impl Field<'_> {
    /// Writes the source coordinates of row (y, z).
    pub(super) fn row(&self, y: usize, z: usize, places: &mut RowPlaces) {
        let middle = self.size.map(|n| (n - 1) as f64 / 2.0);
        let start = [-middle[0], y as f64 - middle[1], z as f64 - middle[2]];
        let RowPlaces { along, displacements } = places;
        for (a, along) in along.iter_mut().enumerate() {
            let row = self.rows[a];
            let first = self.centre[a] + row[0] * start[0] + row[1] * start[1] + row[2] * start[2];
            along.clear();
            along.extend((0..self.size[0]).map(|x| (first + row[0] * x as f64) as f32));
        }
        let Some(elastic) = self.elastic else { return };
        elastic.row(y, z, displacements);
        let [u, v, w] = &displacements.along;
        for (a, along) in along.iter_mut().enumerate() {
            let row = self.rows[a].map(|v| v as f32);
            for (((place, &u), &v), &w) in along.iter_mut().zip(u).zip(v).zip(w) {
                *place += row[0] * u + row[1] * v + row[2] * w;
            }
        }
    }
}
