//! From an NRRD file to the description of its image.

use super::header::{Encoding, Header};
use crate::VolumeError;
use crate::file::{Compression, Start, StoredImage};
use crate::text_header::{parts_of, read_header};

/// Whether a file with these first bytes is NRRD.
pub(crate) fn is_magic(bytes: &[u8]) -> bool {
    bytes.starts_with(b"NRRD")
}

/// The image in the file that begins with `start`.
pub(crate) fn describe(start: &Start) -> Result<StoredImage, VolumeError> {
    let bytes = read_header(start, <[u8]>::is_empty)?;
    let header = Header::parse(&bytes, &start.path)?;
    let bytes_per_file = (header.voxels_per_file as u64).saturating_mul(header.info.data_type.bytes() as u64);
    let parts = parts_of(&header.files, header.skip, &start.path, bytes.len() as u64, bytes_per_file)?;
    let compression = match header.encoding {
        Encoding::Raw | Encoding::Text => Compression::None,
        Encoding::Gzip => Compression::Gzip,
    };
    let is_text = header.encoding == Encoding::Text;
    Ok(StoredImage { info: header.info, big_endian: header.big_endian, compression, is_text, parts })
}
