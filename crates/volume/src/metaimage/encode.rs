//! The header of a new MetaImage file.

use crate::text_header::to_lps;
use crate::{DataType, Grid, Orientation};

/// Where the voxels of a new file go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voxels<'a> {
    /// Behind the header, in a zlib stream of so many bytes.
    Compressed { bytes: u64 },
    /// Into this file, as they are.
    Raw { file: &'a str },
}

/// The header of an image of type `data_type` on `grid`, least significant byte first.
///
/// The matrix has the unit vectors along the axes one after the other; ITK writes the same fields in the same
/// order. The length of the header does not depend on that of the stream.
pub(super) fn encode(grid: &Grid, data_type: DataType, voxels: Voxels<'_>) -> String {
    let affine = grid.affine();
    let spacing = grid.spacing().to_array();
    let directions = [0, 1, 2].map(|axis| to_lps(affine.column(axis).map(|v| v / spacing[axis])).join(" "));
    let [nx, ny, nz] = grid.size();
    let compression = match voxels {
        Voxels::Compressed { bytes } => format!("True\nCompressedDataSize = {bytes:<20}"),
        Voxels::Raw { .. } => "False".to_string(),
    };
    format!(
        "ObjectType = Image\n\
         NDims = 3\n\
         BinaryData = True\n\
         BinaryDataByteOrderMSB = False\n\
         CompressedData = {compression}\n\
         TransformMatrix = {}\n\
         Offset = {}\n\
         CenterOfRotation = 0 0 0\n\
         AnatomicalOrientation = {}\n\
         ElementSpacing = {:?} {:?} {:?}\n\
         DimSize = {nx} {ny} {nz}\n\
         ElementType = {}\n\
         ElementDataFile = {}\n",
        directions.join(" "),
        to_lps(affine.origin_mm()).join(" "),
        where_axes_come_from(grid),
        spacing[0],
        spacing[1],
        spacing[2],
        name_of(data_type),
        match voxels {
            Voxels::Compressed { .. } => "LOCAL",
            Voxels::Raw { file } => file,
        },
    )
}

/// ITK's letters: where we say that an axis grows to the left, it says that it comes from the right.
fn where_axes_come_from(grid: &Grid) -> String {
    let opposite = |letter: char| match letter {
        'R' => 'L',
        'L' => 'R',
        'A' => 'P',
        'P' => 'A',
        'S' => 'I',
        _ => 'S',
    };
    Orientation::of(grid.affine()).to_string().chars().map(opposite).collect()
}

fn name_of(data_type: DataType) -> &'static str {
    match data_type {
        DataType::U8 => "MET_UCHAR",
        DataType::I8 => "MET_CHAR",
        DataType::U16 => "MET_USHORT",
        DataType::I16 => "MET_SHORT",
        DataType::U32 => "MET_UINT",
        DataType::I32 => "MET_INT",
        DataType::U64 => "MET_ULONG_LONG",
        DataType::I64 => "MET_LONG_LONG",
        DataType::F32 => "MET_FLOAT",
        DataType::F64 => "MET_DOUBLE",
    }
}
