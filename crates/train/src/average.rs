//! The exponential moving average of a network's weights.
//!
//! After step t = 1, 2, …: a ← d_t a + (1 − d_t) θ with d_t = min(d, (1 + t) / (10 + t)), from a = θ before the
//! first step. The growing decay (TensorFlow's `ExponentialMovingAverage`) lets a forget the random weights of
//! the beginning; d = 0.99 has most of its weight on the last hundred steps.

use std::collections::HashMap;

use candle_core::{Result, Tensor};
use candle_nn::VarMap;
use organseg_unet::{UnetError, weights};

use crate::optimizer::move_towards;

/// Running averages of weights, by name.
pub(crate) struct Average {
    decay: f64,
    values: HashMap<String, Tensor>,
}

impl Average {
    /// The average with decay `decay` before the first step.
    pub(crate) fn new(decay: f64, variables: &VarMap) -> std::result::Result<Self, UnetError> {
        Ok(Self { decay, values: weights::tensors_of(variables)? })
    }

    /// Takes in the weights after step `step`, counted from 1.
    pub(crate) fn take_in(&mut self, variables: &VarMap, step: usize) -> Result<()> {
        let t = step as f64;
        let keep = self.decay.min((1.0 + t) / (10.0 + t));
        let data = variables.data().lock().expect("no thread panicked while holding the variables");
        let now: Vec<_> =
            data.iter().map(|(name, variable)| (name.as_str(), variable.as_detached_tensor())).collect();
        move_towards(&mut self.values, &now, keep)
    }

    /// A copy of the averages.
    pub(crate) fn copy(&self) -> Result<HashMap<String, Tensor>> {
        self.values.iter().map(|(name, value)| Ok((name.clone(), value.copy()?))).collect()
    }

    /// Goes on from `values`, which are copied.
    pub(crate) fn restore(&mut self, values: &HashMap<String, Tensor>) -> Result<()> {
        self.values =
            values.iter().map(|(name, value)| Ok((name.clone(), value.copy()?))).collect::<Result<_>>()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::{Init, VarBuilder};

    use super::*;

    /// θ after step t is t.
    fn average_of_counting(decay: f64, steps: usize, dtype: DType) -> f64 {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, dtype, &Device::Cpu);
        vb.get_with_hints(3, "theta", Init::Const(0.0)).unwrap();
        let mut average = Average::new(decay, &variables).unwrap();
        for t in 1..=steps {
            let now = Tensor::full(t as f64, 3, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            variables.data().lock().unwrap()["theta"].set(&now).unwrap();
            average.take_in(&variables, t).unwrap();
        }
        average.copy().unwrap()["theta"].to_dtype(DType::F64).unwrap().to_vec1().unwrap()[2]
    }

    #[test]
    fn early_steps_are_forgotten_faster() {
        // d₁ = 2/11, d₂ = 3/12: (1 − 3/12) 2 + 3/12 (1 − 2/11).
        let expected = 1.5 + 0.25 * 9.0 / 11.0;
        assert!((average_of_counting(0.999, 2, DType::F64) - expected).abs() < 1e-12);
        assert!((average_of_counting(0.999, 2, DType::F32) - expected).abs() < 1e-6);
    }

    /// Once the decay is d, the average of a ramp lags behind it by d / (1 − d).
    #[test]
    fn a_ramp_is_followed_at_the_decay_s_distance() {
        assert!((1000.0 - average_of_counting(0.9, 1000, DType::F64) - 9.0).abs() < 1e-9);
    }
}
