//! From a path to a stream of voxel bytes: gzip or not, one file or a `.hdr`/`.img` pair.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::header::{HEADER_BYTES, Header};
use crate::VolumeError;

/// First bytes of a gzip stream.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An image file whose header has been read.
pub(super) struct OpenImage {
    pub(super) header: Header,
    /// Just behind the voxels' `header.offset`.
    pub(super) voxels: Box<dyn Read>,
    /// Bytes that are left to read, where the file says so: not if it is compressed or a pipe.
    pub(super) available: Option<u64>,
    /// The voxels' file.
    pub(super) path: PathBuf,
}

impl OpenImage {
    /// Opens `path`: a single file, or either file of a pair.
    pub(super) fn open(path: &Path) -> Result<Self, VolumeError> {
        let header_path = match split_ending(path) {
            (stem, ".img") => sibling(path, &stem, [".hdr", ".hdr.gz"])?,
            (stem, ".img.gz") => sibling(path, &stem, [".hdr.gz", ".hdr"])?,
            _ => path.to_path_buf(),
        };
        let mut stream = Stream::open(&header_path)?;
        let mut bytes = [0; HEADER_BYTES];
        let found = read_up_to(&mut stream.reader, &mut bytes).map_err(|e| read_error(&header_path, 0, e))?;
        if found < HEADER_BYTES {
            let reason = format!("it ends after {found} bytes, a NIfTI-1 header has {HEADER_BYTES}");
            return Err(VolumeError::Format { path: header_path, reason });
        }
        let header = Header::parse(&bytes, &header_path)?;
        if !header.separate {
            return Self::at_voxels(header, stream, HEADER_BYTES as u64, header_path);
        }
        let voxel_path = match split_ending(&header_path) {
            (stem, ".hdr.gz") => sibling(&header_path, &stem, [".img.gz", ".img"])?,
            (stem, _) => sibling(&header_path, &stem, [".img", ".img.gz"])?,
        };
        let stream = Stream::open(&voxel_path)?;
        Self::at_voxels(header, stream, 0, voxel_path)
    }

    /// Skips from byte `at` of `stream` to the voxels.
    fn at_voxels(header: Header, mut stream: Stream, at: u64, path: PathBuf) -> Result<Self, VolumeError> {
        let gap = header.offset - at;
        let skipped = io::copy(&mut (&mut stream.reader).take(gap), &mut io::sink())
            .map_err(|source| read_error(&path, at, source))?;
        if skipped < gap {
            let (found, expected) = (at + skipped, header.offset);
            let reason = format!("it ends after {found} bytes, its voxels should begin at byte {expected}");
            return Err(VolumeError::Format { path, reason });
        }
        let available = stream.length.map(|length| length.saturating_sub(header.offset));
        Ok(Self { header, voxels: stream.reader, available, path })
    }
}

/// A file's bytes, decompressed if it is gzip.
struct Stream {
    reader: Box<dyn Read>,
    /// How many bytes there are, if the file says so.
    length: Option<u64>,
}

impl Stream {
    fn open(path: &Path) -> Result<Self, VolumeError> {
        let io = |source| VolumeError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            let reason = "it is a folder, expected a NIfTI file (.nii, .nii.gz, .hdr)".to_string();
            return Err(VolumeError::Format { path: path.to_path_buf(), reason });
        }
        let mut reader = BufReader::with_capacity(1 << 18, file);
        // The content decides, not the name: both kinds of misnamed file are in circulation.
        if reader.fill_buf().map_err(io)?.starts_with(&GZIP_MAGIC) {
            return Ok(Self { reader: Box::new(MultiGzDecoder::new(reader)), length: None });
        }
        let length = metadata.is_file().then_some(metadata.len());
        Ok(Self { reader: Box::new(reader), length })
    }
}

/// Fills `bytes` as far as the stream goes: a gzip stream that breaks off counts as one that ends.
fn read_up_to(stream: &mut dyn Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut found = 0;
    while found < bytes.len() {
        match stream.read(&mut bytes[found..]) {
            Ok(0) => break,
            Ok(n) => found += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// What a failed read means: a damaged gzip stream is the file's fault, all else the system's. `decoded`
/// is how many bytes had come out of it.
pub(super) fn read_error(path: &Path, decoded: u64, source: io::Error) -> VolumeError {
    let path = path.to_path_buf();
    match source.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            VolumeError::DamagedGzip { path, decoded, source }
        }
        _ => VolumeError::Io { path, source },
    }
}

/// The file's name without its ending, and the ending in small letters: one of those this crate knows,
/// or nothing.
pub(super) fn split_ending(path: &Path) -> (String, &'static str) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    for ending in [".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"] {
        if lower.ends_with(ending) {
            return (name[..name.len() - ending.len()].to_string(), ending);
        }
    }
    (name, "")
}

/// The first of `stem` + `endings` that lies beside `path`.
fn sibling(path: &Path, stem: &str, endings: [&str; 2]) -> Result<PathBuf, VolumeError> {
    let candidates = endings.map(|ending| path.with_file_name(format!("{stem}{ending}")));
    candidates.into_iter().find(|candidate| candidate.exists()).ok_or_else(|| {
        let reason = format!(
            "its other half should lie beside it as {stem}{} or {stem}{}, and neither exists",
            endings[0], endings[1]
        );
        VolumeError::Format { path: path.to_path_buf(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_found_in_any_case() {
        assert_eq!(split_ending(Path::new("a/scan.1.nii.gz")), ("scan.1".to_string(), ".nii.gz"));
        assert_eq!(split_ending(Path::new("SCAN.NII")), ("SCAN".to_string(), ".nii"));
        assert_eq!(split_ending(Path::new("x.img.gz")), ("x".to_string(), ".img.gz"));
        assert_eq!(split_ending(Path::new("x.png")), ("x.png".to_string(), ""));
        assert_eq!(split_ending(Path::new("/")), (String::new(), ""));
    }
}
