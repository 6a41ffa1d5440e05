//! `organseg convert`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use organseg::volume::{Volume, Voxel, WriteConfig, write_smallest};

use super::dicom::SeriesChoice;
use super::typed::{ForAnyType, with_stored_type};

/// Write an image in another format.
///
/// The ending of OUTPUT says which: .nii or .nii.gz (NIfTI), .hdr with .img (NIfTI in two files), .nrrd
/// (compressed) or .nhdr with .nhdr.raw (NRRD), .mha (compressed) or .mhd with .mhd.raw (MetaImage).
///
/// Values and geometry stay as they are. Values are stored in the smallest number type that holds them
/// exactly; whole numbers become integers.
#[derive(Args)]
pub(crate) struct Options {
    /// Image to read, or a folder of DICOM files.
    input: PathBuf,
    /// Image to write; its ending says how.
    output: PathBuf,
    #[command(flatten)]
    series: SeriesChoice,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    with_stored_type(&options.input, &options.series, &Writer { output: &options.output })
}

struct Writer<'a> {
    output: &'a Path,
}

impl ForAnyType for Writer<'_> {
    fn run<T: Voxel>(&self, image: &Volume<T>) -> Result<()> {
        Ok(write_smallest(self.output, image, &WriteConfig::default())?)
    }
}
