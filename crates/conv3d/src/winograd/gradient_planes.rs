//! The gradient for the weights where there are many channels and many tiles.
//!
//! ```text
//! for each chunk of tiles:
//!   all its slices along H and W                          a task for each slice and block
//!   for each of the 36 points of the plane:               a task
//!     V, H of all tiles along D, in the second-level cache
//!     U[p] += V[p] · H[p] at its six points
//! dw = Aᵀ N⁻¹ U…                                          a task for each pair of channel blocks
//! ```
//! So V and H are read where they were made, and each sum belongs to one task.

use rayon::prelude::*;

use super::gradient::{PairBack, WeightGradient};
use super::split;
use super::tiles::{COLUMNS, Data, Gradient, Rectangle, Slice};
use super::{PLANE, POINTS, TILE, transform};
use crate::kernels::disjoint::Disjoint;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::parts::input_block;
use crate::product::{Sums, add_products, pieces};
use crate::simd::{Kernel, Simd};

/// Bytes of V and H that stay in the last cache until they are read.
const NEAR: usize = 1 << 22;

/// Runs `job`.
pub(super) fn run(job: &WeightGradient<'_>) -> Vec<f32> {
    let [depth, rows, columns] = split::tiles(job.size);
    let rectangle = Rectangle { row: 0, rows, column: 0, columns };
    let (inputs, outputs) = (job.input_channels.blocks(), job.output_channels.blocks());
    let mut sums = Buffer::new(PLANE * POINTS * inputs * outputs * LANES);
    let steps = (chunk(inputs, outputs) / rectangle.tiles().max(1)).clamp(1, depth.max(1));
    let mut first = true;
    for n in 0..job.batch {
        for (from, steps) in pieces(depth, steps) {
            let chunk = Chunk { job, rectangle, n, from, steps };
            chunk.add(&mut sums, first);
            first = false;
        }
    }
    if first {
        sums.fill(Line::ZERO);
    }
    let point_step = inputs * outputs * LANES;
    job.join_pairs(|first, vectors, input| {
        let sums = &sums[(first * inputs + input * vectors) * LANES..];
        job.isa.run(PairBack { job, input, first, vectors, sums, point_step })
    })
}

/// Tiles of a chunk, roughly: as many as stay near, or more where the sums, which each chunk reads and writes,
/// are themselves large.
fn chunk(inputs: usize, outputs: usize) -> usize {
    let line = size_of::<Line>();
    let sums = PLANE * POINTS * inputs * outputs * LANES * line;
    // Four slices of each and, of the inputs, half a slice of those that the next tile sees too.
    let tile = PLANE * (9 * inputs + 8 * outputs) * line / 2;
    NEAR.max(2 * sums) / tile.max(1)
}

/// Some planes of tiles of a sample.
struct Chunk<'a, 'b> {
    job: &'a WeightGradient<'b>,
    rectangle: Rectangle,
    n: usize,
    from: usize,
    steps: usize,
}

impl Chunk<'_, '_> {
    /// Adds the products of its tiles to `sums`, or sets these if `first`.
    fn add(&self, sums: &mut Buffer, first: bool) {
        let job = self.job;
        let (inputs, outputs) = (job.input_channels.blocks(), job.output_channels.blocks());
        let tiles = self.rectangle.tiles();
        let slices = [TILE * self.steps + 2, TILE * self.steps];
        let mut data = Buffer::new(PLANE * slices[0] * inputs * tiles);
        let mut gradient = Buffer::new(PLANE * slices[1] * outputs * tiles);
        let shared = [Disjoint::new(&mut data), Disjoint::new(&mut gradient)];
        let tasks = slices[0] * inputs + slices[1] * outputs;
        (0..tasks).into_par_iter().for_each_init(
            || Buffer::new(COLUMNS),
            |strip, task| job.isa.run(Plane { chunk: self, task, slices, shared: &shared, strip }),
        );
        let shared = Disjoint::new(sums);
        let sizes = [slices[0] * inputs * tiles, slices[1] * outputs * tiles];
        (0..PLANE).into_par_iter().with_max_len(1).for_each(|plane| {
            let (data, gradient) =
                (&data[plane * sizes[0]..][..sizes[0]], &gradient[plane * sizes[1]..][..sizes[1]]);
            job.isa.run(Point { chunk: self, plane, data, gradient, sums: &shared, first });
        });
    }
}

/// One slice of one block of inputs or of the gradient.
struct Plane<'a, 'b> {
    chunk: &'a Chunk<'a, 'b>,
    task: usize,
    slices: [usize; 2],
    shared: &'a [Disjoint<'a, Line>; 2],
    strip: &'a mut Buffer,
}

