//! The bytes of a file from a place on, decompressed or as they are.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::stored::Compression;
use crate::VolumeError;

/// First bytes of a gzip stream.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Length of the file at `path`, which must be a file and no folder, pipe or device.
pub(super) fn length_of(path: &Path) -> Result<u64, VolumeError> {
    let metadata =
        std::fs::metadata(path).map_err(|source| VolumeError::Io { path: path.to_path_buf(), source })?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    let what = if metadata.is_dir() { "a folder" } else { "no regular file" };
    let reason = format!("it is {what}, expected an image file");
    Err(VolumeError::Format { path: path.to_path_buf(), reason })
}

/// Whether the file at `path` begins like a gzip stream.
pub(super) fn is_gzip(path: &Path) -> Result<bool, VolumeError> {
    let mut bytes = [0; GZIP_MAGIC.len()];
    let (_, end) = Stream::open(path, 0, Compression::None)?.fill(&mut bytes);
    end.map_err(|source| read_error(path, 0, source))?;
    Ok(bytes == GZIP_MAGIC)
}

/// The bytes of a file from a place on.
pub(super) struct Stream {
    reader: Box<dyn Read + Send>,
}

impl Stream {
    /// From byte `begins` of the file at `path` on.
    pub(super) fn open(path: &Path, begins: u64, compression: Compression) -> Result<Self, VolumeError> {
        let open = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(begins))?;
            Ok(BufReader::with_capacity(1 << 18, file))
        };
        let file = open().map_err(|source| VolumeError::Io { path: path.to_path_buf(), source })?;
        let reader: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(MultiGzDecoder::new(file)),
            Compression::Zlib => Box::new(ZlibDecoder::new(file)),
        };
        Ok(Self { reader })
    }

    /// Fills `bytes` as far as the stream goes; says how far, and what went wrong there if anything did.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> (usize, io::Result<()>) {
        let mut found = 0;
        while found < bytes.len() {
            match self.reader.read(&mut bytes[found..]) {
                Ok(0) => break,
                Ok(n) => found += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (found, Err(error)),
            }
        }
        (found, Ok(()))
    }
}

/// What a failed read means: a damaged compressed stream is the file's fault, all else the system's.
/// `decoded` is how many bytes had come out of it.
pub(super) fn read_error(path: &Path, decoded: u64, source: io::Error) -> VolumeError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            VolumeError::DamagedGzip { path, decoded, source }
        }
        _ => VolumeError::Io { path, source },
    }
}
