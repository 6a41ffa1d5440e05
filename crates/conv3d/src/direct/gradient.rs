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
        let (step, outputs) = (job.input.step(), job.output_channels.blocks());
        let mut workspace = Buffer::new(self.plan.lines() + outputs * width);
        let (rows, gradient) = workspace.split_at_mut(self.plan.lines());
        for row in self.from..self.from + self.count {
            let (n, place) = (row / (depth * height), row % (depth * height));
            self.plan.load(s, &job.input, n, place / height, place % height, rows);
            for (block, to) in gradient.chunks_exact_mut(width).enumerate() {
                let copy = CopyRow { s, start: place * width, to };
                job.gradient.block(s, n * outputs + block, depth * height * width, copy);
            }
            for (first, vectors) in blocks(outputs, S::VECTORS) {
                for (i, &offset) in self.plan.offsets[0].iter().enumerate() {
                    // SAFETY: the rows hold `width` columns of `step` numbers from each offset on, by the
                    // plan, and the gradient `width` lines for each block; the sums have `step` lines for
                    // each offset and block and are borrowed mutably.
                    unsafe {
                        let sums = Sums {
                            data: rows.as_ptr().cast::<f32>().add(offset),
                            data_step: step,
                            gradient: gradient.as_ptr().add(first * width),
                            gradient_block: width,
                            count: width,
                            out: self.sums.as_mut_ptr().add(i * step * outputs + first * step),
                        };
                        if step == LANES {
                            add_products(s, vectors, true, sums);
                        } else {
                            add_one(s, vectors, sums);
                        }
                    }
                }
            }
        }
    }
}

/// out[v] += Σ_k data[k] · gradient[v][k]: a single number instead of sixteen.
///
/// # Safety
/// As [`add_products`], with one number and `vectors` lines.
#[inline(always)]
unsafe fn add_one<S: Simd>(s: S, vectors: usize, sums: Sums) {
    for v in 0..vectors {
        // SAFETY: the caller answers for rows and results. Four sums, so that they need not wait for each
        // other.
        unsafe {
            let get = |k: usize| {
                (s.splat(*sums.data.add(k)), s.load(sums.gradient.add(v * sums.gradient_block + k)))
            };
            let mut parts = [s.zero(); 4];
            let whole = sums.count / 4 * 4;
            for k in (0..whole).step_by(4) {
                for (i, part) in parts.iter_mut().enumerate() {
                    let (x, g) = get(k + i);
                    *part = s.mul_add(x, g, *part);
                }
            }
            for k in whole..sums.count {
                let (x, g) = get(k);
                parts[0] = s.mul_add(x, g, parts[0]);
            }
            let sum = s.add(s.add(parts[0], parts[1]), s.add(parts[2], parts[3]));
            let out = sums.out.add(v);
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
