//! From a path to the description of the image that lies there: the content says which format it is.

use std::path::{Path, PathBuf};

use super::stored::{Compression, StoredImage};
use super::stream::{Stream, is_gzip, length_of, read_error};
use crate::{VolumeError, metaimage, nifti, nrrd};

/// Bytes that a format is recognised by, and those of the longest binary header (NIfTI-2: 540).
const START_BYTES: usize = 1024;

/// Those of the shortest binary header (NIfTI-1).
const LEAST_BYTES: usize = 348;

/// The beginning of a file, decompressed if the whole file is gzip.
pub(crate) struct Start {
    pub(crate) path: PathBuf,
    /// The first 1024 bytes, or all there are.
    pub(crate) bytes: Vec<u8>,
    /// Whether the file is a gzip stream from its first byte on: the content decides, not the name, since
    /// both kinds of misnamed file are in circulation.
    pub(crate) compression: Compression,
}

impl Start {
    /// Reads the beginning of the file at `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, VolumeError> {
        length_of(path)?; // it is a regular file
        let compression = if is_gzip(path)? { Compression::Gzip } else { Compression::None };
        let mut bytes = vec![0; START_BYTES];
        let (found, end) = Stream::open(path, 0, compression)?.fill(&mut bytes);
        // Behind a header, damage is told by whoever reads the voxels, who can say where it is.
        end.or_else(|source| if found < LEAST_BYTES { Err(read_error(path, 0, source)) } else { Ok(()) })?;
        bytes.truncate(found);
        Ok(Self { path: path.to_path_buf(), bytes, compression })
    }
}

/// The image at `path`.
pub(super) fn open(path: &Path) -> Result<StoredImage, VolumeError> {
    let start = Start::of(&nifti::header_path(path)?)?;
    if nrrd::is_magic(&start.bytes) {
        nrrd::describe(&start)
    } else if metaimage::is_recognised(&start) {
        metaimage::describe(&start)
    } else {
        nifti::describe(&start)
    }
}
