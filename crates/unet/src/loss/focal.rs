//! Focal loss: cross-entropy in which a voxel counts the less the surer the network is of its class.
//!
//! L_focal = −Σ_v w_y (1 − p_y)^γ log p_y / Σ_v w_y, p_y the probability of the voxel's true class and w_y
//! that class's weight (α in the paper); from Lin et al., ICCV 2017, who found γ = 2 best. They divide by the
//! number of objects; here it is the (weighted) mean over the voxels, so that γ = 0 is cross-entropy.

use candle_core::{Result, Tensor};

use super::counted::{counted, same_shape};
use super::cross_entropy::LEAST_WEIGHT;

/// Least 1 − p that is raised to a power: keeps the slope finite for 0 < γ < 1.
pub(super) const LEAST_DOUBT: f64 = 1e-12;

/// Focal loss of logits against the one-hot truth, both (N, K, D, H, W): the mean over the voxels of which
/// the truth names a class. A scalar, in nats.
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_unet::loss::focal_loss;
/// // One voxel of p = 3/4: (1/4)² log 4/3.
/// let scores = Tensor::new(&[3f64.ln(), 0.0], &Device::Cpu)?.reshape((1, 2, 1, 1, 1))?;
/// let y = Tensor::new(&[1f64, 0.0], &Device::Cpu)?.reshape((1, 2, 1, 1, 1))?;
/// let loss = focal_loss(&scores, &y, 2.0)?.to_scalar::<f64>()?;
/// assert!((loss - (4f64 / 3.0).ln() / 16.0).abs() < 1e-12);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn focal_loss(logits: &Tensor, truth: &Tensor, gamma: f64) -> Result<Tensor> {
    same_shape("focal loss", logits, truth)?;
    weighted_focal_loss(logits, truth, truth, gamma)
}

/// [`focal_loss`] with the truth once more, multiplied by the weights of its classes.
pub(super) fn weighted_focal_loss(
    logits: &Tensor,
    truth: &Tensor,
    weighted_truth: &Tensor,
    gamma: f64,
) -> Result<Tensor> {
    let log_p = (truth * candle_nn::ops::log_softmax(logits, 1)?)?.sum_keepdim(1)?;
    let weight = counted(weighted_truth)?;
    let doubt = (1.0 - log_p.exp()?)?.maximum(LEAST_DOUBT)?.powf(gamma)?;
    let total = weight.sum_all()?.maximum(LEAST_WEIGHT)?;
    (weight * (doubt * log_p)?)?.sum_all()?.neg()? / total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::cross_entropy::{by_class_weight, cross_entropy};
    use crate::loss::test_support::{assert_gradient, random_case, scalar};

    #[test]
    fn without_focus_it_is_cross_entropy() {
        let (p, y) = random_case(2, 3, [2, 2, 3], 3);
        let (focal, plain) = (focal_loss(&p, &y, 0.0).unwrap(), cross_entropy(&p, &y).unwrap());
        assert!((scalar(&focal) - scalar(&plain)).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (p, y) = random_case(2, 3, [2, 2, 3], 11);
        let weighted = by_class_weight(&y, &[0.5, 2.0, 1.0]).unwrap();
        for gamma in [0.5, 1.0, 2.0] {
            assert_gradient(&p, |scores| focal_loss(scores, &y, gamma));
            assert_gradient(&p, |scores| weighted_focal_loss(scores, &y, &weighted, gamma));
        }
    }
}
