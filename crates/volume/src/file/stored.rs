//! An image as its header describes it: everything that reading the voxels needs.

use std::path::PathBuf;

use super::ImageInfo;
use super::decode::Encoding;

/// An image whose header has been understood and whose voxels have not been looked at.
#[derive(Clone, Debug)]
pub(crate) struct StoredImage {
    pub(crate) info: ImageInfo,
    /// Whether the values are stored most significant byte first.
    pub(crate) big_endian: bool,
    pub(crate) compression: Compression,
    /// Where the voxels lie, x fastest: one file, or several with equal shares, in order.
    pub(crate) parts: Vec<Part>,
}

impl StoredImage {
    /// What a stored value is and stands for.
    pub(super) fn encoding(&self) -> Encoding {
        let ImageInfo { data_type, slope, intercept, .. } = self.info;
        Encoding { data_type, big_endian: self.big_endian, slope, intercept }
    }
}

/// Voxels in one file: a stream of bytes that begins at byte `begins` of the file and goes to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    /// First byte of the stream, compressed or not.
    pub(crate) begins: u64,
    /// Bytes of the stream, after decompression, before the first voxel.
    pub(crate) skip: u64,
}

/// How the stream of a [`Part`] is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    /// One gzip stream or several in a row (RFC 1952).
    Gzip,
    /// A zlib stream (RFC 1950).
    Zlib,
}
