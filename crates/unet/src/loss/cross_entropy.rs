//! Cross-entropy of the class scores.
//!
//! L_ce = −Σ_v ω(v) Σ_k w_k y_k(v) log p_k(v) / Σ_v ω(v) Σ_k w_k y_k(v), p = softmax of the scores over the
//! classes, w_k the weight of class k, ω(v) that of voxel v; without weights the mean over the voxels.

use candle_core::{Result, Tensor};

use super::counted::same_shape;

/// Below any sum of weights: where no voxel counts, the loss is 0 and not 0 / 0.
pub(super) const LEAST_WEIGHT: f64 = 1e-30;

/// Mean cross-entropy of logits against the one-hot truth, both (N, K, D, H, W). A scalar, in nats. Voxels
/// without any class in the truth do not count.
///
/// # Errors
/// If the shapes differ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_unet::loss::cross_entropy;
/// // Equal scores for two classes: log 2, whatever the truth.
/// let scores = Tensor::zeros((1, 2, 1, 1, 3), candle_core::DType::F32, &Device::Cpu)?;
/// let y = Tensor::new(&[1f32, 0., 1., 0., 1., 0.], &Device::Cpu)?.reshape((1, 2, 1, 1, 3))?;
/// assert!((cross_entropy(&scores, &y)?.to_scalar::<f32>()? - 2f32.ln()).abs() < 1e-6);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy(logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
    same_shape("cross-entropy", logits, truth)?;
    weighted_cross_entropy(logits, truth)
}

/// [`cross_entropy`] where the truth is multiplied by the weights of its classes and voxels.
pub(super) fn weighted_cross_entropy(logits: &Tensor, weighted_truth: &Tensor) -> Result<Tensor> {
    let log_p = candle_nn::ops::log_softmax(logits, 1)?;
    let total = weighted_truth.sum_all()?.maximum(LEAST_WEIGHT)?;
    (weighted_truth * log_p)?.sum_all()?.neg()? / total
}

/// The one-hot truth (N, K, D, H, W), each class times its weight (K).
pub(super) fn by_class_weight(truth: &Tensor, class_weights: &[f64]) -> Result<Tensor> {
    let weights = Tensor::new(class_weights, truth.device())?.to_dtype(truth.dtype())?;
    truth.broadcast_mul(&weights.reshape((1, class_weights.len(), 1, 1, 1))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};
    use candle_core::Device;

    /// Two voxels of p = 1/4 and 1/2 for their own classes 0 and 1, of weights 1 and 3:
    /// (1 · log 4 + 3 · log 2) / (1 + 3) = 5/4 log 2.
    #[test]
    fn weights_of_classes_make_a_weighted_mean() {
        let scores = Tensor::new(&[0.0, 0.0, 3f64.ln(), 0.0], &Device::Cpu).unwrap();
        let truth = Tensor::new(&[1.0, 0.0, 0.0, 1.0], &Device::Cpu).unwrap();
        let of = |t: Tensor| t.reshape((1, 2, 1, 1, 2)).unwrap();
        let truth = by_class_weight(&of(truth), &[1.0, 3.0]).unwrap();
        let found = scalar(&weighted_cross_entropy(&of(scores), &truth).unwrap());
        assert!((found - 1.25 * 2f64.ln()).abs() < 1e-12, "{found}");
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (p, y) = random_case(2, 3, [2, 2, 3], 11);
        assert_gradient(&p, |scores| cross_entropy(scores, &y));
        let weighted = by_class_weight(&y, &[0.5, 2.0, 1.0]).unwrap();
        assert_gradient(&p, |scores| weighted_cross_entropy(scores, &weighted));
    }
}
