//! Volumes into files: the ending says in which format.

use std::path::Path;

use super::smallest::{smallest_type, with_type};
use crate::{NiftiVersion, Volume, VolumeError, Voxel, metaimage, nifti, nrrd};

/// How a file is written, where its ending leaves a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteConfig {
    /// Version of NIfTI files.
    pub nifti_version: NiftiVersion,
}

impl WriteConfig {
    /// With another version of NIfTI.
    #[must_use]
    pub fn with_nifti_version(mut self, version: NiftiVersion) -> Self {
        self.nifti_version = version;
        self
    }
}

/// Writes `volume` to `path`; the ending says how:
///
/// | ending | format |
/// |---|---|
/// | `.nii`, `.nii.gz` | NIfTI-1, or NIfTI-2 if an axis has more than 32767 voxels |
/// | `.hdr`, `.img`, also with `.gz` | the same, header and voxels side by side, whichever of the two is named |
/// | `.nrrd` | NRRD, compressed with gzip |
/// | `.nhdr` | NRRD header, raw voxels beside it in `NAME.nhdr.raw` |
/// | `.mha` | MetaImage, compressed with zlib |
/// | `.mhd` | MetaImage header, raw voxels beside it in `NAME.mhd.raw` |
///
/// A NIfTI-1 header holds the affine in single precision: numbers that are exact there, such as those read
/// from another NIfTI file, survive to the bit, others to one part in 1.6e7 (6e-6 mm for an origin 100 mm
/// away). Who needs more than that asks for NIfTI-2 ([`write_with`]). The affine goes into the sform and, if
/// its axes are at right angles, the qform. NRRD and MetaImage headers hold it in double precision; NRRD to
/// the bit, MetaImage, which has directions and spacings apart, to rounding.
///
/// Files are written under a temporary name and renamed; the same volume gives the same bytes.
///
/// # Errors
/// [`VolumeError::Format`] for another ending, [`VolumeError::InvalidAffine`] for numbers beyond single
/// precision (within [`VolumeError::InFile`]), [`VolumeError::Io`] if the file cannot be written.
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
    write_with(path, volume, &WriteConfig::default())
}

/// [`write()`] with choices of one's own.
///
/// # Errors
/// As [`write()`], and [`VolumeError::InvalidSize`] (within [`VolumeError::InFile`]) for an axis of more than
/// 32767 voxels that is to go into NIfTI-1.
pub fn write_with<T: Voxel>(
    path: impl AsRef<Path>,
    volume: &Volume<T>,
    config: &WriteConfig,
) -> Result<(), VolumeError> {
    T::write(path.as_ref(), volume, config)
}

pub(crate) fn write_as<T: Voxel>(
    path: &Path,
    volume: &Volume<T>,
    config: &WriteConfig,
) -> Result<(), VolumeError> {
    if nifti::is_named_so(path) {
        return nifti::write(path, volume, config.nifti_version);
    }
    if nrrd::is_named_so(path) {
        return nrrd::write(path, volume);
    }
    if metaimage::is_named_so(path) {
        return metaimage::write(path, volume);
    }
    let reason = "its name should end in .nii, .nii.gz, .hdr, .img, .nrrd, .nhdr, .mha or .mhd".to_string();
    Err(VolumeError::Format { path: path.to_path_buf(), reason })
}

/// [`write_with`] in the smallest type that holds every voxel exactly ([`smallest_type`]), which is not larger
/// than the volume's own: whole numbers become integers, whatever they were kept as.
///
/// # Errors
/// As [`write_with`].
///
/// ```
/// use organseg_volume::{DataType, Grid, Spacing, Volume, WriteConfig, probe, write_smallest};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("scan.nii.gz");
/// let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(1.5)?)?;
/// let volume = Volume::from_vec(grid, vec![-1000.0f64, 40.0])?;
/// write_smallest(&path, &volume, &WriteConfig::default())?;
/// assert_eq!(probe(&path)?.data_type, DataType::I16);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_smallest<T: Voxel>(
    path: impl AsRef<Path>,
    volume: &Volume<T>,
    config: &WriteConfig,
) -> Result<(), VolumeError> {
    T::write_smallest(path.as_ref(), volume, config)
}

pub(crate) fn write_smallest_as<T: Voxel>(
    path: &Path,
    volume: &Volume<T>,
    config: &WriteConfig,
) -> Result<(), VolumeError> {
    with_type!(smallest_type(volume), S => {
        if S::DATA_TYPE == T::DATA_TYPE {
            write_with(path, volume, config)
        } else {
            write_with(path, &volume.map(|v| S::from_f64(v.to_f64())), config)
        }
    })
}

/// The name of the file of voxels beside the header at `path`: the header's and `.raw`, so that no two
/// headers share one.
pub(crate) fn raw_name(path: &Path) -> String {
    format!("{}.raw", path.file_name().unwrap_or_default().to_string_lossy())
}
