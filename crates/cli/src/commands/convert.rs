//! `organseg convert`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use organseg::volume::{Volume, Voxel, write};

use super::dicom::SeriesChoice;
use super::typed::{ForAnyType, with_stored_type};

/// Write an image in another format: .nii, .nii.gz or .hdr with .img.
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
        Ok(write(self.output, image)?)
    }
}
