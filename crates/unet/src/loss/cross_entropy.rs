//! Cross-entropy of the class scores.
//!
//! L_ce = −(1/V) Σ_v Σ_k y_k(v) log p_k(v), p = softmax of the scores over the classes.

use candle_core::{Result, Tensor};

/// Mean cross-entropy of logits against the one-hot truth, both (N, K, D, H, W). A scalar, in nats.
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
    if logits.dims() != truth.dims() {
        candle_core::bail!(
            "cross-entropy: scores {:?} and truth {:?} differ in shape",
            logits.dims(),
            truth.dims()
        );
    }
    let (n, _, d, h, w) = logits.dims5()?;
    let log_p = candle_nn::ops::log_softmax(logits, 1)?;
    (truth * log_p)?.sum_all()? / -((n * d * h * w) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case};

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (p, y) = random_case(2, 3, [2, 2, 3], 11);
        assert_gradient(&p, |scores| cross_entropy(scores, &y));
    }
}
