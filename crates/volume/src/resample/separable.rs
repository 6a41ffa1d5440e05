//! Resampling along one axis after the other, for grids whose axes run along the same lines.
//!
//! Planes of the source are resampled along x and y as they are needed, kept as long as they are needed,
//! and summed up along z into planes of the target. A window of them is in memory, never all: planes go
//! through it from one end of the volume to the other. Within a step of the window planes and rows are
//! worked on in parallel.
//!
//! The spline's recursion along z runs over resampled planes, of which there are fewer values than of the
//! source's when a plane shrinks; it commutes with what is done along x and y. Its forward half goes
//! through the window with the planes. Its backward half would have to start at the far end of the
//! volume; it starts [`Real::HORIZON`] planes ahead, where the difference is below rounding.

use rayon::prelude::*;

use super::axis::Axis;
use super::kernel::Real;
use super::planes::{PlaneMap, Scratch};
use super::prefilter::{backward, backward_end, forward, start};
use super::rows::sum_rows;
use crate::simd::vectorized;
use crate::{Volume, Voxel};

/// Planes of the source that come into the window in a step, unless a single plane of the target takes
/// from more. Enough to share among threads; a fixed number, so that their number changes no result.
const STEP: usize = 16;

/// Rows of the target that are written at a time.
const ROWS: usize = 32;

/// Values of a plane whose columns are made coefficients together.
const COLUMNS: usize = 1024;

/// Voxels of `volume` on a target of `size`, of which `axes` says what its voxels take.
pub(super) fn resample<R: Real, T: Voxel>(
    volume: &Volume<T>,
    size: [usize; 3],
    axes: &[Axis<R>; 3],
    fill: T,
) -> Vec<T> {
    // Zeros come from the system without being written; each thread then touches its own pages.
    let mut voxels = vec![T::default(); size.iter().product()];
    let mut planes: Vec<Option<&mut [T]>> = voxels.chunks_mut(size[0] * size[1]).map(Some).collect();
    let [x, y, z] = axes;
    let mean = axes.iter().any(|axis| axis.mean);
    let mut window = Window::new(volume, axes);
    let mut order: Vec<usize> = (0..z.inside.len()).collect();
    if z.first.first() > z.first.last() {
        order.reverse();
    }
    let mut order = order.as_slice();
    while !order.is_empty() && window.map.len() > 0 {
        let (step, later) = order.split_at(step_of(order, z));
        order = later;
        window.advance(step, z);
        let rows = step.iter().flat_map(|&i| {
            let plane = planes[z.inside.start + i].take().expect("each plane is written once");
            plane.chunks_mut(ROWS * size[0]).enumerate().map(move |(block, rows)| (i, block * ROWS, rows))
        });
        rows.collect::<Vec<_>>().into_par_iter().for_each_init(Vec::new, |line, (i, first_row, rows)| {
            vectorized(
                #[inline(always)]
                || {
                    line.resize(x.inside.len(), R::default());
                    for (row, at) in rows.chunks_mut(size[0]).zip(first_row..) {
                        if !y.inside.contains(&at) {
                            row.fill(fill);
                            continue;
                        }
                        let at = at - y.inside.start;
                        window.sum(line, i, at, z);
                        row[..x.inside.start].fill(fill);
                        row[x.inside.end..].fill(fill);
                        let row = row[x.inside.clone()].iter_mut().zip(line.iter());
                        if mean {
                            let total = y.totals[at] * z.totals[i];
                            for ((voxel, &sum), &along_x) in row.zip(&x.totals) {
                                *voxel = (sum / (along_x * total)).to();
                            }
                        } else {
                            for (voxel, &sum) in row {
                                *voxel = sum.to();
                            }
                        }
                    }
                },
            );
        });
    }
    planes.into_par_iter().flatten().for_each(|plane| plane.fill(fill));
    voxels
}

/// How many of the planes that `order` begins with are made in a step.
fn step_of<R: Real>(order: &[usize], z: &Axis<R>) -> usize {
    let first = z.taken(order[0]).start;
    order.iter().take_while(|&&i| i == order[0] || z.taken(i).end - first <= STEP).count()
}

/// The planes of the source that are being worked on, resampled along x and y.
struct Window<'a, R, T> {
    source: &'a [T],
    map: PlaneMap<'a, R>,
    /// For each plane of the source, if it is in the window.
    planes: Vec<Option<Vec<R>>>,
    /// Memory of planes that have left it.
    spare: Vec<Vec<R>>,
    /// Of a spline: planes that have gone through the forward and through the backward recursion.
    forward: usize,
    backward: usize,
}

impl<'a, R: Real, T: Voxel> Window<'a, R, T> {
    fn new(volume: &'a Volume<T>, [x, y, _]: &'a [Axis<R>; 3]) -> Self {
        let [nx, ny, nz] = volume.size();
        let map = PlaneMap { old: [nx, ny], x, y };
        let planes = vec![None; nz];
        Self { source: volume.voxels(), map, planes, spare: Vec::new(), forward: 0, backward: 0 }
    }

