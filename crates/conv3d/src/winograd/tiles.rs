//! Inputs of tiles to points in the plane, a slice at a time.
//!
//! A tile looks at six slices and the next one below it at two of them again. So each slice is transformed
//! along H and W once, when the walk down the depth comes to it, and kept for both.

use std::marker::PhantomData;
use std::ops::Range;

use super::{POINTS, TILE, transform};
use crate::ahead::Run;
use crate::line::Line;
use crate::parts::{InputPart, input_block};
use crate::simd::Simd;
use crate::source::{Lines, Source, WithLines};

/// A rectangle of tiles in the plane: what a task walks down the depth with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rectangle {
    pub(crate) row: usize,
    pub(crate) rows: usize,
    pub(crate) column: usize,
    pub(crate) columns: usize,
}

impl Rectangle {
    pub(crate) fn tiles(&self) -> usize {
        self.rows * self.columns
    }

    /// What it looks at in `slices` of sample `n` of `inputs`, as far as it lies inside an input of (D, H, W)
    /// `size`; `seen` says from one tile to the next, before the first input of a tile, and inputs of a tile.
    pub(super) fn runs(
        &self,
        inputs: &[InputPart<'_>],
        n: usize,
        [d, h, w]: [usize; 3],
        slices: Range<isize>,
        [step, before, seen]: [usize; 3],
    ) -> Vec<Run> {
        let inside = |range: Range<isize>, size: usize| {
            let end = range.end.clamp(0, size as isize) as usize;
            (range.start.max(0) as usize).min(end)..end
        };
        let side = |tile: usize, count: usize| {
            let first = (step * tile) as isize - before as isize;
            first..first + (step * count + seen - step) as isize
        };
        let columns = inside(side(self.column, self.columns), w);
        let rows = inside(side(self.row, self.rows), h);
        let mut runs = Vec::new();
        for block in 0..inputs.iter().map(|part| part.blocks).sum() {
            let (source, index) = input_block(inputs, n, block);
            for z in inside(slices.clone(), d) {
                for y in rows.clone() {
                    let start = ((index * d + z) * h + y) * w;
                    for lines in source.arrays().into_iter().flatten() {
                        runs.push((
                            lines[start + columns.start..start + columns.end].as_ptr(),
                            columns.len(),
                        ));
                    }
                }
            }
        }
        runs
    }
}

/// Tiles of a row that are transformed together: their columns, six deep, stay in the first-level cache.
const STRIP: usize = 12;

/// Lines that [`Slice`] needs as `columns`.
pub(super) const COLUMNS: usize = POINTS * (TILE * STRIP + 2);

/// What a tile looks at, and how it becomes six points.
pub(super) trait Basis {
    /// Values along each axis.
    const INPUTS: usize;
    /// How many of them lie before the tile.
    const BEFORE: usize;

    /// Six points of the first [`Basis::INPUTS`] of `values`.
    fn points<S: Simd>(s: S, values: [S::V; POINTS]) -> [S::V; POINTS];
}

/// The inputs of a tile: its voxels and one on either side.
pub(super) struct Data;

impl Basis for Data {
    const INPUTS: usize = POINTS;
    const BEFORE: usize = 1;

    #[inline(always)]
    fn points<S: Simd>(s: S, values: [S::V; POINTS]) -> [S::V; POINTS] {
        transform::data(s, values)
    }
}

/// The gradient of a tile's results: its voxels.
pub(super) struct Gradient;

impl Basis for Gradient {
    const INPUTS: usize = TILE;
    const BEFORE: usize = 0;

    #[inline(always)]
    fn points<S: Simd>(s: S, [a, b, c, d, ..]: [S::V; POINTS]) -> [S::V; POINTS] {
        transform::gradient(s, [a, b, c, d])
    }
}

/// One slice of one block of channels, to be transformed along H and W.
pub(super) struct Slice<'a> {
    pub(super) size: [usize; 3],
    pub(super) rectangle: Rectangle,
    /// Slice of the input; those outside are zero.
    pub(super) z: isize,
    /// Room for [`COLUMNS`] lines.
    pub(super) columns: &'a mut [Line],
    /// Where point 0 of tile 0 goes; tiles are neighbours.
    pub(super) to: *mut Line,
    /// From one point to the next, in lines.
    pub(super) point_step: usize,
}

