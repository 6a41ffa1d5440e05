//! Medical image volumes: voxels on a grid in the world, NIfTI in and out, orientation, resampling,
//! intensity windows.
//!
//! Everything a user touches is in (x, y, z): size, spacing in millimetres, voxel index. World
//! coordinates are RAS+ millimetres, as in NIfTI. Voxels lie with x fastest in memory, the order on
//! disk, so the same slice read with reversed axes is a contiguous (D, H, W) tensor.

mod affine;
mod error;
mod grid;
mod spacing;
mod volume;
mod voxel;

pub use affine::Affine;
pub use error::VolumeError;
pub use grid::{GEOMETRY_TOLERANCE_VOXELS, Grid};
pub use spacing::Spacing;
pub use volume::{Label, LabelVolume, Volume};
pub use voxel::{DataType, Voxel};
