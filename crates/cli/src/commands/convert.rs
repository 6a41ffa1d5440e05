//! `organseg convert`

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use organseg::volume::{Volume, Voxel, WriteConfig, write_smallest};

use super::typed::{ForAnyType, with_stored_type};

/// Write an image in another format: .nii, .nii.gz or .hdr with .img.
///
/// Values and geometry stay as they are. Values are stored in the smallest number type that holds them
/// exactly; whole numbers become integers.
#[derive(Args)]
pub(crate) struct Options {
    /// Image to read.
    input: PathBuf,
    /// Image to write; its ending says how.
    output: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    with_stored_type(&options.input, &Writer { output: &options.output })
}

struct Writer<'a> {
    output: &'a Path,
}

impl ForAnyType for Writer<'_> {
    fn run<T: Voxel>(&self, image: &Volume<T>) -> Result<()> {
        Ok(write_smallest(self.output, image, &WriteConfig::default())?)
    }
}
