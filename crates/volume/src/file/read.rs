//! Voxels out of files, whatever the format.

use std::path::Path;

use super::decode::{Fit, Misfit};
use super::limits::ReadLimits;
use super::load::load;
use super::open::open;
use crate::instances::Instances;
use crate::{LabelVolume, Volume, VolumeError, Voxel};

/// Reads the image at `path` as floats, slope and intercept applied. What `f32` cannot hold becomes the
/// nearest that it can.
///
/// # Errors
/// [`VolumeError::Io`] if the file cannot be read; [`VolumeError::Format`], [`VolumeError::InFile`],
/// [`VolumeError::NotThreeDimensional`], [`VolumeError::TooLarge`], [`VolumeError::Truncated`] or
/// [`VolumeError::DamagedGzip`] if it is not a sound 3D image. All name the file.
pub fn read_image(path: impl AsRef<Path>) -> Result<Volume<f32>, VolumeError> {
    f32::read(path.as_ref(), ReadLimits::default(), Fit::Nearest, "")
}

/// Reads the segmentation at `path`.
///
/// In files with a slope or an intercept a label may be off by 1e-4: nibabel saves floats under a header for integers
/// with a slope in single precision, and then 1 is 0.9999999997671694.
///
/// # Errors
/// As [`read_image`], and [`VolumeError::Value`] for a voxel that is not a whole number from 0 to 255.
pub fn read_labels(path: impl AsRef<Path>) -> Result<LabelVolume, VolumeError> {
    u8::read(path.as_ref(), ReadLimits::default(), Fit::Label, "a label, a whole number from 0 to 255")
}

/// Reads the image at `path` without loss, slope and intercept applied.
///
/// # Errors
/// As [`read_image`], and [`VolumeError::Value`] for a voxel that `T` cannot hold exactly. Floats take
/// any float: a double rounds to the nearest `f32`.
pub fn read<T: Voxel>(path: impl AsRef<Path>) -> Result<Volume<T>, VolumeError> {
    read_with_limits(path, ReadLimits::default())
}

/// [`read`] with a limit of one's own.
///
/// # Errors
/// As [`read`].
pub fn read_with_limits<T: Voxel>(
    path: impl AsRef<Path>,
    limits: ReadLimits,
) -> Result<Volume<T>, VolumeError> {
    let name = format!("{:?}", T::DATA_TYPE).to_lowercase();
    T::read(path.as_ref(), limits, Fit::Exact, &format!("a value that {name} holds exactly"))
}

pub(crate) fn read_as<T: Voxel>(
    path: &Path,
    limits: ReadLimits,
    fit: Fit,
    expected: &str,
) -> Result<Volume<T>, VolumeError> {
    #[cfg(feature = "dicom")]
    if crate::dicom::is_dicom(path) {
        return crate::dicom::read_as(path, limits, fit, expected);
    }
    let image = open(path)?;
    let grid = image.info.grid;
    let [nx, ny, _] = grid.size();
    let misfit = |m: Misfit| VolumeError::Value {
        path: path.to_path_buf(),
        voxel: [m.at % nx, m.at / nx % ny, m.at / (nx * ny)],
        found: m.found,
        expected: expected.to_string(),
    };
    Volume::from_vec(grid, load(path, &image, limits, fit, &misfit)?)
}
