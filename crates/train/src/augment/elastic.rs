//! Elastic deformation: displacements of a coarse lattice, between them a cubic B-spline.
//!
//! u(x) = Σ_k β³(x/h − k) d_k along each axis, with the B-spline β³ and control points h apart, each moved by a
//! d_k drawn uniformly from ±d along each axis [Rueckert 1999]. It is smooth as a Gaussian field of σ = h / √3 is
//! (the variance of β³ is 1/3), the kind that batchgenerators makes by filtering noise in full size; this costs
//! some twenty operations a voxel whatever h is. While d < 0.403 h it never folds [Choi 2000].

use rand::{Rng, RngExt};

/// Largest displacement of a control point, as a share of the distance between control points, at which a
/// deformation in three dimensions cannot fold: 1 / 2.4795 [Choi 2000].
pub(super) const MOST_WITHOUT_FOLDING: f64 = 0.403;

/// The deformation of one sample.
#[derive(Clone, Debug)]
pub(super) struct Elastic {
    /// Voxels between control points along each axis.
    distance: [f64; 3],
    /// Control points along each axis: one before the sample, two behind its last whole interval.
    points: [usize; 3],
    /// For each voxel along x, which control points move it and how much.
    along_x: Vec<(usize, [f32; 4])>,
    /// Displacement (x, y, z) of each control point in voxels of the sample, x fastest.
    moves: Vec<[f32; 3]>,
}

/// Displacements of a row of voxels, and room to work in.
#[derive(Default)]
pub(super) struct RowDisplacements {
    pub(super) along: [Vec<f32>; 3],
    line: Vec<[f32; 3]>,
}

impl Elastic {
    /// Draws a deformation of a sample of `size` voxels, `spacing_mm` apart. `distance` and `most` count in voxels
    /// of the finest axis, so that the deformation is as wide and as strong along all axes in millimetres.
    pub(super) fn draw<R: Rng + ?Sized>(
        size: [usize; 3],
        spacing_mm: [f64; 3],
        distance: f64,
        most: f64,
        rng: &mut R,
    ) -> Self {
        let finest = spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
        let to_voxels = spacing_mm.map(|spacing| finest / spacing);
        let distance = to_voxels.map(|share| distance * share);
        let points = [0, 1, 2].map(|a| ((size[a] - 1) as f64 / distance[a]) as usize + 4);
        let most = to_voxels.map(|share| (most * share) as f32);
        let count = points.iter().product();
        let moves = (0..count).map(|_| most.map(|most| rng.random_range(-most..=most))).collect();
        let along_x = (0..size[0]).map(|x| weights(x, distance[0])).collect();
        Self { distance, points, along_x, moves }
    }

    /// The same without displacements along `axis`.
    pub(super) fn still_along(mut self, axis: usize) -> Self {
        self.moves.iter_mut().for_each(|moved| moved[axis] = 0.0);
        self
    }

    /// Writes the displacements of row (y, z).
    pub(super) fn row(&self, y: usize, z: usize, row: &mut RowDisplacements) {
        let RowDisplacements { along, line } = row;
        let [nx, ny, _] = self.points;
        let (first_y, weights_y) = weights(y, self.distance[1]);
        let (first_z, weights_z) = weights(z, self.distance[2]);
        line.clear();
        line.resize(nx, [0.0; 3]);
        for (k, weight_z) in weights_z.into_iter().enumerate() {
            for (j, weight_y) in weights_y.into_iter().enumerate() {
                let start = nx * (first_y + j + ny * (first_z + k));
                for (sum, moved) in line.iter_mut().zip(&self.moves[start..start + nx]) {
                    (0..3).for_each(|a| sum[a] += weight_y * weight_z * moved[a]);
                }
            }
        }
        along.iter_mut().for_each(Vec::clear);
        for (first, weights) in &self.along_x {
            let near = &line[*first..first + 4];
            for (a, along) in along.iter_mut().enumerate() {
                along.push((0..4).map(|i| weights[i] * near[i][a]).sum());
            }
        }
    }
}

