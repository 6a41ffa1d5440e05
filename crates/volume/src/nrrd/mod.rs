//! NRRD files: `.nrrd` with header and voxels, `.nhdr` with the voxels in files of their own.
//!
//! After "Definition of NRRD File Format" (<https://teem.sourceforge.net/nrrd/format.html>), versions 1 to 5.

mod describe;
mod encode;
mod fields;
mod geometry;
mod header;
mod space;
mod vectors;
mod write;

pub(crate) use describe::{describe, is_magic};
pub(crate) use write::{is_named_so, write};
