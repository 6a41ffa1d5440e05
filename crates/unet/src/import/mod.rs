//! Weights from elsewhere: a PyTorch state dict, `.pt`, `.pth` or `.safetensors`, into a [`Unet3d`](crate::Unet3d).
//!
//! A [`NameMap`] says what each tensor is called there; those of MONAI's `BasicUNet` and `DynUNet` are part of
//! the crate. [`import_weights`] gives the tensors under the network's own names, for
//! [`VarBuilder::from_tensors`](candle_nn::VarBuilder::from_tensors) or [`weights::save`](crate::weights::save).

mod archive;
mod name_map;
mod pattern;
mod pickle;
mod state_dict;
mod translate;

pub use archive::StateDictError;
pub use name_map::{NameMap, Rename};
pub use state_dict::read_state_dict;
pub use translate::import_weights;
