//! Operations on tensors (N, D, H, W, C), the channels of a voxel side by side: what a network on a GPU is made of.
//!
//! Tensor cores want this layout, and a norm that is read as an activation, a part of a concatenation or the winner of
//! a pooling window needs no pass of its own. A convolution's result y stays as it is; a norm or a bias becomes the terms of
//! an affine map ([`norm_read`], [`bias_read`]); and whoever reads y reads act(scale · y + shift). Backward, the
//! activations are computed again.
//!
//! These are building blocks without gradients: each has its backward pass beside it. They run on NVIDIA GPUs with
//! the feature `cuda`, and as plain loops in `f32` and `f64` on the CPU, which is what they are tested against and
//! for nothing else: there a network runs in blocks ([`blocked`](crate::blocked)).
//!
//! Parts of the channels are views: [`Tensor::narrow`](candle_core::Tensor::narrow) along the last axis. What is
//! written to must be a whole tensor or such a part; what is only read may lie in any way, and is copied if it must
//! be.

mod activate;
mod as_read;
mod convolution;
mod ends;
mod layout;
mod norm;
#[cfg(feature = "cuda")]
mod on_gpu;
mod pooling;

pub use activate::{Read, accumulate, activate_into, activated};
pub use as_read::{Parts, convolve_as_read, gradient_as_read, side_by_side, weight_gradient_as_read};
pub use convolution::{convolve, convolve_input_gradient, convolve_weight_gradient};
pub use ends::{first_layer, first_layer_weight_gradient, head, head_gradient};
#[cfg(feature = "cuda")]
pub(crate) use layout::Voxels;
pub use layout::{first_from_last, last_from_first};
pub use norm::{Norm, Through, bias_read, norm_read, through_bias, through_norm, totals};
pub use pooling::{pool, pool_gradient_into};

use candle_core::{DType, Result, Tensor};

/// What parameters, scores and sums are beside values of type `number`: `f64` beside `f64`, else `f32`.
fn wide(number: DType) -> DType {
    if number == DType::F64 { number } else { DType::F32 }
}

/// A parameter beside values of type `number`: off the graph, of the wide type, in one piece.
fn widened(tensor: &Tensor, number: DType) -> Result<Tensor> {
    tensor.detach().to_dtype(wide(number))?.contiguous()
}
