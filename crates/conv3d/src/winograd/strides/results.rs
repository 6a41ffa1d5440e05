//! Results of tiles from their values in the plane, a slice at a time.

use std::marker::PhantomData;

use super::super::results::Writing;
use super::super::split::{self, Task};
use super::layout::Room;
use super::{PLANE_VALUES, VALUES, Walk, Way};
use crate::line::Line;
use crate::memory::Buffer;
use crate::moments::Running;
use crate::parts::STREAMED;
use crate::simd::Simd;

impl<W: Way> Walk<'_, W> {
    /// Transforms the results of a step along H and W, and writes them.
    #[inline(always)]
    pub(super) fn write<S: Simd>(&self, s: S, step: usize, room: &Room, workspace: &Buffer) {
        let [d, h, w] = self.job.to;
        let Task { n, rectangle, .. } = self.task;
        let layout = &room.outputs;
        let results = &workspace[room.starts[1]..][..W::OUTPUTS * layout.lines()];
        let stream = self.job.output.lines() >= STREAMED;
        let moments = self.job.epilogue.moments;
        let depth = W::OUTPUTS.min(d - W::OUTPUTS * step);
        for block in 0..layout.blocks {
            let (out, start, add) = self.job.output.block(n, block, d * h * w);
            let writing = match (add, stream) {
                (true, _) => Writing::Add,
                (false, true) => Writing::Stream,
                (false, false) => Writing::Store,
            };
            let offsets = layout.offsets(block);
            for row in 0..rectangle.rows {
                let y = W::OUTPUTS * (rectangle.row + row);
                let height = W::OUTPUTS.min(h - y);
                let slice = |z: usize, column: usize| {
                    let x = W::OUTPUTS * (rectangle.column + column);
                    let width = W::OUTPUTS.min(w - x);
                    let at = start + ((W::OUTPUTS * step + z) * h + y) * w + x;
                    // SAFETY: these voxels of this block are of this task alone; the part checks that the last of them
                    // are in the output.
                    let to = unsafe {
                        let _ = out.part(at + (height - 1) * w, width);
                        out.pointer(at)
                    };
                    let from = results[z * layout.lines() + row * rectangle.columns + column..].as_ptr();
                    TileSlice::<W> {
                        from,
                        offsets: &offsets,
                        to,
                        row_step: w,
                        height,
                        width,
                        way: PhantomData,
                    }
                };
                // SAFETY: the values of a tile are within the slice's lines by `Layout`; the parts above are within the
                // output, and the voxels and the piece of the moments are of this task alone.
                unsafe {
                    // Sums are about the first value.
                    let first = if moments.is_some() { slice(0, 0).first(s) } else { s.zero() };
                    let mut running = Running::new(s, first);
                    for z in 0..depth {
                        for column in 0..rectangle.columns {
                            let slice = slice(z, column);
                            if moments.is_some() {
                                slice.write::<S, true>(s, writing, &mut running);
                            } else {
                                slice.write::<S, false>(s, writing, &mut running);
                            }
                        }
                    }
                    if let Some(moments) = moments {
                        let mut piece = running.finish(s);
                        let x = W::OUTPUTS * rectangle.column;
                        piece.count = depth * height * (W::OUTPUTS * rectangle.columns).min(w - x);
                        let at = split::piece(&self.task, self.grid, [layout.blocks, block], step, row);
                        moments.part(at, 1)[0] = piece;
                    }
                }
            }
        }
    }
}

/// One slice of one tile of one block of an output.
#[derive(Clone, Copy)]
struct TileSlice<'a, W> {
    /// Line 0 of the tile, and where its values are from there on.
    from: *const Line,
    offsets: &'a [usize; PLANE_VALUES],
    /// The first voxel of the slice.
    to: *mut Line,
    /// From one row of voxels to the next.
    row_step: usize,
    /// Rows and columns of the tile that lie inside the output.
    height: usize,
    width: usize,
    way: PhantomData<W>,
}

impl<W: Way> TileSlice<'_, W> {
    /// The rows of outputs at the nine values along W.
    ///
    /// # Safety
    /// The values can be read.
    #[inline(always)]
    unsafe fn rows<S: Simd>(&self, s: S) -> [[S::V; VALUES]; 8] {
        let mut rows = [[s.zero(); VALUES]; 8];
        for w in 0..VALUES {
            let mut column = [s.zero(); VALUES];
            for h in 0..VALUES {
                // SAFETY: the caller answers for the line.
                column[h] = unsafe { s.load(self.from.add(self.offsets[h * VALUES + w])) };
            }
            let outputs = W::outputs(s, column);
            for i in 0..W::OUTPUTS {
                rows[i][w] = outputs[i];
            }
        }
        rows
    }

    /// The first output, before it is added to anything.
    ///
    /// # Safety
    /// The values can be read.
    #[inline(always)]
    unsafe fn first<S: Simd>(&self, s: S) -> S::V {
        // SAFETY: the caller answers for the values.
        W::outputs(s, unsafe { self.rows(s) }[0])[0]
    }

    /// Writes the outputs, and pushes them to `running` if `MOMENTS`.
    ///
    /// # Safety
    /// The values can be read. `height` rows of `width` lines from `to` on, `row_step` apart, can be read and
    /// written, and nobody else touches them meanwhile.
    #[inline(always)]
    unsafe fn write<S: Simd, const MOMENTS: bool>(&self, s: S, writing: Writing, running: &mut Running<S>) {
        let mut sums = *running;
        // SAFETY: the caller answers for values and outputs.
        unsafe {
            let rows = self.rows(s);
            for i in 0..self.height {
                let values = W::outputs(s, rows[i]);
                let to = self.to.add(i * self.row_step);
                // With the number known all stay in registers.
                if self.width == W::OUTPUTS {
                    for j in 0..W::OUTPUTS {
                        put::<S, MOMENTS>(s, writing, to.add(j), values[j], &mut sums);
                    }
                } else {
                    for j in 0..self.width {
                        put::<S, MOMENTS>(s, writing, to.add(j), values[j], &mut sums);
                    }
                }
            }
        }
        *running = sums;
    }
}

/// Writes one line.
///
/// # Safety
/// It can be read and written, and nobody else touches it meanwhile.
#[inline(always)]
unsafe fn put<S: Simd, const MOMENTS: bool>(
    s: S,
    writing: Writing,
    to: *mut Line,
    mut value: S::V,
    running: &mut Running<S>,
) {
    // SAFETY: the caller answers for the line.
    unsafe {
        match writing {
            Writing::Stream => s.stream(to, value),
            Writing::Add => {
                value = s.add(value, s.load(to));
                s.store(to, value);
            }
            Writing::Store => s.store(to, value),
        }
    }
    if MOMENTS {
        running.push(s, value);
    }
}
