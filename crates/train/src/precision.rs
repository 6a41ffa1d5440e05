//! Mixed precision: 16 bits between the layers of a network on a GPU.

use candle_core::DType;
use serde::{Deserialize, Serialize};

/// The numbers between the layers. Weights, the optimizer and the statistics of norms are `f32` in any case; the
/// gradient of a weight is a sum of 24 bits that becomes one such number before it is `f32` again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits: everywhere.
    #[default]
    F32,
    /// 8 bits, with the range of `f32`: on GPUs from Ampere on.
    Bf16,
    /// 11 bits, with a small range, for which losses are scaled: on GPUs that have no `Bf16`.
    F16,
}

impl Precision {
    /// candle's name.
    #[must_use]
    pub fn number(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// By how much a loss is scaled up, so that small gradients do not vanish in `f16` (Micikevicius et al. 2018): twice as
/// much after so many steps without overflow, half as much after one, whose step is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossScale {
    pub(crate) factor: f64,
    /// Steps since it last changed.
    good: u32,
}

/// PyTorch's numbers.
const FIRST: f64 = 65_536.0;
const GROWS_AFTER: u32 = 2000;

impl Default for LossScale {
    fn default() -> Self {
        Self { factor: FIRST, good: 0 }
    }
}

impl LossScale {
    /// After a step whose gradient was a number.
    pub(crate) fn made(&mut self) {
        self.good += 1;
        if self.good == GROWS_AFTER {
            *self = Self { factor: 2.0 * self.factor, good: 0 };
        }
    }

    /// After a gradient that was none. Whether there is a smaller scale to try.
    pub(crate) fn overflowed(&mut self) -> bool {
        let smaller = self.factor > 1.0;
        *self = Self { factor: (self.factor / 2.0).max(1.0), good: 0 };
        smaller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_grows_with_good_steps_and_halves_with_bad_ones() {
        let mut scale = LossScale::default();
        for _ in 0..GROWS_AFTER {
            scale.made();
        }
        assert_eq!(scale.factor, 2.0 * FIRST);
        assert!(scale.overflowed());
        assert_eq!(scale.factor, FIRST);
        while scale.overflowed() {}
        assert_eq!(scale.factor, 1.0);
    }
}