    /// Lets the planes in that the planes `step` of the target take from, and those before them out.
    fn advance(&mut self, step: &[usize], z: &Axis<R>) {
        let taken = step.iter().map(|&i| z.taken(i));
        let (start, end) = taken.clone().fold((usize::MAX, 0), |(a, b), t| (a.min(t.start), b.max(t.end)));
        if z.spline {
            let n = self.planes.len();
            let ahead = n.min(end + R::HORIZON);
            self.let_out(start.min(self.backward).min(self.forward.saturating_sub(1)));
            self.let_in(self.forward..ahead);
            self.filter(ahead, if ahead == n { n } else { end.max(self.backward) });
        } else {
            self.let_out(start);
            let mut missing: Vec<usize> = taken.flatten().filter(|&k| self.planes[k].is_none()).collect();
            missing.sort_unstable();
            missing.dedup();
            self.let_in(missing);
        }
    }

    fn let_out(&mut self, before: usize) {
        self.spare.extend(self.planes[..before].iter_mut().filter_map(Option::take));
    }

    fn let_in(&mut self, indices: impl IntoIterator<Item = usize>) {
        let [nx, ny] = self.map.old;
        let (map, source) = (&self.map, self.source);
        let rows = map.rows_at_a_time();
        let mut new: Vec<(usize, Vec<R>)> = indices
            .into_iter()
            .map(|k| (k, self.spare.pop().unwrap_or_else(|| vec![R::default(); map.len()])))
            .collect();
        let pieces = new.iter_mut().flat_map(|(k, plane)| {
            let source = &source[*k * nx * ny..][..nx * ny];
            let pieces = plane.chunks_mut(rows * map.x.inside.len()).enumerate();
            pieces.map(move |(piece, out)| (source, piece * rows, out))
        });
        pieces.collect::<Vec<_>>().into_par_iter().for_each_init(
            Scratch::default,
            |scratch, (source, first, out)| {
                let rows = first..(first + rows).min(map.y.inside.len());
                vectorized(
                    #[inline(always)]
                    || map.resample(source, rows, out, scratch),
                );
            },
        );
        for (k, plane) in new {
            self.planes[k] = Some(plane);
        }
    }

    /// Takes the recursions along z forward up to `ahead`, which are in the window, and back to what has
    /// been through both, finishing the planes before `finished`.
    fn filter(&mut self, ahead: usize, finished: usize) {
        let (n, from, done) = (self.planes.len(), self.forward, self.backward);
        if (from, done) == (ahead, finished) {
            return;
        }
        // The first forward step looks at the plane before.
        let first = done.min(from.saturating_sub(1));
        let mut columns: Vec<Vec<&mut [R]>> =
            (0..self.map.len().div_ceil(COLUMNS)).map(|_| Vec::with_capacity(ahead - first)).collect();
        for plane in &mut self.planes[first..ahead] {
            let plane = plane.as_mut().expect("planes up to `ahead` are in the window");
            for (column, piece) in columns.iter_mut().zip(plane.chunks_mut(COLUMNS)) {
                column.push(piece);
            }
        }
        columns.par_iter_mut().for_each_init(Vec::new, |copies: &mut Vec<R>, column| {
            vectorized(
                #[inline(always)]
                || {
                    if from == 0 {
                        start(column, n);
                    }
                    for k in from.max(1)..ahead {
                        forward(column, k - first);
                    }
                    let column = &mut column[done - first..];
                    let (finish, look_ahead) = column.split_at_mut(finished - done);
                    // The planes ahead are only looked at: copies of them go through the recursion.
                    copies.clear();
                    look_ahead.iter().for_each(|row| copies.extend_from_slice(row));
                    let width = finish.first().map_or(1, |row| row.len());
                    let mut rows: Vec<&mut [R]> = finish.iter_mut().map(|row| &mut **row).collect();
                    rows.extend(copies.chunks_mut(width));
                    if let Some(last) = rows.len().checked_sub(1) {
                        backward_end(&mut rows, last);
                        for k in (0..last).rev() {
                            backward(&mut rows, k);
                        }
                    }
                },
            );
        });
        (self.forward, self.backward) = (ahead, finished);
    }

    /// Sets `line` to the row `y` of the plane `i` of those inside.
    #[inline(always)]
    fn sum(&self, line: &mut [R], i: usize, y: usize, z: &Axis<R>) {
        let (width, first) = (self.map.x.inside.len(), z.taken(i).start);
        sum_rows(line, z.weights(i), |k| {
            let plane = self.planes[first + k].as_ref().expect("planes that are taken are in the window");
            &plane[width * y..][..width]
        });
    }
}
