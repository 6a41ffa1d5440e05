//! Images in the number type that their file has.

use std::path::Path;

use anyhow::Result;
use organseg::volume::{DataType, ImageInfo, Volume, Voxel, probe, read};

/// Something to be done with an image, whatever its numbers.
pub(crate) trait ForAnyType {
    /// Does it.
    fn run<T: Voxel>(&self, image: &Volume<T>) -> Result<()>;
}

/// Reads the image at `path` as it is stored and does `task` with it. Scaled values (a slope or an
/// intercept in the header) become doubles, which hold what they stand for.
pub(crate) fn with_stored_type(path: &Path, task: &impl ForAnyType) -> Result<()> {
    let ImageInfo { data_type, slope, intercept, .. } = probe(path)?;
    if slope != 1.0 || intercept != 0.0 {
        return task.run(&read::<f64>(path)?);
    }
    match data_type {
        DataType::U8 => task.run(&read::<u8>(path)?),
        DataType::I8 => task.run(&read::<i8>(path)?),
        DataType::U16 => task.run(&read::<u16>(path)?),
        DataType::I16 => task.run(&read::<i16>(path)?),
        DataType::U32 => task.run(&read::<u32>(path)?),
        DataType::I32 => task.run(&read::<i32>(path)?),
        DataType::U64 => task.run(&read::<u64>(path)?),
        DataType::I64 => task.run(&read::<i64>(path)?),
        DataType::F32 => task.run(&read::<f32>(path)?),
        DataType::F64 => task.run(&read::<f64>(path)?),
    }
}
