//! The sums, row by row.

use rayon::prelude::*;

use super::axis::Axis;
use super::rows::{DirectInput, RowPlan};
use super::weights::DirectWeights;
use crate::ahead::Ahead;
use crate::channels::Channels;
use crate::kernels::disjoint::Disjoint;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::moments::{Piece, Running};
use crate::parts::{STREAMED, SharedOutput};
use crate::product::{Product, pieces, product_of};
use crate::simd::{Isa, Kernel, Simd};

/// Where a direct convolution writes to.
#[derive(Clone, Copy)]
pub(crate) enum DirectOutput<'a> {
    /// Blocks.
    Blocks(&'a SharedOutput<'a>),
    /// (N, C, D, H, W).
    Planar {
        /// The values.
        values: &'a Disjoint<'a, f32>,
        /// Which of them are in which block of weights.
        channels: &'a Channels,
    },
}

/// A convolution, ready to run: one set of axes with its weights, or one for each phase of the output.
pub(crate) struct DirectForward<'a> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    pub(crate) phases: &'a [([Axis; 3], &'a DirectWeights)],
    /// (D, H, W) of the whole output, of which a phase may write every second voxel or so.
    pub(crate) size: [usize; 3],
    pub(crate) input: DirectInput<'a>,
    /// Added to each output; a number for each lane of each block.
    pub(crate) bias: Option<&'a [Line]>,
    pub(crate) output: DirectOutput<'a>,
    /// Sums for the moments: for each sample, output block and row, in this order. Whole outputs only.
    pub(crate) moments: Option<&'a Disjoint<'a, Piece>>,
}

impl DirectForward<'_> {
    /// Runs it on rayon's current pool.
    pub(crate) fn run(&self) {
        let Some((axes, _)) = self.phases.first() else { return };
        self.input.check(self.batch, axes.iter().map(|axis| axis.inputs).product());
        let plan = RowPlan::new(self.phases.iter().map(|(axes, _)| axes), &self.input);
        for ((_, weights), offsets) in self.phases.iter().zip(&plan.offsets) {
            // The product trusts these.
            assert_eq!(weights.taps * self.input.groups(), offsets.len(), "weights fit the taps");
            assert_eq!(weights.numbers, self.input.groups() * self.input.step(), "weights fit the input");
        }
        let most = |a: usize| self.phases.iter().map(|(axes, _)| axes[a].count).max().unwrap_or(0);
        let [depth, height, width] = [most(0), most(1), most(2)];
        let plan = &plan;
        let lines = plan.lines() + self.isa.vectors() * width;
        (0..self.batch * depth * height).into_par_iter().for_each_init(
            || Buffer::new(lines),
            |workspace, row| {
                let place = [row / (depth * height), row / height % depth, row % height];
                self.isa.run(Row { job: self, plan, place, workspace });
            },
        );
    }

    /// What the row after `place` needs: inputs, and outputs that are read or written in part.
    fn ahead<S: Simd>(&self, plan: &RowPlan, [n, z, y]: [usize; 3]) -> Ahead {
        let height = self.phases.iter().map(|(axes, _)| axes[1].count).max().unwrap_or(0);
        let next = if y + 1 < height { [n, z, y + 1] } else { [n, z + 1, 0] };
        let mut runs = plan.new_runs(&self.input, next);
        let mut calls = 0;
        for (axes, weights) in self.phases {
            calls += weights.groups().count() * axes[2].count.div_ceil(S::ROWS);
            // The other phases of W are in the same lines.
            let inside = next[1] < axes[0].count && next[2] < axes[1].count;
            if let DirectOutput::Blocks(output) = self.output
                && axes[2].start == 0
                && inside
            {
                let [d, h, w] = self.size;
                let [z, y] = [0, 1].map(|a| axes[a].start + next[a + 1] * axes[a].step);
                for block in 0..output.blocks() {
                    let (out, start, add) = output.block(n, block, d * h * w);
                    if add || axes[2].step > 1 {
                        runs.push((out.pointer(start + (z * h + y) * w).cast_const(), w));
                    }
                }
            }
        }
        Ahead::new(runs, calls)
    }
}

