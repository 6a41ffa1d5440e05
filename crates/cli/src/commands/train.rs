//! `organseg train`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use organseg::pipeline::{DeviceChoice, ModelConfig, Stages, TrainRequest, train, weights_path};
use organseg::train::{Checkpoint, Dataset, Splits};

use super::device::open;
use super::interrupt::{or_interrupted, stop_signal};
use super::output::{make_folder, print, print_json, write_text};
use super::splitting::SplittingOptions;
use super::training::TrainingOptions;

/// Folds where nothing else is said, as in nnU-Net.
const FOLDS: usize = 5;

/// Train a model on a dataset.
///
/// Ctrl-C finishes the step at hand, saves and ends with exit code 130; a second one ends at once. The same
/// command with --resume goes on from the last checkpoint, whatever ended the run, to the same weights as a run
/// that nothing ended.
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
    /// The fold whose cases are held back for validation, from 0; or all: every case is trained on and nothing is validated.
    #[arg(long, value_name = "K|all", default_value = "0", value_parser = fold)]
    fold: FoldChoice,
    #[command(flatten)]
    splitting: SplittingOptions,
    #[command(flatten)]
    training: TrainingOptions,
    /// Weights to start from instead of random ones: the folder of a model with the same networks, or a file of weights or
    /// a checkpoint for one network. What that model does to scans is not taken over: see --plan.
    #[arg(long, value_name = "MODEL|FILE")]
    start_from: Option<PathBuf>,
    /// cpu, cuda:N, or auto: the first GPU, or the CPU where there is none.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Go on from the checkpoints in the model folder.
    #[arg(long)]
    resume: bool,
    /// Print the validation figures as JSON.
    #[arg(long)]
    json: bool,
}

/// Which cases are held back.
#[derive(Clone, Copy)]
enum FoldChoice {
    One(usize),
    All,
}

/// `all` or the number of a fold.
fn fold(text: &str) -> Result<FoldChoice, String> {
    match text.parse() {
        Ok(fold) => Ok(FoldChoice::One(fold)),
        Err(_) if text == "all" => Ok(FoldChoice::All),
        Err(_) => Err(format!("`{text}` is neither a fold's number, from 0, nor `all`")),
    }
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
    let device = open(options.device)?;
    let dataset = Dataset::open(&options.data)?;
    let training = &options.training;
    let (splits, fold) = match options.fold {
        FoldChoice::One(fold) => (options.splitting.of(&dataset, FOLDS)?, fold),
        FoldChoice::All => {
            if let Some(argument) = options.splitting.given() {
                bail!("--fold all: trains on every case of the dataset, expected no {argument} beside it");
            }
            (Splits::all(&dataset.names()), 0)
        }
    };
    let split = splits.fold(fold)?;
    let stages = options.stages.map(Stages::from);
    let there = options.model.join("model.toml").exists();
    if options.resume && !there {
        eprintln!(
            "{}: holds no model yet, so there is nothing to resume: a new training",
            options.model.display()
        );
    }
    let (mut config, plan) = if options.resume && there {
        let mut made = ModelConfig::load(&options.model)?;
        made.check_dataset(&options.model.join("model.toml"), &dataset)?;
        // What a model is resumed with is in its folder: without a word against it nothing is planned again.
        if training.decide() {
            let different = made.differences(&training.plan(stages, &dataset, &splits)?.config);
            ensure!(
                different.is_empty(),
                "{}: cannot resume: it describes another run than the arguments do: {different} (where only what is planned \
                 differs, as by another version, --plan {} keeps to the plan)",
                options.model.join("model.toml").display(),
                options.model.join("plan.toml").display()
            );
        }
        training.change_rhythm(&mut made);
        (made, None)
    } else {
        let plan = training.plan(stages, &dataset, &splits)?;
        for warning in &plan.warnings {
            eprintln!("warning: {warning}");
        }
        (plan.config.clone(), Some(plan))
    };
    let stages = stages.unwrap_or_else(|| Stages::all_of(config.method));
    if let Some(start) = &options.start_from {
        let begun = |name: &str| options.resume && Checkpoint::path(&options.model, name).exists();
        start_from(&mut config, stages, start, begun)?;
    }
    if let Some(plan) = plan.filter(|_| !there) {
        make_folder(&options.model)?;
        write_text(&options.model.join("plan.toml"), &plan.to_toml())?;
    }
    let request = TrainRequest {
        dataset: &dataset,
        split,
        config: &config,
        stages,
        folder: &options.model,
        resume: options.resume,
        device: &device,
        stop: stop_signal()?,
    };
    let summary = or_interrupted(train(&request), "the same command with --resume goes on from there")?;
    if options.json {
        return print_json(&summary);
    }
    for (stage, dice) in &summary {
        for (label, dice) in dice {
            let name = config.labels.get(label).map_or("", String::as_str);
            print(&format!("{stage}: validation DSC of {label} ({name}) {dice:.4}"))?;
        }
        if split.val.is_empty() {
            print(&format!("{stage}: trained on all {} cases, without a validation", split.train.len()))?;
            continue;
        }
        if dice.is_empty() {
            print(&format!("{stage}: its weights are there and say nothing of a validation"))?;
            continue;
        }
        let mean = dice.values().sum::<f64>() / dice.len() as f64;
        // What both stages come to, boxes included, `cross-validate` says.
        let region = if stage == "fine" { ", within the box of the truth" } else { "" };
        print(&format!("{stage}: mean validation DSC {mean:.4}{region}"))?;
    }
    print(&format!("model in {}", options.model.display()))
}

/// Has each of `stages` start with the weights that `from`, a model folder or a file, has for it; one that is `begun`
/// does without them.
fn start_from(
    config: &mut ModelConfig,
    stages: Stages,
    from: &Path,
    begun: impl Fn(&str) -> bool,
) -> Result<()> {
    let said = format!("--start-from {}", from.display());
    let names = stages.names();
    ensure!(
        from.is_dir() || names.len() == 1,
        "{said}: a file for {} networks, expected the folder of a model, or --stages with one of them",
        names.len()
    );
    for &name in names {
        let file = if from.is_dir() { weights_path(from, name) } else { from.to_path_buf() };
        let file = match file.canonicalize().with_context(|| format!("{said}: {}", file.display())) {
            Err(_) if begun(name) => continue,
            file => file?,
        };
        ensure!(file.to_str().is_some(), "{said}: its name is not UTF-8, which model.toml cannot hold");
        config.stage_mut(name).start = Some(file);
    }
    Ok(())
}
