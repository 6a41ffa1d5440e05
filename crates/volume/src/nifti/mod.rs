//! NIfTI-1 and NIfTI-2 files: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs, the latter compressed or not.

mod encode;
mod fields;
mod geometry;
mod header;
mod names;
mod version;
mod write;

pub use version::NiftiVersion;

pub(crate) use header::describe;
pub(crate) use names::{header_path, is_named_so};
pub(crate) use write::write;
