//! Convolution run backwards: every output hands its value to the inputs it was made from.
//!
//! It is the gradient for the input, and with the roles exchanged the transposed convolution. With
//! stride 1 it is itself a convolution, with the kernel flipped and its channels exchanged; otherwise
//! products of matrices are spread over the inputs.

use candle_core::WithDType;
use rayon::prelude::*;

use super::forward::forward;
use super::matmul::{Matrix, multiply};
use crate::params::ConvShape;
use crate::single::{self, as_f32, from_f32};

/// Numbers in the matrix that is spread at a time.
const CHUNK_NUMBERS: usize = 1 << 16;

/// Gradient (N, C, D, H, W) for the input of the convolution `shape` with `weight`, from the gradient
/// of its output (N, C_out, D', H', W').
pub(crate) fn adjoint<T: WithDType>(shape: &ConvShape, gradient: &[T], weight: &[T]) -> Vec<T> {
    if let (Some(gradient), Some(weight)) = (as_f32(gradient), as_f32(weight)) {
        return from_f32(single::adjoint(shape, gradient, weight));
    }
    if shape.batch * shape.inputs * shape.input_voxels() == 0 {
        return Vec::new();
    }
    let fits = (0..3).all(|a| shape.kernel[a] > shape.padding[a]);
    if shape.stride == [1; 3] && fits {
        let flipped = ConvShape {
            inputs: shape.outputs,
            outputs: shape.inputs,
            input: shape.output,
            output: shape.input,
            padding: [0, 1, 2].map(|a| shape.kernel[a] - 1 - shape.padding[a]),
            ..*shape
        };
        forward(&flipped, gradient, &flip(shape, weight), None)
    } else {
        spread(shape, gradient, weight)
    }
}

/// `weight` with input and output channels exchanged and the kernel reversed along all axes.
fn flip<T: WithDType>(shape: &ConvShape, weight: &[T]) -> Vec<T> {
    let taps = shape.taps();
    let mut flipped = vec![T::zero(); weight.len()];
    for (o, weight) in weight.chunks_exact(shape.inputs * taps).enumerate() {
        for (c, kernel) in weight.chunks_exact(taps).enumerate() {
            let to = &mut flipped[(c * shape.outputs + o) * taps..][..taps];
            for (to, from) in to.iter_mut().zip(kernel.iter().rev()) {
                *to = *from;
            }
        }
    }
    flipped
}

fn spread<T: WithDType>(shape: &ConvShape, gradient: &[T], weight: &[T]) -> Vec<T> {
    let (voxels, taps) = (shape.output_voxels(), shape.taps());
    let plane = shape.input_voxels();
    let mut result = vec![T::zero(); shape.batch * shape.inputs * plane];
    let chunk = (CHUNK_NUMBERS / taps).max(1).min(voxels.max(1));
    // One channel of one sample a task: nobody else adds to it.
    result.par_chunks_mut(plane.max(1)).enumerate().for_each_init(Vec::new, |products, (i, result)| {
        let (n, channel) = (i / shape.inputs, i % shape.inputs);
        let gradient = &gradient[n * shape.outputs * voxels..(n + 1) * shape.outputs * voxels];
        products.resize(taps * chunk, T::zero());
        for from in (0..voxels).step_by(chunk) {
            let count = chunk.min(voxels - from);
            // (taps × C_out) · (C_out × voxels): what each kernel voxel gets from each output.
            multiply(
                [taps, count, shape.outputs],
                products,
                count,
                false,
                Matrix { values: &weight[channel * taps..], row_step: 1, column_step: shape.inputs * taps },
                Matrix { values: &gradient[from..], row_step: voxels, column_step: 1 },
            );
            for (tap, products) in products.chunks_exact(count).take(taps).enumerate() {
                add_tap(shape, tap, from, products, result);
            }
        }
    });
    result
}

/// Adds `products`, those of kernel voxel `tap` and outputs from `from` on, to the inputs they belong to.
fn add_tap<T: WithDType>(shape: &ConvShape, tap: usize, from: usize, products: &[T], result: &mut [T]) {
    let [_, kh, kw] = shape.kernel;
    let kernel = [tap / (kh * kw), tap / kw % kh, tap % kw];
    let [_, rows, row_length] = shape.output;
    let [depth, height, width] = shape.input;
    let mut done = 0;
    while done < products.len() {
        let at = from + done;
        let output = [at / (rows * row_length), at / row_length % rows, at % row_length];
        let run = (row_length - output[2]).min(products.len() - done);
        let start =
            [0, 1, 2].map(|a| (output[a] * shape.stride[a] + kernel[a]).wrapping_sub(shape.padding[a]));
        if start[0] < depth && start[1] < height {
            let line = &mut result[(start[0] * height + start[1]) * width..][..width];
            for (t, &value) in products[done..done + run].iter().enumerate() {
                if let Some(input) = line.get_mut(start[2].wrapping_add(t * shape.stride[2])) {
                    *input += value;
                }
            }
        }
        done += run;
    }
}