impl Kernel for Plane<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { job, rectangle, n, from, .. } = *self.chunk;
        let (inputs, outputs) = (job.input_channels.blocks(), job.output_channels.blocks());
        let tiles = rectangle.tiles();
        let of_data = self.slices[0] * inputs;
        let (side, task, blocks) =
            if self.task < of_data { (0, self.task, inputs) } else { (1, self.task - of_data, outputs) };
        let (index, block) = (task / blocks, task % blocks);
        let point_step = self.slices[side] * blocks * tiles;
        // For each point: slices, blocks, tiles.
        let at = (index * blocks + block) * tiles;
        let z = (TILE * from + index) as isize - if side == 0 { 1 } else { 0 };
        // SAFETY: these lines are of this slice and block, and of its task, alone; the part checks that the
        // last of them is in the buffer.
        unsafe {
            let _ = self.shared[side].part(at + (PLANE - 1) * point_step, tiles);
            let to = self.shared[side].pointer(at);
            let slice = Slice { size: job.size, rectangle, z, columns: self.strip, to, point_step };
            if side == 0 {
                let (source, block) = input_block(job.inputs, n, block);
                slice.run::<S, Data>(s, source, block);
            } else {
                slice.run::<S, Gradient>(s, &job.gradient, n * outputs + block);
            }
        }
    }
}

/// The products at the six points of a plane's point.
struct Point<'a, 'b> {
    chunk: &'a Chunk<'a, 'b>,
    plane: usize,
    /// Slices, blocks, tiles.
    data: &'a [Line],
    gradient: &'a [Line],
    sums: &'a Disjoint<'a, Line>,
    first: bool,
}

impl Kernel for Point<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Chunk { job, rectangle, steps, .. } = *self.chunk;
        let (inputs, outputs) = (job.input_channels.blocks(), job.output_channels.blocks());
        let tiles = rectangle.tiles();
        let count = steps * tiles;
        // For each of six points: blocks, then tiles of all steps.
        let mut workspace = Buffer::new(POINTS * (inputs + outputs) * count);
        let (data, gradient) = workspace.split_at_mut(POINTS * inputs * count);
        for step in 0..steps {
            for block in 0..inputs {
                for tile in 0..tiles {
                    let mut values = [s.zero(); POINTS];
                    for (i, value) in values.iter_mut().enumerate() {
                        let line = &self.data[((TILE * step + i) * inputs + block) * tiles + tile];
                        // SAFETY: a reference to a line can be read.
                        *value = unsafe { s.load(&raw const *line) };
                    }
                    let points = transform::data(s, values);
                    for q in 0..POINTS {
                        let to = &raw mut data[(q * inputs + block) * count + step * tiles + tile];
                        // SAFETY: a mutable reference to a line can be written.
                        unsafe { s.store(to, points[q]) };
                    }
                }
            }
            for block in 0..outputs {
                for tile in 0..tiles {
                    let mut values = [s.zero(); TILE];
                    for (i, value) in values.iter_mut().enumerate() {
                        let line = &self.gradient[((TILE * step + i) * outputs + block) * tiles + tile];
                        // SAFETY: a reference to a line can be read.
                        *value = unsafe { s.load(&raw const *line) };
                    }
                    let points = transform::gradient(s, values);
                    for q in 0..POINTS {
                        let to = &raw mut gradient[(q * outputs + block) * count + step * tiles + tile];
                        // SAFETY: a mutable reference to a line can be written.
                        unsafe { s.store(to, points[q]) };
                    }
                }
            }
        }
        for q in 0..POINTS {
            for (first, vectors) in job.output_groups(S::VECTORS) {
                for input in 0..inputs {
                    let pair =
                        (self.plane * POINTS + q) * inputs * outputs + first * inputs + input * vectors;
                    let gradient = &gradient[(q * outputs + first) * count..][..vectors * count];
                    let data = &data[(q * inputs + input) * count..][..count];
                    // SAFETY: the slices have the tiles' lines for one input block and `vectors` output
                    // blocks; the sums of this pair at this point are of this task alone, and the part
                    // checks that they are in the buffer.
                    unsafe {
                        let out = self.sums.part(pair * LANES, vectors * LANES).as_mut_ptr();
                        let products = Sums {
                            data: data.as_ptr().cast(),
                            data_step: LANES,
                            gradient: gradient.as_ptr(),
                            gradient_block: count,
                            count,
                            out,
                        };
                        add_products(s, vectors, !self.first, products);
                    }
                }
            }
        }
    }
}
