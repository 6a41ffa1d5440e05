//! Volumes into files: the ending says in which format.

use std::path::Path;

use crate::{Volume, VolumeError, Voxel, nifti};

/// Writes `volume` to `path`; the ending says how:
///
/// | ending | format |
/// |---|---|
/// | `.nii`, `.nii.gz` | NIfTI-1 |
/// | `.hdr`, `.img`, also with `.gz` | NIfTI-1, header and voxels side by side, whichever of the two is named |
///
/// A NIfTI-1 header holds the affine in single precision: numbers that are exact there, such as those read
/// from another NIfTI file, survive to the bit, others to one part in 1.6e7 (6e-6 mm for an origin 100 mm
/// away). It goes into the sform and, if its axes are at right angles, the qform.
///
/// Files are written under a temporary name and renamed; the same volume gives the same bytes.
///
/// # Errors
/// [`VolumeError::Format`] for another ending, [`VolumeError::InvalidSize`] for an axis of more than
/// 32767 voxels, [`VolumeError::InvalidAffine`] for numbers beyond single precision (both within
/// [`VolumeError::InFile`]), [`VolumeError::Io`] if the file cannot be written.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, read, write};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("scan.nii.gz");
/// let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(1.5)?)?;
/// let volume = Volume::from_vec(grid, vec![-1000i16, 40])?;
/// write(&path, &volume)?;
/// assert_eq!(read::<i16>(&path)?, volume);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write<T: Voxel>(path: impl AsRef<Path>, volume: &Volume<T>) -> Result<(), VolumeError> {
    let path = path.as_ref();
    if nifti::is_named_so(path) {
        return nifti::write(path, volume);
    }
    let reason = "its name should end in .nii, .nii.gz, .hdr or .img".to_string();
    Err(VolumeError::Format { path: path.to_path_buf(), reason })
}
