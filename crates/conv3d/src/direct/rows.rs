//! The input rows that an output row looks at, side by side and with zeros where it looks outside.

use super::axis::Axis;
use super::weights::taps;
use crate::ahead::Run;
use crate::line::{LANES, Line, numbers_mut};
use crate::parts::{InputPart, input_block};
use crate::simd::Simd;
use crate::source::{Lines, WithLines};

/// What a direct convolution reads.
#[derive(Clone, Copy)]
pub(crate) enum DirectInput<'a> {
    /// Blocks.
    Blocks(&'a [InputPart<'a>]),
    /// (N, C, D, H, W) with few channels.
    Planar {
        /// The values.
        values: &'a [f32],
        /// C.
        channels: usize,
    },
}

impl DirectInput<'_> {
    /// Numbers that come one after the other in a row: sixteen in blocks.
    pub(super) fn step(&self) -> usize {
        if matches!(self, Self::Blocks(_)) { LANES } else { 1 }
    }

    /// Blocks, or channels that are not in blocks.
    pub(super) fn groups(&self) -> usize {
        match self {
            Self::Blocks(parts) => parts.iter().map(|part| part.blocks).sum(),
            Self::Planar { channels, .. } => *channels,
        }
    }

    /// Lines or values of the input of `batch` samples of `voxels` are there.
    pub(super) fn check(&self, batch: usize, voxels: usize) {
        match self {
            Self::Blocks(parts) => {
                for part in *parts {
                    assert_eq!(part.source.len(), batch * part.blocks * voxels, "an input has its lines");
                }
            }
            Self::Planar { values, channels } => {
                assert_eq!(values.len(), batch * channels * voxels, "an input has its values");
            }
        }
    }
}

/// How the rows that some convolutions read for the same output row lie in memory: for each (dz, dy), block
/// and phase of x, the columns.
pub(super) struct RowPlan {
    /// Offsets along D and H.
    pairs: Vec<[isize; 2]>,
    /// (D, H, W).
    inputs: [usize; 3],
    strides: [usize; 3],
    groups: usize,
    step: usize,
    columns: usize,
    /// Input that column 0 of phase 0 holds.
    first: isize,
    /// For each convolution, where each tap and block begins for output 0, in numbers: taps first.
    pub(super) offsets: Vec<Vec<usize>>,
}

