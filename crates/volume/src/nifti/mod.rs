//! NIfTI-1 files: `.nii`, `.nii.gz` and `.hdr`/`.img` pairs.

mod encode;
mod geometry;
mod header;
mod read;
mod write;

pub use header::{ImageInfo, probe};
pub use read::{ReadLimits, read, read_image, read_labels, read_with_limits};
pub use write::write;
