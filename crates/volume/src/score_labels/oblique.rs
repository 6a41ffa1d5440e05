//! Labels through any affine map, voxel by voxel: every class interpolated everywhere.

use rayon::prelude::*;

use crate::Affine;

/// Writes, for each voxel of a target of `size`, the class of the highest score at `map` of its index.
pub(super) fn label(scores: &[f32], coarse: [usize; 3], map: &Affine, size: [usize; 3], labels: &mut [u8]) {
    let strides = [1, coarse[0], coarse[0] * coarse[1]];
    let voxels: usize = coarse.iter().product();
    labels.par_chunks_mut(size[0]).enumerate().for_each(|(row, line)| {
        let (y, z) = (row % size[1], row / size[1]);
        for (x, label) in line.iter_mut().enumerate() {
            let at = map.apply([x as f64, y as f64, z as f64]);
            let mut corners = [0; 8];
            let mut weights = [1.0f32; 8];
            for a in 0..3 {
                let at = at[a].clamp(0.0, (coarse[a] - 1) as f64);
                let low = (at as usize).min(coarse[a].saturating_sub(2));
                let share = (at - low as f64) as f32;
                for (corner, (place, weight)) in corners.iter_mut().zip(&mut weights).enumerate() {
                    let high = corner >> a & 1;
                    *place += strides[a] * (low + high).min(coarse[a] - 1);
                    *weight *= if high == 1 { share } else { 1.0 - share };
                }
            }
            let mut best = f32::NEG_INFINITY;
            for (class, scores) in scores.chunks(voxels).enumerate() {
                let score: f32 = corners.iter().zip(&weights).map(|(&c, &w)| w * scores[c]).sum();
                if score > best {
                    (best, *label) = (score, class as u8);
                }
            }
        }
    });
}
