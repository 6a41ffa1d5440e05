//! Resampling one axis after the other, for grids whose axes run the same way.

use rayon::prelude::*;

use super::Interpolation;
use super::kernel::{Real, Taps, tap_count, taps};
use super::prefilter::to_coefficients;
use crate::{Volume, Voxel};

/// Voxels of `volume` at the coordinates scale · i + offset of each axis.
pub(super) fn resample<R: Real, T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    axes: [(f64, f64); 3],
    interpolation: Interpolation,
    fill: T,
) -> Vec<T> {
    let old = volume.size();
    let along = [0, 1, 2].map(|a| {
        let (scale, offset) = axes[a];
        (0..size[a]).map(|i| taps(scale * i as f64 + offset, old[a], interpolation)).collect::<Vec<_>>()
    });
    if interpolation == Interpolation::Nearest {
        return nearest::<R, T>(volume, size, &along, fill);
    }
    let count = tap_count(interpolation);
    let mut data: Vec<R> = volume.voxels().par_iter().map(|v| R::of(v.to_f64())).collect();
    if interpolation == Interpolation::Cubic {
        to_coefficients(&mut data, old);
    }
    let data = along_x(&data, old[0], &along[0], count);
    let data = along_rows(&data, size[0], old[1], &along[1], count);
    // The planes of z are rows of x·y voxels.
    let plane = size[0] * size[1];
    let mut voxels = vec![fill; plane * size[2]];
    voxels.par_chunks_mut(plane).zip(&along[2]).for_each(|(out, taps)| {
        let Some(z_taps) = taps else { return };
        let mut sum = vec![R::of(0.0); plane];
        add_rows(&mut sum, &data, plane, z_taps, count);
        for (y, (row, sum)) in out.chunks_mut(size[0]).zip(sum.chunks(size[0])).enumerate() {
            if along[1][y].is_some() {
                for ((voxel, &value), inside) in row.iter_mut().zip(sum).zip(&along[0]) {
                    if inside.is_some() {
                        *voxel = T::from_f64(value.to_f64());
                    }
                }
            }
        }
    });
    voxels
}

fn nearest<R: Real, T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    along: &[Vec<Option<Taps<R>>>; 3],
    fill: T,
) -> Vec<T> {
    let old = volume.size();
    let mut voxels = vec![fill; size.iter().product()];
    voxels.par_chunks_mut(size[0] * size[1]).zip(&along[2]).for_each(|(plane, z)| {
        let Some(z) = z else { return };
        for (row, y) in plane.chunks_mut(size[0]).zip(&along[1]) {
            let Some(y) = y else { continue };
            let source = &volume.voxels()[old[0] * (y.index[0] + old[1] * z.index[0])..][..old[0]];
            for (voxel, x) in row.iter_mut().zip(&along[0]) {
                if let Some(x) = x {
                    *voxel = source[x.index[0]];
                }
            }
        }
    });
    voxels
}

/// Each row of `n` values resampled; zero outside.
fn along_x<R: Real>(data: &[R], n: usize, taps: &[Option<Taps<R>>], count: usize) -> Vec<R> {
    let mut out = vec![R::of(0.0); data.len() / n * taps.len()];
    out.par_chunks_mut(taps.len()).zip(data.par_chunks(n)).for_each(|(out, row)| {
        for (out, taps) in out.iter_mut().zip(taps) {
            if let Some(taps) = taps {
                let mut sum = R::of(0.0);
                for k in 0..count {
                    sum += taps.weight[k] * row[taps.index[k]];
                }
                *out = sum;
            }
        }
    });
    out
}

/// Each plane of `n` rows of `width` values resampled along its rows' index; zero outside.
fn along_rows<R: Real>(data: &[R], width: usize, n: usize, taps: &[Option<Taps<R>>], count: usize) -> Vec<R> {
    let mut out = vec![R::of(0.0); data.len() / n * taps.len()];
    out.par_chunks_mut(width * taps.len()).zip(data.par_chunks(width * n)).for_each(|(out, plane)| {
        for (row, taps) in out.chunks_mut(width).zip(taps) {
            if let Some(taps) = taps {
                add_rows(row, plane, width, taps, count);
            }
        }
    });
    out
}

/// Adds the weighted rows of `data` that `taps` names to `sum`.
fn add_rows<R: Real>(sum: &mut [R], data: &[R], width: usize, taps: &Taps<R>, count: usize) {
    for k in 0..count {
        let (weight, row) = (taps.weight[k], &data[taps.index[k] * width..][..width]);
        for (sum, &value) in sum.iter_mut().zip(row) {
            *sum += weight * value;
        }
    }
}
