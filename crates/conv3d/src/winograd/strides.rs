//! 3×3×3 convolution of stride 2 and padding 1, and its adjoint, by minimal filtering of its halves.
//!
//! Along an axis, outputs of stride 2 see even and odd inputs apart: y[i] = w₁ e[i] + (w₀ o[i] + w₂ o[i + 1]) with
//! e[i] = x[2i] and o[i] = x[2i − 1]. Four outputs need four products of the first kind and, by F(4, 2), five of the
//! second instead of eight: nine for twelve, along three axes 729 products for 64 outputs instead of 1728. Where the
//! other axes have the weight w₁, neighbours have the same weights, so that products of matrices have rows enough even
//! where there are few tiles.
//!
//! The adjoint goes the other way: x′[2i] = w₁ g[i], and x′[2i + 1] = w₂ g[i] + w₀ g[i + 1] by F(4, 2).

use std::marker::PhantomData;

use rayon::prelude::*;

use super::forward::Epilogue;
use super::results::Writing;
use super::split::{self, Task};
use super::weights::WinogradWeights;
use super::{POINTS, TILE, transform};
use crate::ahead::{Ahead, Run};
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::moments::Running;
use crate::parts::{InputPart, STREAMED, SharedOutput, input_block};
use crate::product::{Product, pieces, product_of};
use crate::simd::{Isa, Kernel, Simd};
use crate::source::{Lines, WithLines};

/// Values of a tile along an axis: four of the first kind, five points of the second.
const VALUES: usize = 9;
/// Values of a tile in the plane.
const PLANE_VALUES: usize = VALUES * VALUES;
/// Most values that a tile reads or gives along an axis.
const MOST: usize = 9;

/// Rows that go through the depth together.
const ROWS: usize = 24;

/// How a tile looks at its inputs, and what becomes of its products, along one axis.
pub(crate) trait Way: Sync {
    /// Inputs of a tile, from one tile to the next, and before the first of the tile.
    const INPUTS: usize;
    const INPUT_STEP: usize;
    const BEFORE: usize;
    /// Which input is the first of each kind, and from one of a kind to the next.
    const FIRST: [usize; 2];
    const APART: usize;
    /// Outputs of a tile.
    const OUTPUTS: usize;

    /// The outputs of the values of a tile, in the first [`Way::OUTPUTS`] places.
    fn outputs<S: Simd>(s: S, values: [S::V; VALUES]) -> [S::V; 8];

    /// The values of the first [`Way::INPUTS`] inputs.
    #[inline(always)]
    fn values<S: Simd>(s: S, inputs: [S::V; MOST]) -> [S::V; VALUES] {
        let [even, odd] = Self::FIRST;
        let mut seconds = [s.zero(); 5];
        for i in 0..5 {
            seconds[i] = inputs[odd + Self::APART * i];
        }
        let points = transform::pair_data(s, seconds);
        let mut values = [s.zero(); VALUES];
        for i in 0..4 {
            values[i] = inputs[even + Self::APART * i];
        }
        values[4..].copy_from_slice(&points);
        values
    }
}

/// From inputs to outputs of half the size.
pub(crate) struct Halving;

impl Way for Halving {
    const INPUTS: usize = 9;
    const INPUT_STEP: usize = 8;
    const BEFORE: usize = 1;
    const FIRST: [usize; 2] = [1, 0];
    const APART: usize = 2;
    const OUTPUTS: usize = 4;

    #[inline(always)]
    fn outputs<S: Simd>(s: S, [a, b, c, d, points @ ..]: [S::V; VALUES]) -> [S::V; 8] {
        let [e, f, g, h] = transform::pair_result(s, points);
        let zero = s.zero();
        [s.add(a, e), s.add(b, f), s.add(c, g), s.add(d, h), zero, zero, zero, zero]
    }
}

/// From the gradient of the outputs to that of the inputs.
pub(crate) struct Doubling;

impl Way for Doubling {
    const INPUTS: usize = 5;
    const INPUT_STEP: usize = 4;
    const BEFORE: usize = 0;
    const FIRST: [usize; 2] = [0, 0];
    const APART: usize = 1;
    const OUTPUTS: usize = 8;

    #[inline(always)]
    fn outputs<S: Simd>(s: S, [a, b, c, d, points @ ..]: [S::V; VALUES]) -> [S::V; 8] {
        let [e, f, g, h] = transform::pair_result(s, points);
        [a, e, b, f, c, g, d, h]
    }
}

/// A convolution or its adjoint, ready to run.
pub(crate) struct Strided<'a, W> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    /// (D, H, W) of what is read.
    pub(crate) from: [usize; 3],
    /// (D, H, W) of what is written.
    pub(crate) to: [usize; 3],
    pub(crate) inputs: &'a [InputPart<'a>],
    pub(crate) weights: &'a WinogradWeights,
    pub(crate) output: &'a SharedOutput<'a>,
    /// Moments of the outputs, for [`Halving`] alone.
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) way: PhantomData<W>,
}

