//! How a network is trained.

use organseg_unet::LossConfig;
use serde::{Deserialize, Serialize};

use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::{AugmentConfig, TrainError};

/// How one network is trained. In a TOML file every field may be left out.
///
/// ```
/// use organseg_train::TrainConfig;
/// let config = TrainConfig::default().with_epochs(30).with_seed(7);
/// assert_eq!((config.epochs, config.seed, config.batch), (30, 7, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training cases.
    pub epochs: usize,
    /// Samples a step.
    pub batch: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Longest Euclidean norm of the gradient; a longer one is scaled down to it. 0 for no limit.
    pub clip_norm: f64,
    /// Every how many epochs the validation cases are looked at; the last epoch always does. 0 for the
    /// last alone.
    pub validate_every: usize,
    /// Every how many epochs a checkpoint is written, besides the last. 0 for the last alone.
    pub checkpoint_every: usize,
    /// Decides everything random: initial weights, patches, augmentation, order.
    pub seed: u64,
    /// Threads that load and augment while the network computes.
    pub loader_threads: usize,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Which optimizer.
    pub optimizer: OptimizerConfig,
    /// What is minimised.
    pub loss: LossConfig,
    /// How samples are varied.
    pub augment: AugmentConfig,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: 2,
            learning_rate: 2e-3,
            clip_norm: 12.0,
            validate_every: 5,
            checkpoint_every: 1,
            seed: 0,
            loader_threads: 2,
            schedule: Schedule::default(),
            optimizer: OptimizerConfig::default(),
            loss: LossConfig::default(),
            augment: AugmentConfig::default(),
        }
    }
}

impl TrainConfig {
    /// With this many epochs.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// With this seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// With this loss.
    #[must_use]
    pub fn with_loss(mut self, loss: LossConfig) -> Self {
        self.loss = loss;
        self
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the field.
    pub fn check(&self) -> Result<(), TrainError> {
        let fail = |field, found: String, expected| Err(TrainError::Config { field, found, expected });
        if self.epochs == 0 {
            return fail("epochs", "0".into(), "at least 1");
        }
        if self.batch == 0 {
            return fail("batch", "0".into(), "at least 1");
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return fail("learning_rate", self.learning_rate.to_string(), "a positive number");
        }
        if !(self.clip_norm.is_finite() && self.clip_norm >= 0.0) {
            return fail("clip_norm", self.clip_norm.to_string(), "0 or a positive number");
        }
        if self.loader_threads == 0 {
            return fail("loader_threads", "0".into(), "at least 1");
        }
        self.augment.check()
    }
}
