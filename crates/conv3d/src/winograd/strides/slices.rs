//! Inputs of tiles to values in the plane, a slice at a time.

use std::marker::PhantomData;

use super::super::split::Task;
use super::layout::Room;
use super::{MOST, VALUES, Walk, Way, slot};
use crate::line::Line;
use crate::memory::Buffer;
use crate::parts::input_block;
use crate::simd::Simd;
use crate::source::{Lines, WithLines};

/// Tiles of a row that are transformed together: their columns stay in the first-level cache.
pub(super) const STRIP: usize = 6;

impl<W: Way> Walk<'_, W> {
    /// Takes slice `z` of all input blocks to the ring, transformed along H and W.
    #[inline(always)]
    pub(super) fn slice<S: Simd>(&self, s: S, z: isize, room: &Room, workspace: &mut Buffer) {
        let [d, h, w] = self.job.from;
        let (lines, columns) = workspace.split_at_mut(room.starts[4]);
        let slice = room.inputs.lines();
        let ring = &mut lines[slot::<W>(z) * slice..][..slice];
        if z < 0 || z >= d as isize {
            for line in ring {
                // SAFETY: a mutable reference to a line can be written.
                unsafe { s.store(&raw mut *line, s.zero()) };
            }
            return;
        }
        for block in 0..room.inputs.blocks {
            let (source, index) = input_block(self.job.inputs, self.task.n, block);
            let way = PhantomData::<W>;
            let work =
                Slice { s, task: &self.task, size: [h, w], z: z as usize, block, room, ring, columns, way };
            source.block(s, index, d * h * w, work);
        }
    }
}

/// One slice of one block, to be transformed along H and W.
struct Slice<'a, S, W> {
    s: S,
    task: &'a Task,
    /// (H, W) of the input.
    size: [usize; 2],
    z: usize,
    block: usize,
    room: &'a Room,
    ring: &'a mut [Line],
    columns: &'a mut [Line],
    way: PhantomData<W>,
}

impl<S: Simd, W: Way> WithLines<S> for Slice<'_, S, W> {
    #[inline(always)]
    fn with<L: Lines<S>>(mut self, lines: L) {
        let (rows, columns) = (self.task.rectangle.rows, self.task.rectangle.columns);
        for row in 0..rows {
            for column in (0..columns).step_by(STRIP) {
                let tiles = STRIP.min(columns - column);
                // SAFETY: `Walk::slice` asks for a block of D·H·W lines and a slice inside it.
                unsafe { self.strip(lines, row, column, tiles) };
            }
        }
    }
}

impl<S: Simd, W: Way> Slice<'_, S, W> {
    /// Transforms `tiles` tiles from `column` on of tile row `row` of the rectangle.
    ///
    /// # Safety
    /// `lines` is a block of D·H·W lines, and slice z is inside it.
    #[inline(always)]
    unsafe fn strip<L: Lines<S>>(&mut self, lines: L, row: usize, column: usize, tiles: usize) {
        let (s, [h, w], layout) = (self.s, self.size, &self.room.inputs);
        let rectangle = self.task.rectangle;
        let width = W::INPUT_STEP * tiles + W::INPUTS - W::INPUT_STEP;
        let columns = &mut self.columns[..VALUES * width];
        let top = (W::INPUT_STEP * (rectangle.row + row)) as isize - W::BEFORE as isize;
        let left = (W::INPUT_STEP * (rectangle.column + column)) as isize - W::BEFORE as isize;
        let slice = self.z * h * w;
        // The rows and columns that lie in the slice.
        let inside = |start: isize, count: usize, size: usize| {
            let first = ((-start).max(0) as usize).min(count);
            let last = ((size as isize - start).max(0) as usize).min(count);
            (first, last.max(first))
        };
        let (first_row, last_row) = inside(top, W::INPUTS, h);
        let whole = (first_row, last_row) == (0, W::INPUTS);
        let (first, last) = inside(left, width, w);
        let columns = columns.as_mut_ptr();
        // SAFETY: writes to `columns` stay below VALUES · width; reads of `lines` have a row and a column inside the
        // slice; the ring has the lines that `Layout::at` says for each of the rectangle's tiles.
        unsafe {
            for x in (0..first).chain(last..width) {
                for i in 0..VALUES {
                    s.store(columns.add(i * width + x), s.zero());
                }
            }
            for x in first..last {
                let at = slice + x.wrapping_add_signed(left);
                let mut inputs = [s.zero(); MOST];
                // With the number known all stay in registers.
                if whole {
                    let at = at + top as usize * w;
                    for i in 0..W::INPUTS {
                        inputs[i] = lines.get(s, at + i * w);
                    }
                } else {
                    for i in first_row..last_row {
                        inputs[i] = lines.get(s, at + (top + i as isize) as usize * w);
                    }
                }
                let values = W::values(s, inputs);
                for i in 0..VALUES {
                    s.store(columns.add(i * width + x), values[i]);
                }
            }
            let ring = self.ring.as_mut_ptr().add(row * rectangle.columns + column);
            let offsets = layout.offsets(self.block);
            for i in 0..VALUES {
                let to: [*mut Line; VALUES] = std::array::from_fn(|j| ring.add(offsets[i * VALUES + j]));
                for tile in 0..tiles {
                    let mut inputs = [s.zero(); MOST];
                    for j in 0..W::INPUTS {
                        inputs[j] = s.load(columns.add(i * width + W::INPUT_STEP * tile + j));
                    }
                    let values = W::values(s, inputs);
                    for j in 0..VALUES {
                        s.store(to[j].add(tile), values[j]);
                    }
                }
            }
        }
    }
}
