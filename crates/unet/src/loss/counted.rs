//! Which voxels count: those of which the truth names a class.
//!
//! A voxel whose one-hot truth is zero in every channel is ignored: it adds to no sum of any loss, and its
//! scores get no gradient. [`one_hot`](super::one_hot) makes such voxels of the ignored label.

use candle_core::{Result, Tensor, bail};

/// Probabilities of the foreground classes, zero where the truth is ignored, and the truth, both
/// (N, K − 1, D, H, W); and how many voxels count, a scalar.
pub(super) struct Foreground {
    pub(super) p: Tensor,
    pub(super) y: Tensor,
    pub(super) voxels: Tensor,
}

impl Foreground {
    /// Of `probabilities` and one-hot `truth` (N, K, D, H, W); `name` says whose error it is if they do not
    /// fit.
    pub(super) fn new(name: &str, probabilities: &Tensor, truth: &Tensor) -> Result<Self> {
        let (_, k, ..) = same_shape(name, probabilities, truth)?;
        if k < 2 {
            bail!("{name}: {k} classes, expected background and at least one more");
        }
        let counted = counted(truth)?;
        Ok(Self {
            p: probabilities.narrow(1, 1, k - 1)?.broadcast_mul(&counted)?,
            y: truth.narrow(1, 1, k - 1)?,
            voxels: counted.sum_all()?,
        })
    }

    /// Σ p, Σ y and Σ y p of each class (K − 1), over samples and voxels.
    pub(super) fn sums(&self) -> Result<[Tensor; 3]> {
        // Over voxels first: the fast axis.
        let sum = |t: &Tensor| t.flatten_from(2)?.sum(2)?.sum(0);
        Ok([sum(&self.p)?, sum(&self.y)?, sum(&(&self.y * &self.p)?)?])
    }
}

/// 1 where the truth names a class, 0 where it is ignored: (N, 1, D, H, W).
pub(super) fn counted(truth: &Tensor) -> Result<Tensor> {
    truth.sum_keepdim(1)
}

/// (N, K, D, H, W) of both, or an error of `name`.
pub(super) fn same_shape(
    name: &str,
    scores: &Tensor,
    truth: &Tensor,
) -> Result<(usize, usize, usize, usize, usize)> {
    if scores.dims() != truth.dims() {
        bail!("{name}: scores {:?} and truth {:?} differ in shape", scores.dims(), truth.dims());
    }
    scores.dims5()
}

/// Σ w_k L_k / Σ w_k of losses (K − 1) of the foreground classes; `weights` (K) has one for the background
/// too.
pub(super) fn weighted_mean(by_class: &Tensor, weights: &[f64]) -> Result<Tensor> {
    let weights = &weights[1..];
    let total: f64 = weights.iter().sum();
    let weights = Tensor::new(weights, by_class.device())?.to_dtype(by_class.dtype())?;
    (by_class * weights)?.sum_all()? / total
}
