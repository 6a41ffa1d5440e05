//! `organseg cross-validate`

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::TypedValueParser;
use clap::{Args, value_parser};
use organseg::pipeline::{Stages, cross_validate};
use organseg::train::{Dataset, Splits};

use super::device::device;
use super::interrupt::{or_interrupted, stop_signal};
use super::output::{make_folder, print, print_json, write_text};
use super::training::TrainingOptions;

/// Train and test the two stages on every fold, and print the paper's tables.
///
/// What is there of an earlier run of the same command is taken up where it stopped. Ctrl-C finishes the step at
/// hand, saves and ends with exit code 130. --minutes is for each fold.
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
    #[command(flatten)]
    training: TrainingOptions,
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let device = device(&options.device)?;
    let dataset = Dataset::open(&options.data)?;
    let splits = Splits::k_fold(&dataset.names(), options.folds, options.training.seed.unwrap_or(0))?;
    // One plan for all folds: patches follow from sizes alone, never from what a fold tests on.
    let config = options.training.configure(Stages::Both, &dataset, splits.fold(0)?)?;
    make_folder(&options.out)?;
    let stop = stop_signal()?;
    let results = or_interrupted(
        cross_validate(&dataset, &splits, &config, &options.out, &device, &stop),
        "the same command goes on from there",
    )?;
    let path = options.out.join("results.json");
    write_text(&path, &serde_json::to_string_pretty(&results)?)?;
    if options.json {
        return print_json(&results);
    }
    print(&results.to_text())?;
    print(&format!("figures in {}", path.display()))
}
