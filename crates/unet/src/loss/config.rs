//! The losses put together: which, how much of each, and until when.

use candle_core::{DType, Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::fused::all_losses;
use super::{EmptySlices, center_loss, cross_entropy, dice_loss};

/// L = `dice` · L_dice + γ · L_center + `cross_entropy` · L_ce, where γ is `center` for the first
/// `center_epochs` epochs and 0 from then on.
///
/// The default is the paper's: Dice + 1e-3 · center for 50 epochs, no cross-entropy.
///
/// ```
/// use organseg_unet::LossConfig;
/// let loss = LossConfig::default();
/// assert_eq!((loss.gamma(0), loss.gamma(49), loss.gamma(50)), (1e-3, 1e-3, 0.0));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LossConfig {
    /// Weight of the two-sided Dice loss.
    pub dice: f64,
    /// γ of the center loss in the first epochs.
    pub center: f64,
    /// Number of epochs, from the first, in which the center loss counts.
    pub center_epochs: usize,
    /// What the center loss does with slices in which the truth is empty.
    pub empty_slices: EmptySlices,
    /// Weight of the cross-entropy.
    pub cross_entropy: f64,
}

impl Default for LossConfig {
    fn default() -> Self {
        Self {
            dice: 1.0,
            center: 1e-3,
            center_epochs: 50,
            empty_slices: EmptySlices::Skip,
            cross_entropy: 0.0,
        }
    }
}

/// A loss and what it is made of; scalars. A part whose weight is zero is not computed.
#[derive(Clone, Debug)]
pub struct LossParts {
    /// The weighted sum: what to minimise.
    pub total: Tensor,
    /// L_dice, unweighted.
    pub dice: Option<Tensor>,
    /// L_center in voxels, unweighted.
    pub center: Option<Tensor>,
    /// L_ce in nats, unweighted.
    pub cross_entropy: Option<Tensor>,
}

impl LossConfig {
    /// γ in epoch `epoch`, counted from 0.
    #[must_use]
    pub fn gamma(&self, epoch: usize) -> f64 {
        if epoch < self.center_epochs { self.center } else { 0.0 }
    }

    /// The loss of logits (N, K, D, H, W) against the one-hot truth of the same shape, in epoch `epoch`.
    ///
    /// # Errors
    /// If the shapes differ or every weight is zero.
    pub fn compute(&self, logits: &Tensor, truth: &Tensor, epoch: usize) -> Result<LossParts> {
        let gamma = self.gamma(epoch);
        if self.dice == 0.0 && gamma == 0.0 && self.cross_entropy == 0.0 {
            candle_core::bail!("every weight of the loss is zero in epoch {epoch}")
        }
        let single = |tensor: &Tensor| tensor.dtype() == DType::F32 && matches!(tensor.device(), Device::Cpu);
        if single(logits) && single(truth) && logits.dims() == truth.dims() && logits.dim(1)? > 1 {
            return self.in_one_pass(logits, truth, gamma);
        }
        let probabilities =
            if self.dice != 0.0 || gamma != 0.0 { Some(candle_nn::ops::softmax(logits, 1)?) } else { None };
        let on_probabilities = |weight: f64, loss: &dyn Fn(&Tensor) -> Result<Tensor>| match &probabilities {
            Some(p) if weight != 0.0 => loss(p).map(Some),
            _ => Ok(None),
        };
        let dice = on_probabilities(self.dice, &|p| dice_loss(p, truth))?;
        let center = on_probabilities(gamma, &|p| center_loss(p, truth, self.empty_slices))?;
        let cross_entropy =
            if self.cross_entropy != 0.0 { Some(cross_entropy(logits, truth)?) } else { None };
        let mut total: Option<Tensor> = None;
        for (part, weight) in [(&dice, self.dice), (&center, gamma), (&cross_entropy, self.cross_entropy)] {
            let Some(part) = part else { continue };
            let weighted = (part * weight)?;
            total = Some(match total {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        let total = total.expect("a weight is not zero");
        Ok(LossParts { total, dice, center, cross_entropy })
    }

    fn in_one_pass(&self, logits: &Tensor, truth: &Tensor, gamma: f64) -> Result<LossParts> {
        let losses = all_losses(logits, truth, self.empty_slices)?;
        let weights = [self.dice, gamma, self.cross_entropy];
        let total =
            (&losses * Tensor::new(weights.map(|w| w as f32).as_slice(), logits.device())?)?.sum_all()?;
        let part = |i: usize| if weights[i] != 0.0 { losses.get(i).map(Some) } else { Ok(None) };
        Ok(LossParts { total, dice: part(0)?, center: part(1)?, cross_entropy: part(2)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};

    #[test]
    fn the_total_is_the_weighted_sum_of_the_parts() {
        let (p, y) = random_case(1, 2, [2, 3, 3], 2);
        let config = LossConfig { dice: 2.0, cross_entropy: 0.5, ..LossConfig::default() };
        let parts = config.compute(&p, &y, 0).unwrap();
        let of = |part: &Option<Tensor>| scalar(part.as_ref().unwrap());
        let expected = 2.0 * of(&parts.dice) + 1e-3 * of(&parts.center) + 0.5 * of(&parts.cross_entropy);
        assert!((scalar(&parts.total) - expected).abs() < 1e-12);
        assert!(config.compute(&p, &y, 50).unwrap().center.is_none());
    }

    #[test]
    fn a_loss_of_nothing_is_refused() {
        let (p, y) = random_case(1, 2, [2, 2, 2], 2);
        let config = LossConfig { dice: 0.0, center: 0.0, ..LossConfig::default() };
        assert!(config.compute(&p, &y, 0).is_err());
    }

    #[test]
    fn the_gradient_of_the_whole_agrees_with_finite_differences() {
        let (p, y) = random_case(1, 3, [2, 3, 3], 6);
        let config = LossConfig { cross_entropy: 1.0, ..LossConfig::default() };
        assert_gradient(&p, |scores| Ok(config.compute(scores, &y, 0)?.total));
    }
}
