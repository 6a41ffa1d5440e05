//! Two-sided soft Dice loss: overlap of the organ and of the background.
//!
//! L_dice = 1 − Σ y ŷ / Σ (y + ŷ) − Σ (1 − y)(1 − ŷ) / Σ (2 − y − ŷ)
//!
//! from Zhao et al., MICCAI 2019. Each quotient is at most one half, so the loss is 0 for a perfect
//! answer and 1 for a perfectly wrong one. The sums run over all voxels of the batch, which keeps the
//! loss informative when one patch of the batch has no organ in it. (Crops of different sizes cannot share
//! a batch; each then has a loss of its own.)

use candle_core::{Result, Tensor};

use super::counted::Foreground;

/// Added to both denominators: a class that is absent from truth and prediction gives 0 / ε = 0 for its
/// overlap instead of 0 / 0.
pub(super) const EPSILON: f64 = 1e-5;

/// Two-sided Dice loss of probabilities against the one-hot truth, both (N, K, D, H, W); the mean over
/// the foreground classes 1‥K. A scalar in [0, 1]. Voxels without any class in the truth do not count.
///
/// # Errors
/// If the shapes differ or there is no foreground class.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_unet::loss::dice_loss;
/// // Four voxels, truth 1 1 0 0. The organ's probability is 1 0 0 0:
/// let y = Tensor::new(&[0f32, 0., 1., 1., 1., 1., 0., 0.], &Device::Cpu)?.reshape((1, 2, 1, 1, 4))?;
/// let p = Tensor::new(&[0f32, 1., 1., 1., 1., 0., 0., 0.], &Device::Cpu)?.reshape((1, 2, 1, 1, 4))?;
/// let loss = dice_loss(&p, &y)?.to_scalar::<f32>()?;
/// assert!((loss - (1.0 - 1.0 / 3.0 - 2.0 / 5.0)).abs() < 1e-5);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn dice_loss(probabilities: &Tensor, truth: &Tensor) -> Result<Tensor> {
    dice_by_class(probabilities, truth)?.mean_all()
}

/// The loss of each foreground class, (K − 1).
pub(super) fn dice_by_class(probabilities: &Tensor, truth: &Tensor) -> Result<Tensor> {
    let foreground = Foreground::new("dice loss", probabilities, truth)?;
    let [sum_p, sum_y, sum_yp] = foreground.sums()?;
    let both = (&sum_y + &sum_p)?;
    let count = foreground.voxels;
    // Σ (1−y)(1−p) = V − Σy − Σp + Σyp and Σ (2−y−p) = 2V − Σy − Σp.
    let background = (&sum_yp - &both)?.broadcast_add(&count)?;
    let organ_overlap = (&sum_yp / (&both + EPSILON)?)?;
    let rest = both.neg()?.broadcast_add(&((count * 2.0)? + EPSILON)?)?;
    let background_overlap = (background / rest)?;
    1.0 - (organ_overlap + background_overlap)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::test_support::{assert_gradient, random_case, scalar};

    /// The formula, voxel by voxel.
    fn literal(p: &[f64], y: &[f64], classes: usize) -> f64 {
        let voxels = p.len() / classes;
        let of_class = |c: usize| {
            let range = c * voxels..(c + 1) * voxels;
            let (mut yp, mut sum, mut back, mut rest) = (0.0, 0.0, 0.0, 0.0);
            for (y, p) in y[range.clone()].iter().zip(&p[range]) {
                yp += y * p;
                sum += y + p;
                back += (1.0 - y) * (1.0 - p);
                rest += 2.0 - y - p;
            }
            1.0 - yp / sum - back / rest
        };
        (1..classes).map(of_class).sum::<f64>() / (classes - 1) as f64
    }

    #[test]
    fn the_sums_agree_with_the_formula_voxel_by_voxel() {
        let (p, y) = random_case(1, 3, [2, 3, 4], 5);
        let expected = literal(
            &p.flatten_all().unwrap().to_vec1().unwrap(),
            &y.flatten_all().unwrap().to_vec1().unwrap(),
            3,
        );
        let found = scalar(&dice_loss(&p, &y).unwrap());
        // ε in the denominators moves each quotient by less than ε.
        assert!((found - expected).abs() < 2e-5, "{found} {expected}");
    }

    #[test]
    fn perfect_is_zero_and_perfectly_wrong_is_one() {
        let (_, y) = random_case(2, 2, [3, 3, 3], 1);
        assert!(scalar(&dice_loss(&y, &y).unwrap()).abs() < 1e-5);
        let wrong = (1.0 - &y).unwrap();
        assert!((scalar(&dice_loss(&wrong, &y).unwrap()) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn an_absent_class_gives_a_finite_loss() {
        let (p, y) = random_case(1, 2, [2, 2, 2], 3);
        let none = y.zeros_like().unwrap();
        assert!(scalar(&dice_loss(&p, &none).unwrap()).is_finite());
        assert!(scalar(&dice_loss(&none, &none).unwrap()).is_finite());
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let (p, y) = random_case(2, 3, [2, 2, 3], 9);
        assert_gradient(&p, |p| dice_loss(p, &y));
    }
}
