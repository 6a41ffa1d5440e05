//! A step of an optimizer by candle's operations, on any device.

use std::collections::HashMap;

use candle_core::{DType, Result, Tensor, Var};

use super::{OptimizerConfig, Step, decay_of};

impl Step {
    /// Moves `variable` and its state, whose names begin with `name`, along `gradient`.
    pub(super) fn by_operations(
        &self,
        state: &mut HashMap<String, Tensor>,
        name: &str,
        variable: &Var,
        gradient: &Tensor,
    ) -> Result<()> {
        let (rate, gradient, value) = (self.rate, (gradient * self.scale)?, variable.as_detached_tensor());
        let updated = match self.config {
            OptimizerConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let m = decayed(state, format!("{name}/m"), &gradient, beta1, 1.0 - beta1)?;
                let v = decayed(state, format!("{name}/v"), &gradient.sqr()?, beta2, 1.0 - beta2)?;
                let m_scale = 1.0 / (1.0 - beta1.powi(self.number));
                let v_scale = 1.0 / (1.0 - beta2.powi(self.number));
                let direction = ((m * m_scale)? / ((v * v_scale)?.sqrt()? + epsilon)?)?;
                let kept = (&value * (1.0 - rate * decay_of(&value, weight_decay)))?;
                (kept - (direction * rate)?)?
            }
            OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                let gradient = (gradient + (&value * decay_of(&value, weight_decay))?)?;
                let b = decayed(state, format!("{name}/b"), &gradient, momentum, 1.0)?;
                let direction = if nesterov { (gradient + (b * momentum)?)? } else { b };
                (value - (direction * rate)?)?
            }
        };
        variable.set(&updated)
    }
}

/// Σ g² where g is, in doubles: the square of a large single is more than singles hold.
pub(super) fn sum_of_squares(gradient: &Tensor) -> Result<Tensor> {
    gradient.to_dtype(DType::F64)?.sqr()?.sum_all()
}

/// state[key] ← `keep` · state[key] + `add` · `new`, starting from zero.
fn decayed(
    state: &mut HashMap<String, Tensor>,
    key: String,
    new: &Tensor,
    keep: f64,
    add: f64,
) -> Result<Tensor> {
    let new = (new * add)?;
    let value = match state.get(&key) {
        Some(old) => ((old * keep)? + new)?,
        None => new,
    };
    state.insert(key, value.clone());
    Ok(value)
}