impl<W: Way> Strided<'_, W> {
    /// Runs it on rayon's current pool.
    pub(crate) fn run(&self) {
        let blocks = [self.weights.inputs, self.weights.outputs];
        assert_eq!(
            self.inputs.iter().map(|part| part.blocks).sum::<usize>(),
            blocks[0],
            "inputs fit the weights"
        );
        assert_eq!(self.output.blocks(), blocks[1], "outputs fit the weights");
        for part in self.inputs {
            let lines = self.batch * part.blocks * self.from.iter().product::<usize>();
            assert_eq!(part.source.len(), lines, "an input has its lines");
        }
        let inputs_fit = self.to.iter().zip(self.from).all(|(&to, from)| {
            let halves = if W::OUTPUTS == TILE { (to, from) } else { (from, to) };
            halves.0 == halves.1.div_ceil(2)
        });
        assert!(inputs_fit, "one of {:?} and {:?} is half of the other", self.from, self.to);
        let grid = self.to.map(|n| n.div_ceil(W::OUTPUTS) * TILE);
        let model = split::Model::strided(W::INPUT_STEP, W::OUTPUTS);
        let tasks = split::tasks(&model, self.batch, grid, blocks, rayon::current_num_threads());
        tasks.par_iter().with_max_len(1).for_each(|task| self.isa.run(Walk { job: self, task: *task, grid }));
    }
}

/// One task: a rectangle of tiles that walks down the depth.
struct Walk<'a, W> {
    job: &'a Strided<'a, W>,
    task: Task,
    /// Four voxels for each tile, which is what `split` counts in.
    grid: [usize; 3],
}

/// How many values of a tile have the weights at point `point` of an axis: the four of the first kind share theirs.
const fn shared(point: usize) -> usize {
    if point == 0 { 4 } else { 1 }
}

/// Where the values of a plane are: those with the same weights beside one another, by block, value and tile.
struct Layout {
    tiles: usize,
    blocks: usize,
}

impl Layout {
    /// Values with the weights at point `plane` of the plane (point along H · 6 + point along W).
    #[inline(always)]
    const fn values(plane: usize) -> usize {
        shared(plane / POINTS) * shared(plane % POINTS)
    }

    /// Line of the first of them. One line more a point than is used, so that points do not fall on the same sets
    /// of the cache.
    #[inline(always)]
    fn start(&self, plane: usize) -> usize {
        let (h, w) = (plane / POINTS, plane % POINTS);
        // Nine values along W for each of those along H before.
        let above = if h == 0 { 0 } else { 3 + h };
        let before = if w == 0 { 0 } else { 3 + w };
        (above * VALUES + shared(h) * before) * self.tiles * self.blocks + plane
    }

    /// Line of value `h`, `w` (0 to 8 each) of block `block` of tile 0.
    #[inline(always)]
    fn at(&self, h: usize, w: usize, block: usize) -> usize {
        let point = |value: usize| if value < 4 { (0, value) } else { (value - 3, 0) };
        let ((h, i), (w, j)) = (point(h), point(w));
        let plane = h * POINTS + w;
        self.start(plane) + (block * Self::values(plane) + i * shared(w) + j) * self.tiles
    }

    /// [`Layout::at`] of all values of a block.
    #[inline(always)]
    fn offsets(&self, block: usize) -> [usize; PLANE_VALUES] {
        std::array::from_fn(|i| self.at(i / VALUES, i % VALUES, block))
    }

    /// Lines of a slice.
    fn lines(&self) -> usize {
        PLANE_VALUES * self.tiles * self.blocks + POINTS * POINTS
    }
}

/// Where things are in the workspace of a task, in lines.
struct Room {
    inputs: Layout,
    outputs: Layout,
    /// Ring, results, points and products along the depth, columns.
    starts: [usize; 5],
    lines: usize,
}

/// Tiles of a row that are transformed together.
const STRIP: usize = 6;

impl Room {
    fn new<W: Way>(tiles: usize, [inputs, outputs]: [usize; 2]) -> Self {
        let (inputs, outputs) = (Layout { tiles, blocks: inputs }, Layout { tiles, blocks: outputs });
        let sizes = [
            W::INPUTS * inputs.lines(),
            W::OUTPUTS * outputs.lines(),
            5 * inputs.blocks * ROWS,
            VALUES * outputs.blocks * ROWS,
            VALUES * (W::INPUT_STEP * STRIP + W::INPUTS - W::INPUT_STEP),
        ];
        let mut starts = [0; 5];
        let mut lines = 0;
        for (start, size) in starts.iter_mut().zip(sizes) {
            *start = lines;
            lines += size;
        }
        Self { inputs, outputs, starts, lines }
    }
}

/// The slot of the ring in which slice z (from −`BEFORE` on) is.
#[inline(always)]
fn slot<W: Way>(z: isize) -> usize {
    (z + W::BEFORE as isize) as usize % W::INPUTS
}

