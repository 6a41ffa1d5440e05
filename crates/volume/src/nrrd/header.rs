//! What an NRRD header says, checked before anything is believed.

use std::path::Path;

use super::fields::fields_of;
use super::geometry::grid_from;
use crate::file::{ImageFormat, ImageInfo};
use crate::text_header::{DataFiles, Fields, Skip};
use crate::{DataType, VolumeError};

/// Most axes an NRRD file has, as in the reference implementation (`NRRD_DIM_MAX`).
const MAX_AXES: usize = 16;

/// Most bytes that are decompressed to be skipped: a header of a gigabyte is a broken one.
const MAX_COMPRESSED_SKIP: u64 = 1_000_000_000;

/// How the voxels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    Gzip,
    Text,
}

/// A header whose claims are consistent with each other.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) info: ImageInfo,
    pub(super) big_endian: bool,
    pub(super) encoding: Encoding,
    pub(super) files: DataFiles,
    pub(super) voxels_per_file: usize,
    pub(super) skip: Skip,
}

impl Header {
    /// Reads `bytes`, from the magic word to the empty line or the end of the file.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self, VolumeError> {
        let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
        let (fields, files) = fields_of(bytes).map_err(broken)?;
        let sizes = sizes_of(&fields).map_err(broken)?;
        let data_type = data_type_of(&fields).map_err(broken)?;
        let (grid, affine_source) = grid_from(&fields, &sizes, path)?;
        let attached = files == DataFiles::Attached;
        let format = if attached { ImageFormat::Nrrd } else { ImageFormat::NrrdDetached };
        let info = ImageInfo::new(format, grid, data_type, affine_source);
        Self::with_voxels(&fields, files, &sizes, info).map_err(broken)
    }

    fn with_voxels(
        fields: &Fields,
        files: DataFiles,
        sizes: &[usize],
        info: ImageInfo,
    ) -> Result<Self, String> {
        let encoding = encoding_of(fields)?;
        let voxels_per_file = match &files {
            DataFiles::Attached => info.grid.voxel_count(),
            DataFiles::Separate(files) => files.voxels_per_file(sizes)?,
        };
        let big_endian = is_big_endian(fields, info.data_type, encoding)?;
        let skip = skip_of(fields, encoding)?;
        Ok(Self { info, big_endian, encoding, files, voxels_per_file, skip })
    }
}

fn sizes_of(fields: &Fields) -> Result<Vec<usize>, String> {
    fields.required("dimension")?;
    let whole = "a whole number from 1 to 16";
    let axes = fields.number::<usize>("dimension", whole)?.unwrap_or(0);
    if !(1..=MAX_AXES).contains(&axes) {
        return Err(fields.unexpected("dimension", whole));
    }
    fields.required("sizes")?;
    let positive = "whole numbers from 1 on";
    let sizes = fields.numbers::<usize>("sizes", axes, positive)?.unwrap_or_default();
    if sizes.contains(&0) {
        return Err(fields.unexpected("sizes", &format!("{axes} {positive}")));
    }
    Ok(sizes)
}

fn data_type_of(fields: &Fields) -> Result<DataType, String> {
    Ok(match fields.required("type")?.to_ascii_lowercase().as_str() {
        "signed char" | "int8" | "int8_t" => DataType::I8,
        "uchar" | "unsigned char" | "uint8" | "uint8_t" => DataType::U8,
        "short" | "short int" | "signed short" | "signed short int" | "int16" | "int16_t" => DataType::I16,
        "ushort" | "unsigned short" | "unsigned short int" | "uint16" | "uint16_t" => DataType::U16,
        "int" | "signed int" | "int32" | "int32_t" => DataType::I32,
        "uint" | "unsigned int" | "uint32" | "uint32_t" => DataType::U32,
        "longlong"
        | "long long"
        | "long long int"
        | "signed long long"
        | "signed long long int"
        | "int64"
        | "int64_t" => DataType::I64,
        "ulonglong" | "unsigned long long" | "unsigned long long int" | "uint64" | "uint64_t" => {
            DataType::U64
        }
        "float" => DataType::F32,
        "double" => DataType::F64,
        _ => {
            return Err(
                fields.unexpected("type", "integers or floats of 8 to 64 bits, such as short or float")
            );
        }
    })
}

fn encoding_of(fields: &Fields) -> Result<Encoding, String> {
    match fields.required("encoding")?.to_ascii_lowercase().as_str() {
        "raw" => Ok(Encoding::Raw),
        "gz" | "gzip" => Ok(Encoding::Gzip),
        "txt" | "text" | "ascii" => Ok(Encoding::Text),
        _ => Err(fields.unexpected("encoding", "raw, gzip or text")),
    }
}

/// Byte order, which must be said where there are two: a guess would be right on most machines and wrong
/// for the files from others.
fn is_big_endian(fields: &Fields, data_type: DataType, encoding: Encoding) -> Result<bool, String> {
    if data_type.bytes() == 1 || encoding == Encoding::Text {
        return Ok(false);
    }
    match fields.required("endian")?.to_ascii_lowercase().as_str() {
        "little" => Ok(false),
        "big" => Ok(true),
        _ => Err(fields.unexpected("endian", "little or big")),
    }
}

/// Lines are skipped in the file, bytes after decompression.
fn skip_of(fields: &Fields, encoding: Encoding) -> Result<Skip, String> {
    let lines = fields.number::<u64>("line skip", "a whole number")?.unwrap_or(0);
    let expected = "a whole number, or -1 for raw voxels at the end of their file";
    let bytes = fields.number::<i64>("byte skip", expected)?.unwrap_or(0);
    let Ok(bytes) = u64::try_from(bytes) else {
        if bytes == -1 && encoding == Encoding::Raw {
            return Ok(Skip { all_but_voxels: true, ..Skip::default() });
        }
        return Err(fields.unexpected("byte skip", expected));
    };
    if encoding != Encoding::Gzip {
        return Ok(Skip { lines, file_bytes: bytes, ..Skip::default() });
    }
    if bytes > MAX_COMPRESSED_SKIP {
        let expected = format!("at most {MAX_COMPRESSED_SKIP} in a compressed file");
        return Err(fields.unexpected("byte skip", &expected));
    }
    Ok(Skip { lines, stream_bytes: bytes, ..Skip::default() })
}
