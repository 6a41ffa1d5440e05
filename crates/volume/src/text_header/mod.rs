//! What NRRD and MetaImage have in common: headers that people can read, voxels in one file or several,
//! perhaps as text.

mod axes;
mod data_files;
mod fields;
mod lines;
mod numbers;
mod parts;

pub(crate) use axes::{Axis, grid_of};
pub(crate) use data_files::{DataFiles, SeparateFiles};
pub(crate) use fields::Fields;
pub(crate) use lines::{lines_of, read_header};
pub(crate) use numbers::to_lps;
pub(crate) use parts::{Skip, parts_of};
