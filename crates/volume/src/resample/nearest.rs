//! The nearest voxel, along axes that run along the same lines: values are copied, never computed with.

use rayon::prelude::*;

use super::Interpolation;
use super::kernel::taps;
use crate::{Volume, Voxel};

/// Voxels of `volume` nearest to the coordinates scale · i + offset of each axis of a target of `size`.
pub(super) fn resample<T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    axes: [(f64, f64); 3],
    fill: T,
) -> Vec<T> {
    let old = volume.size();
    // For each voxel of an axis the old one; none outside.
    let [xs, ys, zs] = [0, 1, 2].map(|a| {
        let (scale, offset) = axes[a];
        let nearest = |i| Some(taps(scale * i as f64 + offset, old[a], Interpolation::Nearest)?.index[0]);
        (0..size[a]).map(nearest).collect::<Vec<Option<usize>>>()
    });
    let start = xs.iter().position(Option::is_some).unwrap_or(size[0]);
    let taken: Vec<usize> = xs.iter().copied().flatten().collect();
    let end = start + taken.len();
    // Where neighbours stay neighbours a row is copied whole.
    let shifted = taken.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let mut voxels = vec![T::default(); size.iter().product()];
    voxels.par_chunks_mut(size[0] * size[1]).zip(&zs).for_each(|(plane, &z)| {
        for y in 0..size[1] {
            let (before, row) = plane.split_at_mut(size[0] * y);
            let row = &mut row[..size[0]];
            let (Some(z), Some(old_y)) = (z, ys[y]) else {
                row.fill(fill);
                continue;
            };
            if y > 0 && ys[y - 1] == Some(old_y) {
                row.copy_from_slice(&before[size[0] * (y - 1)..]);
                continue;
            }
            row[..start].fill(fill);
            row[end..].fill(fill);
            let source = &volume.voxels()[old[0] * (old_y + old[1] * z)..][..old[0]];
            if shifted {
                row[start..end].copy_from_slice(&source[taken.first().map_or(0..0, |&x| x..x + taken.len())]);
            } else {
                for (voxel, &x) in row[start..end].iter_mut().zip(&taken) {
                    *voxel = source[x];
                }
            }
        }
    });
    voxels
}
