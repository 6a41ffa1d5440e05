//! How the learning rate changes while training goes on.
//!
//! With t ∈ [0, 1] the share of the steps already made:
//! - cosine (Loshchilov 2017): η (e + (1 − e) (1 + cos πt) / 2), down to e η;
//! - polynomial: η (1 − t)^p, p = 0.9 as in nnU-Net;
//! - one-cycle (Smith 2018): up from η / 25 to η on a half cosine over the first 30 %, then down to
//!   η / 250 000 on another; the constants are PyTorch's `OneCycleLR`.
//!
//! With W steps of warm-up, step s < W has η (s + 1) / (W + 1), and the schedule runs over the steps after.

use serde::{Deserialize, Serialize};

use crate::TrainError;

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
/// assert_eq!(poly.factor(0.0, 100.0), 1.0);
/// assert!((poly.factor(50.0, 100.0) - 0.5f64.powf(0.9)).abs() < 1e-12);
/// assert!((Schedule::Cosine { end: 0.0 }.factor(50.0, 100.0) - 0.5).abs() < 1e-12);
/// assert!((Schedule::OneCycle.factor(0.0, 100.0) - 1.0 / 25.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", from = "Written")]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate throughout.
    Constant,
    /// Half a cosine down.
    Cosine {
        /// Where it ends, as a share of the peak.
        #[serde(default)]
        end: f64,
    },
    /// (1 − t)^power.
    Polynomial {
        /// Exponent; 0.9 in nnU-Net.
        power: f64,
    },
    /// Up for 30 % of the steps, then down to nearly nothing.
    #[default]
    OneCycle,
}

/// [`Schedule`] as it is read. serde lets a unit variant of a tagged enum have any fields, and a struct variant
/// only its own: `{ kind = "one_cycle", end = 0.1 }` is to be refused.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Constant {},
    Cosine {
        #[serde(default)]
        end: f64,
    },
    Polynomial {
        power: f64,
    },
    OneCycle {},
}

impl From<Written> for Schedule {
    fn from(written: Written) -> Self {
        match written {
            Written::Constant {} => Self::Constant,
            Written::Cosine { end } => Self::Cosine { end },
            Written::Polynomial { power } => Self::Polynomial { power },
            Written::OneCycle {} => Self::OneCycle,
        }
    }
}

impl Schedule {
    /// What to multiply the learning rate with in step `step` of `total`, counted from 0. A step may lie
    /// between two: a training of a given time does not go through its schedule in whole steps.
    #[must_use]
    pub fn factor(self, step: f64, total: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { end } => cosine(1.0, end, step / total.max(1.0)),
            Self::Polynomial { power } => (1.0 - step / total.max(1.0)).max(0.0).powf(power),
            Self::OneCycle => {
                // Steps are numbered as PyTorch does: the last one, total − 1, is the end.
                let last = (total - 1.0).max(1.0);
                let peak = RISE * total - 1.0;
                let (start, end) = (1.0 / START_DIVISOR, 1.0 / (START_DIVISOR * END_DIVISOR));
                if step < peak {
                    cosine(start, 1.0, step / peak)
                } else {
                    cosine(1.0, end, (step - peak) / (last - peak))
                }
            }
        }
    }

    /// As [`Schedule::factor`], with the first `warmup_share` of the steps, rounded, as a linear warm-up.
    ///
    /// ```
    /// use organseg_train::Schedule;
    /// let factors = [0.0, 1.0, 2.0, 3.0].map(|step| Schedule::Constant.factor_with_warmup(step, 8.0, 0.25));
    /// assert_eq!(factors, [1.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
    /// ```
    #[must_use]
    pub fn factor_with_warmup(self, step: f64, total: f64, warmup_share: f64) -> f64 {
        let warmup = (warmup_share * total).round();
        if step < warmup {
            return (step + 1.0) / (warmup + 1.0);
        }
        self.factor(step - warmup, total - warmup)
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the field.
    pub(crate) fn check(self) -> Result<(), TrainError> {
        match self {
            Self::Cosine { end } if !(0.0..=1.0).contains(&end) => Err(TrainError::Config {
                field: "schedule.end",
                found: end.to_string(),
                expected: "from 0 to 1",
            }),
            Self::Polynomial { power } if !(power.is_finite() && power > 0.0) => Err(TrainError::Config {
                field: "schedule.power",
                found: power.to_string(),
                expected: "a positive number",
            }),
            _ => Ok(()),
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

    /// What PyTorch gives, by tests/golden/schedules.py.
    #[test]
    fn every_schedule_is_pytorch_s() {
        /// PyTorch goes from step to step by recurrences, which round.
        const TOLERANCE: f64 = 1e-9;
        let text = include_str!("../tests/golden/schedules.json");
        let golden: std::collections::BTreeMap<String, Vec<f64>> = serde_json::from_str(text).unwrap();
        let cases = [
            ("one_cycle", Schedule::OneCycle, 0.0),
            ("cosine", Schedule::Cosine { end: 0.01 }, 0.0),
            ("polynomial", Schedule::Polynomial { power: 0.9 }, 0.0),
            ("warmup_cosine", Schedule::Cosine { end: 0.0 }, 0.2),
            ("warmup_constant", Schedule::Constant, 0.2),
        ];
        assert_eq!(golden.len(), cases.len());
        for (name, schedule, warmup) in cases {
            for (step, expected) in golden[name].iter().enumerate() {
                let found = schedule.factor_with_warmup(step as f64, golden[name].len() as f64, warmup);
                assert!((found - expected).abs() < TOLERANCE, "{name}, step {step}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn every_kind_is_read_as_it_is_written_and_with_no_field_of_another() {
        for (schedule, text) in [
            (Schedule::Constant, r#"{"kind":"constant"}"#),
            (Schedule::Cosine { end: 0.1 }, r#"{"kind":"cosine","end":0.1}"#),
            (Schedule::Polynomial { power: 0.9 }, r#"{"kind":"polynomial","power":0.9}"#),
            (Schedule::OneCycle, r#"{"kind":"one_cycle"}"#),
        ] {
            assert_eq!(serde_json::to_string(&schedule).unwrap(), text);
            assert_eq!(serde_json::from_str::<Schedule>(text).unwrap(), schedule);
            let more = text.replace('}', r#","peak":1}"#);
            let error = serde_json::from_str::<Schedule>(&more).unwrap_err().to_string();
            assert!(error.contains("unknown field `peak`"), "{text}: {error}");
        }
        let error = toml::from_str::<Schedule>("kind = \"one_cycle\"\nend = 0.1").unwrap_err().to_string();
        assert!(error.contains("unknown field `end`"), "{error}");
        let cosine = serde_json::from_str::<Schedule>(r#"{"kind":"cosine"}"#).unwrap();
        assert_eq!(cosine, Schedule::Cosine { end: 0.0 });
    }

    #[test]
    fn every_schedule_survives_a_run_of_few_steps() {
        let all = [
            Schedule::Constant,
            Schedule::Cosine { end: 0.0 },
            Schedule::Polynomial { power: 0.9 },
            Schedule::OneCycle,
        ];
        for schedule in all {
            for total in 1..5 {
                for step in 0..total {
                    for warmup in [0.0, 0.3, 1.0] {
                        let factor = schedule.factor_with_warmup(f64::from(step), f64::from(total), warmup);
                        assert!((0.0..=1.0).contains(&factor), "{schedule:?} {step} {total}: {factor}");
                    }
                }
            }
        }
    }
}
