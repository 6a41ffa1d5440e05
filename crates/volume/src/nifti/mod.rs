//! NIfTI-1 files: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs, the latter compressed or not.

mod decode;
mod encode;
mod geometry;
mod header;
mod open;
mod read;
mod write;

pub use header::{ImageFormat, ImageInfo, probe};
pub use read::{ReadLimits, read, read_image, read_labels, read_with_limits};
pub use write::write;
