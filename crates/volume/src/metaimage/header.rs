//! What a MetaImage header says, checked before anything is believed.

use std::path::Path;

use super::fields::fields_of;
use super::geometry::axes_of;
use crate::file::{ImageFormat, ImageInfo, scaling};
use crate::text_header::{DataFiles, Fields, Skip, grid_of};
use crate::{DataType, VolumeError};

/// Most axes an image has, as in MetaIO.
const MAX_AXES: usize = 10;

/// How the voxels are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Raw,
    /// zlib, or gzip: MetaIO reads both.
    Compressed,
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
    /// Reads `bytes`, up to the line that says where the voxels are, or to the end if it lists files.
    pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Self, VolumeError> {
        let broken = |reason: String| VolumeError::Format { path: path.to_path_buf(), reason };
        let (fields, files) = fields_of(bytes).map_err(broken)?;
        let sizes = sizes_of(&fields).map_err(broken)?;
        if sizes.iter().skip(3).any(|&n| n != 1) {
            return Err(VolumeError::NotThreeDimensional { path: path.to_path_buf(), size: sizes });
        }
        let (axes, origin, affine_source) = axes_of(&fields, &sizes).map_err(broken)?;
        let grid = grid_of(&axes, origin).map_err(|error| error.in_file(path))?;
        let data_type = data_type_of(&fields).map_err(broken)?;
        let attached = files == DataFiles::Attached;
        let format = if attached { ImageFormat::MetaImage } else { ImageFormat::MetaImageDetached };
        let mut info = ImageInfo::new(format, grid, data_type, affine_source);
        (info.slope, info.intercept) = scaling_of(&fields).map_err(broken)?;
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
        let msb = match fields.flag("BinaryDataByteOrderMSB")? {
            Some(msb) => msb,
            None => fields.flag("ElementByteOrderMSB")?.unwrap_or(false),
        };
        let big_endian = msb && encoding != Encoding::Text;
        let skip = skip_of(fields, encoding)?;
        Ok(Self { info, big_endian, encoding, files, voxels_per_file, skip })
    }
}

fn sizes_of(fields: &Fields) -> Result<Vec<usize>, String> {
    if let Some(kind) = fields.text("ObjectType").filter(|kind| !kind.eq_ignore_ascii_case("image")) {
        return Err(format!("it holds an object of type `{kind}`, expected Image"));
    }
    if fields.number::<usize>("ElementNumberOfChannels", "1")?.unwrap_or(1) != 1 {
        return Err(fields.unexpected("ElementNumberOfChannels", "1: one number a voxel"));
    }
    fields.required("NDims")?;
    let whole = "a whole number from 2 to 10";
    let axes = fields.number::<usize>("NDims", whole)?.unwrap_or(0);
    if !(2..=MAX_AXES).contains(&axes) {
        return Err(fields.unexpected("NDims", whole));
    }
    fields.required("DimSize")?;
    let positive = "whole numbers from 1 on";
    let sizes = fields.numbers::<usize>("DimSize", axes, positive)?.unwrap_or_default();
    if sizes.contains(&0) {
        return Err(fields.unexpected("DimSize", &format!("{axes} {positive}")));
    }
    Ok(sizes)
}

/// MetaIO's long has 32 bits on every machine.
fn data_type_of(fields: &Fields) -> Result<DataType, String> {
    Ok(match fields.required("ElementType")? {
        "MET_CHAR" | "MET_ASCII_CHAR" => DataType::I8,
        "MET_UCHAR" => DataType::U8,
        "MET_SHORT" => DataType::I16,
        "MET_USHORT" => DataType::U16,
        "MET_INT" | "MET_LONG" => DataType::I32,
        "MET_UINT" | "MET_ULONG" => DataType::U32,
        "MET_LONG_LONG" => DataType::I64,
        "MET_ULONG_LONG" => DataType::U64,
        "MET_FLOAT" => DataType::F32,
        "MET_DOUBLE" => DataType::F64,
        _ => {
            let expected = "integers or floats of 8 to 64 bits, such as MET_SHORT or MET_FLOAT";
            return Err(fields.unexpected("ElementType", expected));
        }
    })
}

/// Slope and intercept, 1 and 0 where it says nothing.
fn scaling_of(fields: &Fields) -> Result<(f64, f64), String> {
    let slope = fields.number("ElementToIntensityFunctionSlope", "a number")?.unwrap_or(1.0);
    let intercept = fields.number("ElementToIntensityFunctionOffset", "a number")?.unwrap_or(0.0);
    Ok(scaling(slope, intercept))
}

fn encoding_of(fields: &Fields) -> Result<Encoding, String> {
    let binary = fields.flag("BinaryData")?.unwrap_or(true);
    let compressed = fields.flag("CompressedData")?.unwrap_or(false);
    match (binary, compressed) {
        (true, false) => Ok(Encoding::Raw),
        (true, true) => Ok(Encoding::Compressed),
        (false, false) => Ok(Encoding::Text),
        (false, true) => Err(fields.unexpected("CompressedData", "False where BinaryData is")),
    }
}

/// `HeaderSize` counts from the beginning of the voxels' file, compressed or not.
fn skip_of(fields: &Fields, encoding: Encoding) -> Result<Skip, String> {
    let expected = "a whole number, or -1 for raw voxels at the end of their file";
    let bytes = fields.number::<i64>("HeaderSize", expected)?.unwrap_or(0);
    match u64::try_from(bytes) {
        Ok(bytes) => Ok(Skip { file_bytes: bytes, ..Skip::default() }),
        Err(_) if bytes == -1 && encoding == Encoding::Raw => {
            Ok(Skip { all_but_voxels: true, ..Skip::default() })
        }
        Err(_) => Err(fields.unexpected("HeaderSize", expected)),
    }
}
