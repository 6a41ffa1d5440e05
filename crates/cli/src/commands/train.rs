//! `organseg train`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::builder::TypedValueParser;
use clap::{Args, ValueEnum, value_parser};
use organseg::pipeline::{MAX_PATCH_VOXELS, ModelConfig, Plan, Stages, TrainRequest, train};
use organseg::train::{Dataset, Split, Splits};

use super::device::device;
use super::output::{make_folder, print, print_json, write_text};

/// Train a model on a dataset.
#[derive(Args)]
pub(crate) struct Options {
    /// Dataset folder (nnU-Net or decathlon layout) or CSV of image,label pairs.
    #[arg(long, value_name = "DATASET")]
    data: PathBuf,
    /// Model folder to write.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Which networks [default: those of the plan, else both]
    #[arg(long, value_enum)]
    stages: Option<StagesArgument>,
    /// The fold whose cases are held back for validation, from 0.
    #[arg(long, value_name = "K", default_value_t = 0)]
    fold: usize,
    /// Number of folds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(2..).map(usize::from))]
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
    /// cpu or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// A plan, or settings in the form of model.toml; what those leave out is planned from the data.
    #[arg(long, value_name = "FILE.toml", visible_alias = "plan")]
    config: Option<PathBuf>,
    /// Go on from the checkpoints in the model folder.
    #[arg(long)]
    resume: bool,
    /// Print the validation figures as JSON.
    #[arg(long)]
    json: bool,
}

/// nnU-Net's.
pub(crate) const SPLIT_SEED: u64 = 12_345;

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
    let splits = Splits::k_fold(&dataset.names(), options.folds, options.split_seed)?;
    let split = splits.fold(options.fold)?;
    let stages = options.stages.map(Stages::from);
    let there = options.model.join("model.toml").exists();
    let made = if options.resume && there { Some(ModelConfig::load(&options.model)?) } else { None };
    let asked = options.epochs.is_some() || options.seed.is_some() || options.config.is_some();
    let config = match made {
        // What a model is resumed with is in its folder: nothing is planned again.
        Some(made) if !asked => made,
        made => {
            let file = options.config.as_deref();
            let plan = configure(file, options.epochs, options.seed, stages, &dataset, split)?;
            let text = plan.to_toml();
            for warning in &plan.warnings {
                eprintln!("warning: {warning}");
            }
            let planned = plan.config;
            if let Some(made) = made {
                let (software, prediction) = (made.software.clone(), made.prediction);
                ensure!(
                    made == ModelConfig { software, prediction, ..planned },
                    "{}: cannot resume: model.toml describes another run than the arguments do",
                    options.model.display()
                );
                made
            } else {
                if !there {
                    make_folder(&options.model)?;
                    write_text(&options.model.join("plan.toml"), &text)?;
                }
                planned
            }
        }
    };
    let stages = stages.unwrap_or_else(|| Stages::all_of(config.method));
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
    stages: Option<Stages>,
    dataset: &Dataset,
    split: &Split,
) -> Result<Plan> {
    let base = ModelConfig::default();
    // Without a word on stages the file decides, and two stages are trained without a file.
    let method = match (stages, file) {
        (Some(stages), _) => stages.method(),
        (None, Some(file)) => ModelConfig::read(file)?.method,
        (None, None) => base.method,
    };
    let mut plan = Plan::make(&base, Some(method), file, dataset, &split.train, MAX_PATCH_VOXELS)
        .with_context(|| format!("cannot plan a model for {}", dataset.root.display()))?;
    for stage in [&mut plan.config.coarse, &mut plan.config.fine, &mut plan.config.single] {
        if let Some(epochs) = epochs {
            stage.train.epochs = epochs as usize;
        }
        if let Some(seed) = seed {
            stage.train.seed = seed;
        }
    }
    Ok(plan)
}
