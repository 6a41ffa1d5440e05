//! What a NIfTI-1 header says, checked before anything is believed.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use ::nifti::{Endianness, NiftiHeader};
use flate2::bufread::MultiGzDecoder;
use serde::Serialize;

use super::geometry::affine_of;
use crate::{DataType, Grid, Orientation, VolumeError};

/// Bytes of a NIfTI-1 header.
pub(super) const HEADER_BYTES: usize = 348;

/// First bytes of a gzip stream.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What the header of an image file says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageInfo {
    /// Size and voxel-to-world affine.
    pub grid: Grid,
    /// Type of the stored values.
    pub data_type: DataType,
    /// A stored value v stands for slope · v + intercept.
    pub slope: f64,
    /// See `slope`.
    pub intercept: f64,
    /// Which way the axes run.
    pub orientation: Orientation,
    /// Largest |cosine| between two axes: 0 if they are at right angles.
    pub orthogonality_residual: f64,
    /// Where the affine is from: `sform`, `qform` or `pixdim`.
    pub affine_source: &'static str,
}

/// Reads the header of the image at `path`, without its voxels.
///
/// # Errors
/// [`VolumeError::Io`] if the file cannot be read, [`VolumeError::Format`] and its kin if its header is
/// not that of a 3D NIfTI-1 image; all name the file.
pub fn probe(path: impl AsRef<Path>) -> Result<ImageInfo, VolumeError> {
    Ok(OpenImage::open(path.as_ref())?.header.info)
}

/// A header whose claims are consistent with each other.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) info: ImageInfo,
    /// Whether the values are stored most significant byte first.
    pub(super) big_endian: bool,
    /// Bytes from the start of the voxels' file to the voxels.
    pub(super) offset: u64,
    /// Whether the voxels lie in a file of their own.
    pub(super) separate: bool,
}

/// An image file whose header has been read.
pub(super) struct OpenImage {
    pub(super) header: Header,
    /// Just behind the voxels' `header.offset`.
    pub(super) voxels: Box<dyn Read>,
    /// Bytes that are left to read, if the file is not compressed.
    pub(super) voxel_bytes: Option<u64>,
    /// The voxels' file.
    pub(super) path: PathBuf,
}

impl OpenImage {
    pub(super) fn open(path: &Path) -> Result<Self, VolumeError> {
        let (mut stream, _) = open_stream(path)?;
        let mut bytes = [0; HEADER_BYTES];
        read_exactly(&mut stream, &mut bytes, path, "the header")?;
        let header = Header::parse(&bytes, path)?;
        let (path, already_read) =
            if header.separate { (voxel_file(path)?, 0) } else { (path.to_path_buf(), HEADER_BYTES as u64) };
        let length = if header.separate {
            let (voxels, length) = open_stream(&path)?;
            stream = voxels;
            length
        } else {
            open_stream(&path)?.1
        };
        let gap = header.offset - already_read;
        let skipped = std::io::copy(&mut (&mut stream).take(gap), &mut std::io::sink())
            .map_err(|source| read_error(&path, source))?;
        if skipped < gap {
            let reason = format!("it ends before byte {}, where the voxels should begin", header.offset);
            return Err(VolumeError::Format { path, reason });
        }
        let voxel_bytes = length.map(|length| length - header.offset);
        Ok(Self { header, voxels: stream, voxel_bytes, path })
    }
}

/// The file at `path`, decompressed if it is gzip, and its length if it is not.
fn open_stream(path: &Path) -> Result<(Box<dyn Read>, Option<u64>), VolumeError> {
    let io = |source| VolumeError::Io { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        let reason = "it is a folder, expected a NIfTI file (.nii, .nii.gz, .hdr)".to_string();
        return Err(VolumeError::Format { path: path.to_path_buf(), reason });
    }
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let start = std::io::BufRead::fill_buf(&mut reader).map_err(io)?;
    if start.starts_with(&GZIP_MAGIC) {
        Ok((Box::new(MultiGzDecoder::new(reader)), None))
    } else {
        Ok((Box::new(reader), Some(metadata.len())))
    }
}

/// Fills `bytes` or says that `what` is cut short.
pub(super) fn read_exactly(
    stream: &mut dyn Read,
    bytes: &mut [u8],
    path: &Path,
    what: &str,
) -> Result<(), VolumeError> {
    stream.read_exact(bytes).map_err(|source| match source.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            VolumeError::Format { path: path.to_path_buf(), reason: format!("it ends within {what}") }
        }
        _ => read_error(path, source),
    })
}

/// What a failed read means: a damaged gzip stream is the file's fault, all else the system's.
pub(super) fn read_error(path: &Path, source: std::io::Error) -> VolumeError {
    match source.kind() {
        std::io::ErrorKind::InvalidInput | std::io::ErrorKind::InvalidData => VolumeError::Format {
            path: path.to_path_buf(),
            reason: format!("its gzip stream is damaged: {source}"),
        },
        std::io::ErrorKind::UnexpectedEof => VolumeError::Format {
            path: path.to_path_buf(),
            reason: "its gzip stream is cut short".to_string(),
        },
        _ => VolumeError::Io { path: path.to_path_buf(), source },
    }
}

