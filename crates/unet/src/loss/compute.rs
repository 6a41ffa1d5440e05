//! The loss of scores against the truth, from its parts.

use candle_core::{DType, Device, Result, Tensor};

use super::center::center_by_class;
use super::counted::{same_shape, weighted_mean};
use super::cross_entropy::{by_class_weight, weighted_cross_entropy};
use super::dice::dice_by_class;
use super::focal::weighted_focal_loss;
use super::fused::all_losses;
use super::tversky::tversky_by_class;
use super::{LossConfig, boundary_weights};

/// A loss and what it is made of. A part whose weight is zero is left out.
#[derive(Clone, Debug)]
pub struct LossParts {
    /// The weighted sum: what to minimise. A scalar in candle's graph.
    pub total: Tensor,
    /// L_dice, unweighted.
    pub dice: Option<f64>,
    /// L_center in voxels, unweighted.
    pub center: Option<f64>,
    /// L_ce in nats, unweighted.
    pub cross_entropy: Option<f64>,
    /// L_focal in nats, unweighted.
    pub focal: Option<f64>,
    /// L_tversky, unweighted.
    pub tversky: Option<f64>,
}

/// How many parts there are: Dice, center, cross-entropy, focal, Tversky, in this order.
pub(super) const PARTS: usize = 5;

impl LossConfig {
    /// The loss of logits (N, K, D, H, W) against the one-hot truth of the same shape, in epoch `epoch`. Voxels
    /// without any class in the truth do not count, and their scores have no gradient.
    ///
    /// # Errors
    /// If the shapes differ; as [`LossConfig::check`].
    pub fn compute(&self, logits: &Tensor, truth: &Tensor, epoch: usize) -> Result<LossParts> {
        let (_, classes, ..) = same_shape("loss", logits, truth)?;
        self.check(classes).map_err(candle_core::Error::wrap)?;
        let by = [self.dice, self.gamma(epoch), self.cross_entropy, self.focal, self.tversky];
        let weights =
            if self.class_weights.is_empty() { vec![1.0; classes] } else { self.class_weights.clone() };
        let near_boundary = (self.boundary > 0.0)
            .then(|| boundary_weights(truth, self.boundary, self.boundary_sigma_voxels))
            .transpose()?;
        let known = |device: &Device| device.is_cpu() || device.is_cuda();
        let single = |tensor: &Tensor| tensor.dtype() == DType::F32 && known(tensor.device());
        // One pass has no gradient for the truth.
        if single(logits) && single(truth) && classes > 1 && !truth.track_op() {
            let (total, parts) = all_losses(logits, truth, self, by, weights, near_boundary)?;
            let part = |i: usize| (by[i] != 0.0).then(|| f64::from(parts[i]));
            return Ok(LossParts {
                total,
                dice: part(0),
                center: part(1),
                cross_entropy: part(2),
                focal: part(3),
                tversky: part(4),
            });
        }
        let parts = self.one_by_one(logits, truth, &weights, near_boundary.as_ref(), by)?;
        let mut total: Option<Tensor> = None;
        for (part, weight) in parts.iter().zip(by) {
            let Some(part) = part else { continue };
            let weighted = (part * weight)?;
            total = Some(match total {
                Some(sum) => (sum + weighted)?,
                None => weighted,
            });
        }
        let number = |part: &Option<Tensor>| -> Result<Option<f64>> {
            part.as_ref().map(|part| part.to_dtype(DType::F64)?.to_scalar()).transpose()
        };
        let [dice, center, cross_entropy, focal, tversky] = &parts;
        Ok(LossParts {
            total: total.expect("a weight is not zero, as was checked"),
            dice: number(dice)?,
            center: number(center)?,
            cross_entropy: number(cross_entropy)?,
            focal: number(focal)?,
            tversky: number(tversky)?,
        })
    }

