//! Convolution of stride 1 by plain sums, several output channels and voxels at a time in registers.
//!
//! ```text
//! for each output row, block of output channels and tile of voxels along x:
//!   sums = 0                                  (channels × vectors of voxels, all in registers)
//!   for each input channel c, kernel voxel (i, j, l):
//!     v = input[c, z + i, y + j, x + l ..]    (a vector load for each vector of the tile)
//!     for each output channel o: sums[o] += weight[o, c, i, j, l] · v
//! ```
//! The input is copied once into a frame of zeros, so that no voxel is a special case. This wins over
//! im2col where rows are long and channels few: im2col writes 27 numbers for each voxel and channel, which
//! few output channels do not pay for. Deep in a network, where rows are short and channels many, the
//! product of matrices wins.

mod forward;
mod lanes;
mod padded;
mod weight_gradient;

use candle_core::WithDType;

pub(super) use forward::forward;
pub(super) use weight_gradient::weight_gradient;

use crate::params::ConvShape;

/// Rows shorter than this leave too much of a vector empty.
const MIN_ROW: usize = 20;

/// With more input channels, the rows that a tile reads leave the second-level cache.
const MAX_CHANNELS: usize = 96;

/// Whether the direct kernels take this convolution of numbers of type `T`.
pub(super) fn wins<T: WithDType>(shape: &ConvShape) -> bool {
    let single = T::DTYPE == candle_core::DType::F32;
    let channels = shape.inputs.max(shape.outputs) <= MAX_CHANNELS;
    single && shape.stride == [1; 3] && shape.taps() > 1 && shape.output[2] >= MIN_ROW && channels
}

/// `values` as f32: `T` is f32 wherever [`wins`] said yes.
pub(super) fn as_f32<T: WithDType>(values: &[T]) -> &[f32] {
    assert!(T::DTYPE == candle_core::DType::F32, "the direct kernels are for f32");
    // SAFETY: candle's one type with `DTYPE` F32 is f32 itself, so that this is the same slice.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// The way back.
pub(super) fn from_f32<T: WithDType>(values: Vec<f32>) -> Vec<T> {
    let boxed: Box<dyn std::any::Any> = Box::new(values);
    *boxed.downcast().expect("the direct kernels are for f32")
}
