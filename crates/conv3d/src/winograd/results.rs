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

// [`Writing`] as a constant, which an enum cannot be on stable Rust.
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
        // SAFETY: the caller answers for all; a slice that is not 4 × 4 goes to `partial`.
        unsafe {
            match (running, writing) {
                (running, _) if !whole => self.partial(s, writing, running),
                (Some(running), Writing::Store) => self.whole::<S, true, STORE>(s, running),
                (Some(running), Writing::Stream) => self.whole::<S, true, STREAM>(s, running),
                (Some(running), Writing::Add) => self.whole::<S, true, ADD>(s, running),
                (None, Writing::Store) => self.whole::<S, false, STORE>(s, &mut Running::new(s, s.zero())),
                (None, Writing::Stream) => self.whole::<S, false, STREAM>(s, &mut Running::new(s, s.zero())),
                (None, Writing::Add) => self.whole::<S, false, ADD>(s, &mut Running::new(s, s.zero())),
            }
        }
    }

    /// The first value of the slice, before it is added to anything.
    ///
    /// # Safety
    /// The 36 points can be read.
    #[inline(always)]
    pub(super) unsafe fn first<S: Simd>(self, s: S) -> S::V {
        // SAFETY: the caller answers for the points.
        let rows = unsafe { self.rows::<S, 0>(s) };
        transform::result(s, rows[0])[0]
    }

    /// Rows `PARITY` and `PARITY + 2` of the tile at the six points along W. Two of four, so that with AVX-512
    /// all of it stays in registers.
    ///
    /// # Safety
    /// The 36 points can be read.
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
    /// As [`TileSlice::write`], with `height` and `width` of 4.
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
    /// As [`TileSlice::write`], with `i` below `height` and a `width` of 4.
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
    unsafe fn partial<S: Simd>(self, s: S, writing: Writing, mut running: Option<&mut Running<S>>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::LANES;
    use crate::moments::Piece;
    use crate::simd::{Isa, Kernel};
    use crate::test_support::normal;

    /// Sums of 36 products of numbers near one, against doubles.
    const TOLERANCE: f64 = 1e-4;

    struct Write {
        slice: TileSlice,
        writing: Writing,
        moments: bool,
    }

    impl Kernel for Write {
        type Output = Piece;

        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Piece {
            let mut running = Running::new(s, s.zero());
            // SAFETY: the test made the slice of buffers that have all its lines.
            unsafe { self.slice.write(s, self.writing, self.moments.then_some(&mut running)) };
            running.finish(s)
        }
    }

    /// Aᵀ M A at (i, j): powers of the points 0, ±1/√2, ±√2, and ∞ in the last row.
    fn expected(points: &[Line], lane: usize, [i, j]: [usize; 2]) -> f64 {
        let power = |i: usize, point: usize| match point {
            0 => f64::from(u8::from(i == 0)),
            5 => f64::from(u8::from(i == 3)),
            _ => {
                let size = if point < 3 { 0.5f64.sqrt() } else { 2.0f64.sqrt() };
                (if point.is_multiple_of(2) { -size } else { size }).powi(i as i32)
            }
        };
        (0..36).map(|p| power(i, p / 6) * power(j, p % 6) * f64::from(points[p].0[lane])).sum()
    }

    #[test]
    fn slices_of_all_sizes_are_stored_streamed_or_added_and_summed_up() {
        const ROW: usize = 6;
        let line = |v: &[f32]| Line(v.try_into().expect("a line has its lanes"));
        let points: Vec<Line> = normal(36 * LANES, 1).chunks_exact(LANES).map(line).collect();
        let before: Vec<Line> = normal(4 * ROW * LANES, 2).chunks_exact(LANES).map(line).collect();
        for isa in Isa::all() {
            for case in 0..16 * 3 * 2 {
                let (height, width) = (1 + case % 4, 1 + case / 4 % 4);
                let writing = [Writing::Store, Writing::Stream, Writing::Add][case / 16 % 3];
                let moments = case >= 48;
                let mut after = before.clone();
                let to = after.as_mut_ptr();
                let slice =
                    TileSlice { from: points.as_ptr(), point_step: 1, to, row_step: ROW, height, width };
                let piece = isa.run(Write { slice, writing, moments });
                let told = format!("{isa:?} {height}×{width} {writing:?}");
                let mut sum = 0.0;
                for at in 0..4 * ROW {
                    let (i, j) = (at / ROW, at % ROW);
                    let inside = i < height && j < width;
                    for lane in 0..LANES {
                        let old = f64::from(before[at].0[lane]);
                        let added = if writing == Writing::Add { old } else { 0.0 };
                        let new = if inside { expected(&points, lane, [i, j]) + added } else { old };
                        let found = f64::from(after[at].0[lane]);
                        assert!((found - new).abs() < TOLERANCE, "{told}: {found} for {new} at {at}");
                        sum += if inside && moments { found } else { 0.0 };
                    }
                }
                let found: f64 = piece.sum().iter().map(|&v| f64::from(v)).sum();
                assert!((found - sum).abs() < TOLERANCE * 256.0, "{told}: sum {found} for {sum}");
            }
        }
    }
}
