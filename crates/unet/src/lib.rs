//! A configurable 3D U-Net on candle, its losses and its weights on disk.
//!
//! [`Unet3d`] maps an image (N, C, D, H, W) to class scores (N, K, D, H, W) of the same size,
//! whatever that size is. [`LossConfig`] is the loss of the coarse-to-fine method, Dice + γ · center,
//! with cross-entropy, focal and Tversky loss beside it; [`batch_loss`] is that of all heads of a network, what
//! a trainer minimises. [`weights`] writes and reads safetensors,
//! [`import`] reads what other programs have trained.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{VarBuilder, VarMap};
//! use organseg_unet::{Unet3d, UnetConfig, initialize};
//!
//! let config = UnetConfig::new(1, 2).with_channels(vec![4, 8]);
//! let variables = VarMap::new();
//! let net = Unet3d::new(&config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
//! initialize(&variables, 42)?;
//! let image = Tensor::zeros((1, 1, 5, 7, 6), DType::F32, &Device::Cpu)?;
//! assert_eq!(net.forward(&image)?.dims(), [1, 2, 5, 7, 6]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod engine;
mod error;
pub mod import;
mod init;
pub mod loss;
mod padding;
pub mod self_test;
mod training_pass;
mod unet;
pub mod weights;

/// The operations that networks are made of.
pub use candle_nn;
pub use config::{Blocks, Downsampling, Norm, Skips, UnetConfig, Upsampling};
pub use error::UnetError;
pub use init::initialize;
pub use loss::{EmptySlices, LossConfig, LossParts, batch_loss};
pub use organseg_conv3d as conv3d;
pub use organseg_conv3d::Algorithm;
pub use training_pass::TrainingPass;
pub use unet::Unet3d;
