//! Convolution of any number type: im2col of a chunk of outputs and a matrix product straight into them.
//! `f32` goes by its own kernels.

use candle_core::WithDType;
use rayon::prelude::*;

use super::disjoint::Disjoint;
use super::im2col::{chunk_columns, im2col};
use super::matmul::{Matrix, multiply_into};
use crate::params::ConvShape;
use crate::single::{self, as_f32, from_f32};

/// `input` (N, C, D, H, W) convolved with `weight` (C_out, C, kD, kH, kW), plus `bias` (C_out).
pub(crate) fn forward<T: WithDType>(
    shape: &ConvShape,
    input: &[T],
    weight: &[T],
    bias: Option<&[T]>,
) -> Vec<T> {
    if let (Some(input), Some(weight)) = (as_f32(input), as_f32(weight)) {
        return from_f32(single::forward(shape, input, weight, bias.and_then(as_f32)));
    }
    let (voxels, products) = (shape.output_voxels(), shape.products());
    let mut output = vec![T::zero(); shape.batch * shape.outputs * voxels];
    if output.is_empty() {
        return output;
    }
    let chunk = chunk_columns(shape);
    let chunks = voxels.div_ceil(chunk);
    let sample = shape.inputs * shape.input_voxels();
    let shared = Disjoint::new(&mut output);
    (0..shape.batch * chunks).into_par_iter().for_each_init(Vec::new, |columns, task| {
        let (n, from) = (task / chunks, task % chunks * chunk);
        let count = chunk.min(voxels - from);
        let input = &input[n * sample..(n + 1) * sample];
        let inputs = if shape.is_pointwise() {
            Matrix { values: &input[from..], row_step: voxels, column_step: 1 }
        } else {
            columns.resize(products * chunk, T::zero());
            im2col(shape, input, from, count, columns);
            Matrix { values: columns, row_step: count, column_step: 1 }
        };
        let weight = Matrix { values: weight, row_step: products, column_step: 1 };
        let first = n * shape.outputs * voxels + from;
        // SAFETY: this task alone writes voxels from‥from + count of the channels of sample n. The part
        // taken is empty and only checks that the last of them lies within the output.
        unsafe {
            let last = first + (shape.outputs - 1) * voxels + count;
            let _ = shared.part(last, 0);
            let out = shared.pointer(first);
            multiply_into([shape.outputs, count, products], out, voxels, false, weight, inputs);
        }
        for (channel, &bias) in bias.into_iter().flatten().enumerate() {
            // SAFETY: as above; the matrix product is done with them.
            for value in unsafe { shared.part(first + channel * voxels, count) } {
                *value += bias;
            }
        }
    });
    output
}
