//! `organseg plan`

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use organseg::pipeline::{MAX_PATCH_VOXELS, Method, ModelConfig, Plan};
use organseg::train::{AugmentConfig, Dataset};

use super::output::{print, print_json, write_text};

/// Measure a dataset and write down how to train on it, in a file to read and edit.
#[derive(Args)]
pub(crate) struct Options {
    /// Dataset folder (nnU-Net or decathlon layout) or CSV of image,label pairs.
    #[arg(value_name = "DATASET")]
    data: PathBuf,
    /// File to write; must not be there.
    #[arg(long, value_name = "FILE.toml", default_value = "plan.toml")]
    out: PathBuf,
    /// How many looks at a scan.
    #[arg(long, value_enum, default_value = "auto")]
    stages: StagesArgument,
    /// How much samples are varied.
    #[arg(long, value_enum, default_value = "light")]
    augment: Augmentation,
    /// Settings in the form of model.toml that stand as they are.
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Print the plan as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum StagesArgument {
    /// One if a scan is no larger than a patch may be, or the organ is small pieces all over it, else two.
    Auto,
    Single,
    Two,
}

#[derive(Clone, Copy, ValueEnum)]
enum Augmentation {
    /// For trainings of minutes.
    Light,
    /// nnU-Net's, for trainings of hours.
    Strong,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(!options.out.exists(), "{}: exists already, expected a new file", options.out.display());
    let dataset = Dataset::open(&options.data)?;
    let mut base = ModelConfig::default();
    if matches!(options.augment, Augmentation::Strong) {
        for stage in [&mut base.coarse, &mut base.fine, &mut base.single] {
            stage.train.augment = AugmentConfig::strong();
        }
    }
    let method = match options.stages {
        StagesArgument::Auto => None,
        StagesArgument::Single => Some(Method::Single),
        StagesArgument::Two => Some(Method::Two),
    };
    let names: Vec<String> = dataset.names().iter().map(ToString::to_string).collect();
    let plan = Plan::make(&base, method, options.config.as_deref(), &dataset, &names, MAX_PATCH_VOXELS)
        .with_context(|| format!("cannot plan a model for {}", options.data.display()))?;
    write_text(&options.out, &plan.to_toml())?;
    for warning in &plan.warnings {
        eprintln!("warning: {warning}");
    }
    if options.json {
        return print_json(&plan);
    }
    plan.measured.iter().try_for_each(|line| print(line))?;
    print(&format!("plan for {} in {}", plan.config.method, options.out.display()))
}
