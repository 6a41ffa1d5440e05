//! The blocked layout and what works on it: for networks that stay in it from image to scores.
//!
//! A tensor of C channels is (N, C/16, D, H, W, 16): a [`Line`] is sixteen channels of one voxel, in one
//! cache line and one or a few registers, so that no kernel has a special case for the end of a row. The
//! last block is filled with zeros. Tensors side by side need no copy that joins them ([`InputPart`]), and a
//! norm with its activation is done by whoever reads its result ([`Source`]).
//!
//! Memory comes from a pool that keeps it ([`Buffer`]).

pub use crate::channel_sums::{ChannelSums, gradient_sums, norm_sums};
pub use crate::channels::Channels;
pub use crate::convolution::{Convolution, Input, Output, Weights};
pub use crate::layout::{from_blocks, to_blocks};
pub use crate::line::{LANES, Line, numbers, numbers_mut};
pub use crate::memory::{Buffer, release_memory};
pub use crate::moments::Moments;
pub use crate::parts::{InputPart, OutputPart};
pub use crate::pool_blocks::{max_pool, max_pool_gradient};
pub use crate::source::{Affine, Source};
pub use crate::upsample_blocks::{upsample, upsample_gradient};
