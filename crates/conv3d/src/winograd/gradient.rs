//! The gradient for the weights: F(3×3×3, 4×4×4).
//!
//! ```text
//! for each tile: V = Bᵀ x…, H = N G g…, and at each of the 216 points p
//!   U[p, c, o] += V[p, c] · H[p, o]
//! dw = Aᵀ N⁻¹ U…
//! ```
//! With few channels the sums U of a group of tiles stay in the second-level cache, and each group walks
//! down the depth as the convolution does. With many, U would not fit there:
//! [`gradient_planes`](super::gradient_planes) and, for few tiles,
//! [`gradient_phases`](super::gradient_phases) turn the loops round.

use rayon::prelude::*;

use super::forward::slot;
use super::split::{self, Task};
use super::tiles::{COLUMNS, Data, Gradient, Slice};
use super::{PLANE, POINTS, SEEN, TILE, gradient_phases, gradient_planes, transform};
use crate::ahead::Ahead;
use crate::channels::Channels;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::parts::{InputPart, input_block};
use crate::product::{Sums, add_products};
use crate::simd::{Isa, Kernel, Simd};
use crate::source::Source;

/// Pairs of input and output blocks up to which the sums of a group stay near: 216 · 16 · 64 bytes each.
const MOST_PAIRS: usize = 8;

/// Pairs of blocks, and tiles, up to which groups that walk are ahead: above, only where there are so many tiles
/// that the groups are alike and each sum is used long enough.
const FEW_PAIRS: usize = 2;
const MANY_TILES: usize = 768;

/// Weights that a task adds up.
const CHUNK: usize = 1 << 12;

/// Tiles up to which the sums of all channels are more than the tiles.
const FEW_TILES: usize = 48;

/// A gradient for the weights, ready to run.
pub(crate) struct WeightGradient<'a> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    /// (D, H, W) of input and output.
    pub(crate) size: [usize; 3],
    pub(crate) inputs: &'a [InputPart<'a>],
    pub(crate) gradient: Source<'a>,
    pub(crate) input_channels: &'a Channels,
    pub(crate) output_channels: &'a Channels,
}

impl WeightGradient<'_> {
    /// The gradient (C_out, C_in, 3, 3, 3).
    pub(crate) fn run(&self) -> Vec<f32> {
        let voxels = self.size.iter().product::<usize>();
        assert_eq!(self.inputs.iter().map(|part| part.blocks).sum::<usize>(), self.input_channels.blocks());
        for part in self.inputs {
            assert_eq!(part.source.len(), self.batch * part.blocks * voxels, "an input has its lines");
        }
        let lines = self.batch * self.output_channels.blocks() * voxels;
        assert_eq!(self.gradient.len(), lines, "the gradient has its lines");
        let tiles: usize = self.batch * split::tiles(self.size).iter().product::<usize>();
        if self.pairs() > MOST_PAIRS || self.pairs() > FEW_PAIRS && tiles < MANY_TILES {
            return if tiles > FEW_TILES { gradient_planes::run(self) } else { gradient_phases::run(self) };
        }
        let groups = split::groups(self.batch, self.size);
        let sums: Vec<Vec<f32>> = groups
            .par_iter()
            .with_max_len(1)
            .map(|tasks| {
                let mut sum = vec![0.0; self.numbers()];
                self.isa.run(Group { job: self, tasks, sum: &mut sum });
                sum
            })
            .collect();
        let mut total = vec![0.0; self.numbers()];
        total.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, total)| {
            for sum in &sums {
                for (total, value) in total.iter_mut().zip(&sum[chunk * CHUNK..]) {
                    *total += value;
                }
            }
        });
        total
    }

    /// Pairs of input and output blocks.
    fn pairs(&self) -> usize {
        self.input_channels.blocks() * self.output_channels.blocks()
    }

    /// Weights.
    pub(super) fn numbers(&self) -> usize {
        27 * self.input_channels.count() * self.output_channels.count()
    }

    /// The gradient, from what `weights_of` gives for each group of output blocks (the first and how many) and
    /// each input block: a [`PairBack`]'s weights.
    pub(super) fn join_pairs(&self, weights_of: impl Fn(usize, usize, usize) -> Vec<f32> + Sync) -> Vec<f32> {
        let inputs = self.input_channels.blocks();
        let groups: Vec<(usize, usize)> = self.output_groups(self.isa.vectors()).collect();
        let results: Vec<Vec<f32>> = (0..groups.len() * inputs)
            .into_par_iter()
            .with_max_len(1)
            .map(|task| {
                let (first, vectors) = groups[task / inputs];
                weights_of(first, vectors, task % inputs)
            })
            .collect();
        // For each output channel: its group, and which row of the group's results it has.
        let mut rows = Vec::with_capacity(self.output_channels.count());
        for (group, &(first, vectors)) in groups.iter().enumerate() {
            let count: usize =
                (first..first + vectors).map(|block| self.output_channels.block(block).count).sum();
            rows.extend((0..count).map(|row| (group, row)));
        }
        let mut total = vec![0.0; self.numbers()];
        let all = 27 * self.input_channels.count();
        total.par_chunks_mut(all).zip(&rows).with_min_len(LANES).for_each(|(total, &(group, row))| {
            for (input, block) in self.input_channels.iter().enumerate() {
                let (from, count) = (27 * block.start, 27 * block.count);
                let result = &results[group * inputs + input][row * count..][..count];
                total[from..from + count].copy_from_slice(result);
            }
        });
        total
    }

    /// Groups of output blocks: index of the first and number.
    pub(super) fn output_groups(&self, vectors: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let blocks = self.output_channels.blocks();
        (0..blocks).step_by(vectors).map(move |first| (first, vectors.min(blocks - first)))
    }
}

