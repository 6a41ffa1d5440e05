//! The convolution: tasks that walk down the depth.

use rayon::prelude::*;

use super::results::{TileSlice, Writing};
use super::split::{self, Task};
use super::tiles::{COLUMNS, Data, Slice};
use super::weights::WinogradWeights;
use super::{PLANE, POINTS, SEEN, TILE, transform};
use crate::ahead::{Ahead, Run};
use crate::kernels::disjoint::Disjoint;
use crate::line::LANES;
use crate::memory::Buffer;
use crate::moments::{Piece, Running};
use crate::parts::{InputPart, STREAMED, SharedOutput, input_block};
use crate::product::{Product, pieces, product_of};
use crate::simd::{Isa, Kernel, Simd};

/// What is done with results as they are written.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    /// Sums for the moments: for each sample, output block, tile of depth, row of tiles and piece of
    /// columns, in this order.
    pub(crate) moments: Option<&'a Disjoint<'a, Piece>>,
}

/// A convolution, ready to run.
pub(crate) struct Forward<'a> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    /// (D, H, W) of input and output.
    pub(crate) size: [usize; 3],
    pub(crate) inputs: &'a [InputPart<'a>],
    pub(crate) weights: &'a WinogradWeights,
    pub(crate) output: &'a SharedOutput<'a>,
    pub(crate) epilogue: Epilogue<'a>,
}

/// Pieces of the moments that [`Forward`] fills for each block of a sample of `size`.
pub(crate) fn moment_pieces(size: [usize; 3]) -> usize {
    let [d, h, _] = split::tiles(size);
    d * h * split::column_pieces(size).len()
}

impl Forward<'_> {
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
            let lines = self.batch * part.blocks * self.size.iter().product::<usize>();
            assert_eq!(part.source.len(), lines, "an input has its lines");
        }
        let tasks =
            split::tasks(&split::Model::UNIT, self.batch, self.size, blocks, rayon::current_num_threads());
        tasks.par_iter().with_max_len(1).for_each(|task| self.isa.run(Walk { job: self, task: *task }));
    }
}

/// One task of a convolution.
struct Walk<'a> {
    job: &'a Forward<'a>,
    task: Task,
}

/// Where things are in the workspace of a task, in lines.
struct Room {
    tiles: usize,
    /// From a point of the ring to the next.
    ring_point: usize,
    /// From a slice of the ring to the next.
    ring_slice: usize,
    /// From a point of the results to the next, and from a slice to the next.
    result_point: usize,
    result_slice: usize,
    /// Where each begins: ring, results, inputs and products along the depth, columns.
    starts: [usize; 5],
    lines: usize,
}

impl Room {
    #[inline(always)]
    fn new(tiles: usize, [inputs, outputs]: [usize; 2]) -> Self {
        // One line more than is used, so that points do not fall on the same sets of the cache.
        let (ring_point, result_point) = (inputs * tiles + 1, outputs * tiles + 1);
        let (ring_slice, result_slice) = (PLANE * ring_point, PLANE * result_point);
        let sizes = [
            POINTS * ring_slice,
            TILE * result_slice,
            POINTS * inputs * tiles,
            POINTS * outputs * tiles,
            COLUMNS,
        ];
        let mut starts = [0; 5];
        let mut lines = 0;
        for (start, size) in starts.iter_mut().zip(sizes) {
            *start = lines;
            lines += size;
        }
        Self { tiles, ring_point, ring_slice, result_point, result_slice, starts, lines }
    }
}

impl Kernel for Walk<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { rectangle, from, to, .. } = self.task;
        let room = Room::new(rectangle.tiles(), [self.job.weights.inputs, self.job.weights.outputs]);
        let mut workspace = Buffer::new(room.lines);
        let mut next = (TILE * from) as isize - 1;
        for step in from..to {
            let last = (TILE * step + POINTS - 1) as isize - 1;
            for z in next..=last {
                self.slice(s, z, &room, &mut workspace);
            }
            next = last + 1;
            let slices = if step + 1 < to { next..next + TILE as isize } else { next..next };
            let next_runs = {
                let (inputs, n, size) = (self.job.inputs, self.task.n, self.job.size);
                self.task.rectangle.runs(inputs, n, size, slices, SEEN)
            };
            s.run(Planes { walk: &self, room: &room, workspace: &mut workspace, step, next_runs });
            self.write(s, step, &room, &workspace);
        }
    }
}

/// The slot of the ring in which slice z (from −1 on) is.
#[inline(always)]
pub(super) fn slot(z: isize) -> usize {
    (z + 1) as usize % POINTS
}

