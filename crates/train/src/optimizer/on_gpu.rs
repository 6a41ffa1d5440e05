//! A step of an optimizer for all variables at once, in place, on NVIDIA GPUs.

use std::collections::HashMap;

use candle_core::{Result, Tensor, Var};
use organseg_unet::conv3d::cuda::{Rule, change_all};

use super::{OptimizerConfig, Step, decay_of, state_of};

/// θ, m, v and g; the constants are β₁, (1 − β₁) · scale, scale, β₂, 1 − β₂, 1 − η λ, η / (1 − β₁ᵗ), 1 / (1 − β₂ᵗ), ε. The
/// gradient is scaled first, for the square of one that is to be clipped may be more than the type holds.
const ADAMW: Rule = Rule {
    statements: "b = s[0] * b + s[1] * d; A g = s[2] * d; c = s[3] * c + s[4] * (g * g); \
                 a = s[5] * a - s[6] * b / (sqrt(s[7] * c) + s[8]);",
    tensors: 4,
    changes: 3,
};

/// θ, b and g; the constants are μ, scale, λ and the factors of θ, g and b in the step.
const SGD: Rule = Rule {
    statements: "b = s[0] * b + s[1] * c + s[2] * a; a = s[3] * a - s[4] * c - s[5] * b;",
    tensors: 3,
    changes: 2,
};

/// An average and what it moves towards; the constants are what is kept and the rest.
const MEAN: Rule = Rule { statements: "a = s[0] * a + s[1] * b;", tensors: 2, changes: 1 };

impl Step {
    /// Moves all `variables`, each with its name and its gradient, and their state.
    pub(super) fn on_gpu(
        &self,
        state: &mut HashMap<String, Tensor>,
        variables: &[(&str, &Var, Tensor)],
    ) -> Result<()> {
        let (matrices, vectors): (Vec<_>, Vec<_>) =
            variables.iter().partition(|(_, variable, _)| variable.rank() > 1);
        for group in [matrices, vectors] {
            let Some((_, first, _)) = group.first() else { continue };
            let (rate, scale) = (self.rate, self.scale);
            let (suffixes, rule, constants): (&[&str], _, _) = match self.config {
                OptimizerConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
                    let constants = vec![
                        beta1,
                        (1.0 - beta1) * scale,
                        scale,
                        beta2,
                        1.0 - beta2,
                        1.0 - rate * decay_of(first, weight_decay),
                        rate / (1.0 - beta1.powi(self.number)),
                        1.0 / (1.0 - beta2.powi(self.number)),
                        epsilon,
                    ];
                    (&["m", "v"], ADAMW, constants)
                }
                OptimizerConfig::Sgd { momentum, nesterov, weight_decay } => {
                    let decay = decay_of(first, weight_decay);
                    let step = if nesterov {
                        [1.0 - rate * decay, rate * scale, rate * momentum]
                    } else {
                        [1.0, 0.0, rate]
                    };
                    (&["b"], SGD, [&[momentum, scale, decay][..], &step].concat())
                }
            };
            let mut entries = Vec::with_capacity(group.len());
            for (name, variable, gradient) in group {
                let mut entry = vec![variable.as_detached_tensor()];
                for suffix in suffixes {
                    entry.push(state_of(state, name, suffix, variable)?);
                }
                entry.push(gradient.clone());
                entries.push(entry);
            }
            change_all(&entries.iter().map(Vec::as_slice).collect::<Vec<_>>(), rule, &constants)?;
        }
        Ok(())
    }
}

/// The first of each pair ← `keep` · first + (1 − `keep`) · second.
pub(super) fn move_towards(pairs: &[[Tensor; 2]], keep: f64) -> Result<()> {
    change_all(&pairs.iter().map(|pair| &pair[..]).collect::<Vec<_>>(), MEAN, &[keep, 1.0 - keep])
}
