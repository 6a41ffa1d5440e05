//! Resampling through any affine map, voxel by voxel. Also what the faster ways are tested against.

use rayon::prelude::*;

use super::Interpolation;
use super::between::Between;
use super::kernel::{Real, Taps, taps};
use super::prefilter::to_coefficients;
use crate::{Affine, Volume, Voxel};

/// Voxels of `volume` at `map` of each index of a grid of `size`, each axis of the volume interpolated in
/// its own way; not for means.
pub(super) fn resample<R: Real, T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    map: &Affine,
    ways: [Interpolation; 3],
    fill: T,
) -> Vec<T> {
    let (voxels, old) = (volume.voxels(), volume.size());
    let along = |a: usize, at: f64| taps(at, old[a], ways[a]);
    if ways == [Interpolation::Nearest; 3] {
        let offset = |[x, y, z]: [Taps; 3]| x.index[0] + old[0] * (y.index[0] + old[1] * z.index[0]);
        each_voxel(size, map, along, fill, |taps| voxels[offset(taps)])
    } else if ways.contains(&Interpolation::Cubic) {
        let coefficients = coefficients::<R, T>(voxels, old, ways);
        each_voxel(size, map, along, fill, |taps| sum::<R, R>(&coefficients, old, taps).to())
    } else {
        each_voxel(size, map, along, fill, |taps| sum::<R, T>(voxels, old, taps).to())
    }
}

/// Voxels at `map` of each index of a grid of `size`, linear between the `voxels` of the grid `between`.
pub(super) fn resample_between<R: Real, T: Voxel>(
    voxels: &[T],
    between: &Between,
    size: [usize; 3],
    map: &Affine,
    fill: T,
) -> Vec<T> {
    let along = |a: usize, at: f64| between.taps(a, at);
    each_voxel(size, map, along, fill, |taps| sum::<R, T>(voxels, between.size(), taps).to())
}

/// `value` of the taps of each voxel that has some `along` each of the three axes, at the coordinate there.
fn each_voxel<T: Voxel>(
    size: [usize; 3],
    map: &Affine,
    along: impl Fn(usize, f64) -> Option<Taps> + Sync,
    fill: T,
    value: impl Fn([Taps; 3]) -> T + Sync,
) -> Vec<T> {
    let mut voxels = vec![T::default(); size.iter().product()];
    voxels.par_chunks_mut(size[0]).enumerate().for_each(|(row, line)| {
        for (x, voxel) in line.iter_mut().enumerate() {
            let at = map.apply([x as f64, (row % size[1]) as f64, (row / size[1]) as f64]);
            *voxel = match [0, 1, 2].map(|a| along(a, at[a])) {
                [Some(x), Some(y), Some(z)] => value([x, y, z]),
                _ => fill,
            };
        }
    });
    voxels
}

fn sum<R: Real, V: Voxel>(data: &[V], old: [usize; 3], [x, y, z]: [Taps; 3]) -> R {
    let mut sum = R::default();
    for c in 0..z.count {
        for b in 0..y.count {
            let row = &data[old[0] * (y.index[b] + old[1] * z.index[c])..][..old[0]];
            let mut line = R::default();
            for a in 0..x.count {
                line += R::of(x.weight[a]) * R::of(row[x.index[a]]);
            }
            sum += R::of(z.weight[c] * y.weight[b]) * line;
        }
    }
    sum
}

/// Coefficients of the spline along those axes that are to be interpolated by it.
fn coefficients<R: Real, T: Voxel>(
    voxels: &[T],
    [nx, ny, nz]: [usize; 3],
    ways: [Interpolation; 3],
) -> Vec<R> {
    let [x, y, z] = ways.map(|way| way == Interpolation::Cubic);
    let mut data: Vec<R> = voxels.par_iter().map(|&v| R::of(v)).collect();
    if x {
        data.par_chunks_mut(nx).for_each(|row| to_coefficients(row.as_chunks_mut::<1>().0));
    }
    if y {
        data.par_chunks_mut(nx * ny)
            .for_each(|plane| to_coefficients(&mut plane.chunks_mut(nx).collect::<Vec<_>>()));
    }
    if z && nz > 1 {
        // The same rows of all planes, row by row.
        let mut columns: Vec<Vec<&mut [R]>> = (0..ny).map(|_| Vec::with_capacity(nz)).collect();
        for plane in data.chunks_mut(nx * ny) {
            for (column, row) in columns.iter_mut().zip(plane.chunks_mut(nx)) {
                column.push(row);
            }
        }
        columns.par_iter_mut().for_each(|rows| to_coefficients(rows));
    }
    data
}
