//! What can go wrong in making phantoms.

use std::path::PathBuf;

use thiserror::Error;

/// What can go wrong in making phantoms.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum PhantomError {
    /// A configuration that describes no phantom.
    #[error("phantom configuration: {field} is {found}, expected {expected}")]
    Config { field: &'static str, found: String, expected: &'static str },
    /// A folder that holds a dataset already.
    #[error("{path}: there is a dataset already; choose another folder", path = path.display())]
    DatasetExists { path: PathBuf },
    /// The operating system refused to write.
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// An image could not be made or written.
    #[error(transparent)]
    Volume(#[from] organseg_volume::VolumeError),
}
