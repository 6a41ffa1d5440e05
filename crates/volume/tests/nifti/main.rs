//! NIfTI files of every kind in and out, and what becomes of those that are wrong.

mod bad_input;
mod geometry;
mod nifti_2;
mod raw_file;
mod reference_images;
mod round_trip;
