//! Medical image volumes: voxels on a grid in the world, NIfTI, NRRD and MetaImage in and out, DICOM
//! in, orientation, resampling, intensity windows.
//!
//! Everything a user touches is in (x, y, z): size, spacing in millimetres, voxel index. World
//! coordinates are RAS+ millimetres, as in NIfTI. Voxels lie with x fastest in memory, the order on
//! disk, so the same slice read with reversed axes is a contiguous (D, H, W) tensor.
//!
//! # DICOM
//!
//! A folder of DICOM files is read like an image file; `DicomFolder` tells which series it holds. Which
//! transfer syntaxes are read depends on the crate's features:
//!
//! | feature | syntaxes | decoder |
//! |---|---|---|
//! | `dicom` (default) | implicit and explicit VR little endian, explicit VR big endian, deflated, encapsulated uncompressed, RLE lossless | this crate |
//! | `jpeg` (default) | JPEG baseline (…4.50), JPEG lossless (…4.57, …4.70) | `jpeg-decoder` |
//! | `jpeg2000` | JPEG 2000, lossless or not (…4.90, …4.91) | OpenJPEG translated to Rust |
//! | `jpeg-ls` | JPEG-LS, lossless or near (…4.80, …4.81) | CharLS, C++ |
//!
//! JPEG of 12 bits with loss (…4.51), JPEG XL, high-throughput JPEG 2000 and video are not read. Without
//! its feature a file is still listed; reading it is an error that names its syntax and the feature.

mod affine;
mod atomic_file;
mod decimate;
#[cfg(feature = "dicom")]
mod dicom;
mod error;
mod file;
mod grid;
mod instances;
mod intensity;
mod lead_labels;
mod metaimage;
mod nifti;
mod nrrd;
mod orientation;
mod resample;
mod score_labels;
mod simd;
mod spacing;
mod text_header;
mod volume;
mod voxel;

/// What [`Volume::array`] gives, in the version that it gives.
pub use ndarray;

pub use affine::{Affine, RIGHT_ANGLE_TOLERANCE};
pub use atomic_file::write_atomically;
pub use decimate::{LabelRule, decimate_labels, decimate_mean, upsample_linear, upsample_nearest};
#[cfg(feature = "dicom")]
pub use dicom::{DicomFinding, DicomFolder, DicomOptions, DicomSeries, find_dicom_series, is_dicom};
pub use error::VolumeError;
pub use file::{
    ImageFormat, ImageInfo, ReadLimits, probe, read, read_image, read_labels, read_with_limits, write,
};
pub use file::{WriteConfig, smallest_type, write_smallest, write_with};
pub use grid::{GEOMETRY_TOLERANCE_VOXELS, Grid};
pub use intensity::{
    min_max_to_unit_in_place, percentiles, window_to_unit, window_to_unit_in_place, z_score,
    z_score_in_place, z_score_of_nonzero_in_place,
};
pub use lead_labels::labels_from_leads;
pub use nifti::NiftiVersion;
pub use orientation::{Orientation, reorient, reorient_owned, reoriented_grid};
pub use resample::{
    AntiAliasing, Interpolation, ResampleConfig, grid_that_covers, grid_with_size, grid_with_spacing,
    resample, resample_with,
};
pub use score_labels::labels_from_scores;
pub use spacing::Spacing;
pub use volume::{Label, LabelVolume, Volume};
pub use voxel::{DataType, Voxel};