impl RowPlan {
    /// Of convolutions with the same inputs and strides.
    pub(super) fn new<'a>(all: impl Iterator<Item = &'a [Axis; 3]> + Clone, input: &DirectInput<'_>) -> Self {
        let (groups, step) = (input.groups(), input.step());
        let one = all.clone().next().expect("there is a convolution");
        let (inputs, strides) =
            (one.each_ref().map(|axis| axis.inputs), one.each_ref().map(|axis| axis.stride));
        let least = all.clone().map(|axes| axes[2].shifts().0).min().unwrap_or(0);
        let ends = all.clone().map(|axes| axes[2].shifts().1 + axes[2].count as isize);
        let columns = (ends.max().unwrap_or(0) - least).max(0) as usize;
        let mut pairs: Vec<[isize; 2]> =
            all.clone().flat_map(taps).map(|[(z, _), (y, _), _]| [z, y]).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let stride = strides[2] as isize;
        let offsets = all
            .map(|axes| {
                let mut offsets = Vec::new();
                for [(z, _), (y, _), (x, _)] in taps(axes) {
                    let pair = pairs.binary_search(&[z, y]).expect("all pairs are there");
                    let (phase, column) =
                        (x.rem_euclid(stride) as usize, (x.div_euclid(stride) - least) as usize);
                    for group in 0..groups {
                        offsets
                            .push((((pair * groups + group) * strides[2] + phase) * columns + column) * step);
                    }
                }
                offsets
            })
            .collect();
        Self { pairs, inputs, strides, groups, step, columns, first: least * stride, offsets }
    }

    /// The lines of `input`, if it has any, that output row (z, y) of sample `n` looks at and row (z, y − 1)
    /// does not.
    pub(super) fn new_runs(&self, input: &DirectInput<'_>, [n, z, y]: [usize; 3]) -> Vec<Run> {
        let mut runs = Vec::new();
        if let DirectInput::Blocks(parts) = input {
            let [depth, height, width] = self.inputs;
            for row in self.new_rows(z, y) {
                for group in 0..input.groups() {
                    let (source, block) = input_block(parts, n, group);
                    let start = block * depth * height * width + row * width;
                    for lines in source.arrays().into_iter().flatten() {
                        runs.push((lines[start..start + width].as_ptr(), width));
                    }
                }
            }
        }
        runs
    }

    /// The input rows, slice after slice, that output row (z, y) looks at and row (z, y − 1) does not.
    fn new_rows(&self, z: usize, y: usize) -> impl Iterator<Item = usize> {
        let [depth, height, _] = self.inputs;
        let (from_z, from_y) = ((z * self.strides[0]) as isize, (y * self.strides[1]) as isize);
        let stride = self.strides[1] as isize;
        let new = move |pair: &&[isize; 2]| y == 0 || !self.pairs.contains(&[pair[0], pair[1] + stride]);
        self.pairs.iter().filter(new).filter_map(move |[dz, dy]| {
            let (iz, iy) = (from_z + dz, from_y + dy);
            let inside = iz >= 0 && iz < depth as isize && iy >= 0 && iy < height as isize;
            inside.then(|| iz as usize * height + iy as usize)
        })
    }

    /// Lines of the buffer for the rows.
    pub(super) fn lines(&self) -> usize {
        (self.pairs.len() * self.groups * self.strides[2] * self.columns * self.step).div_ceil(LANES)
    }

    /// Copies the rows that output row (z, y) of sample `n` looks at.
    #[inline(always)]
    pub(super) fn load<S: Simd>(
        &self,
        s: S,
        input: &DirectInput<'_>,
        n: usize,
        z: usize,
        y: usize,
        to: &mut [Line],
    ) {
        let [depth, height, width] = self.inputs;
        for (pair, [dz, dy]) in self.pairs.iter().enumerate() {
            let iz = (z * self.strides[0]) as isize + dz;
            let iy = (y * self.strides[1]) as isize + dy;
            let inside = iz >= 0 && iz < depth as isize && iy >= 0 && iy < height as isize;
            let start = (iz.max(0) as usize * height + iy.max(0) as usize) * width;
            for group in 0..self.groups {
                for phase in 0..self.strides[2] {
                    let at = ((pair * self.groups + group) * self.strides[2] + phase) * self.columns;
                    let part = Part::new(self.first + phase as isize, self.strides[2], width, self.columns);
                    match input {
                        DirectInput::Blocks(parts) => {
                            let to = &mut to[at..at + self.columns];
                            if inside {
                                let (source, block) = input_block(parts, n, group);
                                source.block(s, block, depth * height * width, Copy { s, part, start, to });
                            } else {
                                to.fill(Line::ZERO);
                            }
                        }
                        DirectInput::Planar { values, channels } => {
                            let to = &mut numbers_mut(to)[at..at + self.columns];
                            if inside {
                                let channel = (n * channels + group) * depth * height * width;
                                copy_row(&part, &values[channel + start..][..width], to);
                            } else {
                                to.fill(0.0);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which inputs of a row the columns of one phase hold: column `from` up to `to` those at `at`, `at + stride`
/// and so on; the others are outside.
struct Part {
    from: usize,
    to: usize,
    at: usize,
    stride: usize,
}

impl Part {
    fn new(first: isize, stride: usize, width: usize, columns: usize) -> Self {
        let from = if first < 0 { first.unsigned_abs().div_ceil(stride) } else { 0 }.min(columns);
        let to = ((width as isize - first).max(0) as usize).div_ceil(stride).clamp(from, columns);
        Self { from, to, at: (first + (from * stride) as isize).max(0) as usize, stride }
    }
}

/// Copies one phase of a row that is not in blocks.
fn copy_row(part: &Part, row: &[f32], to: &mut [f32]) {
    let &Part { from, to: end, at, stride } = part;
    to[..from].fill(0.0);
    to[end..].fill(0.0);
    if from == end {
        return;
    }
    if stride == 1 {
        to[from..end].copy_from_slice(&row[at..][..end - from]);
    } else {
        for (to, value) in to[from..end].iter_mut().zip(row[at..].iter().step_by(stride)) {
            *to = *value;
        }
    }
}

/// Copies one phase of a row of a block.
struct Copy<'a, S> {
    s: S,
    part: Part,
    /// The first line of the row.
    start: usize,
    to: &'a mut [Line],
}

impl<S: Simd> WithLines<S> for Copy<'_, S> {
    #[inline(always)]
    fn with<L: Lines<S>>(self, lines: L) {
        let Part { from, to, at, stride } = self.part;
        self.to[..from].fill(Line::ZERO);
        self.to[to..].fill(Line::ZERO);
        for (column, line) in self.to[from..to].iter_mut().enumerate() {
            // SAFETY: the input is in the row by `Part`, the row in the block by its caller's test; a
            // mutable reference to a line can be written.
            unsafe { self.s.store(&raw mut *line, lines.get(self.s, self.start + at + column * stride)) };
        }
    }
}
