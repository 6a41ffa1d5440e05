//! Pixels: bytes of a file into voxels of the type that was asked for.

mod bytes;
mod codestream;
mod convert;
mod fragments;
#[cfg(feature = "jpeg")]
mod jpeg;
#[cfg(feature = "jpeg2000")]
mod jpeg2000;
#[cfg(feature = "jpeg-ls")]
mod jpeg_ls;
mod read;
mod rle;

pub(super) use convert::smallest_type;
pub(super) use fragments::Fragments;
