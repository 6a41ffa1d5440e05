//! A series of slices.

use std::path::{Path, PathBuf};

use super::{DicomFinding, DicomOptions};
use crate::{Grid, ImageInfo, Volume, VolumeError, Voxel};

/// A stack of slices: one volume.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DicomSeries {
    /// SeriesInstanceUID.
    pub uid: String,
    /// SeriesNumber.
    pub number: Option<i64>,
    /// SeriesDescription, empty if there is none.
    pub description: String,
    /// Modality, such as CT or MR; empty if there is none.
    pub modality: String,
    /// PatientID, empty if there is none.
    pub patient_id: String,
    /// The files in the order of their slices along the normal.
    pub files: Vec<PathBuf>,
    /// What sets this stack apart from the others of the same series, if there are several.
    pub stack: Option<String>,
}

/// The series in `folder` and in the folders within it, sorted by number, then UID.
///
/// # Errors
/// [`VolumeError::Io`].
pub fn find_dicom_series(folder: impl AsRef<Path>) -> Result<Vec<DicomSeries>, VolumeError> {
    let _ = folder;
    Ok(Vec::new())
}

impl DicomSeries {
    /// Number of slices.
    #[must_use]
    pub fn slice_count(&self) -> usize {
        0
    }

    /// What is out of the ordinary.
    #[must_use]
    pub fn findings(&self) -> &[DicomFinding] {
        &[]
    }

    /// Where the voxels lie.
    ///
    /// # Errors
    /// As [`DicomSeries::read`].
    pub fn grid(&self, options: &DicomOptions) -> Result<Grid, VolumeError> {
        Ok(self.info(options)?.grid)
    }

    /// Grid and type of the values.
    ///
    /// # Errors
    /// As [`DicomSeries::read`].
    pub fn info(&self, options: &DicomOptions) -> Result<ImageInfo, VolumeError> {
        let _ = options;
        Err(VolumeError::Format { path: PathBuf::new(), reason: "not yet".to_string() })
    }

    /// The voxels without loss, slope and intercept applied.
    ///
    /// # Errors
    /// [`VolumeError::Value`].
    pub fn read<T: Voxel>(&self, options: &DicomOptions) -> Result<Volume<T>, VolumeError> {
        Ok(Volume::filled(self.grid(options)?, T::default()))
    }

    /// The voxels as floats.
    ///
    /// # Errors
    /// As [`DicomSeries::read`].
    pub fn read_image(&self, options: &DicomOptions) -> Result<Volume<f32>, VolumeError> {
        Ok(Volume::filled(self.grid(options)?, 0.0))
    }
}