/// Some tasks and the sums of their tiles.
struct Group<'a, 'b> {
    job: &'a WeightGradient<'b>,
    tasks: &'a [Task],
    sum: &'a mut [f32],
}

impl Kernel for Group<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        // The first products are stored, not added.
        let mut sums = Buffer::new(PLANE * POINTS * job.pairs() * LANES);
        for (i, task) in self.tasks.iter().enumerate() {
            s.run(Walk { job, task: *task, sums: &mut sums, first: i == 0 });
        }
        let inputs = job.input_channels.blocks();
        let point_step = job.pairs() * LANES;
        for (first, vectors) in job.output_groups(S::VECTORS) {
            for input in 0..inputs {
                let from = (first * inputs + input * vectors) * LANES;
                let row = job.input_channels.count();
                let out = &mut *self.sum;
                let sums = &sums[from..];
                s.run(Back { job, input, first, vectors, sums, point_step, out, origin: [0, 0], row });
            }
        }
    }
}

/// From the sums of one input block and one group of output blocks to weights, added to `out`.
struct Back<'a, 'b> {
    job: &'a WeightGradient<'b>,
    input: usize,
    first: usize,
    vectors: usize,
    /// For each point, sixteen input channels of `vectors` lines.
    sums: &'a [Line],
    point_step: usize,
    /// (C_out, C_in, 27) of channels from `origin` (output, input) on, `row` input channels in a row.
    out: &'a mut [f32],
    origin: [usize; 2],
    row: usize,
}

impl Kernel for Back<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let input = self.job.input_channels.block(self.input);
        for v in 0..self.vectors {
            let output = self.job.output_channels.block(self.first + v);
            for k in 0..input.count {
                // SAFETY: references to lines can be read.
                let get = |p: usize, q: usize| unsafe {
                    let line = &self.sums[(p * POINTS + q) * self.point_step + k * self.vectors + v];
                    s.load(&raw const *line)
                };
                // Along D, H and W in turn: [3][6·6], [9][6], [27].
                let mut planes = [[s.zero(); PLANE]; 3];
                for p in 0..PLANE {
                    let depth = transform::gradient_result(
                        s,
                        [get(p, 0), get(p, 1), get(p, 2), get(p, 3), get(p, 4), get(p, 5)],
                    );
                    for d in 0..3 {
                        planes[d][p] = depth[d];
                    }
                }
                let mut taps = [Line::ZERO; 27];
                for (d, plane) in planes.iter().enumerate() {
                    let mut rows = [[s.zero(); POINTS]; 3];
                    for x in 0..POINTS {
                        let at = |y: usize| plane[y * POINTS + x];
                        let column =
                            transform::gradient_result(s, [at(0), at(1), at(2), at(3), at(4), at(5)]);
                        for y in 0..3 {
                            rows[y][x] = column[y];
                        }
                    }
                    for (y, row) in rows.into_iter().enumerate() {
                        let row = transform::gradient_result(s, row);
                        for x in 0..3 {
                            // SAFETY: a mutable reference to a line can be written.
                            unsafe { s.store(&raw mut taps[9 * d + 3 * y + x], row[x]) };
                        }
                    }
                }
                for lane in 0..output.count {
                    let output = output.start + lane - self.origin[0];
                    let at = (output * self.row + input.start + k - self.origin[1]) * 27;
                    for (out, tap) in self.out[at..at + 27].iter_mut().zip(&taps) {
                        *out += tap.0[lane];
                    }
                }
            }
        }
    }
}

