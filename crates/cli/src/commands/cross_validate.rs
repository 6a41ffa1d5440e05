//! `organseg cross-validate`

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use organseg::pipeline::{DeviceChoice, Stages, cross_validate};
use organseg::train::Dataset;

use super::device::open;
use super::interrupt::{or_interrupted, stop_signal};
use super::output::{make_folder, make_folder_of, print, print_json, write_text};
use super::prediction::PredictionChoice;
use super::splitting::SplittingOptions;
use super::training::TrainingOptions;

/// Folds where nothing else is said, as in the paper.
const FOLDS: usize = 4;

/// Train and test a model on every fold, and print the paper's tables.
///
/// What is there of an earlier run of the same command is taken up where it stopped, and folds that are trained are
/// only tested, so that the same command with other --flips, --boxes or --combine compares ways of asking one set of
/// models. Ctrl-C finishes the step at hand, saves and ends with exit code 130. --minutes is for each fold.
#[derive(Args)]
pub(crate) struct Options {
    /// Dataset folder (nnU-Net or decathlon layout) or CSV of image,label pairs.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Folder for the models (fold_0, fold_1, …) and the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// File for the figures [default: results.json in the folder]
    #[arg(long, value_name = "FILE.json")]
    results: Option<PathBuf>,
    /// How many stages [default: those of the plan, else both]
    #[arg(long, value_enum)]
    stages: Option<StagesChoice>,
    #[command(flatten)]
    splitting: SplittingOptions,
    #[command(flatten)]
    training: TrainingOptions,
    #[command(flatten)]
    prediction: PredictionChoice,
    /// cpu, cuda:N, or auto: the first GPU, or the CPU where there is none.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum StagesChoice {
    Both,
    Single,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(path) = &options.results {
        make_folder_of(path)?;
    }
    let device = open(options.device)?;
    let dataset = Dataset::open(&options.data)?;
    let splits = options.splitting.of(&dataset, FOLDS)?;
    let stages = options.stages.map(|stages| match stages {
        StagesChoice::Both => Stages::Both,
        StagesChoice::Single => Stages::Single,
    });
    let mut plan = options.training.plan(stages, &dataset, &splits)?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    plan.config.prediction = options.prediction.over(plan.config.prediction);
    make_folder(&options.out)?;
    let plan_path = options.out.join("plan.toml");
    if !plan_path.exists() {
        write_text(&plan_path, &plan.to_toml())?;
    }
    let stop = stop_signal()?;
    let results = or_interrupted(
        cross_validate(&dataset, &splits, &plan.config, &options.out, &device, &stop),
        "the same command goes on from there",
    )?;
    // Both, whatever becomes of one: days of training are in it.
    let printed = if options.json { print_json(&results) } else { print(&results.to_text()) };
    let path = options.results.clone().unwrap_or_else(|| options.out.join("results.json"));
    write_text(&path, &serde_json::to_string_pretty(&results)?)?;
    printed?;
    if options.json { Ok(()) } else { print(&format!("figures in {}", path.display())) }
}
