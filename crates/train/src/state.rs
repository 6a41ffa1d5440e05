//! Where a training stands, besides its tensors.

use std::collections::BTreeMap;

use organseg_volume::Label;
use serde::{Deserialize, Serialize};

use crate::budget::{Costs, StepPlan};
use crate::precision::LossScale;
use crate::trainer::Means;

/// Where a training stands, besides its tensors. It goes into a checkpoint as JSON, whose numbers come back to
/// the bit. Samples are functions of (seed, epoch, index), so that `epoch` and `step` are all the random state
/// there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainingState {
    /// Samples an epoch of the source that the training was started with.
    pub(crate) samples_per_epoch: usize,
    /// The epoch of the next step, from 0.
    pub(crate) epoch: usize,
    /// Steps made of that epoch. All of them until its end was recorded.
    pub(crate) step: usize,
    /// Steps made in all epochs.
    pub(crate) steps: usize,
    /// How many steps there are to be; none before the first.
    pub(crate) plan: Option<StepPlan>,
    /// The learning rate of the last step.
    pub(crate) learning_rate: f64,
    /// Steps that were left out, for their gradient overflowed in half precision.
    #[serde(default)]
    pub(crate) left_out: usize,
    /// By how much the loss of the next step is scaled, in half precision.
    #[serde(default)]
    pub(crate) loss_scale: LossScale,
    /// Sums over the steps made of the epoch.
    pub(crate) sums: Means,
    /// Time that this epoch has taken, in seconds, and the part of it in which the network waited for samples.
    pub(crate) epoch_seconds: f64,
    pub(crate) epoch_waited: f64,
    /// The same of all epochs, and what the stage took beside them.
    pub(crate) seconds: f64,
    pub(crate) waited: f64,
    /// What things took.
    pub(crate) costs: Costs,
    /// When the validation cases were last looked at.
    pub(crate) last: Option<Validated>,
    /// When they were looked at with the best outcome; kept only if there is early stopping.
    pub(crate) best: Option<Validated>,
    /// How often in a row they were looked at since, without a better outcome.
    pub(crate) without_progress: usize,
    /// Whether that was too often.
    pub(crate) stopped_early: bool,
}

/// A look at the validation cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Validated {
    /// At the end of which epoch, from 0.
    pub(crate) epoch: usize,
    /// Mean DSC of each label.
    pub(crate) dice: BTreeMap<Label, f64>,
    /// Whether cases without a label were left out of its mean; earlier checkpoints counted them as 1.
    #[serde(default)]
    pub(crate) absent_left_out: bool,
}

impl Validated {
    /// Mean over the labels.
    pub(crate) fn mean(&self) -> f64 {
        self.dice.values().sum::<f64>() / self.dice.len().max(1) as f64
    }
}

impl TrainingState {
    /// Whether nothing is left to be done.
    pub(crate) fn is_finished(&self) -> bool {
        let all_made = self.plan.as_ref().is_some_and(|plan| self.steps >= plan.last);
        self.stopped_early || (all_made && self.step == 0)
    }

    /// Puts down a look at the validation cases, with early stopping after `patience` looks without progress
    /// (0 for never). Whether it was the best.
    pub(crate) fn validated(&mut self, dice: BTreeMap<Label, f64>, patience: usize) -> bool {
        let now = Validated { epoch: self.epoch, dice, absent_left_out: true };
        self.last = Some(now.clone());
        if patience == 0 {
            return false;
        }
        // A best by another measure is none to compare with.
        let best = self.best.as_ref().filter(|best| best.absent_left_out);
        let better = best.is_none_or(|best| now.mean() > best.mean());
        if better {
            self.best = Some(now);
            self.without_progress = 0;
        } else {
            self.without_progress += 1;
            self.stopped_early = self.without_progress >= patience;
        }
        better
    }

    /// Goes on to the next epoch.
    pub(crate) fn close_epoch(&mut self) {
        self.epoch += 1;
        self.step = 0;
        self.sums = Means::default();
        self.epoch_seconds = 0.0;
        self.epoch_waited = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_the_looks_since_the_best() {
        let mut state = TrainingState::default();
        let outcomes = [(0.5, true), (0.4, false), (0.6, true), (0.6, false), (0.59, false)];
        for (epoch, (dice, better)) in outcomes.into_iter().enumerate() {
            assert!(!state.stopped_early, "stopped before epoch {epoch}");
            state.epoch = epoch;
            assert_eq!(state.validated(BTreeMap::from([(1, dice - 0.1), (2, dice + 0.1)]), 2), better);
        }
        assert!(state.stopped_early && state.is_finished());
        assert_eq!((state.best.unwrap().epoch, state.last.unwrap().epoch), (2, 4));
    }

    #[test]
    fn without_patience_nothing_is_the_best_and_nothing_ends() {
        let mut state = TrainingState::default();
        for dice in [0.5, 0.4, 0.3] {
            assert!(!state.validated(BTreeMap::from([(1, dice)]), 0));
        }
        assert!(!state.stopped_early && state.best.is_none() && state.last.is_some());
    }

    /// What the sums of a broken epoch come to must not depend on where it was broken.
    #[test]
    fn numbers_survive_json_to_the_bit() {
        let mut x = 0.1f64;
        for _ in 0..2000 {
            x = (x * 1.37 + 0.113).fract() * 10f64.powi((x * 40.0) as i32 - 20);
            let state = TrainingState { epoch_seconds: x, ..TrainingState::default() };
            let text = serde_json::to_string(&state).unwrap();
            let back: TrainingState = serde_json::from_str(&text).unwrap();
            assert_eq!(back.epoch_seconds.to_bits(), x.to_bits(), "{x:e}");
            x = x.abs().fract() + 0.01;
        }
    }
}
