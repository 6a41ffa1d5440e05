//! A series into a volume, slice by slice, in parallel.

use rayon::prelude::*;

use super::bytes::{check_length, read_bytes};
use super::convert::{Misfit, convert};
use crate::dicom::{DicomOptions, DicomSeries};
use crate::file::{Fit, zeros};
use crate::{Volume, VolumeError, Voxel};

impl DicomSeries {
    /// Reads the voxels without loss, slope and intercept applied.
    ///
    /// Slices are read in parallel, straight to where they belong: the memory beyond the volume is one
    /// slice for each thread.
    ///
    /// # Errors
    /// As [`DicomSeries::grid`]; [`VolumeError::TooLarge`], [`VolumeError::Truncated`],
    /// [`VolumeError::UnsupportedSyntax`] or [`VolumeError::Format`] for a file that cannot be read;
    /// [`VolumeError::Value`] for a value that `T` cannot hold exactly. Floats take any float, rounded, and
    /// whole numbers that they hold exactly.
    pub fn read<T: Voxel>(&self, options: &DicomOptions) -> Result<Volume<T>, VolumeError> {
        let name = format!("{:?}", T::DATA_TYPE).to_lowercase();
        self.read_as(options, Fit::Exact, &format!("a value that {name} holds exactly"))
    }

    /// Reads the voxels as floats. What `f32` cannot hold becomes the nearest that it can.
    ///
    /// # Errors
    /// As [`DicomSeries::read`], but for [`VolumeError::Value`].
    pub fn read_image(&self, options: &DicomOptions) -> Result<Volume<f32>, VolumeError> {
        self.read_as(options, Fit::Nearest, "")
    }

    /// Reads the voxels; `expected` says what they should be, for the message about one that is not.
    pub(crate) fn read_as<T: Voxel>(
        &self,
        options: &DicomOptions,
        fit: Fit,
        expected: &str,
    ) -> Result<Volume<T>, VolumeError> {
        let grid = self.grid(options)?;
        self.frames.iter().try_for_each(check_length)?;
        let bytes = (grid.voxel_count() as u64).saturating_mul(size_of::<T>() as u64);
        let limit = options.limits.max_bytes;
        let voxels = if bytes > limit { None } else { zeros::<T>(grid.voxel_count()) };
        let Some(mut voxels) = voxels else {
            return Err(VolumeError::TooLarge { path: self.files[0].clone(), bytes, limit });
        };
        let [nx, ny, _] = grid.size();
        let done: Vec<Result<(), VolumeError>> = voxels
            .par_chunks_mut(nx * ny)
            .zip(&self.frames)
            .enumerate()
            .map_init(Vec::new, |bytes, (z, (voxels, frame))| {
                read_bytes(frame, bytes)?;
                convert(frame, bytes, fit, voxels).map_err(|Misfit { at, found }| VolumeError::Value {
                    path: frame.path(),
                    voxel: [at % nx, at / nx, z],
                    found,
                    expected: expected.to_string(),
                })
            })
            .collect();
        // The first in order, whichever thread was first.
        done.into_iter().collect::<Result<(), _>>()?;
        Volume::from_vec(grid, voxels)
    }
}
