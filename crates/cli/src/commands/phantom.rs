//! `organseg phantom`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, value_parser};
use organseg::phantom::{DicomSeriesConfig, PhantomConfig, write_dataset, write_dicom_series};
use organseg::volume::read;

use super::output::print;
use crate::arguments::size;

/// Make a dataset of synthetic scans with known masks.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder to write (nnU-Net layout).
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How many scans.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..))]
    cases: u16,
    /// Voxels of each scan.
    #[arg(long, value_name = "X,Y,Z", value_parser = size)]
    size: Option<[usize; 3]>,
    /// Decides the scans.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// Write each scan as a DICOM series too: dicom/NAME in the folder.
    #[arg(long)]
    dicom: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut config = PhantomConfig::default();
    if let Some(size) = options.size {
        config = config.with_size(size);
    }
    write_dataset(&options.out, usize::from(options.cases), &config, options.seed)?;
    for name in (0..options.cases).filter(|_| options.dicom).map(|i| format!("phantom_{i:03}")) {
        let scan = read::<i16>(options.out.join(format!("imagesTr/{name}_0000.nii.gz")))?;
        let config =
            DicomSeriesConfig::default().with_patient_id(&name).with_description("synthetic abdomen");
        write_dicom_series(options.out.join("dicom").join(&name), &scan, &config)?;
    }
    print(&format!("{} phantoms in {}", options.cases, options.out.display()))
}