/// One output row of a sample.
struct Row<'a> {
    job: &'a DirectForward<'a>,
    plan: &'a RowPlan,
    /// Sample, z and y.
    place: [usize; 3],
    /// Room for the rows of the plan and the sums.
    workspace: &'a mut Buffer,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Row { job, plan, place, workspace } = self;
        let [n, z, y] = place;
        let (rows, sums) = workspace.split_at_mut(plan.lines());
        plan.load(s, &job.input, n, z, y, rows);
        let step = job.input.step();
        let mut ahead = job.ahead::<S>(plan, place);
        for ((axes, weights), offsets) in job.phases.iter().zip(&plan.offsets) {
            let [depth, height, width] = axes.each_ref().map(|axis| axis.count);
            if z >= depth || y >= height {
                continue;
            }
            for (first, vectors, weights) in weights.groups() {
                for (x, count) in pieces(width, S::ROWS) {
                    ahead.fetch(s);
                    // SAFETY: the rows hold, for each offset, the columns of all outputs of the row, `step`
                    // numbers each, by the plan; the weights are those of this group; `sums` has `vectors`
                    // rows of `width` lines and is borrowed mutably.
                    unsafe {
                        let product = Product {
                            data: rows.as_ptr().cast::<f32>().add(x * step),
                            offsets,
                            weights: weights.as_ptr(),
                            out: sums.as_mut_ptr().add(x),
                            out_step: width,
                        };
                        if step == LANES {
                            product_of::<S, LANES, LANES, false>(s, count, vectors, product);
                        } else {
                            product_of::<S, 1, 1, false>(s, count, vectors, product);
                        }
                    }
                }
                for v in 0..vectors {
                    write(s, job, axes, place, first + v, &sums[v * width..][..width]);
                }
            }
        }
    }
}

/// Writes the sums of block `block` of row (z, y) of sample n.
#[inline(always)]
fn write<S: Simd>(
    s: S,
    job: &DirectForward<'_>,
    axes: &[Axis; 3],
    [n, z, y]: [usize; 3],
    block: usize,
    sums: &[Line],
) {
    let [d, h, w] = job.size;
    let [az, ay, ax] = axes;
    let row = ((az.start + z * az.step) * h + ay.start + y * ay.step) * w + ax.start;
    // SAFETY: a reference to a line can be read.
    let bias = job.bias.map_or(s.zero(), |bias| unsafe { s.load(&raw const bias[block]) });
    match job.output {
        DirectOutput::Blocks(output) => {
            let (out, start, add) = output.block(n, block, d * h * w);
            let Some(last) = sums.len().checked_sub(1) else { return };
            let stream = !add && ax.step == 1 && output.lines() >= STREAMED;
            // SAFETY: these voxels of this block are of this task alone; the part checks that the last of
            // them is in the buffer. References to lines can be read.
            unsafe {
                let to = out.pointer(start + row);
                let _ = out.part(start + row + last * ax.step, 1);
                let mut running = Running::new(s, s.add(s.load(&raw const sums[0]), bias));
                for (x, sum) in sums.iter().enumerate() {
                    let to = to.add(x * ax.step);
                    let mut value = s.add(s.load(&raw const *sum), bias);
                    if add {
                        value = s.add(value, s.load(to));
                    }
                    if stream {
                        s.stream(to, value);
                    } else {
                        s.store(to, value);
                    }
                    running.push(s, value);
                }
                if let Some(moments) = job.moments {
                    let mut piece = running.finish(s);
                    piece.count = sums.len();
                    let at = (n * output.blocks() + block) * az.count * ay.count + z * ay.count + y;
                    moments.part(at, 1)[0] = piece;
                }
            }
        }
        DirectOutput::Planar { values, channels } => {
            let (count, block_channels) = (channels.count(), channels.block(block));
            for lane in 0..block_channels.count {
                let channel = (n * count + block_channels.start + lane) * d * h * w;
                let bias = job.bias.map_or(0.0, |bias| bias[block].0[lane]);
                if ax.step == 1 {
                    // SAFETY: this row of this channel is of this task alone.
                    let out = unsafe { values.part(channel + row, sums.len()) };
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = sum.0[lane] + bias;
                    }
                    continue;
                }
                for (x, sum) in sums.iter().enumerate() {
                    // SAFETY: this voxel of this channel is of this task alone.
                    unsafe { values.part(channel + row + x * ax.step, 1)[0] = sum.0[lane] + bias };
                }
            }
        }
    }
}
