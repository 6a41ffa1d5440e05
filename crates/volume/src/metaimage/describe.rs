//! From a MetaImage file to the description of its image.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use super::fields::is_last;
use super::header::{Encoding, Header};
use super::write::is_named_so;
use crate::VolumeError;
use crate::file::{Compression, Part, Start, StoredImage};
use crate::text_header::{DataFiles, parts_of, read_header};

/// Whether a file is MetaImage: by its usual first field, or else by its name.
pub(crate) fn is_recognised(start: &Start) -> bool {
    start.bytes.starts_with(b"ObjectType") || is_named_so(&start.path)
}

/// The image in the file that begins with `start`.
pub(crate) fn describe(start: &Start) -> Result<StoredImage, VolumeError> {
    let bytes = read_header(start, is_last)?;
    let header = Header::parse(&bytes, &start.path)?;
    let mut header_bytes = bytes.len() as u64;
    // Where there is only one file, `HeaderSize` counts this header too.
    if header.files == DataFiles::Attached && header.skip.file_bytes > 0 {
        if header.skip.file_bytes < header_bytes {
            let found = header.skip.file_bytes;
            let reason =
                format!("its voxels begin at byte {found}, within its header of {header_bytes} bytes");
            return Err(VolumeError::Format { path: start.path.clone(), reason });
        }
        header_bytes = 0;
    }
    let bytes_per_file = (header.voxels_per_file as u64).saturating_mul(header.info.data_type.bytes() as u64);
    let parts = parts_of(&header.files, header.skip, &start.path, header_bytes, bytes_per_file)?;
    let compression = match header.encoding {
        Encoding::Raw | Encoding::Text => Compression::None,
        Encoding::Compressed => compression_of(&parts[0])?,
    };
    let is_text = header.encoding == Encoding::Text;
    Ok(StoredImage { info: header.info, big_endian: header.big_endian, compression, is_text, parts })
}

/// Both kinds are in circulation: ITK writes zlib and reads either.
fn compression_of(part: &Part) -> Result<Compression, VolumeError> {
    let first_bytes = || {
        let mut file = File::open(&part.path)?;
        file.seek(SeekFrom::Start(part.begins))?;
        let mut bytes = Vec::new();
        file.take(2).read_to_end(&mut bytes)?;
        io::Result::Ok(bytes)
    };
    let bytes = first_bytes().map_err(|source| VolumeError::Io { path: part.path.clone(), source })?;
    Ok(if bytes == [0x1f, 0x8b] { Compression::Gzip } else { Compression::Zlib })
}