/// The `.img` that belongs to the `.hdr` at `path`.
fn voxel_file(path: &Path) -> Result<PathBuf, VolumeError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let stem = stem.strip_suffix(".hdr").unwrap_or(stem);
    for ending in [".img", ".img.gz"] {
        let candidate = path.with_file_name(format!("{stem}{ending}"));
        if candidate.exists() {
            return Ok(candidate);
        }
    }
    let reason =
        format!("its voxels should lie beside it in {stem}.img or {stem}.img.gz, and neither exists");
    Err(VolumeError::Format { path: path.to_path_buf(), reason })
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES], path: &Path) -> Result<Self, VolumeError> {
        let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
        let raw = NiftiHeader::from_reader(&bytes[..])
            .map_err(|error| broken(format!("it is not a NIfTI-1 file: {error}")))?;
        if raw.sizeof_hdr as usize != HEADER_BYTES {
            let found = raw.sizeof_hdr;
            return Err(broken(format!("it is not a NIfTI-1 file: header size {found}, expected 348")));
        }
        let separate = match &raw.magic {
            ::nifti::header::MAGIC_CODE_NI1 => true,
            ::nifti::header::MAGIC_CODE_NIP1 => false,
            other => return Err(broken(format!("it is not a NIfTI-1 file: magic {other:?}"))),
        };
        let size = size_of(&raw, path)?;
        let data_type = data_type_of(&raw).map_err(broken)?;
        let expected_bits = 8 * data_type.bytes();
        if raw.bitpix as usize != expected_bits {
            let found = raw.bitpix;
            return Err(broken(format!("{found} bits a voxel, expected {expected_bits} for {data_type:?}")));
        }
        let (affine, affine_source) = affine_of(&raw).map_err(|error| error.in_file(path))?;
        let grid = Grid::new(size, affine).map_err(|error| error.in_file(path))?;
        let least = if separate { 0 } else { HEADER_BYTES as u64 };
        let offset = raw.vox_offset;
        if !(offset.is_finite() && offset >= 0.0 && offset < 1e9) {
            return Err(broken(format!("the voxels begin at byte {offset}, expected {least} or later")));
        }
        // Some writers leave 0 in a single file: the voxels then follow the header.
        let offset = if offset == 0.0 && !separate { HEADER_BYTES as u64 + 4 } else { offset as u64 };
        if offset < least {
            return Err(broken(format!("the voxels begin at byte {offset}, within the header")));
        }
        let (slope, intercept) = (f64::from(raw.scl_slope), f64::from(raw.scl_inter));
        // A slope of 0 means "not scaled"; NaN and infinity are taken so too.
        let scaled = slope != 0.0 && slope.is_finite() && intercept.is_finite();
        let (slope, intercept) = if scaled { (slope, intercept) } else { (1.0, 0.0) };
        Ok(Self {
            info: ImageInfo {
                grid,
                data_type,
                slope,
                intercept,
                orientation: Orientation::of(grid.affine()),
                orthogonality_residual: grid.affine().orthogonality_residual(),
                affine_source,
            },
            big_endian: raw.endianness == Endianness::Big,
            offset,
            separate,
        })
    }

    /// Bytes of the voxels.
    pub(super) fn voxel_bytes(&self) -> Option<u64> {
        let count = u64::try_from(self.info.grid.voxel_count()).ok()?;
        count.checked_mul(self.info.data_type.bytes() as u64)
    }
}

/// Size along x, y, z; further axes must have one entry.
fn size_of(raw: &NiftiHeader, path: &Path) -> Result<[usize; 3], VolumeError> {
    let dim = raw.dim.map(|d| d as i16);
    let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
    if !(1..=7).contains(&dim[0]) {
        return Err(broken(format!("it has {} axes, expected 1 to 7", dim[0])));
    }
    let axes = &dim[1..=dim[0] as usize];
    if let Some(bad) = axes.iter().find(|&&n| n < 1) {
        return Err(broken(format!("an axis has {bad} entries, expected at least 1 (size {axes:?})")));
    }
    if axes.iter().skip(3).any(|&n| n != 1) {
        let size = axes.iter().map(|&n| n as usize).collect();
        return Err(VolumeError::NotThreeDimensional { path: path.to_path_buf(), size });
    }
    let mut size = [1; 3];
    for (size, &n) in size.iter_mut().zip(axes) {
        *size = n as usize;
    }
    Ok(size)
}

fn data_type_of(raw: &NiftiHeader) -> Result<DataType, String> {
    Ok(match raw.datatype {
        2 => DataType::U8,
        4 => DataType::I16,
        8 => DataType::I32,
        16 => DataType::F32,
        64 => DataType::F64,
        256 => DataType::I8,
        512 => DataType::U16,
        768 => DataType::U32,
        1024 => DataType::I64,
        1280 => DataType::U64,
        other => {
            let name = match other {
                1 => " (bits)",
                32 | 1792 | 2048 => " (complex)",
                128 | 2304 => " (colour)",
                1536 => " (128-bit float)",
                _ => "",
            };
            return Err(format!(
                "voxels of NIfTI type {other}{name}, expected integers or floats of 8 to 64 bits"
            ));
        }
    })
}
