//! A plane of the source resampled along x and y.

use std::ops::Range;

use super::axis::Axis;
use super::kernel::Real;
use super::prefilter::to_coefficients;
use super::rows::{LANES, sum_along, sum_along_lanes, sum_rows};
use crate::Voxel;

/// Columns that are made coefficients together: so many rows of them stay in the second-level cache.
const STRIP: usize = 128;

/// How planes of `old` voxels are resampled along x and y.
pub(super) struct PlaneMap<'a, R> {
    pub(super) old: [usize; 2],
    pub(super) x: &'a Axis<R>,
    pub(super) y: &'a Axis<R>,
}

/// Memory that is used again for the next plane.
#[derive(Default)]
pub(super) struct Scratch<R> {
    plane: Vec<R>,
    line: Vec<R>,
    lanes: Vec<[R; LANES]>,
    lanes_out: Vec<[R; LANES]>,
}

impl<R: Real> PlaneMap<'_, R> {
    /// Values of a resampled plane: those inside.
    pub(super) fn len(&self) -> usize {
        self.x.inside.len() * self.y.inside.len()
    }

    /// Rows that are best made at a time: all if they need all of the plane's rows.
    pub(super) fn rows_at_a_time(&self) -> usize {
        if self.y.spline { self.y.inside.len() } else { 2 * LANES }
    }

    /// The rows `rows` of those inside, from the plane `source`, one after the other in `out`.
    #[inline(always)]
    pub(super) fn resample<T: Voxel>(
        &self,
        source: &[T],
        rows: Range<usize>,
        out: &mut [R],
        scratch: &mut Scratch<R>,
    ) {
        if self.y.spline {
            let mut plane = std::mem::take(&mut scratch.plane);
            plane.clear();
            plane.extend(source.iter().map(|&v| R::of(v)));
            for strip in (0..self.old[0]).step_by(STRIP) {
                let strip = strip..self.old[0].min(strip + STRIP);
                let mut columns: Vec<&mut [R]> =
                    plane.chunks_mut(self.old[0]).map(|row| &mut row[strip.clone()]).collect();
                to_coefficients(&mut columns);
            }
            self.resample_rows(&plane, rows, out, scratch);
            scratch.plane = plane;
        } else {
            self.resample_rows(source, rows, out, scratch);
        }
    }

    /// [`PlaneMap::resample`] of values that are coefficients along y if they have to be.
    #[inline(always)]
    fn resample_rows<V: Voxel>(
        &self,
        plane: &[V],
        rows: Range<usize>,
        out: &mut [R],
        scratch: &mut Scratch<R>,
    ) {
        let width = self.old[0];
        scratch.line.resize(width, R::default());
        let line = &mut scratch.line[..];
        if !self.x.spline {
            for (y, out) in rows.zip(out.chunks_exact_mut(self.x.inside.len())) {
                self.sum_along_y(line, plane, y);
                sum_along(out, line, self.x);
            }
            return;
        }
        scratch.lanes.resize(width, [R::default(); LANES]);
        scratch.lanes_out.resize(self.x.inside.len(), [R::default(); LANES]);
        let (lanes, lanes_out) = (&mut scratch.lanes[..], &mut scratch.lanes_out[..]);
        for (block, out) in rows.clone().step_by(LANES).zip(out.chunks_mut(LANES * self.x.inside.len())) {
            for (lane, y) in (block..rows.end.min(block + LANES)).enumerate() {
                self.sum_along_y(line, plane, y);
                for (lanes, &value) in lanes.iter_mut().zip(line.iter()) {
                    lanes[lane] = value;
                }
            }
            to_coefficients(lanes);
            sum_along_lanes(lanes_out, lanes, self.x);
            for (lane, out) in out.chunks_exact_mut(self.x.inside.len()).enumerate() {
                for (out, lanes) in out.iter_mut().zip(lanes_out.iter()) {
                    *out = lanes[lane];
                }
            }
        }
    }

    /// Sets `line` to the sum of rows of `plane` that makes the row `y` of those inside.
    #[inline(always)]
    fn sum_along_y<V: Voxel>(&self, line: &mut [R], plane: &[V], y: usize) {
        let (width, first) = (self.old[0], self.y.taken(y).start);
        sum_rows(line, self.y.weights(y), |k| &plane[width * (first + k)..][..width]);
    }
}
