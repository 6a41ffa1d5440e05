//! Images in the number type that their file has.

use std::path::Path;

use anyhow::Result;
use organseg::volume::{DataType, DicomSeries, ImageInfo, Volume, VolumeError, Voxel, probe, read};

use super::dicom::SeriesChoice;

/// Something to be done with an image, whatever its numbers.
pub(crate) trait ForAnyType {
    /// Does it.
    fn run<T: Voxel>(&self, image: &Volume<T>) -> Result<()>;
}

/// Reads the image at `path`, or the series of the DICOM folder there that `choice` means, as it is stored
/// and does `task` with it. Scaled values (a slope or an intercept in the header) become doubles, which
/// hold what they stand for; those of DICOM the smallest type that does. What is out of the ordinary in a
/// series is printed as a warning.
pub(crate) fn with_stored_type(path: &Path, choice: &SeriesChoice, task: &impl ForAnyType) -> Result<()> {
    let series = choice.find(path)?;
    let options = choice.options();
    let info = match &series {
        Some(series) => series.info(&options)?,
        None => probe(path)?,
    };
    for finding in series.iter().flat_map(DicomSeries::findings) {
        eprintln!("warning: {}: {finding}", path.display());
    }
    let ImageInfo { data_type, slope, intercept, .. } = info;
    let data_type = if slope != 1.0 || intercept != 0.0 { DataType::F64 } else { data_type };
    macro_rules! run {
        ($($variant:ident $type:ty),*) => {
            match data_type {
                $(DataType::$variant => {
                    let image: Result<Volume<$type>, VolumeError> = match &series {
                        Some(series) => series.read(&options),
                        None => read(path),
                    };
                    task.run(&image?)
                })*
            }
        };
    }
    run!(U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64)
}