impl Slice<'_> {
    /// Transforms the slice of block `block` (sample · B + block) of `source`.
    ///
    /// # Safety
    /// Lines `to + point · point_step + tile` of all 36 points and all tiles of the rectangle can be
    /// written, and nobody else touches them meanwhile.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, B: Basis>(self, s: S, source: &Source<'_>, block: usize) {
        assert!(self.columns.len() >= COLUMNS, "there is room for the columns of a strip");
        let [d, h, w] = self.size;
        if self.z < 0 || self.z >= d as isize {
            for point in 0..POINTS * POINTS {
                for tile in 0..self.rectangle.tiles() {
                    // SAFETY: the caller answers for these lines.
                    unsafe { s.store(self.to.add(point * self.point_step + tile), s.zero()) };
                }
            }
            return;
        }
        source.block(s, block, d * h * w, Strips { s, slice: self, basis: PhantomData::<B> });
    }

    /// Transforms `tiles` tiles from `column` on of tile row `row` of the rectangle.
    ///
    /// # Safety
    /// As [`Slice::run`]; `lines` is a block of D·H·W lines.
    #[inline(always)]
    unsafe fn strip<S: Simd, L: Lines<S>, B: Basis>(
        &mut self,
        s: S,
        lines: L,
        row: usize,
        column: usize,
        tiles: usize,
    ) {
        let [_, h, w] = self.size;
        let width = TILE * tiles + B::INPUTS - TILE;
        let columns = self.columns.as_mut_ptr();
        let top = (TILE * (self.rectangle.row + row)) as isize - B::BEFORE as isize;
        let left = (TILE * (self.rectangle.column + column)) as isize - B::BEFORE as isize;
        let slice = self.z as usize * h * w;
        let inside = top >= 0 && top + B::INPUTS as isize <= h as isize;
        // The columns x of the strip that lie in the slice.
        let first = (-left).max(0) as usize;
        let last = ((w as isize - left).max(0) as usize).min(width).max(first);
        // SAFETY: writes to `columns` stay below 6 · (4 · STRIP + 2), as x < width and tiles ≤ STRIP; reads
        // of `lines` have a row and column inside the slice, by `inside` or the test of each row, and by
        // `first` and `last`; the caller answers for the slice and for `to`.
        unsafe {
            // Loops instead of closures: a closure that is not inlined is not compiled for the
            // instructions at hand.
            for x in (0..first).chain(last..width) {
                for i in 0..POINTS {
                    s.store(columns.add(i * width + x), s.zero());
                }
            }
            for x in first..last {
                let at = x.wrapping_add_signed(left);
                let mut values = [s.zero(); POINTS];
                if inside {
                    let at = slice + top as usize * w + at;
                    for (i, value) in values.iter_mut().enumerate().take(B::INPUTS) {
                        *value = lines.get(s, at + i * w);
                    }
                } else {
                    for (i, value) in values.iter_mut().enumerate().take(B::INPUTS) {
                        let y = top + i as isize;
                        if y >= 0 && y < h as isize {
                            *value = lines.get(s, slice + y as usize * w + at);
                        }
                    }
                }
                let points = B::points(s, values);
                for i in 0..POINTS {
                    s.store(columns.add(i * width + x), points[i]);
                }
            }
            for i in 0..POINTS {
                let line = columns.add(i * width);
                let to = self.to.add(i * POINTS * self.point_step + row * self.rectangle.columns + column);
                for tile in 0..tiles {
                    let mut values = [s.zero(); POINTS];
                    for (j, value) in values.iter_mut().enumerate().take(B::INPUTS) {
                        *value = s.load(line.add(TILE * tile + j));
                    }
                    let points = B::points(s, values);
                    for j in 0..POINTS {
                        s.store(to.add(j * self.point_step + tile), points[j]);
                    }
                }
            }
        }
    }
}

/// All strips of a slice.
struct Strips<'a, S, B> {
    s: S,
    slice: Slice<'a>,
    basis: PhantomData<B>,
}

impl<S: Simd, B: Basis> WithLines<S> for Strips<'_, S, B> {
    #[inline(always)]
    fn with<L: Lines<S>>(mut self, lines: L) {
        let (rows, columns) = (self.slice.rectangle.rows, self.slice.rectangle.columns);
        for row in 0..rows {
            for column in (0..columns).step_by(STRIP) {
                let tiles = STRIP.min(columns - column);
                // SAFETY: `Slice::run` was called for a block of D·H·W lines, and its caller answers for
                // `to`.
                unsafe { self.slice.strip::<S, L, B>(self.s, lines, row, column, tiles) };
            }
        }
    }
}
