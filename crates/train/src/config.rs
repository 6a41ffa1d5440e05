//! How a network is trained.

use organseg_unet::LossConfig;
use serde::{Deserialize, Serialize};

use crate::optimizer::OptimizerConfig;
use crate::schedule::Schedule;
use crate::{AugmentConfig, Precision, TrainError};

/// Largest seed of a training: it is written to files in TOML, whose integers end there.
pub const MAX_SEED: u64 = i64::MAX as u64;

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
    /// Passes over the training cases; not used if `minutes` is set.
    pub epochs: usize,
    /// Minutes that the training of this network may take, reading its cases, validations and checkpoints
    /// included: the number of steps is planned by what they take on this machine. 0 for no limit.
    pub minutes: f64,
    /// Samples that go through the network at once.
    pub batch: usize,
    /// Batches a step: their gradients are averaged, as if they were one batch of so many times the samples.
    pub accumulate: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Longest Euclidean norm of the gradient; a longer one is scaled down to it. 0 for no limit.
    pub clip_norm: f64,
    /// Share of the steps, from 0 to 1, in which the learning rate rises linearly before the schedule begins;
    /// 0 for none.
    pub warmup_share: f64,
    /// Decay d of the running average of the weights a ← d a + (1 − d) θ, of which validation and the
    /// finished model then are; 0 for none.
    pub average_decay: f64,
    /// Every how many epochs the validation cases are looked at; the last epoch always does. 0 for the
    /// last alone.
    pub validate_every: usize,
    /// Training ends early when so many looks at the validation cases in a row did not raise their mean DSC,
    /// and the finished model is the one that did best. 0 for neither.
    pub patience: usize,
    /// Every how many epochs a checkpoint is written, besides the last. 0 for the last alone.
    pub checkpoint_every: usize,
    /// After how many minutes without a checkpoint one is written in the middle of an epoch; 0 for never.
    pub checkpoint_minutes: f64,
    /// The numbers between the layers of the network; on the CPU `F32`.
    pub precision: Precision,
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
            minutes: 0.0,
            batch: 2,
            accumulate: 1,
            learning_rate: 4e-3,
            clip_norm: 12.0,
            precision: Precision::F32,
            warmup_share: 0.0,
            average_decay: 0.0,
            validate_every: 10,
            patience: 0,
            checkpoint_every: 1,
            checkpoint_minutes: 5.0,
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

    /// The part that decides the weights: what only says how often to look or save, or how many threads load,
    /// is as in the default. Two runs with the same of it, the same network and the same samples go the same
    /// way.
    #[must_use]
    pub fn what_decides(&self) -> Self {
        let default = Self::default();
        // Early stopping goes by the looks.
        let validate_every = if self.patience > 0 { self.validate_every } else { default.validate_every };
        Self {
            validate_every,
            checkpoint_every: default.checkpoint_every,
            checkpoint_minutes: default.checkpoint_minutes,
            loader_threads: default.loader_threads,
            ..self.clone()
        }
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
        if self.seed > MAX_SEED {
            let expected = "at most 2^63 − 1, the largest number in TOML";
            return fail("seed", self.seed.to_string(), expected);
        }
        if self.accumulate == 0 {
            return fail("accumulate", "0".into(), "at least 1");
        }
        for (field, minutes) in [("minutes", self.minutes), ("checkpoint_minutes", self.checkpoint_minutes)] {
            if !(minutes.is_finite() && minutes >= 0.0) {
                return fail(field, minutes.to_string(), "0 or a positive number");
            }
        }
        if self.patience > 0 && self.validate_every == 0 {
            let expected = "at least 1 where `patience` is set: it goes by the looks at the validation cases";
            return fail("validate_every", "0".into(), expected);
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return fail("learning_rate", self.learning_rate.to_string(), "a positive number");
        }
        if !(self.clip_norm.is_finite() && self.clip_norm >= 0.0) {
            return fail("clip_norm", self.clip_norm.to_string(), "0 or a positive number");
        }
        if !(0.0..=1.0).contains(&self.warmup_share) {
            return fail("warmup_share", self.warmup_share.to_string(), "from 0 to 1");
        }
        if self.warmup_share > 0.0 && self.schedule == Schedule::OneCycle {
            let found = self.warmup_share.to_string();
            return fail("warmup_share", found, "0 with the one-cycle schedule, which has a rise of its own");
        }
        if !(0.0..1.0).contains(&self.average_decay) {
            return fail("average_decay", self.average_decay.to_string(), "0 or more and below 1");
        }
        self.schedule.check()?;
        self.optimizer.check()?;
        if self.loader_threads == 0 {
            return fail("loader_threads", "0".into(), "at least 1");
        }
        self.augment.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        let base = TrainConfig::default();
        let sgd = OptimizerConfig::Sgd { momentum: 1.0, nesterov: true, weight_decay: 0.0 };
        let adam = |beta1, epsilon, weight_decay| OptimizerConfig::AdamW {
            beta1,
            beta2: 0.999,
            epsilon,
            weight_decay,
        };
        let cases = [
            ("seed", TrainConfig { seed: MAX_SEED + 1, ..base.clone() }),
            ("accumulate", TrainConfig { accumulate: 0, ..base.clone() }),
            ("minutes", TrainConfig { minutes: -1.0, ..base.clone() }),
            ("checkpoint_minutes", TrainConfig { checkpoint_minutes: f64::NAN, ..base.clone() }),
            ("validate_every", TrainConfig { patience: 3, validate_every: 0, ..base.clone() }),
            ("warmup_share", TrainConfig { warmup_share: 0.1, ..base.clone() }),
            ("warmup_share", TrainConfig { warmup_share: 1.5, ..base.clone() }),
            ("average_decay", TrainConfig { average_decay: 1.0, ..base.clone() }),
            ("schedule.end", TrainConfig { schedule: Schedule::Cosine { end: 2.0 }, ..base.clone() }),
            ("schedule.power", TrainConfig { schedule: Schedule::Polynomial { power: 0.0 }, ..base.clone() }),
            ("optimizer.momentum", TrainConfig { optimizer: sgd, ..base.clone() }),
            ("optimizer.beta1", TrainConfig { optimizer: adam(-0.1, 1e-8, 0.0), ..base.clone() }),
            ("optimizer.epsilon", TrainConfig { optimizer: adam(0.9, 0.0, 0.0), ..base.clone() }),
            ("optimizer.weight_decay", TrainConfig { optimizer: adam(0.9, 1e-8, -1.0), ..base.clone() }),
        ];
        base.check().unwrap();
        for (field, config) in cases {
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(&format!("`{field}` is ")), "{field}: {message}");
        }
    }

    #[test]
    fn a_table_of_before_means_what_it_meant() {
        let old =
            "epochs = 3\nbatch = 1\nlearning_rate = 0.1\n[schedule]\nkind = \"polynomial\"\npower = 0.9\n";
        let config: TrainConfig = toml::from_str(old).unwrap();
        assert_eq!((config.epochs, config.accumulate, config.minutes, config.patience), (3, 1, 0.0, 0));
    }
}
