//! What `train` and `cross-validate` are told about the trainings.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, value_parser};
use organseg::pipeline::{MAX_PATCH_VOXELS, ModelConfig, Plan, StageConfig, Stages};
use organseg::train::{Dataset, MAX_SEED, Splits};

/// How the networks are trained.
#[derive(Args)]
pub(crate) struct TrainingOptions {
    /// Passes over the training cases.
    #[arg(long, value_name = "E", value_parser = value_parser!(u32).range(1..))]
    epochs: Option<u32>,
    /// Minutes that the training of the model may take, instead of a number of epochs: as many steps as fit on
    /// this machine, with reading cases, validation and checkpoints. The stages share them equally. Planning a model
    /// from the data, before that, comes on top.
    #[arg(long, value_name = "M", value_parser = minutes, conflicts_with = "epochs")]
    minutes: Option<f64>,
    /// Decides everything random but the folds.
    #[arg(long, value_name = "S", value_parser = value_parser!(u64).range(..=MAX_SEED))]
    seed: Option<u64>,
    /// A plan, or settings in the form of model.toml; what those leave out is planned from the data.
    #[arg(long, value_name = "FILE.toml", visible_alias = "plan")]
    config: Option<PathBuf>,
    /// Write a checkpoint in the middle of an epoch when the last one is N minutes old.
    #[arg(long, value_name = "N", value_parser = minutes)]
    checkpoint_minutes: Option<f64>,
}

impl TrainingOptions {
    /// The model that the arguments ask for, fitted to all cases of all folds: one plan for all of them, as nnU-Net has
    /// it, whose models can be averaged wherever each was trained. It measures sizes and percentiles, nothing that could be
    /// learnt. What no fold names is not looked at.
    pub(crate) fn plan(&self, stages: Option<Stages>, dataset: &Dataset, splits: &Splits) -> Result<Plan> {
        let base = ModelConfig::default();
        let file = self.config.as_deref();
        // Without a word on stages the file decides, and two stages are trained without a file.
        let method = match (stages, file) {
            (Some(stages), _) => stages.method(),
            (None, Some(file)) => ModelConfig::read(file)?.method,
            (None, None) => base.method,
        };
        let named = splits.folds().iter().flat_map(|split| split.train.iter().chain(&split.val).cloned());
        let all: Vec<String> = named.collect::<BTreeSet<_>>().into_iter().collect();
        let mut plan = Plan::make(&base, Some(method), file, dataset, &all, MAX_PATCH_VOXELS)
            .with_context(|| format!("cannot plan a model for {}", dataset.root.display()))?;
        let shares = if stages.unwrap_or(Stages::all_of(method)) == Stages::Both { 2.0 } else { 1.0 };
        for stage in stages_of(&mut plan.config) {
            if let Some(epochs) = self.epochs {
                stage.train.epochs = epochs as usize;
                stage.train.minutes = 0.0;
            }
            if let Some(minutes) = self.minutes {
                stage.train.minutes = minutes / shares;
            }
            if let Some(seed) = self.seed {
                stage.train.seed = seed;
            }
        }
        self.change_rhythm(&mut plan.config);
        Ok(plan)
    }

    /// Whether the arguments say something about the model that a folder which is there may contradict.
    pub(crate) fn decide(&self) -> bool {
        self.epochs.is_some() || self.minutes.is_some() || self.seed.is_some() || self.config.is_some()
    }

    /// Sets in `config` what may differ when a training goes on.
    pub(crate) fn change_rhythm(&self, config: &mut ModelConfig) {
        if let Some(minutes) = self.checkpoint_minutes {
            for stage in stages_of(config) {
                stage.train.checkpoint_minutes = minutes;
            }
        }
    }
}

fn stages_of(config: &mut ModelConfig) -> [&mut StageConfig; 3] {
    [&mut config.coarse, &mut config.fine, &mut config.single]
}

/// A positive number of minutes.
fn minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes.is_finite() && minutes > 0.0 => Ok(minutes),
        _ => Err(format!("`{text}` is not a positive number of minutes")),
    }
}
