//! `organseg train`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum, value_parser};
use organseg::pipeline::{MAX_PATCH_VOXELS, ModelConfig, Stages, TrainRequest, plan, train};
use organseg::train::{Dataset, Split, Splits};

use super::device::device;
use super::output::{print, print_json};

/// Train a model on a dataset.
#[derive(Args)]
pub(crate) struct Options {
    /// Dataset folder (nnU-Net or decathlon layout) or CSV of image,label pairs.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Model folder to write.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Which networks.
    #[arg(long, value_enum, default_value = "both")]
    stages: StagesArgument,
    /// The fold whose cases are held back for validation, from 0.
    #[arg(long, value_name = "K", default_value_t = 0)]
    fold: usize,
    /// Number of folds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(2..).map(usize::from))]
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
    /// Go on from the checkpoints in the model folder.
    #[arg(long)]
    resume: bool,
    /// Print the validation figures as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum StagesArgument {
    Both,
    Coarse,
    Fine,
    Single,
}

impl From<StagesArgument> for Stages {
    fn from(argument: StagesArgument) -> Self {
        match argument {
            StagesArgument::Both => Self::Both,
            StagesArgument::Coarse => Self::Coarse,
            StagesArgument::Fine => Self::Fine,
            StagesArgument::Single => Self::Single,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let device = device(&options.device)?;
    let dataset = Dataset::open(&options.data)?;
    let stages = Stages::from(options.stages);
    let splits = Splits::k_fold(&dataset.names(), options.folds, options.seed.unwrap_or(0))?;
    let split = splits.fold(options.fold)?;
    let planned =
        configure(options.config.as_deref(), options.epochs, options.seed, stages, &dataset, split)?;
    let config = if options.resume && options.model.join("model.toml").exists() {
        let made = ModelConfig::load(&options.model)?;
        let asked = options.epochs.is_some() || options.seed.is_some() || options.config.is_some();
        ensure!(
            !asked || made == ModelConfig { software: made.software.clone(), ..planned },
            "{}: cannot resume: model.toml describes another run than the arguments do",
            options.model.display()
        );
        made
    } else {
        planned
    };
    let summary = train(&TrainRequest {
        dataset: &dataset,
        split,
        config: &config,
        stages,
        folder: &options.model,
        resume: options.resume,
        device: &device,
    })?;
    if options.json {
        return print_json(&summary);
    }
    for (stage, dice) in &summary {
        for (label, dice) in dice {
            let name = config.labels.get(label).map_or("", String::as_str);
            print(&format!("{stage}: validation DSC of {label} ({name}) {dice:.4}"))?;
        }
        let mean = dice.values().sum::<f64>() / dice.len() as f64;
        print(&format!("{stage}: mean validation DSC {mean:.4} over {} cases", split.val.len()))?;
    }
    print(&format!("model in {}", options.model.display()))
}

/// The model that the arguments ask for, fitted to the data.
pub(crate) fn configure(
    file: Option<&Path>,
    epochs: Option<u32>,
    seed: Option<u64>,
    stages: Stages,
    dataset: &Dataset,
    split: &Split,
) -> Result<ModelConfig> {
    let base = ModelConfig { method: stages.method(), ..ModelConfig::default() };
    let mut config = plan(&base, file, dataset, split, MAX_PATCH_VOXELS)
        .with_context(|| format!("cannot plan a model for {}", dataset.root.display()))?;
    config.method = stages.method();
    for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
        if let Some(epochs) = epochs {
            stage.train.epochs = epochs as usize;
        }
        if let Some(seed) = seed {
            stage.train.seed = seed;
        }
    }
    Ok(config)
}
