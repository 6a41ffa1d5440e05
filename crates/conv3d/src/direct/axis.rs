//! One axis of a convolution: which inputs make which outputs.

use crate::params::ConvShape;

/// Output number o, at `start + o · step` of the output, is a sum over taps of the inputs at
/// `o · stride + offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Outputs.
    pub(crate) count: usize,
    /// Where output 0 lies, and how far the next is from it.
    pub(crate) start: usize,
    pub(crate) step: usize,
    /// From one output's inputs to the next one's.
    pub(crate) stride: usize,
    /// Offset of the input and index of the weight of each tap.
    pub(crate) taps: Vec<(isize, usize)>,
    /// Inputs; those outside are zero.
    pub(crate) inputs: usize,
}

/// The axes of a convolution.
pub(crate) fn forward_axes(shape: &ConvShape) -> [Axis; 3] {
    std::array::from_fn(|a| Axis {
        count: shape.output[a],
        start: 0,
        step: 1,
        stride: shape.stride[a],
        taps: (0..shape.kernel[a]).map(|k| (k as isize - shape.padding[a] as isize, k)).collect(),
        inputs: shape.input[a],
    })
}

/// The axes of the adjoint of a convolution, from its output to its input: a set for each phase (D, H, W)
/// of the input, some without outputs if that is small. Input i = o s + r gets a share from the outputs j with j s + k − p = i, so from
/// j = o + (r + p − k) / s for those k that leave no remainder.
pub(crate) fn adjoint_axes(shape: &ConvShape) -> Vec<[Axis; 3]> {
    let axis = |a: usize, phase: usize| {
        let (stride, padding) = (shape.stride[a], shape.padding[a]);
        let taps = (0..shape.kernel[a]).filter(|k| (phase + padding) % stride == k % stride);
        Axis {
            count: shape.input[a].saturating_sub(phase).div_ceil(stride),
            start: phase,
            step: stride,
            stride: 1,
            taps: taps.map(|k| (((phase + padding) as isize - k as isize) / stride as isize, k)).collect(),
            inputs: shape.output[a],
        }
    };
    let mut all = Vec::new();
    for d in 0..shape.stride[0] {
        for h in 0..shape.stride[1] {
            for w in 0..shape.stride[2] {
                all.push([axis(0, d), axis(1, h), axis(2, w)]);
            }
        }
    }
    all
}

impl Axis {
    /// Offsets divided by the stride, rounded down: the least and the greatest; (0, 0) without taps.
    pub(super) fn shifts(&self) -> (isize, isize) {
        let shifts = self.taps.iter().map(|&(offset, _)| offset.div_euclid(self.stride as isize));
        (shifts.clone().min().unwrap_or(0), shifts.max().unwrap_or(0))
    }
}
