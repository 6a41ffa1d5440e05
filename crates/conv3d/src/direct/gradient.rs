//! The gradient for the weights by plain sums.
//!
//! ```text
//! for each output row: for each tap, input block and group of output blocks:
//!   dw[tap, c, o] += Σ_x rows[tap, c](x) · g[o](x)
//! ```
//! Rows are shared out in groups that keep sums of their own, added in order at the end.

use rayon::prelude::*;

use super::axis::Axis;
use super::rows::{DirectInput, RowPlan};
use super::weights::taps;
use crate::ahead::{Ahead, Run};
use crate::channels::Channels;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::product::{Sums, add_products, pieces};
use crate::simd::{Isa, Kernel, Simd};
use crate::source::{Lines, Source, WithLines};

/// Sums that are kept apart. Fixed, so that the result does not depend on the number of threads.
const GROUPS: usize = 16;
/// As [`GROUPS`] where a sum is so many lines or more.
const LARGE_GROUPS: usize = 8;
const LARGE: usize = 1 << 12;

/// A gradient for the weights, ready to run.
pub(crate) struct DirectGradient<'a> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    /// Those of the convolution, forward.
    pub(crate) axes: &'a [Axis; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) input: DirectInput<'a>,
    pub(crate) gradient: Source<'a>,
    pub(crate) input_channels: &'a Channels,
    pub(crate) output_channels: &'a Channels,
}

impl DirectGradient<'_> {
    /// The gradient (C_out, C_in, kernel).
    pub(crate) fn run(&self) -> Vec<f32> {
        let [depth, height, width] = self.axes.each_ref().map(|axis| axis.count);
        self.input.check(self.batch, self.axes.iter().map(|axis| axis.inputs).product());
        let outputs = self.output_channels.blocks();
        assert_eq!(
            self.gradient.len(),
            self.batch * outputs * depth * height * width,
            "the gradient has its lines"
        );
        let plan = RowPlan::new(std::iter::once(self.axes), &self.input);
        let lines = plan.offsets[0].len() * self.input.step() * outputs;
        let most = if lines >= LARGE { LARGE_GROUPS } else { GROUPS };
        let rows = self.batch * depth * height;
        let groups: Vec<(usize, usize)> = pieces(rows, rows.div_ceil(most).max(1)).collect();
        let plan = &plan;
        let sums: Vec<Buffer> = groups
            .into_par_iter()
            .with_max_len(1)
            .map(|(from, count)| {
                let mut sums = Buffer::zeros(lines);
                self.isa.run(Rows { job: self, plan, from, count, sums: &mut sums });
                sums
            })
            .collect();
        let mut total = Buffer::zeros(lines);
        total.par_chunks_mut(1024).enumerate().for_each(|(chunk, total)| {
            for sum in &sums {
                for (total, line) in total.iter_mut().zip(&sum[chunk * 1024..]) {
                    for (total, value) in total.0.iter_mut().zip(line.0) {
                        *total += value;
                    }
                }
            }
        });
        self.unpack(&total)
    }

    /// The lines of the gradient of row (z, y) of sample `n`; none past the last slice.
    fn gradient_row(&self, [n, z, y]: [usize; 3]) -> Vec<Run> {
        let [depth, height, width] = self.axes.each_ref().map(|axis| axis.count);
        let mut runs = Vec::new();
        if z < depth {
            for block in 0..self.output_channels.blocks() {
                let start = (((n * self.output_channels.blocks() + block) * depth + z) * height + y) * width;
                for lines in self.gradient.arrays().into_iter().flatten() {
                    runs.push((lines[start..start + width].as_ptr(), width));
                }
            }
        }
        runs
    }

    /// From sums for each tap, group of output blocks, input number and block, to (C_out, C_in, kernel).
    fn unpack(&self, sums: &[Line]) -> Vec<f32> {
        let [_, kh, kw] = self.kernel;
        let all: usize = self.kernel.iter().product();
        let (step, groups, outputs) = (self.input.step(), self.input.groups(), self.output_channels.blocks());
        let inputs = self.input_channels.count();
        let mut weights = vec![0.0; all * inputs * self.output_channels.count()];
        for (tap, [(_, z), (_, y), (_, x)]) in taps(self.axes).enumerate() {
            let place = (z * kh + y) * kw + x;
            for group in 0..groups {
                let (start, count) = if step == 1 {
                    (group, 1)
                } else {
                    (self.input_channels.block(group).start, self.input_channels.block(group).count)
                };
                for (first, vectors) in blocks(outputs, self.isa.vectors()) {
                    let from = (tap * groups + group) * step * outputs + first * step;
                    for k in 0..count {
                        for v in 0..vectors {
                            let output = self.output_channels.block(first + v);
                            let line = &sums[from + k * vectors + v];
                            for lane in 0..output.count {
                                weights[((output.start + lane) * inputs + start + k) * all + place] =
                                    line.0[lane];
                            }
                        }
                    }
                }
            }
        }
        weights
    }
}

/// Groups of at most `group` of `count` blocks: index of the first and number.
fn blocks(count: usize, group: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).step_by(group).map(move |first| (first, group.min(count - first)))
}

