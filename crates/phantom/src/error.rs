//! What can go wrong with a phantom.

use std::path::PathBuf;

use organseg_volume::VolumeError;
use thiserror::Error;

/// What can go wrong with a phantom.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum PhantomError {
    /// A field of view with an axis that is zero, negative or not finite.
    #[error("field of view {fov_mm:?} mm is not valid, expected three positive finite numbers")]
    InvalidFieldOfView { fov_mm: [f64; 3] },
    /// A noise level that is negative or not finite.
    #[error("noise of {noise_hu} HU is not valid, expected a finite number, at least 0")]
    InvalidNoise { noise_hu: f64 },
    /// A dataset without cases.
    #[error("a dataset of 0 cases was asked for, expected at least 1")]
    NoCases,
    /// A folder that already is a dataset.
    #[error("{path} exists, expected a folder that is no dataset yet", path = path.display())]
    DatasetExists { path: PathBuf },
    /// A file that would be taken for a case of the dataset to be written.
    #[error("{path} is in the way, expected no files but those about to be written", path = path.display())]
    FileInTheWay { path: PathBuf },
    /// The operating system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A voxel that the pixels of a DICOM series cannot hold.
    #[error(
        "voxel {voxel:?} holds {value}, which less the intercept {intercept} is no {} pixel of 16 bits",
        if *.signed { "signed" } else { "unsigned" }
    )]
    Pixel { voxel: [usize; 3], value: i16, intercept: i16, signed: bool },
    /// A DICOM file that could not be written.
    #[error("{path}: {reason}", path = path.display())]
    Dicom { path: PathBuf, reason: String },
    /// A size that is none, or an image that could not be written.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}