    /// The parts by tensor operations, those whose weight in `by` is zero left out.
    fn one_by_one(
        &self,
        logits: &Tensor,
        truth: &Tensor,
        weights: &[f64],
        near_boundary: Option<&Tensor>,
        by: [f64; PARTS],
    ) -> Result<[Option<Tensor>; PARTS]> {
        let probabilities = if by[0] != 0.0 || by[1] != 0.0 || by[4] != 0.0 {
            Some(candle_nn::ops::softmax(logits, 1)?)
        } else {
            None
        };
        let of_classes = |weight: f64, by_class: &dyn Fn(&Tensor) -> Result<Tensor>| match &probabilities {
            Some(p) if weight != 0.0 => weighted_mean(&by_class(p)?, weights).map(Some),
            _ => Ok(None),
        };
        let dice = of_classes(by[0], &|p| dice_by_class(p, truth))?;
        let center = of_classes(by[1], &|p| center_by_class(p, truth, self.empty_slices))?;
        let (alpha, beta) = (self.tversky_alpha, self.tversky_beta);
        let tversky = of_classes(by[4], &|p| tversky_by_class(p, truth, alpha, beta))?;
        let (mut cross_entropy, mut focal) = (None, None);
        if by[2] != 0.0 || by[3] != 0.0 {
            let weighted = by_class_weight(truth, weights)?;
            if by[2] != 0.0 {
                let weighted = match near_boundary {
                    Some(near) => weighted.broadcast_mul(near)?,
                    None => weighted.clone(),
                };
                cross_entropy = Some(weighted_cross_entropy(logits, &weighted)?);
            }
            if by[3] != 0.0 {
                focal = Some(weighted_focal_loss(logits, truth, &weighted, self.focal_gamma)?);
            }
        }
        Ok([dice, center, cross_entropy, focal, tversky])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};
    use organseg_conv3d::self_test::devices;

    /// Every part at once, classes of different weights, the boundary above the rest.
    fn all_parts() -> LossConfig {
        LossConfig {
            dice: 0.7,
            center: 0.1,
            cross_entropy: 0.5,
            boundary: 4.0,
            boundary_sigma_voxels: 1.5,
            focal: 0.8,
            focal_gamma: 1.5,
            tversky: 0.6,
            class_weights: vec![0.5, 2.0, 1.0],
            ignore_label: Some(9),
            ..LossConfig::default()
        }
    }

    /// [`random_case`] with three of its voxels ignored; which voxels those are.
    fn case_with_ignored_voxels() -> (Tensor, Tensor, Vec<usize>) {
        let (scores, truth) = random_case(2, 3, [2, 3, 4], 6);
        let ignored = vec![0, 7, 24 + 11];
        let mut values: Vec<f64> = truth.flatten_all().unwrap().to_vec1().unwrap();
        for voxel in &ignored {
            for class in 0..3 {
                values[voxel / 24 * 72 + class * 24 + voxel % 24] = 0.0;
            }
        }
        let truth = Tensor::from_vec(values, truth.shape(), &Device::Cpu).unwrap();
        (((scores - 0.5).unwrap() * 6.0).unwrap(), truth, ignored)
    }

