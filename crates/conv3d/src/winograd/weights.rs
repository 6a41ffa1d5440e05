//! The weights at the 216 points.

use rayon::prelude::*;

use super::{PLANE, POINTS, transform};
use crate::channels::{ChannelBlock, Channels};
use crate::kernels::disjoint::Disjoint;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::simd::{Isa, Kernel, Simd};

/// Which convolution the weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From inputs to outputs.
    Forward,
    /// From the gradient of the outputs to that of the inputs: turned round in space, inputs and outputs
    /// exchanged.
    Adjoint,
}

/// What the weights of an axis become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    /// Of stride 1: three weights at six points.
    Unit,
    /// Of stride 2: the one in the middle, and the other two at five points.
    Strided,
}

impl Filter {
    #[inline(always)]
    fn points<S: Simd>(self, s: S, taps: [S::V; 3]) -> [S::V; POINTS] {
        match self {
            Self::Unit => transform::weights(s, taps),
            Self::Strided => {
                let [a, b, c, d, e] = transform::pair_weights(s, [taps[0], taps[2]]);
                [taps[1], a, b, c, d, e]
            }
        }
    }
}

/// Transformed weights: for each point (plane, then depth) and group of output blocks, a line for each
/// input channel and block of the group.
#[derive(Debug)]
pub(crate) struct WinogradWeights {
    lines: Buffer,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Output blocks of a group; the last may have fewer.
    group: usize,
}

impl WinogradWeights {
    /// Of `weights` (C_out, C_in, 3, 3, 3). `inputs` and `outputs` are those of the convolution that is
    /// done with them, which for the adjoint are C_out and C_in.
    pub(crate) fn new(
        isa: Isa,
        weights: &[f32],
        direction: Direction,
        filter: Filter,
        inputs: &Channels,
        outputs: &Channels,
    ) -> Self {
        assert_eq!(
            weights.len(),
            27 * inputs.count() * outputs.count(),
            "there are weights for each channel"
        );
        let group = isa.vectors();
        let mut lines = Buffer::new(PLANE * POINTS * inputs.blocks() * LANES * outputs.blocks());
        let shared = Disjoint::new(&mut lines);
        (0..inputs.blocks() * outputs.blocks()).into_par_iter().for_each(|task| {
            isa.run(Transform {
                raw: RawWeights {
                    values: weights,
                    direction,
                    filter,
                    counts: [inputs.count(), outputs.count()],
                },
                blocks: [inputs.blocks(), outputs.blocks()],
                at: [task % inputs.blocks(), task / inputs.blocks()],
                input: inputs.block(task % inputs.blocks()),
                output: outputs.block(task / inputs.blocks()),
                group,
                shared: &shared,
            });
        });
        Self { lines, inputs: inputs.blocks(), outputs: outputs.blocks(), group }
    }

    /// Groups of output blocks: index of the first and number.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (group, outputs) = (self.group, self.outputs);
        (0..outputs).step_by(group).map(move |first| (first, group.min(outputs - first)))
    }

    /// The lines of point `plane`, `depth` and the group that begins with output block `first`.
    #[inline(always)]
    pub(crate) fn at(&self, plane: usize, depth: usize, first: usize) -> &[Line] {
        let block = self.inputs * LANES;
        let group = self.group.min(self.outputs - first);
        &self.lines[((plane * POINTS + depth) * self.outputs + first) * block..][..block * group]
    }
}

/// Weights as they come, of a convolution or of its adjoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawWeights<'a> {
    /// (C_out, C_in, 3, 3, 3).
    pub(crate) values: &'a [f32],
    pub(crate) direction: Direction,
    pub(crate) filter: Filter,
    /// Inputs and outputs of what is done with them.
    pub(crate) counts: [usize; 2],
}

impl RawWeights<'_> {
    /// The 27 weights from input channel `k` of a block to each output channel of a block.
    fn gather(&self, input: ChannelBlock, k: usize, output: ChannelBlock) -> [Line; 27] {
        let mut lines = [Line::ZERO; 27];
        if k >= input.count {
            return lines;
        }
        let input = input.start + k;
        let [inputs, outputs] = self.counts;
        for lane in 0..output.count {
            let output = output.start + lane;
            match self.direction {
                Direction::Forward => {
                    let from = &self.values[(output * inputs + input) * 27..][..27];
                    for (line, &value) in lines.iter_mut().zip(from) {
                        line.0[lane] = value;
                    }
                }
                Direction::Adjoint => {
                    let from = &self.values[(input * outputs + output) * 27..][..27];
                    for (line, &value) in lines.iter_mut().zip(from.iter().rev()) {
                        line.0[lane] = value;
                    }
                }
            }
        }
        lines
    }

    /// Transforms them to the points: point i goes to line `to + i · step`.
    ///
    /// # Safety
    /// These 216 lines can be written, and nobody else touches them meanwhile.
    #[inline(always)]
    pub(super) unsafe fn transform<S: Simd>(
        &self,
        s: S,
        input: ChannelBlock,
        k: usize,
        output: ChannelBlock,
        to: *mut Line,
        step: usize,
    ) {
        let lines = self.gather(input, k, output);
        // Along W, H and D in turn: [D][H][6], [D][6][6].
        let mut rows = [[s.zero(); POINTS]; 9];
        for (i, row) in rows.iter_mut().enumerate() {
            let mut taps = [s.zero(); 3];
            for (tap, line) in taps.iter_mut().zip(&lines[3 * i..]) {
                // SAFETY: a reference to a line can be read.
                *tap = unsafe { s.load(&raw const *line) };
            }
            *row = self.filter.points(s, taps);
        }
        let mut planes = [[s.zero(); PLANE]; 3];
        for (d, plane) in planes.iter_mut().enumerate() {
            for x in 0..POINTS {
                let column = self.filter.points(s, [rows[3 * d][x], rows[3 * d + 1][x], rows[3 * d + 2][x]]);
                for y in 0..POINTS {
                    plane[y * POINTS + x] = column[y];
                }
            }
        }
        for p in 0..PLANE {
            let depths = self.filter.points(s, [planes[0][p], planes[1][p], planes[2][p]]);
            for q in 0..POINTS {
                // SAFETY: the caller answers for the line of each point.
                unsafe { s.store(to.add((p * POINTS + q) * step), depths[q]) };
            }
        }
    }
}

/// Transforms the weights of one block of inputs and one of outputs.
struct Transform<'a> {
    raw: RawWeights<'a>,
    blocks: [usize; 2],
    at: [usize; 2],
    input: ChannelBlock,
    output: ChannelBlock,
    group: usize,
    shared: &'a Disjoint<'a, Line>,
}

impl Kernel for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let [inputs, outputs] = self.blocks;
        let [input, output] = self.at;
        let first = output / self.group * self.group;
        let group = self.group.min(outputs - first);
        let step = outputs * inputs * LANES;
        for k in 0..LANES {
            let at = first * inputs * LANES + (input * LANES + k) * group + output - first;
            // SAFETY: these lines are of this pair of blocks, and of its task, alone; the part checks that
            // the last of them is in the buffer.
            unsafe {
                let _ = self.shared.part(at + (PLANE * POINTS - 1) * step, 1);
                let to = self.shared.pointer(at);
                self.raw.transform(s, self.input, k, self.output, to, step);
            }
        }
    }
}
