//! Results of tiles from their values at the 36 points of the plane, a slice at a time.

use super::{POINTS, TILE, transform};
use crate::line::Line;
use crate::moments::Running;
use crate::simd::Simd;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writing {
    /// To the caches.
    Store,
    /// Past the caches.
    Stream,
    /// Added to what is there.
    Add,
}

const STORE: u8 = 0;
const STREAM: u8 = 1;
const ADD: u8 = 2;

/// One slice of one tile of one block of an output.
#[derive(Clone, Copy)]
pub(super) struct TileSlice {
    /// The value at point 0.
    pub(super) from: *const Line,
    /// From one point to the next.
    pub(super) point_step: usize,
    /// The first voxel of the slice.
    pub(super) to: *mut Line,
    /// From one row of voxels to the next.
    pub(super) row_step: usize,
    /// Rows and columns of the tile that lie inside the output.
    pub(super) height: usize,
    pub(super) width: usize,
}

impl TileSlice {
    /// Transforms the slice back and writes it, and pushes its values to `running`.
    ///
    /// # Safety
    /// Line `from + p · point_step` can be read for each of the 36 points p. `height` rows of `width` lines
    /// from `to` on, `row_step` apart, can be read and written, and nobody else touches them meanwhile.
    #[inline(always)]
    pub(super) unsafe fn write<S: Simd>(self, s: S, writing: Writing, running: Option<&mut Running<S>>) {
        let whole = self.height == TILE && self.width == TILE;
        // SAFETY: the caller answers for all.
        unsafe {
            match (running, writing) {
                (running, _) if !whole => self.part(s, writing, running),
                (Some(running), Writing::Store) => self.whole::<S, true, STORE>(s, running),
                (Some(running), Writing::Stream) => self.whole::<S, true, STREAM>(s, running),
                (Some(running), Writing::Add) => self.whole::<S, true, ADD>(s, running),
                (None, Writing::Store) => self.whole::<S, false, STORE>(s, &mut Running::new(s, s.zero())),
                (None, Writing::Stream) => self.whole::<S, false, STREAM>(s, &mut Running::new(s, s.zero())),
                (None, Writing::Add) => self.whole::<S, false, ADD>(s, &mut Running::new(s, s.zero())),
            }
        }
    }

    /// The first value of the slice.
    ///
    /// # Safety
    /// As [`TileSlice::write`].
    #[inline(always)]
    pub(super) unsafe fn first<S: Simd>(self, s: S) -> S::V {
        // SAFETY: the caller answers for the points.
        let rows = unsafe { self.rows::<S, 0>(s) };
        transform::result(s, rows[0])[0]
    }

    /// Rows `PARITY` and `PARITY + 2` of the tile at the six points along W. Two of four, so that all of it
    /// stays in registers.
    ///
    /// # Safety
    /// As [`TileSlice::write`].
    #[inline(always)]
    unsafe fn rows<S: Simd, const PARITY: usize>(self, s: S) -> [[S::V; POINTS]; 2] {
        let mut rows = [[s.zero(); POINTS]; 2];
        for j in 0..POINTS {
            let mut column = [s.zero(); POINTS];
            for i in 0..POINTS {
                // SAFETY: the caller answers for the points.
                column[i] = unsafe { s.load(self.from.add((i * POINTS + j) * self.point_step)) };
            }
            let pair = if PARITY == 0 {
                transform::even_results(s, column)
            } else {
                transform::odd_results(s, column)
            };
            rows[0][j] = pair[0];
            rows[1][j] = pair[1];
        }
        rows
    }

    /// [`TileSlice::write`] of a tile that lies inside the output as a whole.
    ///
    /// # Safety
    /// As [`TileSlice::write`].
    #[inline(always)]
    unsafe fn whole<S: Simd, const MOMENTS: bool, const WRITING: u8>(self, s: S, running: &mut Running<S>) {
        let mut sums = *running;
        // SAFETY: the caller answers for the points and the 4 × 4 lines.
        unsafe {
            let even = self.rows::<S, 0>(s);
            for i in 0..2 {
                let values = transform::result(s, even[i]);
                self.row::<S, MOMENTS, WRITING>(s, 2 * i, values, &mut sums);
            }
            let odd = self.rows::<S, 1>(s);
            for i in 0..2 {
                let values = transform::result(s, odd[i]);
                self.row::<S, MOMENTS, WRITING>(s, 2 * i + 1, values, &mut sums);
            }
        }
        if MOMENTS {
            *running = sums;
        }
    }

    /// Four values of row `i`.
    ///
    /// # Safety
    /// As [`TileSlice::write`].
    #[inline(always)]
    unsafe fn row<S: Simd, const MOMENTS: bool, const WRITING: u8>(
        self,
        s: S,
        i: usize,
        values: [S::V; TILE],
        running: &mut Running<S>,
    ) {
        for j in 0..TILE {
            // SAFETY: the caller answers for the lines.
            unsafe {
                let to = self.to.add(i * self.row_step + j);
                let mut value = values[j];
                match WRITING {
                    STREAM => s.stream(to, value),
                    ADD => {
                        value = s.add(value, s.load(to));
                        s.store(to, value);
                    }
                    _ => s.store(to, value),
                }
                if MOMENTS {
                    running.push(s, value);
                }
            }
        }
    }

    /// [`TileSlice::write`] of a tile that sticks out.
    ///
    /// # Safety
    /// As [`TileSlice::write`].
    #[inline(always)]
    unsafe fn part<S: Simd>(self, s: S, writing: Writing, mut running: Option<&mut Running<S>>) {
        // SAFETY: the caller answers for the points, and for the lines by `height` and `width`.
        unsafe {
            let rows = [self.rows::<S, 0>(s), self.rows::<S, 1>(s)];
            for i in 0..self.height {
                let values = transform::result(s, rows[i % 2][i / 2]);
                for j in 0..self.width {
                    let to = self.to.add(i * self.row_step + j);
                    let value =
                        if writing == Writing::Add { s.add(values[j], s.load(to)) } else { values[j] };
                    if writing == Writing::Stream {
                        s.stream(to, value);
                    } else {
                        s.store(to, value);
                    }
                    if let Some(running) = &mut running {
                        running.push(s, value);
                    }
                }
            }
        }
    }
}