    #[test]
    fn ignored_voxels_change_no_part_and_get_no_gradient() {
        let (scores, truth, ignored) = case_with_ignored_voxels();
        for dtype in [DType::F64, DType::F32] {
            let scores = scores.to_dtype(dtype).unwrap();
            let truth = truth.to_dtype(dtype).unwrap();
            let other = {
                let mut values: Vec<f64> =
                    scores.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
                for voxel in &ignored {
                    values[voxel / 24 * 72 + voxel % 24] = 5.0;
                }
                Tensor::from_vec(values, scores.shape(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let config = all_parts();
            let (parts, others) =
                (config.compute(&scores, &truth, 0).unwrap(), config.compute(&other, &truth, 0).unwrap());
            assert_eq!(scalar(&parts.total), scalar(&others.total));
            let variable = candle_core::Var::from_tensor(&scores).unwrap();
            let total = config.compute(variable.as_tensor(), &truth, 0).unwrap().total;
            let gradient = total.backward().unwrap().get(variable.as_tensor()).unwrap().clone();
            let gradient: Vec<f64> =
                gradient.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            for voxel in 0..48 {
                for class in 0..3 {
                    let zero = gradient[voxel / 24 * 72 + class * 24 + voxel % 24] == 0.0;
                    assert_eq!(zero, ignored.contains(&voxel), "voxel {voxel}, class {class}");
                }
            }
        }
    }

    /// The loss of a crop in which nothing is ignored is that of a larger one whose rest is.
    #[test]
    fn what_is_ignored_might_as_well_not_be_there() {
        let (scores, truth) = random_case(1, 3, [2, 3, 4], 5);
        let around = |t: &Tensor, fill: f64| {
            let rest = Tensor::full(fill, (1, 3, 2, 3, 4), &Device::Cpu).unwrap();
            Tensor::cat(&[t, &rest], 2).unwrap()
        };
        let config = LossConfig { boundary: 0.0, ..all_parts() };
        let alone = config.compute(&scores, &truth, 0).unwrap();
        let within = config.compute(&around(&scores, 0.3), &around(&truth, 0.0), 0).unwrap();
        assert!((scalar(&alone.total) - scalar(&within.total)).abs() < 1e-12);
    }

    #[test]
    fn a_batch_that_is_ignored_altogether_has_a_finite_loss_without_gradient() {
        for dtype in [DType::F64, DType::F32] {
            let (scores, truth) = random_case(1, 3, [2, 2, 2], 2);
            let scores = candle_core::Var::from_tensor(&scores.to_dtype(dtype).unwrap()).unwrap();
            let truth = truth.zeros_like().unwrap().to_dtype(dtype).unwrap();
            let total = all_parts().compute(scores.as_tensor(), &truth, 0).unwrap().total;
            assert!(scalar(&total).is_finite());
            let gradient = total.backward().unwrap().get(scores.as_tensor()).unwrap().clone();
            assert_eq!(scalar(&gradient.abs().unwrap().sum_all().unwrap()), 0.0);
        }
    }

    /// In singles in one pass, on every device there is, in doubles one by one.
    #[test]
    fn every_part_in_one_pass_is_that_by_operations_and_so_is_its_gradient() {
        let (scores, truth, _) = case_with_ignored_voxels();
        let run = |dtype: DType, device: &Device| {
            let there = |t: &Tensor| t.to_dtype(dtype).unwrap().to_device(device).unwrap();
            let scores = candle_core::Var::from_tensor(&there(&scores)).unwrap();
            let none = LossConfig {
                dice: 0.0,
                center: 0.0,
                cross_entropy: 0.0,
                focal: 0.0,
                tversky: 0.0,
                boundary: 0.0,
                ..all_parts()
            };
            let alone = [
                LossConfig { dice: 1.0, ..none.clone() },
                // The center loss is never alone.
                LossConfig { center: 1.0, dice: 1e-9, ..none.clone() },
                LossConfig { cross_entropy: 1.0, boundary: 4.0, ..none.clone() },
                LossConfig { focal: 1.0, ..none.clone() },
                LossConfig { tversky: 1.0, ..none },
            ];
            let parts = all_parts().compute(scores.as_tensor(), &there(&truth), 0).unwrap();
            let parts = [parts.dice, parts.center, parts.cross_entropy, parts.focal, parts.tversky];
            alone
                .iter()
                .zip(parts)
                .map(|(config, part)| {
                    let total = config.compute(scores.as_tensor(), &there(&truth), 0).unwrap().total;
                    assert!((scalar(&total) - part.unwrap()).abs() < 1e-6);
                    let gradient = total.backward().unwrap().get(scores.as_tensor()).unwrap().clone();
                    let gradient = gradient.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
                    (scalar(&total), gradient.to_vec1::<f64>().unwrap())
                })
                .collect::<Vec<_>>()
        };
        let found = devices().into_iter().flat_map(|device| run(DType::F32, &device)).enumerate();
        for ((i, found), expected) in found.zip(run(DType::F64, &Device::Cpu).iter().cycle()) {
            assert!(
                (found.0 - expected.0).abs() < 1e-5 * (1.0 + expected.0),
                "{i}: {} {}",
                found.0,
                expected.0
            );
            // Singles through a softmax: 1e-5 of the largest derivative.
            let scale = expected.1.iter().fold(1e-4f64, |most, v| most.max(v.abs()));
            for (found, expected) in found.1.iter().zip(&expected.1) {
                assert!((found - expected).abs() < 1e-4 * scale, "{i}: {found} {expected}");
            }
        }
    }

    #[test]
    fn the_gradient_of_all_parts_agrees_with_finite_differences() {
        let (scores, truth, _) = case_with_ignored_voxels();
        assert_gradient(&scores, |scores| Ok(all_parts().compute(scores, &truth, 0)?.total));
    }

    /// Dice of two classes with weights 1 and 3.
    #[test]
    fn class_weights_make_weighted_means_over_the_classes() {
        let (p, y) = random_case(1, 3, [2, 3, 3], 2);
        let of = |class_weights: Vec<f64>| {
            let config = LossConfig { center: 0.0, class_weights, ..LossConfig::default() };
            scalar(&config.compute(&p, &y, 0).unwrap().total)
        };
        let (first, second) = (of(vec![0.0, 1.0, 0.0]), of(vec![0.0, 0.0, 1.0]));
        assert!((of(vec![5.0, 1.0, 3.0]) - (first + 3.0 * second) / 4.0).abs() < 1e-12);
        assert!((of(vec![]) - (first + second) / 2.0).abs() < 1e-12);
    }

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
            let sum =
                2.0 * parts.dice.unwrap() + 1e-3 * parts.center.unwrap() + 0.5 * parts.cross_entropy.unwrap();
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
                assert!(part.unwrap().is_nan());
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
