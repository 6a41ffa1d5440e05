//! `organseg phantom`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, value_parser};
use organseg::phantom::{PhantomConfig, write_dataset};

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
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut config = PhantomConfig::default();
    if let Some(size) = options.size {
        config = config.with_size(size);
    }
    write_dataset(&options.out, usize::from(options.cases), &config, options.seed)?;
    print(&format!("{} phantoms in {}", options.cases, options.out.display()))
}
