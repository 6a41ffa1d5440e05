//! NIfTI-1 files: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs, the latter compressed or not.

mod encode;
mod geometry;
mod header;
mod names;
mod write;

pub(crate) use header::describe;
pub(crate) use names::{header_path, is_named_so};
pub(crate) use write::write;
