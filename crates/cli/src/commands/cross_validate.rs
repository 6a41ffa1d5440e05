//! `organseg cross-validate`

use std::path::PathBuf;

use anyhow::Result;
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum, value_parser};
use organseg::pipeline::{Stages, cross_validate};
use organseg::train::{Dataset, Split, Splits};

use super::device::device;
use super::output::{make_folder, print, print_json, write_text};
use super::prediction::PredictionChoice;
use super::train::{SPLIT_SEED, configure};

/// Train and test a model on every fold, and print the paper's tables.
///
/// Folds that were trained already in the folder are only tested, so that the same command with other --flips,
/// --boxes or --combine compares ways of asking one set of models.
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
    /// Number of folds.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = value_parser!(u16).range(2..).map(usize::from))]
    folds: usize,
    /// Passes over the training cases.
    #[arg(long, value_name = "E", value_parser = value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Decides everything random but the folds.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Decides the folds: those of scikit-learn's KFold with this random_state, as in nnU-Net.
    #[arg(long, value_name = "S", default_value_t = SPLIT_SEED)]
    split_seed: u64,
    #[command(flatten)]
    prediction: PredictionChoice,
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// A plan, or settings in the form of model.toml; what those leave out is planned from the data.
    #[arg(long, value_name = "FILE.toml", visible_alias = "plan")]
    config: Option<PathBuf>,
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
    let device = device(&options.device)?;
    let dataset = Dataset::open(&options.data)?;
    let splits = Splits::k_fold(&dataset.names(), options.folds, options.split_seed)?;
    let stages = options.stages.map(|stages| match stages {
        StagesChoice::Both => Stages::Both,
        StagesChoice::Single => Stages::Single,
    });
    // One plan for all folds, from all cases, as nnU-Net has it: sizes and percentiles, nothing that could be learnt.
    let all = Split { train: dataset.names().iter().map(ToString::to_string).collect(), val: Vec::new() };
    let file = options.config.as_deref();
    let mut plan = configure(file, options.epochs, options.seed, stages, &dataset, &all)?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    plan.config.prediction = options.prediction.over(plan.config.prediction);
    make_folder(&options.out)?;
    let plan_path = options.out.join("plan.toml");
    if !plan_path.exists() {
        write_text(&plan_path, &plan.to_toml())?;
    }
    let results = cross_validate(&dataset, &splits, &plan.config, &options.out, &device)?;
    let path = options.results.clone().unwrap_or_else(|| options.out.join("results.json"));
    write_text(&path, &serde_json::to_string_pretty(&results)?)?;
    if options.json {
        return print_json(&results);
    }
    print(&results.to_text())?;
    print(&format!("figures in {}", path.display()))
}