/// The first of the four control points that move voxel `i` along an axis on which they are `distance` apart, and
/// their weights.
fn weights(i: usize, distance: f64) -> (usize, [f32; 4]) {
    let place = i as f64 / distance;
    let first = place as usize;
    let t = (place - first as f64) as f32;
    let s = 1.0 - t;
    let near = |t: f32| (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0;
    (first, [s * s * s / 6.0, near(t), near(s), t * t * t / 6.0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    /// Displacements of all voxels.
    fn displacements(elastic: &Elastic, size: [usize; 3]) -> Vec<[f32; 3]> {
        let mut row = RowDisplacements::default();
        let mut all = Vec::new();
        for (z, y) in (0..size[2]).flat_map(|z| (0..size[1]).map(move |y| (z, y))) {
            elastic.row(y, z, &mut row);
            all.extend((0..size[0]).map(|x| [0, 1, 2].map(|a| row.along[a][x])));
        }
        all
    }

    #[test]
    fn control_points_that_move_alike_move_everything_alike() {
        let size = [9, 7, 5];
        let mut elastic = Elastic::draw(size, [1.0; 3], 4.0, 1.0, &mut sample_rng(0, 0, 0));
        elastic.moves.fill([0.5, -1.0, 2.0]);
        for found in displacements(&elastic, size) {
            assert!(found.iter().zip([0.5, -1.0, 2.0]).all(|(u, v)| (u - v).abs() < 1e-5), "{found:?}");
        }
    }

    #[test]
    fn no_voxel_moves_farther_than_the_control_points_and_axes_move_alike_in_millimetres() {
        let (size, spacing) = ([24, 20, 8], [1.0, 1.0, 4.0]);
        let elastic = Elastic::draw(size, spacing, 8.0, 3.0, &mut sample_rng(1, 0, 0));
        let found = displacements(&elastic, size);
        let largest = [0, 1, 2].map(|a| found.iter().map(|u| u[a].abs()).fold(0.0, f32::max));
        assert!(largest.iter().zip([3.0, 3.0, 0.75]).all(|(u, most)| *u <= most && *u > most / 10.0));
    }

    /// x → x + u(x) keeps its orientation everywhere: the determinant of I + ∇u, by central differences, is
    /// positive at the largest displacement that is allowed.
    #[test]
    fn a_deformation_of_the_largest_displacement_allowed_never_folds() {
        let size = [20, 18, 16];
        for index in 0..20 {
            let distance = 5.0;
            let most = MOST_WITHOUT_FOLDING * distance;
            let mut elastic = Elastic::draw(size, [1.0; 3], distance, most, &mut sample_rng(2, 0, index));
            // The corners of what may be drawn are the worst of it.
            elastic.moves.iter_mut().flatten().for_each(|v| *v = (most as f32).copysign(*v));
            let field = displacements(&elastic, size);
            let at = |[x, y, z]: [usize; 3]| field[x + size[0] * (y + size[1] * z)];
            for (z, y, x) in (1..15).flat_map(|z| (1..17).flat_map(move |y| (1..19).map(move |x| (z, y, x))))
            {
                let column = |b: usize| {
                    let (mut low, mut high) = ([x, y, z], [x, y, z]);
                    (low[b], high[b]) = (low[b] - 1, high[b] + 1);
                    let (low, high) = (at(low), at(high));
                    [0, 1, 2].map(|a| f32::from(u8::from(a == b)) + (high[a] - low[a]) / 2.0)
                };
                let [p, q, r] = [column(0), column(1), column(2)];
                let determinant = p[0] * (q[1] * r[2] - q[2] * r[1]) - q[0] * (p[1] * r[2] - p[2] * r[1])
                    + r[0] * (p[1] * q[2] - p[2] * q[1]);
                assert!(determinant > 0.0, "{determinant} at {x}, {y}, {z}");
            }
        }
    }
}
