//! Center loss: how far the centre of each slice of the prediction is from the truth's.
//!
//! L_center = Σ_d | f(Y_d) − f(Ŷ_d) |, f(Y_d) = (1/ζ) Σ_v Σ_u (u, v) Y_d(u, v), ζ = Σ_v Σ_u Y_d(u, v)
//!
//! from Zhao et al., MICCAI 2019; u counts voxels along W, v along H, d slices along D, and |·| is the
//! Euclidean length. The authors saw it speed up convergence and add isolated false positives, and use
//! it with γ = 1e-3 for the first 50 epochs only.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::counted::Foreground;

/// Added to ζ, in voxels: a slice without any mass has its centre at the corner instead of at 0 / 0.
pub(super) const EPSILON_MASS: f64 = 1e-5;

/// Added under the root of the length, in voxels²: keeps its slope finite where both centres agree.
pub(super) const EPSILON_LENGTH: f64 = 1e-12;

/// What to do with a slice in which the truth is empty and so has no centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptySlices {
    /// Leave it out of the sum.
    #[default]
    Skip,
    /// The formula to the letter, with 0 / 0 read as 0: the truth's centre is the corner (0, 0), and
    /// the prediction is drawn towards it.
    Literal,
}

/// Center loss of probabilities against the one-hot truth, both (N, K, D, H, W): the sum over the
/// slices, the mean over samples and foreground classes. A scalar, in voxels. Voxels without any class in the
/// truth do not count.
///
/// # Errors
/// If the shapes differ or there is no foreground class.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_unet::loss::{EmptySlices, center_loss};
/// // One slice of one row of four voxels: the truth's centre is u = 0.5, the prediction's u = 2.
/// let y = Tensor::new(&[0f32, 0., 1., 1., 1., 1., 0., 0.], &Device::Cpu)?.reshape((1, 2, 1, 1, 4))?;
/// let p = Tensor::new(&[1f32, 0.5, 0.5, 0.5, 0., 0.5, 0.5, 0.5], &Device::Cpu)?.reshape((1, 2, 1, 1, 4))?;
/// let loss = center_loss(&p, &y, EmptySlices::Skip)?.to_scalar::<f32>()?;
/// assert!((loss - 1.5).abs() < 1e-4);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn center_loss(probabilities: &Tensor, truth: &Tensor, empty: EmptySlices) -> Result<Tensor> {
    center_by_class(probabilities, truth, empty)?.mean_all()
}

/// The loss of each foreground class, (K − 1): the mean over samples.
pub(super) fn center_by_class(probabilities: &Tensor, truth: &Tensor, empty: EmptySlices) -> Result<Tensor> {
    let Foreground { p, y, .. } = Foreground::new("center loss", probabilities, truth)?;
    let (predicted, _) = centers(&p)?;
    let (true_centers, mass) = centers(&y)?;
    let squared = (predicted - true_centers)?.sqr()?.sum(3)?;
    let lengths = (squared + EPSILON_LENGTH)?.sqrt()?;
    let lengths = match empty {
        EmptySlices::Literal => lengths,
        EmptySlices::Skip => {
            let present = mass.gt(0.0)?.to_dtype(lengths.dtype())?;
            (lengths * present)?
        }
    };
    lengths.sum(2)?.mean(0)
}

/// Centres (N, K, D, 2) as (u, v), and masses (N, K, D), of the slices of `t` (N, K, D, H, W).
fn centers(t: &Tensor) -> Result<(Tensor, Tensor)> {
    let (n, k, d, h, w) = t.dims5()?;
    let flat = t.reshape((n, k, d, h * w))?;
    let coordinate = |of: &dyn Fn(usize) -> usize| {
        let values: Vec<f64> = (0..h * w).map(|i| of(i) as f64).collect();
        Tensor::from_vec(values, h * w, t.device())?.to_dtype(t.dtype())
    };
    let u = flat.broadcast_mul(&coordinate(&|i| i % w)?)?.sum(3)?;
    let v = flat.broadcast_mul(&coordinate(&|i| i / w)?)?.sum(3)?;
    let mass = flat.sum(3)?;
    let centers = Tensor::stack(&[u, v], 3)?.broadcast_div(&(&mass + EPSILON_MASS)?.unsqueeze(3)?)?;
    Ok((centers, mass))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};
    use candle_core::Device;

    fn one_voxel(size: [usize; 3], at: [usize; 3]) -> Tensor {
        let [d, h, w] = size;
        let mut values = vec![0f64; 2 * d * h * w];
        let at = (at[0] * h + at[1]) * w + at[2];
        values[..d * h * w].fill(1.0);
        values[at] = 0.0;
        values[d * h * w + at] = 1.0;
        Tensor::from_vec(values, (1, 2, d, h, w), &Device::Cpu).unwrap()
    }

    #[test]
    fn a_voxel_moved_by_three_and_four_costs_five() {
        let y = one_voxel([2, 6, 6], [1, 1, 1]);
        let p = one_voxel([2, 6, 6], [1, 4, 5]);
        let loss = scalar(&center_loss(&p, &y, EmptySlices::Skip).unwrap());
        assert!((loss - 5.0).abs() < 1e-3, "{loss}");
        // To the letter, the other slice costs nothing here: both of its centres are the corner.
        let literal = scalar(&center_loss(&p, &y, EmptySlices::Literal).unwrap());
        assert!((literal - 5.0).abs() < 1e-3, "{literal}");
    }

    #[test]
    fn an_empty_slice_is_skipped_or_drawn_to_the_corner() {
        let y = one_voxel([2, 6, 6], [0, 0, 0]);
        let p = one_voxel([2, 6, 6], [1, 3, 4]);
        // Slice 0: truth at the corner, prediction without mass, centre at the corner. Slice 1: no truth.
        assert!(scalar(&center_loss(&p, &y, EmptySlices::Skip).unwrap()) < 1e-4);
        let literal = scalar(&center_loss(&p, &y, EmptySlices::Literal).unwrap());
        assert!((literal - 5.0).abs() < 1e-3, "{literal}");
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        for empty in [EmptySlices::Skip, EmptySlices::Literal] {
            let (p, y) = random_case(2, 3, [2, 3, 4], 4);
            assert_gradient(&p, |p| center_loss(p, &y, empty));
        }
    }
}