/// Some rows and their sums.
struct Rows<'a> {
    job: &'a DirectGradient<'a>,
    plan: &'a RowPlan,
    from: usize,
    count: usize,
    sums: &'a mut [Line],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let [depth, height, width] = job.axes.each_ref().map(|axis| axis.count);
        let outputs = job.output_channels.blocks();
        let mut workspace = Buffer::new(self.plan.lines() + outputs * width);
        let (rows, gradient) = workspace.split_at_mut(self.plan.lines());
        let offsets = &self.plan.offsets[0];
        let blocked = job.input.step() == LANES;
        let calls = if blocked {
            outputs.div_ceil(S::VECTORS) * offsets.len()
        } else {
            outputs * offsets.len().div_ceil(taps_together::<S>())
        };
        for row in self.from..self.from + self.count {
            let (n, z, y) = (row / (depth * height), row / height % depth, row % height);
            self.plan.load(s, &job.input, n, z, y, rows);
            for (block, to) in gradient.chunks_exact_mut(width).enumerate() {
                let copy = CopyRow { s, start: (z * height + y) * width, to };
                job.gradient.block(s, n * outputs + block, depth * height * width, copy);
            }
            let next = if y + 1 < height { [n, z, y + 1] } else { [n, z + 1, 0] };
            let mut runs = self.plan.new_runs(&job.input, next);
            runs.extend(job.gradient_row(next));
            let mut ahead = Ahead::new(runs, calls);
            let (rows, gradient, sums) = (rows.as_ptr(), gradient.as_ptr(), self.sums.as_mut_ptr());
            // SAFETY: the rows hold `width` columns of sixteen numbers, or of one, from each offset on, by
            // the plan, and the gradient `width` lines for each block; the sums have as many lines as
            // numbers for each offset and block and are borrowed mutably.
            unsafe {
                if blocked {
                    for (first, vectors) in blocks(outputs, S::VECTORS) {
                        for (i, &offset) in offsets.iter().enumerate() {
                            ahead.fetch(s);
                            let sums = Sums {
                                data: rows.cast::<f32>().add(offset),
                                data_step: LANES,
                                gradient: gradient.add(first * width),
                                gradient_block: width,
                                count: width,
                                out: sums.add((i * outputs + first) * LANES),
                            };
                            add_products(s, vectors, true, sums);
                        }
                    }
                } else {
                    for block in 0..outputs {
                        for (i, count) in pieces(offsets.len(), taps_together::<S>()) {
                            ahead.fetch(s);
                            let taps = Taps {
                                data: rows.cast(),
                                offsets: &offsets[i..i + count],
                                gradient: gradient.add(block * width),
                                count: width,
                                out: sums.add(i * outputs + block),
                                out_step: outputs,
                            };
                            add_taps(s, taps);
                        }
                    }
                }
            }
        }
    }
}

/// What [`add_taps`] works on: one output block and some taps of one input channel.
struct Taps<'a> {
    data: *const f32,
    /// Where the numbers of each tap begin, from `data` on.
    offsets: &'a [usize],
    /// `count` lines.
    gradient: *const Line,
    count: usize,
    /// The sum of tap 0, and from each to the next, in lines.
    out: *mut Line,
    out_step: usize,
}

/// Taps whose sums are kept in registers together.
#[inline(always)]
fn taps_together<S: Simd>() -> usize {
    if S::ROWS == 12 { 9 } else { 3 }
}

/// out[i] += Σ_k data[offset_i + k] · gradient[k] for up to [`taps_together`] taps i.
///
/// # Safety
/// The numbers of each tap and the gradient can be read, the sums read and written, and nobody else touches
/// those meanwhile.
#[inline(always)]
unsafe fn add_taps<S: Simd>(s: S, taps: Taps<'_>) {
    macro_rules! by_count {
        ($($count:literal)*) => {
            match taps.offsets.len() {
                // SAFETY: the caller answers for all.
                $($count => unsafe { taps_block::<S, $count>(s, taps) },)*
                count => unreachable!("{count} taps together"),
            }
        };
    }
    if S::ROWS == 12 {
        by_count!(1 2 3 4 5 6 7 8 9);
    } else {
        by_count!(1 2 3);
    }
}

/// [`add_taps`] for R taps.
///
/// # Safety
/// As [`add_taps`].
#[inline(always)]
unsafe fn taps_block<S: Simd, const R: usize>(s: S, taps: Taps<'_>) {
    let mut data = [taps.data; R];
    let mut sums = [s.zero(); R];
    // SAFETY: the caller answers for what is read and written; there are R offsets.
    unsafe {
        for (data, &offset) in data.iter_mut().zip(taps.offsets) {
            *data = data.add(offset);
        }
        for k in 0..taps.count {
            let g = s.load(taps.gradient.add(k));
            for (sum, data) in sums.iter_mut().zip(&data) {
                *sum = s.mul_add(s.splat(*data.add(k)), g, *sum);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            let out = taps.out.add(i * taps.out_step);
            s.store(out, s.add(s.load(out), sum));
        }
    }
}

/// Copies a row of a block.
struct CopyRow<'a, S> {
    s: S,
    start: usize,
    to: &'a mut [Line],
}

impl<S: Simd> WithLines<S> for CopyRow<'_, S> {
    #[inline(always)]
    fn with<L: Lines<S>>(self, lines: L) {
        for (x, line) in self.to.iter_mut().enumerate() {
            // SAFETY: the row lies in the block, by its number; a mutable reference can be written.
            unsafe { self.s.store(&raw mut *line, lines.get(self.s, self.start + x)) };
        }
    }
}