impl Walk<'_> {
    /// Transforms slice `z` of all input blocks into the ring.
    #[inline(always)]
    fn slice<S: Simd>(&self, s: S, z: isize, room: &Room, workspace: &mut Buffer) {
        let (lines, columns) = workspace.split_at_mut(room.starts[4]);
        let ring = &mut lines[slot(z) * room.ring_slice..][..room.ring_slice];
        for block in 0..self.job.weights.inputs {
            let (source, index) = input_block(self.job.inputs, self.task.n, block);
            let slice = Slice {
                size: self.job.size,
                rectangle: self.task.rectangle,
                z,
                columns,
                to: ring[block * room.tiles..].as_mut_ptr(),
                point_step: room.ring_point,
            };
            // SAFETY: the slice of the ring has 36 points of a line for each block and tile, and is
            // borrowed mutably.
            unsafe { slice.run::<S, Data>(s, source, index) };
        }
    }

    /// Transforms the results of a step along H and W, and writes them.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, step: usize, room: &Room, workspace: &Buffer) {
        let [d, h, w] = self.job.size;
        let Task { n, rectangle, .. } = self.task;
        let results = &workspace[room.starts[1]..][..TILE * room.result_slice];
        let stream = self.job.output.lines() >= STREAMED;
        let moments = self.job.epilogue.moments.is_some();
        let depth = TILE.min(d - TILE * step);
        for block in 0..self.job.weights.outputs {
            let (out, start, add) = self.job.output.block(n, block, d * h * w);
            let writing = match (add, stream) {
                (true, _) => Writing::Add,
                (false, true) => Writing::Stream,
                (false, false) => Writing::Store,
            };
            for row in 0..rectangle.rows {
                let y = TILE * (rectangle.row + row);
                let height = TILE.min(h - y);
                let slice = |z: usize, column: usize| {
                    let x = TILE * (rectangle.column + column);
                    let width = TILE.min(w - x);
                    let first = z * room.result_slice + block * room.tiles + row * rectangle.columns + column;
                    let at = start + ((TILE * step + z) * h + y) * w + x;
                    // SAFETY: these voxels of this block are of this task alone; the part checks that the last
                    // of them are in the output.
                    let to = unsafe {
                        let _ = out.part(at + (height - 1) * w, width);
                        out.pointer(at)
                    };
                    let from = results[first..].as_ptr();
                    TileSlice { from, point_step: room.result_point, to, row_step: w, height, width }
                };
                // Sums are about the first value.
                // SAFETY: point p of a tile lies p · result_point lines further, within the results of
                // slice z by their sizes in `Room::new`; the parts above are within the output.
                let mut running =
                    unsafe { Running::new(s, if moments { slice(0, 0).first(s) } else { s.zero() }) };
                for z in 0..depth {
                    for column in 0..rectangle.columns {
                        // SAFETY: as for the first; the voxels are of this task alone.
                        unsafe { slice(z, column).write(s, writing, moments.then_some(&mut running)) };
                    }
                }
                if let Some(moments) = self.job.epilogue.moments {
                    let mut piece = running.finish(s);
                    let x = TILE * rectangle.column;
                    piece.count = depth * height * (TILE * rectangle.columns).min(w - x);
                    let blocks = [self.job.weights.outputs, block];
                    let at = split::piece(&self.task, self.job.size, blocks, step, row);
                    // SAFETY: this piece is of this task alone.
                    unsafe { moments.part(at, 1)[0] = piece };
                }
            }
        }
    }
}

/// The points of a step: along the depth, products, and back.
struct Planes<'a, 'b> {
    walk: &'a Walk<'b>,
    room: &'a Room,
    workspace: &'a mut Buffer,
    step: usize,
    /// What the next step reads.
    next_runs: Vec<Run>,
}

impl Kernel for Planes<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let room = self.room;
        let weights = self.walk.job.weights;
        let (inputs, outputs) = (weights.inputs, weights.outputs);
        let offsets: Vec<usize> = (0..inputs).map(|block| block * room.tiles * LANES).collect();
        let first = (TILE * self.step) as isize - 1;
        let slots: [usize; POINTS] = std::array::from_fn(|i| slot(first + i as isize) * room.ring_slice);
        let workspace = self.workspace.as_mut_ptr();
        let [ring, results, depth, products, _] = room.starts;
        let blocks: Vec<(usize, usize)> = pieces(room.tiles, S::ROWS).collect();
        let groups: Vec<(usize, usize)> = weights.groups().collect();
        let calls = PLANE * POINTS * groups.len() * blocks.len();
        let mut ahead = Ahead::new(self.next_runs, calls);
        for plane in 0..PLANE {
            // SAFETY: all indices follow the sizes in `Room::new`: plane < 36, slots < 6, i < inputs · tiles
            // or outputs · tiles. The product reads `inputs` blocks of `tiles` rows of sixteen numbers from
            // `depth` on and writes `outputs` blocks of `tiles` lines from `products` on; `at` has the
            // weights of all blocks. The workspace is borrowed mutably and nothing read is written by the
            // same call.
            unsafe {
                let ring = workspace.add(ring + plane * room.ring_point);
                let depth = workspace.add(depth);
                for i in 0..inputs * room.tiles {
                    let mut slices = [s.zero(); POINTS];
                    for q in 0..POINTS {
                        slices[q] = s.load(ring.add(slots[q] + i));
                    }
                    let points = transform::data(s, slices);
                    for q in 0..POINTS {
                        s.store(depth.add(q * inputs * room.tiles + i), points[q]);
                    }
                }
                let products = workspace.add(products);
                for q in 0..POINTS {
                    for &(group, vectors) in &groups {
                        for &(tile, rows) in &blocks {
                            ahead.fetch(s);
                            let product = Product {
                                data: depth.add(q * inputs * room.tiles + tile).cast(),
                                offsets: &offsets,
                                weights: weights.at(plane, q, group).as_ptr(),
                                out: products.add((q * outputs + group) * room.tiles + tile),
                                out_step: room.tiles,
                            };
                            product_of::<S, LANES, LANES, false>(s, rows, vectors, product);
                        }
                    }
                }
                let results = workspace.add(results + plane * room.result_point);
                for i in 0..outputs * room.tiles {
                    let mut points = [s.zero(); POINTS];
                    for q in 0..POINTS {
                        points[q] = s.load(products.add(q * outputs * room.tiles + i));
                    }
                    let lines = transform::result(s, points);
                    for z in 0..TILE {
                        s.store(results.add(z * room.result_slice + i), lines[z]);
                    }
                }
            }
        }
    }
}
