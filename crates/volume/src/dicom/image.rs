//! The one series of a folder as an image among others: what `probe` and `read` make of a path.

use std::path::Path;

use super::{DicomFolder, DicomOptions};
use crate::file::Fit;
use crate::{ImageInfo, ReadLimits, Volume, VolumeError, Voxel};

/// Grid and type of the one series at `path`.
pub(crate) fn probe(path: &Path) -> Result<ImageInfo, VolumeError> {
    DicomFolder::open(path)?.choose(None)?.info(&DicomOptions::default())
}

/// Reads the one series at `path`.
pub(crate) fn read_as<T: Voxel>(
    path: &Path,
    limits: ReadLimits,
    fit: Fit,
    expected: &str,
) -> Result<Volume<T>, VolumeError> {
    let options = DicomOptions::default().with_limits(limits);
    DicomFolder::open(path)?.choose(None)?.read_as(&options, fit, expected)
}
