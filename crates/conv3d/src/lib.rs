//! 3D convolution, transposed convolution, pooling, instance norm and upsampling for candle, forward
//! and backward.
//!
//! candle has none of these in three dimensions. Here they are as functions on its tensors
//! (N, C, D, H, W), `f32` or `f64`, that take part in its automatic differentiation. They run on the CPU,
//! on rayon's current pool, and give the same bits for any number of threads; with the feature `cuda` also on
//! NVIDIA GPUs, there in `f16` and `bf16` too. On other devices they are an error.
//!
//! On a GPU that `cuda::device` made all threads' work is done in the order of the calls. On a device of candle's own making
//! a tensor is used and dropped on the thread that computed it, or on another once that thread has called
//! `Device::synchronize`.
//!
//! [`reference`](mod@reference) has each of them once more as plain loops in `f64`: slow, obvious, and
//! what the others are tested against.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use organseg_conv3d::{Conv3dParams, conv3d};
//!
//! // The mean of each voxel and its neighbours along W.
//! let image = Var::new(&[0f32, 3.0, 6.0, 0.0], &Device::Cpu)?;
//! let weight = Tensor::full(1f32 / 3.0, (1, 1, 1, 1, 3), &Device::Cpu)?;
//! let params = Conv3dParams { padding: [0, 0, 1], ..Conv3dParams::default() };
//! let smooth = conv3d(&image.reshape((1, 1, 1, 1, 4))?, &weight, None, &params)?;
//! assert_eq!(smooth.flatten_all()?.to_vec1::<f32>()?, [1.0, 3.0, 3.0, 2.0]);
//! let gradient = smooth.sum_all()?.backward()?;
//! let gradient = gradient.get(&image).expect("it is a variable").to_vec1::<f32>()?;
//! assert!(gradient.iter().zip([2.0, 3.0, 3.0, 2.0]).all(|(g, e): (&f32, f32)| (g - e / 3.0).abs() < 1e-6));
//! # Ok::<(), candle_core::Error>(())
//! ```

/// The tensors that the operations are for, in the version that they are for.
pub use candle_core;

mod ahead;
mod bias;
pub mod blocked;
mod channel_sums;
mod channels;
pub mod channels_last;
mod conv3d;
mod conv_transpose3d;
mod convolution;
#[cfg(feature = "cuda")]
pub mod cuda;
mod direct;
mod instance_norm;
mod kernels;
mod large_pages;
mod layout;
mod line;
mod max_pool3d;
mod memory;
mod moments;
mod params;
mod parts;
mod pool_blocks;
mod product;
pub mod reference;
pub mod self_test;
mod simd;
mod single;
mod source;
#[cfg(test)]
mod source_tests;
mod storage;
#[cfg(test)]
mod test_support;
mod upsample;
mod upsample_blocks;
mod winograd;

pub use conv_transpose3d::conv_transpose3d;
pub use conv3d::conv3d;
pub use instance_norm::{Activation, instance_norm};
pub use large_pages::LargePages;
pub use max_pool3d::max_pool3d;
pub use memory::keep_freed_memory;
pub use params::{Algorithm, Conv3dParams};
pub use simd::instructions;
pub use upsample::{upsample_nearest3d, upsample_trilinear3d};
