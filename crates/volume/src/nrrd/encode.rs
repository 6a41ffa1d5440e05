//! The header of a new NRRD file.

use crate::text_header::to_lps;
use crate::{DataType, Grid};

/// The header of an image of type `data_type` on `grid`, least significant byte first. Raw voxels lie in the
/// file `data_file`, compressed ones behind the header if there is none.
///
/// The world is LPS, in which most readers work. The file needs nothing that is newer than version 4.
pub(super) fn encode(grid: &Grid, data_type: DataType, data_file: Option<&str>) -> String {
    let affine = grid.affine();
    let vector = |v: [f64; 3]| format!("({})", to_lps(v).join(","));
    let [nx, ny, nz] = grid.size();
    let mut header = format!(
        "NRRD0004\n\
         # Complete NRRD file format specification at:\n\
         # http://teem.sourceforge.net/nrrd/format.html\n\
         type: {}\n\
         dimension: 3\n\
         space: left-posterior-superior\n\
         sizes: {nx} {ny} {nz}\n\
         space directions: {} {} {}\n\
         kinds: domain domain domain\n\
         endian: little\n\
         encoding: {}\n\
         space origin: {}\n",
        name_of(data_type),
        vector(affine.column(0)),
        vector(affine.column(1)),
        vector(affine.column(2)),
        if data_file.is_some() { "raw" } else { "gzip" },
        vector(affine.origin_mm()),
    );
    match data_file {
        Some(name) => header.push_str(&format!("data file: {name}\n")),
        None => header.push('\n'),
    }
    header
}

fn name_of(data_type: DataType) -> &'static str {
    match data_type {
        DataType::U8 => "uint8",
        DataType::I8 => "int8",
        DataType::U16 => "uint16",
        DataType::I16 => "int16",
        DataType::U32 => "uint32",
        DataType::I32 => "int32",
        DataType::U64 => "uint64",
        DataType::I64 => "int64",
        DataType::F32 => "float",
        DataType::F64 => "double",
    }
}