/// [`Back`] for an input block and a group of output blocks by themselves: (C_out of the group, C_in of the
/// block, 27).
pub(super) struct PairBack<'a, 'b> {
    pub(super) job: &'a WeightGradient<'b>,
    pub(super) input: usize,
    pub(super) first: usize,
    pub(super) vectors: usize,
    pub(super) sums: &'a [Line],
    pub(super) point_step: usize,
}

impl Kernel for PairBack<'_, '_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let PairBack { job, input, first, vectors, sums, point_step } = self;
        let channels = job.output_channels;
        let rows: usize = (0..vectors).map(|v| channels.block(first + v).count).sum();
        let block = job.input_channels.block(input);
        let mut out = vec![0.0; 27 * rows * block.count];
        let (origin, row) = ([channels.block(first).start, block.start], block.count);
        s.run(Back { job, input, first, vectors, sums, point_step, out: &mut out, origin, row });
        out
    }
}

/// One task of a group.
struct Walk<'a, 'b> {
    job: &'a WeightGradient<'b>,
    task: Task,
    /// For each point, group of output blocks and input block: sixteen times a line for each block.
    sums: &'a mut Buffer,
    /// Whether there is nothing in the sums yet.
    first: bool,
}

impl Kernel for Walk<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (inputs, outputs) = (self.job.input_channels.blocks(), self.job.output_channels.blocks());
        let room = Room::new(self.task.rectangle.tiles(), [inputs, outputs]);
        let mut workspace = Buffer::new(room.lines);
        let mut next = (TILE * self.task.from) as isize - 1;
        for step in self.task.from..self.task.to {
            let last = (TILE * step + POINTS - 1) as isize - 1;
            let slices = Slices { job: self.job, task: self.task, room: &room };
            slices.load(s, step, next..=last, &mut workspace);
            next = last + 1;
            let ring = slots(step, &room);
            let tiles = room.tiles;
            let add = !self.first || step > self.task.from;
            // What the next step reads is fetched while this one multiplies.
            let (n, size) = (self.task.n, self.job.size);
            let rectangle = self.task.rectangle;
            let more = step + 1 < self.task.to;
            let slices = if more { next..next + TILE as isize } else { next..next };
            let mut runs = rectangle.runs(self.job.inputs, n, size, slices, SEEN);
            let z = (TILE * (step + 1)) as isize;
            let slices = if more { z..z + TILE as isize } else { z..z };
            let parts = [InputPart { source: self.job.gradient, blocks: outputs }];
            runs.extend(rectangle.runs(&parts, n, size, slices, SEEN));
            let calls = PLANE * POINTS * self.job.output_groups(S::VECTORS).count() * inputs;
            let mut ahead = Ahead::new(runs, calls);
            let (base, sums) = (workspace.as_mut_ptr(), self.sums.as_mut_ptr());
            for plane in 0..PLANE {
                // SAFETY: indices follow the sizes in `Room::new` and those of the sums: plane < 36, q < 6,
                // blocks and tiles below their numbers. Both buffers are borrowed mutably; the products read
                // the one and write the other.
                unsafe {
                    let (data, gradient) = (base.add(room.starts[2]), base.add(room.starts[3]));
                    for i in 0..inputs * tiles {
                        let points = room.depth(s, base, plane, ring, i);
                        for q in 0..POINTS {
                            s.store(data.add(q * inputs * tiles + i), points[q]);
                        }
                    }
                    for i in 0..outputs * tiles {
                        let points = room.gradient_depth(s, base, plane, i);
                        for q in 0..POINTS {
                            s.store(gradient.add(q * outputs * tiles + i), points[q]);
                        }
                    }
                    for q in 0..POINTS {
                        for (first, vectors) in self.job.output_groups(S::VECTORS) {
                            for input in 0..inputs {
                                let pair = (plane * POINTS + q) * inputs * outputs
                                    + first * inputs
                                    + input * vectors;
                                let products = Sums {
                                    data: data.add((q * inputs + input) * tiles).cast(),
                                    data_step: LANES,
                                    gradient: gradient.add((q * outputs + first) * tiles),
                                    gradient_block: tiles,
                                    count: tiles,
                                    out: sums.add(pair * LANES),
                                };
                                ahead.fetch(s);
                                add_products(s, vectors, add, products);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Where the slices of the ring begin that tile `step` of the depth looks at.
#[inline(always)]
pub(super) fn slots(step: usize, room: &Room) -> [usize; POINTS] {
    let first = (TILE * step) as isize - 1;
    std::array::from_fn(|i| slot(first + i as isize) * room.ring_slice)
}

/// Where things are in the workspace of a task, in lines.
pub(super) struct Room {
    pub(super) tiles: usize,
    blocks: [usize; 2],
    ring_point: usize,
    ring_slice: usize,
    gradient_point: usize,
    gradient_slice: usize,
    /// Ring of inputs, slices of the gradient, both along the depth, columns.
    pub(super) starts: [usize; 5],
    pub(super) lines: usize,
}

impl Room {
    #[inline(always)]
    pub(super) fn new(tiles: usize, [inputs, outputs]: [usize; 2]) -> Self {
        // One line more than is used, so that points do not fall on the same sets of the cache.
        let (ring_point, gradient_point) = (inputs * tiles + 1, outputs * tiles + 1);
        let (ring_slice, gradient_slice) = (PLANE * ring_point, PLANE * gradient_point);
        let sizes = [
            POINTS * ring_slice,
            TILE * gradient_slice,
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
        let blocks = [inputs, outputs];
        Self { tiles, blocks, ring_point, ring_slice, gradient_point, gradient_slice, starts, lines }
    }

    /// Line i (block · tiles + tile) of a plane of the inputs along the depth: its six points.
    ///
    /// # Safety
    /// `base` is a workspace of this room, `slots` are of its ring, and i is below blocks · tiles.
    #[inline(always)]
    pub(super) unsafe fn depth<S: Simd>(
        &self,
        s: S,
        base: *const Line,
        plane: usize,
        slots: [usize; POINTS],
        i: usize,
    ) -> [S::V; POINTS] {
        let mut values = [s.zero(); POINTS];
        for (value, slot) in values.iter_mut().zip(slots) {
            // SAFETY: slot, plane and number are below their sizes in `new`.
            *value = unsafe { s.load(base.add(self.starts[0] + slot + plane * self.ring_point + i)) };
        }
        transform::data(s, values)
    }

    /// Line i of a plane of the gradient along the depth, as [`Room::depth`].
    ///
    /// # Safety
    /// `base` is a workspace of this room, and i is below blocks · tiles.
    #[inline(always)]
    pub(super) unsafe fn gradient_depth<S: Simd>(
        &self,
        s: S,
        base: *const Line,
        plane: usize,
        i: usize,
    ) -> [S::V; POINTS] {
        let mut values = [s.zero(); TILE];
        for (z, value) in values.iter_mut().enumerate() {
            // SAFETY: slice, plane and number are below their sizes in `new`.
            *value = unsafe {
                s.load(base.add(self.starts[1] + z * self.gradient_slice + plane * self.gradient_point + i))
            };
        }
        transform::gradient(s, values)
    }
}

/// Fills the ring and the slices of the gradient.
pub(super) struct Slices<'a, 'b> {
    pub(super) job: &'a WeightGradient<'b>,
    pub(super) task: Task,
    pub(super) room: &'a Room,
}

impl Slices<'_, '_> {
    /// Transforms `slices` of the inputs, and those of the gradient that tile `step` of the depth has.
    #[inline(always)]
    pub(super) fn load<S: Simd>(
        &self,
        s: S,
        step: usize,
        slices: std::ops::RangeInclusive<isize>,
        workspace: &mut Buffer,
    ) {
        let Task { n, rectangle, .. } = self.task;
        let (room, size) = (self.room, self.job.size);
        let (lines, columns) = workspace.split_at_mut(room.starts[4]);
        let (ring, gradient) = lines.split_at_mut(room.starts[1]);
        let [inputs, outputs] = room.blocks;
        for z in slices {
            let ring = &mut ring[slot(z) * room.ring_slice..][..room.ring_slice];
            for block in 0..inputs {
                let (source, index) = input_block(self.job.inputs, n, block);
                let to = ring[block * room.tiles..].as_mut_ptr();
                let slice = Slice { size, rectangle, z, columns, to, point_step: room.ring_point };
                // SAFETY: the slice of the ring has 36 points of a line for each block and tile, and is
                // borrowed mutably.
                unsafe { slice.run::<S, Data>(s, source, index) };
            }
        }
        for slice in 0..TILE {
            let z = (TILE * step + slice) as isize;
            let gradient = &mut gradient[slice * room.gradient_slice..][..room.gradient_slice];
            for block in 0..outputs {
                let to = gradient[block * room.tiles..].as_mut_ptr();
                let slice = Slice { size, rectangle, z, columns, to, point_step: room.gradient_point };
                // SAFETY: as above, for the slices of the gradient.
                unsafe { slice.run::<S, Gradient>(s, &self.job.gradient, n * outputs + block) };
            }
        }
    }
}
