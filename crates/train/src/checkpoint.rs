//! Everything a training needs to go on, in one safetensors file.
//!
//! Tensors `weights/NAME` and `optimizer/NAME`; in the header's metadata the stage, the next epoch, the
//! optimizer's steps, and the configuration the run was started with. Samples are drawn from generators
//! seeded by (seed, epoch, index), so that the next epoch is all the random state there is.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use organseg_unet::weights;

use crate::TrainError;

/// Where a training stands between two epochs.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Which network: `coarse`, `fine` or `single`.
    pub stage: String,
    /// The epoch to run next.
    pub next_epoch: usize,
    /// Steps the optimizer has made.
    pub steps: u64,
    /// The run's configuration, as the trainer writes it; a checkpoint is only taken up by a run with
    /// the same one.
    pub config: String,
    /// The network's weights by name.
    pub weights: HashMap<String, Tensor>,
    /// The optimizer's state by name.
    pub optimizer: HashMap<String, Tensor>,
}

impl Checkpoint {
    /// Writes the checkpoint to `path`, through a temporary file: the one before stays until this one
    /// is whole.
    ///
    /// # Errors
    /// [`TrainError::Unet`] naming the file.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let named = |prefix: &'static str, tensors: &HashMap<String, Tensor>| {
            tensors.iter().map(|(name, t)| (format!("{prefix}/{name}"), t.clone())).collect::<Vec<_>>()
        };
        let tensors =
            named("weights", &self.weights).into_iter().chain(named("optimizer", &self.optimizer)).collect();
        let metadata = HashMap::from([
            ("stage".to_string(), self.stage.clone()),
            ("next_epoch".to_string(), self.next_epoch.to_string()),
            ("steps".to_string(), self.steps.to_string()),
            ("config".to_string(), self.config.clone()),
        ]);
        Ok(weights::save(&tensors, Some(metadata), path)?)
    }

    /// Reads the checkpoint at `path`.
    ///
    /// # Errors
    /// [`TrainError::Unet`] for a file that is no safetensors file, [`TrainError::Checkpoint`] for one
    /// that is no checkpoint; both name it.
    pub fn load(path: &Path, device: &Device) -> Result<Self, TrainError> {
        let metadata = weights::metadata(path)?;
        let broken = |reason: String| TrainError::Checkpoint { path: path.to_path_buf(), reason };
        let text = |key: &str| {
            metadata.get(key).cloned().ok_or_else(|| broken(format!("its header has no `{key}`")))
        };
        let number = |key: &str| {
            let found = text(key)?;
            found.parse::<u64>().map_err(|_| broken(format!("`{key}` is `{found}`, expected a number")))
        };
        let (mut network, mut optimizer) = (HashMap::new(), HashMap::new());
        for (name, tensor) in weights::load(path, device)? {
            match name.split_once('/') {
                Some(("weights", name)) => network.insert(name.to_string(), tensor),
                Some(("optimizer", name)) => optimizer.insert(name.to_string(), tensor),
                _ => return Err(broken(format!("tensor `{name}` is neither a weight nor optimizer state"))),
            };
        }
        Ok(Self {
            stage: text("stage")?,
            next_epoch: number("next_epoch")? as usize,
            steps: number("steps")?,
            config: text("config")?,
            weights: network,
            optimizer,
        })
    }
}
