//! Medical image volumes: voxels on a grid in the world, NIfTI in and out, orientation, resampling,
//! intensity windows.
//!
//! Everything a user touches is in (x, y, z): size, spacing in millimetres, voxel index. World
//! coordinates are RAS+ millimetres, as in NIfTI. Voxels lie with x fastest in memory, the order on
//! disk, so the same slice read with reversed axes is a contiguous (D, H, W) tensor.

mod affine;
mod atomic_file;
mod decimate;
mod error;
mod file;
mod grid;
mod intensity;
mod nifti;
mod orientation;
mod resample;
mod spacing;
mod volume;
mod voxel;

pub use affine::Affine;
pub use atomic_file::write_atomically;
pub use decimate::{LabelRule, decimate_labels, decimate_mean, upsample_linear, upsample_nearest};
pub use error::VolumeError;
pub use file::{
    ImageFormat, ImageInfo, ReadLimits, probe, read, read_image, read_labels, read_with_limits, write,
};
pub use file::{WriteConfig, smallest_type, write_smallest, write_with};
pub use grid::{GEOMETRY_TOLERANCE_VOXELS, Grid};
pub use intensity::{percentiles, window_to_unit, z_score};
pub use nifti::NiftiVersion;
pub use orientation::{Orientation, reorient, reoriented_grid};
pub use resample::{Interpolation, grid_with_size, grid_with_spacing, resample};
pub use spacing::Spacing;
pub use volume::{Label, LabelVolume, Volume};
pub use voxel::{DataType, Voxel};
