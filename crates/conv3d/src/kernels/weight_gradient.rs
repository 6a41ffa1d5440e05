//! The gradient for the weights: for every chunk of outputs, their gradient times their inputs.

use candle_core::WithDType;
use rayon::prelude::*;

use super::im2col::{chunk_columns, im2col};
use super::matmul::{Matrix, multiply};
use crate::params::ConvShape;
use crate::single::{self, as_f32, from_f32};

/// Sums that are kept apart and added in order at the end. Fixed, so that the result does not depend on
/// the number of threads, which share them out.
const GROUPS: usize = 8;

/// Gradient (C_out, C, kD, kH, kW) for the weight, from the `input` (N, C, D, H, W) and the gradient of
/// the output (N, C_out, D', H', W').
pub(crate) fn weight_gradient<T: WithDType>(shape: &ConvShape, input: &[T], gradient: &[T]) -> Vec<T> {
    if let (Some(input), Some(gradient)) = (as_f32(input), as_f32(gradient)) {
        return from_f32(single::weight_gradient(shape, input, gradient));
    }
    let (voxels, products) = (shape.output_voxels(), shape.products());
    let chunk = chunk_columns(shape);
    let chunks = voxels.div_ceil(chunk);
    let tasks = shape.batch * chunks;
    let sample = shape.inputs * shape.input_voxels();
    let groups = GROUPS.min(tasks).max(1);
    let sums: Vec<Vec<T>> = (0..groups)
        .into_par_iter()
        .map(|group| {
            let mut sum = vec![T::zero(); shape.outputs * products];
            let mut columns = vec![T::zero(); products * chunk];
            for task in group * tasks / groups..(group + 1) * tasks / groups {
                let (n, from) = (task / chunks, task % chunks * chunk);
                let count = chunk.min(voxels - from);
                im2col(shape, &input[n * sample..(n + 1) * sample], from, count, &mut columns);
                let gradient = &gradient[n * shape.outputs * voxels + from..];
                multiply(
                    [shape.outputs, products, count],
                    &mut sum,
                    products,
                    true,
                    Matrix { values: gradient, row_step: voxels, column_step: 1 },
                    Matrix { values: &columns, row_step: 1, column_step: count },
                );
            }
            sum
        })
        .collect();
    let mut sums = sums.into_iter();
    let mut total = sums.next().expect("there is at least one group");
    for sum in sums {
        for (total, value) in total.iter_mut().zip(sum) {
            *total += value;
        }
    }
    total
}
