//! The large generic functions, once for each number type.
//!
//! A generic function is compiled anew in every crate that calls it. Reading, writing and resampling are large, and
//! take ten number types: through this trait, which [`Voxel`](crate::Voxel) has above it, they are compiled in this
//! crate and nowhere else. It also keeps other types from being voxels.

use std::path::Path;

use crate::file::{Fit, ReadLimits, WriteConfig, read_as, write_as, write_smallest_as};
use crate::resample::{ResampleConfig, resample_as};
use crate::{Grid, Volume, VolumeError};

/// See [the module](self).
pub trait Instances: Sized {
    /// Behind [`read`](crate::read()) and its like.
    fn read(path: &Path, limits: ReadLimits, fit: Fit, expected: &str) -> Result<Volume<Self>, VolumeError>;

    /// Behind [`write_with`](crate::write_with).
    fn write(path: &Path, volume: &Volume<Self>, config: &WriteConfig) -> Result<(), VolumeError>;

    /// Behind [`write_smallest`](crate::write_smallest).
    fn write_smallest(path: &Path, volume: &Volume<Self>, config: &WriteConfig) -> Result<(), VolumeError>;

    /// Behind [`resample_with`](crate::resample_with).
    fn resample(volume: &Volume<Self>, target: &Grid, config: &ResampleConfig, fill: Self) -> Volume<Self>;
}

/// `$real` computes with the values of `$voxel`: singles hold integers of up to 24 bits exactly.
macro_rules! instances {
    ($($voxel:ty, $real:ty;)*) => {$(
        impl Instances for $voxel {
            fn read(
                path: &Path,
                limits: ReadLimits,
                fit: Fit,
                expected: &str,
            ) -> Result<Volume<Self>, VolumeError> {
                read_as(path, limits, fit, expected)
            }

            fn write(path: &Path, volume: &Volume<Self>, config: &WriteConfig) -> Result<(), VolumeError> {
                write_as(path, volume, config)
            }

            fn write_smallest(
                path: &Path,
                volume: &Volume<Self>,
                config: &WriteConfig,
            ) -> Result<(), VolumeError> {
                write_smallest_as(path, volume, config)
            }

            fn resample(
                volume: &Volume<Self>,
                target: &Grid,
                config: &ResampleConfig,
                fill: Self,
            ) -> Volume<Self> {
                resample_as::<$real, $voxel>(volume, target, config, fill)
            }
        }
    )*};
}

instances! {
    u8, f32;
    i8, f32;
    u16, f32;
    i16, f32;
    u32, f64;
    i32, f64;
    u64, f64;
    i64, f64;
    f32, f32;
    f64, f64;
}
