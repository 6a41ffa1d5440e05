//! What the header of an image file says, whatever the format.

use std::path::Path;

use serde::Serialize;

use super::open::open;
use crate::{Affine, DataType, Grid, Orientation, VolumeError};

/// The kind of file that an image is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ImageFormat {
    /// A NIfTI-1 file that holds header and voxels: `.nii`, `.nii.gz`.
    Nifti1,
    /// A NIfTI-1 header with the voxels in a file of their own: `.hdr` and `.img`.
    Nifti1Pair,
    /// A NIfTI-2 file that holds header and voxels.
    Nifti2,
    /// A NIfTI-2 header with the voxels in a file of their own.
    Nifti2Pair,
    /// An NRRD file that holds header and voxels: `.nrrd`.
    Nrrd,
    /// An NRRD header with the voxels in files of their own: `.nhdr`.
    NrrdDetached,
    /// A MetaImage file that holds header and voxels: `.mha`.
    #[serde(rename = "metaimage")]
    MetaImage,
    /// A MetaImage header with the voxels in files of their own: `.mhd`.
    #[serde(rename = "metaimage-detached")]
    MetaImageDetached,
    /// DICOM: a file for each slice, or one with all of them.
    Dicom,
}

/// What the header of an image file says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageInfo {
    /// Kind of file.
    pub format: ImageFormat,
    /// Size and voxel-to-world affine.
    pub grid: Grid,
    /// Type of the stored values.
    pub data_type: DataType,
    /// A stored value v stands for slope · v + intercept.
    pub slope: f64,
    /// See `slope`.
    pub intercept: f64,
    /// Which way the axes run.
    pub orientation: Orientation,
    /// Largest |cosine| between two axes: 0 if they are at right angles.
    pub orthogonality_residual: f64,
    /// Which part of the header the affine is from: `sform`, `qform` or `pixdim` in NIfTI files,
    /// `space directions` or `spacings` in NRRD files, `TransformMatrix` (or an older name of it) or
    /// `ElementSpacing` in MetaImage files.
    pub affine_source: &'static str,
    /// The affine of a NIfTI file's qform where the sform counts and both are there. Programs that prefer the
    /// qform see the image there.
    pub qform: Option<Affine>,
}

/// Slope and intercept that a header means by these two. A slope of 0, of NaN or of infinity scales nothing; an intercept
/// that is no number is 0, as in the reference implementation of NIfTI (`FIXED_FLOAT` of nifti1_io).
pub(crate) fn scaling(slope: f64, intercept: f64) -> (f64, f64) {
    if slope == 0.0 || !slope.is_finite() {
        return (1.0, 0.0);
    }
    (slope, if intercept.is_finite() { intercept } else { 0.0 })
}

impl ImageInfo {
    /// Values as they are stored (slope 1, intercept 0); what follows from the grid is computed.
    pub(crate) fn new(
        format: ImageFormat,
        grid: Grid,
        data_type: DataType,
        affine_source: &'static str,
    ) -> Self {
        Self {
            format,
            grid,
            data_type,
            slope: 1.0,
            intercept: 0.0,
            orientation: Orientation::of(grid.affine()),
            orthogonality_residual: grid.affine().orthogonality_residual(),
            affine_source,
            qform: None,
        }
    }
}

/// Reads the header of the image at `path`, without its voxels.
///
/// # Errors
/// [`VolumeError::Io`] if the file cannot be read, [`VolumeError::Format`] and its kin if its header is
/// not that of a 3D image; all name the file.
pub fn probe(path: impl AsRef<Path>) -> Result<ImageInfo, VolumeError> {
    #[cfg(feature = "dicom")]
    if crate::dicom::is_dicom(path.as_ref()) {
        return crate::dicom::probe(path.as_ref());
    }
    Ok(open(path.as_ref())?.info)
}