impl<W: Way> Kernel for Walk<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { rectangle, from, to, .. } = self.task;
        let blocks = [self.job.weights.inputs, self.job.weights.outputs];
        let room = Room::new::<W>(rectangle.tiles(), blocks);
        let mut workspace = Buffer::new(room.lines);
        let first = |step: usize| (W::INPUT_STEP * step) as isize - W::BEFORE as isize;
        let mut next = first(from);
        for step in from..to {
            let end = first(step) + W::INPUTS as isize;
            for z in next..end {
                self.slice(s, z, &room, &mut workspace);
            }
            next = end;
            let slices = if step + 1 < to { next..next + W::INPUT_STEP as isize } else { next..next };
            let seen = [W::INPUT_STEP, W::BEFORE, W::INPUTS];
            let next_runs = rectangle.runs(self.job.inputs, self.task.n, self.job.from, slices, seen);
            s.run(Planes { walk: &self, room: &room, workspace: &mut workspace, step, next_runs });
            self.write(s, step, &room, &workspace);
        }
    }
}

impl<W: Way> Walk<'_, W> {
    /// Takes slice `z` of all input blocks to the ring, transformed along H and W.
    #[inline(always)]
    fn slice<S: Simd>(&self, s: S, z: isize, room: &Room, workspace: &mut Buffer) {
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

    /// Transforms the results of a step along H and W, and writes them.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, step: usize, room: &Room, workspace: &Buffer) {
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

/// The values of a step: along the depth, products, and back.
struct Planes<'a, 'b, W> {
    walk: &'a Walk<'b, W>,
    room: &'a Room,
    workspace: &'a mut Buffer,
    step: usize,
    /// What the next step reads.
    next_runs: Vec<Run>,
}

impl<W: Way> Kernel for Planes<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (room, weights) = (self.room, self.walk.job.weights);
        let Layout { tiles, blocks: inputs } = room.inputs;
        let outputs = room.outputs.blocks;
        let first = (W::INPUT_STEP * self.step) as isize - W::BEFORE as isize;
        let slices: [usize; MOST] =
            std::array::from_fn(|i| slot::<W>(first + i as isize) * room.inputs.lines());
        let [even, odd] = W::FIRST;
        let workspace = self.workspace.as_mut_ptr();
        let [ring, results, points, products, _] = room.starts;
        let groups: Vec<(usize, usize)> = weights.groups().collect();
        let mut ahead = Ahead::new(self.next_runs, POINTS * POINTS * groups.len());
        for plane in 0..POINTS * POINTS {
            let rows = Layout::values(plane) * tiles;
            let in_ring: Vec<usize> = (0..inputs).map(|block| block * rows * LANES).collect();
            for (from, count) in pieces(rows, ROWS) {
                let in_points: Vec<usize> = (0..inputs).map(|block| block * count * LANES).collect();
                // SAFETY: all indices follow the sizes in `Room::new`: `count` is at most ROWS, a plane has `rows` lines for
                // each block of a slice, of which these are `count` from `from` on. The products read `inputs` blocks of
                // `count` rows of sixteen numbers and write `outputs` blocks of `count` lines; `at` has the weights of all
                // blocks. The workspace is borrowed mutably and nothing read is written by the same call.
                unsafe {
                    let ring = workspace.add(ring + room.inputs.start(plane) + from);
                    let (points, products) = (workspace.add(points), workspace.add(products));
                    for block in 0..inputs {
                        for i in 0..count {
                            let mut values = [s.zero(); 5];
                            for q in 0..5 {
                                values[q] = s.load(ring.add(slices[odd + W::APART * q] + block * rows + i));
                            }
                            let values = transform::pair_data(s, values);
                            for q in 0..5 {
                                s.store(points.add((q * inputs + block) * count + i), values[q]);
                            }
                        }
                    }
                    for &(group, vectors) in &groups {
                        ahead.fetch(s);
                        for q in 0..VALUES {
                            let (data, offsets): (*const Line, &[usize]) = if q < 4 {
                                (ring.add(slices[even + W::APART * q]), &in_ring)
                            } else {
                                (points.add((q - 4) * inputs * count), &in_points)
                            };
                            let weights = weights.at(plane, q.saturating_sub(3), group).as_ptr();
                            for (row, rows) in pieces(count, S::ROWS) {
                                let out = products.add((q * outputs + group) * count + row);
                                let data = data.add(row).cast();
                                let product = Product { data, offsets, weights, out, out_step: count };
                                product_of::<S, LANES, LANES, false>(s, rows, vectors, product);
                            }
                        }
                    }
                    let results = workspace.add(results + room.outputs.start(plane) + from);
                    for block in 0..outputs {
                        for i in 0..count {
                            let mut values = [s.zero(); VALUES];
                            for q in 0..VALUES {
                                values[q] = s.load(products.add((q * outputs + block) * count + i));
                            }
                            let lines = W::outputs(s, values);
                            for z in 0..W::OUTPUTS {
                                s.store(results.add(z * room.outputs.lines() + block * rows + i), lines[z]);
                            }
                        }
                    }
                }
            }
        }
    }
}
