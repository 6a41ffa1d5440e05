//! Fetching the inputs of the next step while this one multiplies.
//!
//! Transforms wait for memory and products hardly touch it, so the lines that the next slices need are asked
//! for a few at a time, between products.

use std::ops::Range;

use crate::parts::{InputPart, input_block};
use crate::simd::Simd;
use crate::winograd::Rectangle;

/// A walk through the lines of some slices.
pub(crate) struct Ahead<'a> {
    inputs: &'a [InputPart<'a>],
    n: usize,
    size: [usize; 3],
    slices: Range<usize>,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Block, slice, row and column of the next line.
    at: [usize; 4],
    blocks: usize,
}

impl<'a> Ahead<'a> {
    /// The lines that `rectangle` needs of `slices` (those outside the input are left out).
    pub(crate) fn new(
        inputs: &'a [InputPart<'a>],
        n: usize,
        size: [usize; 3],
        rectangle: Rectangle,
        slices: Range<isize>,
    ) -> Self {
        let inside = |range: Range<isize>, size: usize| {
            let end = range.end.clamp(0, size as isize) as usize;
            (range.start.max(0) as usize).min(end)..end
        };
        let tiles = |from: usize, count: usize| 4 * from as isize - 1..4 * (from + count) as isize + 1;
        let slices = inside(slices, size[0]);
        let rows = inside(tiles(rectangle.row, rectangle.rows), size[1]);
        let columns = inside(tiles(rectangle.column, rectangle.columns), size[2]);
        let at = [0, slices.start, rows.start, columns.start];
        let blocks = if slices.is_empty() { 0 } else { inputs.iter().map(|part| part.blocks).sum() };
        Self { inputs, n, size, slices, rows, columns, at, blocks }
    }

    /// All lines of the walk.
    pub(crate) fn lines(&self) -> usize {
        self.blocks * self.slices.len() * self.rows.len() * self.columns.len()
    }

    /// Asks for the next `count` lines or, at the end of a row, fewer.
    #[inline(always)]
    pub(crate) fn fetch<S: Simd>(&mut self, s: S, count: usize) {
        let [block, z, y, x] = self.at;
        if block >= self.blocks {
            return;
        }
        let [d, h, w] = self.size;
        let (source, index) = input_block(self.inputs, self.n, block);
        let end = (x + count).min(self.columns.end);
        let row = (index * d + z) * h * w + y * w;
        for lines in source.arrays().into_iter().flatten() {
            for line in &lines[row + x..row + end] {
                s.fetch(&raw const *line);
            }
        }
        self.at[3] = end;
        let starts = [0, self.slices.start, self.rows.start, self.columns.start];
        let ends = [self.blocks, self.slices.end, self.rows.end, self.columns.end];
        for axis in (1..4).rev() {
            if self.at[axis] == ends[axis] {
                self.at[axis] = starts[axis];
                self.at[axis - 1] += 1;
            }
        }
    }
}
