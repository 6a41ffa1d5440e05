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

/// A loss and what it is made of; scalars. A part whose weight is zero is left out.
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
        let same = logits.dims() == truth.dims() && logits.dim(1)? > 1;
        // One pass has no gradient for the truth.
        let parts = if single(logits) && single(truth) && same && !truth.track_op() {
            let losses = all_losses(logits, truth, self.empty_slices)?;
            let part = |i: usize, weight: f64| if weight != 0.0 { losses.get(i).map(Some) } else { Ok(None) };
            [part(0, self.dice)?, part(1, gamma)?, part(2, self.cross_entropy)?]
        } else {
            self.one_by_one(logits, truth, gamma)?
        };
        let mut total: Option<Tensor> = None;
        for (part, weight) in parts.iter().zip([self.dice, gamma, self.cross_entropy]) {
            let Some(part) = part else { continue };
            let weighted = (part * weight)?;
            total = Some(match total {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        let [dice, center, cross_entropy] = parts;
        Ok(LossParts { total: total.expect("a weight is not zero"), dice, center, cross_entropy })
    }

    /// Dice, center and cross-entropy loss by tensor operations, those of weight zero left out.
    fn one_by_one(&self, logits: &Tensor, truth: &Tensor, gamma: f64) -> Result<[Option<Tensor>; 3]> {
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
        Ok([dice, center, cross_entropy])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};

    /// In doubles by operations, in singles in one pass.
    #[test]
    fn the_total_is_the_weighted_sum_of_the_parts() {
        let (p, y) = random_case(1, 2, [2, 3, 3], 2);
        let config = LossConfig { dice: 2.0, cross_entropy: 0.5, ..LossConfig::default() };
        let expected = scalar(&config.compute(&p, &y, 0).unwrap().total);
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
            let (p, y) = (p.to_dtype(dtype).unwrap(), y.to_dtype(dtype).unwrap());
            let parts = config.compute(&p, &y, 0).unwrap();
            let scalar = |loss: &Tensor| scalar(&loss.to_dtype(DType::F64).unwrap());
            let of = |part: &Option<Tensor>| scalar(part.as_ref().unwrap());
            let sum = 2.0 * of(&parts.dice) + 1e-3 * of(&parts.center) + 0.5 * of(&parts.cross_entropy);
            assert!((scalar(&parts.total) - sum).abs() < tolerance);
            assert!((sum - expected).abs() < tolerance);
            assert!(config.compute(&p, &y, 50).unwrap().center.is_none());
        }
    }

    /// A score of −∞ is none for the cross-entropy, but no reason for a Dice loss that is not a number.
    #[test]
    fn a_part_without_weight_does_not_count() {
        for dtype in [DType::F64, DType::F32] {
            let scores = Tensor::new(&[f64::NEG_INFINITY, 0.0, 1.0, 0.0], &Device::Cpu).unwrap();
            let truth = Tensor::new(&[0.0, 1.0, 1.0, 0.0], &Device::Cpu).unwrap();
            let of = |t: Tensor| t.reshape((1, 2, 1, 1, 2)).unwrap().to_dtype(dtype).unwrap();
            let (scores, truth) = (of(scores), of(truth));
            let parts = LossConfig::default().compute(&scores, &truth, 0).unwrap();
            assert!(parts.cross_entropy.is_none());
            assert!(scalar(&parts.total.to_dtype(DType::F64).unwrap()).is_finite());
        }
    }

    #[test]
    fn a_score_that_is_not_a_number_makes_every_part_so() {
        let (p, y) = random_case(1, 2, [2, 3, 3], 2);
        let mut scores: Vec<f64> = p.flatten_all().unwrap().to_vec1().unwrap();
        scores[4] = f64::NAN;
        let scores = Tensor::from_vec(scores, p.shape(), &Device::Cpu).unwrap();
        let config = LossConfig { cross_entropy: 1.0, ..LossConfig::default() };
        for dtype in [DType::F64, DType::F32] {
            let parts =
                config.compute(&scores.to_dtype(dtype).unwrap(), &y.to_dtype(dtype).unwrap(), 0).unwrap();
            for part in [parts.dice, parts.center, parts.cross_entropy] {
                assert!(scalar(&part.unwrap().to_dtype(DType::F64).unwrap()).is_nan());
            }
        }
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
