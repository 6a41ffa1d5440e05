//! Weights in the order in which products read them.

use rayon::prelude::*;

use super::axis::Axis;
use crate::channels::Channels;
use crate::line::LANES;
use crate::memory::Buffer;
use crate::simd::Isa;
use crate::winograd::Direction;

/// For each group of output blocks: for each tap and input number, a line for each block of the group.
#[derive(Debug)]
pub(crate) struct DirectWeights {
    lines: Buffer,
    /// Numbers of all inputs of a voxel: sixteen a block, or as many as there are channels if the input is
    /// not in blocks.
    pub(crate) numbers: usize,
    pub(crate) taps: usize,
    pub(crate) outputs: usize,
    group: usize,
}

impl DirectWeights {
    /// The taps of `axes` of `weights` (C_out, C_in, kernel). For the adjoint, `inputs` are C_out and
    /// `outputs` C_in. `planar` inputs are not in blocks.
    pub(crate) fn new(
        isa: Isa,
        weights: &[f32],
        kernel: [usize; 3],
        direction: Direction,
        [inputs, outputs]: [&Channels; 2],
        axes: &[Axis; 3],
        planar: bool,
    ) -> Self {
        let all: usize = kernel.iter().product();
        assert_eq!(
            weights.len(),
            all * inputs.count() * outputs.count(),
            "there are weights for each channel"
        );
        let group = isa.vectors();
        let taps: Vec<usize> =
            taps(axes).map(|[(_, z), (_, y), (_, x)]| (z * kernel[1] + y) * kernel[2] + x).collect();
        // For each number of a voxel, the input channel.
        let channels: Vec<Option<usize>> = if planar {
            (0..inputs.count()).map(Some).collect()
        } else {
            inputs
                .iter()
                .flat_map(|block| (0..LANES).map(move |k| (k < block.count).then_some(block.start + k)))
                .collect()
        };
        let row = taps.len() * channels.len();
        let mut lines = Buffer::new(row * outputs.blocks());
        let (c, o) = (inputs.count(), outputs.count());
        lines.par_chunks_mut((row * group).max(1)).enumerate().for_each(|(index, lines)| {
            let vectors = group.min(outputs.blocks() - index * group);
            for (i, lines) in lines.chunks_exact_mut(vectors).enumerate() {
                let (tap, channel) = (taps[i / channels.len()], channels[i % channels.len()]);
                for (v, line) in lines.iter_mut().enumerate() {
                    let block = outputs.block(index * group + v);
                    for (lane, value) in line.0.iter_mut().enumerate() {
                        let output = block.start + lane;
                        *value = match channel {
                            Some(input) if lane < block.count => match direction {
                                Direction::Forward => weights[(output * c + input) * all + tap],
                                Direction::Adjoint => weights[(input * o + output) * all + tap],
                            },
                            _ => 0.0,
                        };
                    }
                }
            }
        });
        Self { lines, numbers: channels.len(), taps: taps.len(), outputs: outputs.blocks(), group }
    }

    /// Groups of output blocks: index of the first, number, and their lines.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, usize, &[crate::line::Line])> {
        let row = self.taps * self.numbers;
        (0..self.outputs).step_by(self.group).map(move |first| {
            let vectors = self.group.min(self.outputs - first);
            (first, vectors, &self.lines[first * row..][..vectors * row])
        })
    }
}

/// All taps of three axes, those of W fastest.
pub(super) fn taps(axes: &[Axis; 3]) -> impl Iterator<Item = [(isize, usize); 3]> + '_ {
    axes[0].taps.iter().flat_map(move |&z| {
        axes[1].taps.iter().flat_map(move |&y| axes[2].taps.iter().map(move |&x| [z, y, x]))
    })
}
