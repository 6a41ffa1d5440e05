//! How the learning rate changes while training goes on.
//!
//! With t ∈ [0, 1] the share of the steps already made:
//! - polynomial: η (1 − t)^p, p = 0.9 as in nnU-Net;
//! - one-cycle (Smith 2018): up from η / 25 to η on a half cosine over the first 30 %, then down to
//!   η / 250 000 on another; the constants are PyTorch's `OneCycleLR`.

use serde::{Deserialize, Serialize};

/// Share of the steps in which the one-cycle schedule rises.
const RISE: f64 = 0.3;

/// The one-cycle schedule starts at its peak divided by this.
const START_DIVISOR: f64 = 25.0;

/// … and ends at its start divided by this.
const END_DIVISOR: f64 = 1e4;

/// A learning-rate schedule.
///
/// ```
/// use organseg_train::Schedule;
/// let poly = Schedule::Polynomial { power: 0.9 };
/// assert_eq!(poly.factor(0, 100), 1.0);
/// assert!((poly.factor(50, 100) - 0.5f64.powf(0.9)).abs() < 1e-12);
/// assert!((Schedule::OneCycle.factor(0, 100) - 1.0 / 25.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// (1 − t)^power.
    Polynomial {
        /// Exponent; 0.9 in nnU-Net.
        power: f64,
    },
    /// Up for 30 % of the steps, then down to nearly nothing.
    #[default]
    OneCycle,
}

impl Schedule {
    /// What to multiply the learning rate with in step `step` of `total`, counted from 0.
    #[must_use]
    pub fn factor(self, step: usize, total: usize) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Polynomial { power } => (1.0 - step as f64 / total.max(1) as f64).max(0.0).powf(power),
            Self::OneCycle => {
                // Steps are numbered as PyTorch does: the last one, total − 1, is the end.
                let (step, last) = (step as f64, (total as f64 - 1.0).max(1.0));
                let peak = RISE * total as f64 - 1.0;
                let (start, end) = (1.0 / START_DIVISOR, 1.0 / (START_DIVISOR * END_DIVISOR));
                if step <= peak {
                    cosine(start, 1.0, step / peak)
                } else {
                    cosine(1.0, end, (step - peak) / (last - peak))
                }
            }
        }
    }
}

/// From `from` at t = 0 to `to` at t = 1 along half a cosine.
fn cosine(from: f64, to: f64, t: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (std::f64::consts::PI * t.clamp(0.0, 1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `torch.optim.lr_scheduler.OneCycleLR(SGD(lr=1), max_lr=1, total_steps=20)`, every fourth step.
    #[test]
    fn one_cycle_is_pytorch_s() {
        let expected = [0.04, 0.9083281572999747, 0.89091617757105, 0.500002, 0.10908782242895004];
        for (i, expected) in expected.into_iter().enumerate() {
            let found = Schedule::OneCycle.factor(i * 4, 20);
            assert!((found - expected).abs() < 1e-9, "step {}: {found}, expected {expected}", i * 4);
        }
    }

    #[test]
    fn every_schedule_survives_a_run_of_one_step() {
        for schedule in [Schedule::Constant, Schedule::Polynomial { power: 0.9 }, Schedule::OneCycle] {
            assert!(schedule.factor(0, 1).is_finite());
        }
    }
}
