//! Resampling through any affine map, voxel by voxel.

use rayon::prelude::*;

use super::Interpolation;
use super::kernel::{Real, tap_count, taps};
use super::prefilter::to_coefficients;
use crate::{Affine, Volume, Voxel};

/// Voxels of `volume` at `map` of each index of a grid of `size`.
pub(super) fn resample<R: Real, T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    map: &Affine,
    interpolation: Interpolation,
    fill: T,
) -> Vec<T> {
    let old = volume.size();
    let count = tap_count(interpolation);
    let mut data: Vec<R> = volume.voxels().par_iter().map(|v| R::of(v.to_f64())).collect();
    if interpolation == Interpolation::Cubic {
        to_coefficients(&mut data, old);
    }
    let mut voxels = vec![fill; size.iter().product()];
    voxels.par_chunks_mut(size[0] * size[1]).enumerate().for_each(|(z, plane)| {
        for (i, voxel) in plane.iter_mut().enumerate() {
            let at = map.apply([(i % size[0]) as f64, (i / size[0]) as f64, z as f64]);
            let taps = [0, 1, 2].map(|a| taps::<R>(at[a], old[a], interpolation));
            let [Some(x), Some(y), Some(z)] = taps else { continue };
            if interpolation == Interpolation::Nearest {
                *voxel = volume.voxels()[x.index[0] + old[0] * (y.index[0] + old[1] * z.index[0])];
                continue;
            }
            let mut sum = R::of(0.0);
            for c in 0..count {
                for b in 0..count {
                    let row = &data[old[0] * (y.index[b] + old[1] * z.index[c])..][..old[0]];
                    let mut line = R::of(0.0);
                    for a in 0..count {
                        line += x.weight[a] * row[x.index[a]];
                    }
                    sum += z.weight[c] * y.weight[b] * line;
                }
            }
            *voxel = T::from_f64(sum.to_f64());
        }
    });
    voxels
}
