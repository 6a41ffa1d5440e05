//! Convolution of `f32` in (N, C, D, H, W): to blocks, convolved, and back.

use candle_core::{DType, WithDType};

use crate::channels::Channels;
use crate::convolution::{Convolution, Input, Output};
use crate::layout::{from_blocks, to_blocks};
use crate::memory::Buffer;
use crate::params::{Conv3dParams, ConvShape};
use crate::parts::{InputPart, OutputPart};
use crate::source::Source;

/// `values` as `f32`, if that is what they are.
pub(crate) fn as_f32<T: WithDType>(values: &[T]) -> Option<&[f32]> {
    // SAFETY: candle's one type with `DTYPE` F32 is f32 itself, so that this is the same slice.
    (T::DTYPE == DType::F32)
        .then(|| unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) })
}

/// The way back.
pub(crate) fn from_f32<T: WithDType>(values: Vec<f32>) -> Vec<T> {
    let boxed: Box<dyn std::any::Any> = Box::new(values);
    *boxed.downcast().expect("numbers that came as f32 go as f32")
}

/// Tensors of fewer channels are read channel by channel rather than in blocks.
const LEAST_BLOCKED: usize = 5;

fn convolution(shape: &ConvShape) -> Convolution {
    let params = Conv3dParams { stride: shape.stride, padding: shape.padding, algorithm: shape.algorithm };
    let channels = |count: usize| Channels::new(&[count]);
    let mut convolution =
        Convolution::new(shape.kernel, params, channels(shape.inputs), channels(shape.outputs));
    if shape.inputs < LEAST_BLOCKED {
        convolution = convolution.with_planar_input();
    }
    if shape.outputs < LEAST_BLOCKED {
        convolution = convolution.with_planar_output();
    }
    convolution
}

/// A tensor as a convolution reads it: itself if its channels are few, else in blocks.
struct Tensor<'a> {
    values: &'a [f32],
    blocks: Option<Buffer>,
    channels: Channels,
}

impl<'a> Tensor<'a> {
    fn new(values: &'a [f32], channels: usize, voxels: usize) -> Self {
        let planar = channels < LEAST_BLOCKED;
        let channels = Channels::new(&[channels]);
        let blocks = (!planar).then(|| to_blocks(values, &channels, voxels));
        Self { values, blocks, channels }
    }

    fn read<R>(&self, with: impl FnOnce(Input<'_>) -> R) -> R {
        match &self.blocks {
            Some(lines) => {
                let blocks = self.channels.blocks();
                with(Input::Blocks(&[InputPart { source: Source::Plain(lines), blocks }]))
            }
            None => with(Input::Planar(self.values)),
        }
    }
}

/// The convolution `shape` of `input` with `weight`, plus `bias`.
pub(crate) fn forward(shape: &ConvShape, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    let convolution = convolution(shape);
    let weights = convolution.weights(weight, shape.input);
    let outputs = Channels::new(&[shape.outputs]);
    let voxels = shape.output_voxels();
    let mut y = Buffer::new(shape.batch * outputs.blocks() * voxels);
    Tensor::new(input, shape.inputs, shape.input_voxels()).read(|input| {
        let part = OutputPart { values: &mut y, blocks: outputs.blocks(), add: false };
        convolution.forward(&weights, shape.batch, shape.input, input, Output::Blocks(vec![part]), None);
    });
    let mut values = from_blocks(&y, &outputs, voxels);
    if let Some(bias) = bias {
        for (channel, values) in values.chunks_mut(voxels.max(1)).enumerate() {
            let bias = bias[channel % shape.outputs];
            values.iter_mut().for_each(|value| *value += bias);
        }
    }
    values
}

/// The adjoint of the convolution `shape`: from the gradient of its output to that of its input.
pub(crate) fn adjoint(shape: &ConvShape, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
    let convolution = convolution(shape);
    let weights = convolution.adjoint_weights(weight, shape.input);
    let inputs = Channels::new(&[shape.inputs]);
    let mut x = Buffer::new(shape.batch * inputs.blocks() * shape.input_voxels());
    Tensor::new(gradient, shape.outputs, shape.output_voxels()).read(|gradient| {
        let part = OutputPart { values: &mut x, blocks: inputs.blocks(), add: false };
        convolution.adjoint(&weights, shape.batch, shape.input, gradient, Output::Blocks(vec![part]), None);
    });
    from_blocks(&x, &inputs, shape.input_voxels())
}

/// The gradient for the weight of the convolution `shape`.
pub(crate) fn weight_gradient(shape: &ConvShape, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    let gradient = to_blocks(gradient, &Channels::new(&[shape.outputs]), shape.output_voxels());
    Tensor::new(input, shape.inputs, shape.input_voxels()).read(|input| {
        convolution(shape).weight_gradient(shape.batch, shape.input, input, Source::Plain(&gradient))
    })
}
