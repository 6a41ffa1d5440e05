//! MetaImage files: `.mha` with header and voxels, `.mhd` with the voxels in files of their own.
//!
//! After the description of MetaIO (<https://itk.org/Wiki/ITK/MetaIO/Documentation>) and, where it is
//! silent, what ITK does. The world is LPS, as in all of ITK.

mod describe;
mod encode;
mod fields;
mod geometry;
mod header;
mod write;

pub(crate) use describe::{describe, is_recognised};
pub(crate) use write::{is_named_so, write};
