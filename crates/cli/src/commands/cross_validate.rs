//! `organseg cross-validate`

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::TypedValueParser;
use clap::{Args, value_parser};
use organseg::pipeline::{Stages, cross_validate};
use organseg::train::{Dataset, Splits};

use super::device::device;
use super::output::{make_folder, print, print_json, write_text};
use super::train::configure;

/// Train and test the two stages on every fold, and print the paper's tables.
#[derive(Args)]
pub(crate) struct Options {
    /// Dataset folder (nnU-Net or decathlon layout) or CSV of image,label pairs.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Folder for the models (fold_0, fold_1, …) and results.json.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of folds.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(2..).map(usize::from))]
    folds: usize,
    /// Passes over the training cases.
    #[arg(long, value_name = "E", value_parser = value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Decides the folds and everything else random.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Settings in the form of model.toml; what it leaves out is planned from the data.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let device = device(&options.device)?;
    let dataset = Dataset::open(&options.data)?;
    let splits = Splits::k_fold(&dataset.names(), options.folds, options.seed.unwrap_or(0))?;
    // One plan for all folds: patches follow from sizes alone, never from what a fold tests on.
    let config = configure(
        options.config.as_deref(),
        options.epochs,
        options.seed,
        Stages::Both,
        &dataset,
        splits.fold(0)?,
    )?;
    make_folder(&options.out)?;
    let results = cross_validate(&dataset, &splits, &config, &options.out, &device)?;
    let path = options.out.join("results.json");
    write_text(&path, &serde_json::to_string_pretty(&results)?)?;
    if options.json {
        return print_json(&results);
    }
    print(&results.to_text())?;
    print(&format!("figures in {}", path.display()))
}
