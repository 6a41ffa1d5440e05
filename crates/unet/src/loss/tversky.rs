//! Tversky loss: overlap in which false positives and false negatives cost differently.
//!
//! L_T = 1 − (Σ y ŷ + 1) / (Σ y ŷ + α Σ (1 − y) ŷ + β Σ y (1 − ŷ) + 1)
//!
//! from Salehi et al., MLMI 2017, who found α = 0.3, β = 0.7 best for small lesions: what is missed costs more
//! than what is added. α = β = ½ is the one-sided Dice loss. The sums run over all voxels of the batch. The one voxel
//! that is added above and below is not in the paper: without it a class that the batch does not have costs 1 whatever
//! is found, and a network learns nothing from what it finds there.

use candle_core::{Result, Tensor};

use super::counted::Foreground;
/// Voxels that are added to what is found and to what is there.
pub(super) const ADDED_VOXELS: f64 = 1.0;

/// Tversky loss of probabilities against the one-hot truth, both (N, K, D, H, W), `alpha` the cost of false
/// positives and `beta` that of false negatives; the mean over the foreground classes. A scalar in [0, 1].
/// Voxels without any class in the truth do not count.
///
/// # Errors
/// If the shapes differ or there is no foreground class.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_unet::loss::tversky_loss;
/// // Four voxels, truth 1 1 0 0. The organ's probability is 1 0 1 0: one hit, one too many, one missed.
/// let y = Tensor::new(&[0f32, 0., 1., 1., 1., 1., 0., 0.], &Device::Cpu)?.reshape((1, 2, 1, 1, 4))?;
/// let p = Tensor::new(&[0f32, 1., 0., 1., 1., 0., 1., 0.], &Device::Cpu)?.reshape((1, 2, 1, 1, 4))?;
/// let loss = tversky_loss(&p, &y, 0.5, 1.0)?.to_scalar::<f32>()?;
/// assert!((loss - (1.0 - 2.0 / (1.0 + 0.5 + 1.0 + 1.0))).abs() < 1e-5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn tversky_loss(probabilities: &Tensor, truth: &Tensor, alpha: f64, beta: f64) -> Result<Tensor> {
    tversky_by_class(probabilities, truth, alpha, beta)?.mean_all()
}

/// The loss of each foreground class, (K − 1).
pub(super) fn tversky_by_class(
    probabilities: &Tensor,
    truth: &Tensor,
    alpha: f64,
    beta: f64,
) -> Result<Tensor> {
    let [sum_p, sum_y, sum_yp] = Foreground::new("tversky loss", probabilities, truth)?.sums()?;
    let wrong = (((sum_p - &sum_yp)? * alpha)? + ((sum_y - &sum_yp)? * beta)?)?;
    let hit = (sum_yp + ADDED_VOXELS)?;
    1.0 - (&hit / (&hit + wrong)?)?
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};

    #[test]
    fn perfect_is_zero_and_perfectly_wrong_is_one_but_for_the_voxel_that_is_added() {
        let (_, y) = random_case(2, 2, [3, 3, 3], 1);
        assert!(scalar(&tversky_loss(&y, &y, 0.3, 0.7).unwrap()).abs() < 1e-5);
        let wrong = (1.0 - &y).unwrap();
        let there = y.narrow(1, 1, 1).unwrap().sum_all().unwrap();
        let (there, all) = (scalar(&there), 2.0 * 27.0);
        let expected = 1.0 - 1.0 / (0.3 * (all - there) + 0.7 * there + 1.0);
        assert!((scalar(&tversky_loss(&wrong, &y, 0.3, 0.7).unwrap()) - expected).abs() < 1e-5);
    }

    #[test]
    fn of_a_class_that_is_not_there_finding_less_is_better() {
        let none = Tensor::from_vec(vec![1.0f64, 1.0, 0.0, 0.0], (1, 2, 1, 1, 2), &Device::Cpu).unwrap();
        let loss = |found: f64| {
            let p = vec![1.0 - found, 1.0, found, 0.0];
            let p = Tensor::from_vec(p, (1, 2, 1, 1, 2), &Device::Cpu).unwrap();
            scalar(&tversky_loss(&p, &none, 0.5, 0.5).unwrap())
        };
        assert_eq!((loss(0.0), loss(0.5), loss(1.0)), (0.0, 1.0 - 1.0 / 1.25, 1.0 - 1.0 / 1.5));
    }

    /// Of 10 voxels 4 are the organ; 3 of them are found, 1 is missed and 2 are too many.
    #[test]
    fn a_voxel_that_is_missed_costs_beta_and_one_too_many_alpha() {
        let of = |organ: [f64; 10]| {
            let values: Vec<f64> = organ.iter().map(|v| 1.0 - v).chain(organ).collect();
            Tensor::from_vec(values, (1, 2, 1, 1, 10), &Device::Cpu).unwrap()
        };
        let y = of([1., 1., 1., 1., 0., 0., 0., 0., 0., 0.]);
        let p = of([1., 1., 1., 0., 1., 1., 0., 0., 0., 0.]);
        let found = |alpha, beta| scalar(&tversky_loss(&p, &y, alpha, beta).unwrap());
        assert!((found(1.0, 3.0) - (1.0 - 4.0 / (3.0 + 2.0 + 3.0 + 1.0))).abs() < 1e-5);
        assert!((found(3.0, 1.0) - (1.0 - 4.0 / (3.0 + 6.0 + 1.0 + 1.0))).abs() < 1e-5);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (p, y) = random_case(2, 3, [2, 2, 3], 9);
        assert_gradient(&p, |p| tversky_loss(p, &y, 0.3, 0.7));
    }
}
