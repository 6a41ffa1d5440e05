//! The loss of a network on a batch: what a trainer minimises.
//!
//! With deep supervision (Lee et al. 2015) each head's scores are compared with the truth at their resolution,
//! L = Σ_l 2^−l L_l / Σ_l 2^−l, as in nnU-Net (Isensee et al. 2021).

use candle_core::Tensor;

use super::{LossConfig, LossParts, one_hot};
use crate::UnetError;

/// The loss of the `scores` (N, K, D, H, W) of every head, as [`Unet3d::forward_levels`](crate::Unet3d::forward_levels) and
/// [`Unet3d::training_pass`](crate::Unet3d::training_pass) give them, against `labels`, those of the N images one after the
/// other, x fastest, in epoch `epoch`. In candle's graph.
///
/// The total is that of all heads; the parts beside it are the full resolution's.
///
/// # Errors
/// [`UnetError::LossConfig`] as [`LossConfig::check`]; [`UnetError::Candle`] if there are no scores or not a label for each
/// voxel, if a label is neither a class nor ignored, or as [`LossConfig::compute`].
pub fn batch_loss(
    scores: &[Tensor],
    loss: &LossConfig,
    labels: &[u8],
    epoch: usize,
) -> Result<LossParts, UnetError> {
    let own = scores.first().ok_or_else(|| candle_core::Error::Msg("the loss of no scores".into()))?;
    let (n, classes, d, h, w) = own.dims5()?;
    loss.check(classes)?;
    let device = own.device();
    let truth = one_hot(labels, (n, d, h, w), classes, loss.ignore_label, device)?;
    let mut parts = loss.compute(own, &truth.to_dtype(own.dtype())?, epoch)?;
    let shares = level_shares(scores.len());
    if scores.len() > 1 {
        parts.total = (parts.total * shares[0])?;
    }
    for (scores, share) in scores.iter().zip(shares).skip(1) {
        let (_, _, z, y, x) = scores.dims5()?;
        let (labels, [d, h, w]) = (at_level(labels, [d, h, w], [z, y, x]), [z, y, x]);
        let truth = one_hot(&labels, (n, d, h, w), classes, loss.ignore_label, device)?;
        let total = loss.compute(scores, &truth.to_dtype(scores.dtype())?, epoch)?.total;
        parts.total = (parts.total + (total * share)?)?;
    }
    Ok(parts)
}

/// Share of each of `levels` in the loss: 1, ½, ¼ … over their sum.
fn level_shares(levels: usize) -> Vec<f64> {
    let halves = (0..levels).map(|level| 0.5f64.powi(level as i32));
    let sum: f64 = halves.clone().sum();
    halves.map(|half| half / sum).collect()
}

/// Labels of images of `size` at the lower resolution at which they have size `coarse`, each axis halved as often as it
/// takes: each that of the voxel at the centre, the one of higher index where the centre lies between two, and the last
/// where it lies beyond the image.
fn at_level(labels: &[u8], size: [usize; 3], coarse: [usize; 3]) -> Vec<u8> {
    let voxels = size.iter().product::<usize>();
    let places = [0, 1, 2].map(|axis| -> Vec<usize> {
        let halvings = (0..usize::BITS).find(|&h| size[axis].div_ceil(1 << h) <= coarse[axis]).unwrap_or(0);
        let centre = |i: usize| (i << halvings) + (1 << halvings) / 2;
        (0..coarse[axis]).map(|i| centre(i).min(size[axis] - 1)).collect()
    });
    let mut out = Vec::with_capacity(labels.len() / voxels * coarse.iter().product::<usize>());
    for volume in labels.chunks(voxels) {
        for z in &places[0] {
            for y in &places[1] {
                let row = &volume[(z * size[1] + y) * size[2]..][..size[2]];
                out.extend(places[2].iter().map(|&x| row[x]));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Unet3d, UnetConfig, initialize};
    use candle_core::{DType, Device};
    use candle_nn::{VarBuilder, VarMap};

    #[test]
    fn labels_of_a_level_are_those_at_the_centres() {
        let labels: Vec<u8> = (0..7).collect();
        assert_eq!(at_level(&labels, [1, 1, 7], [1, 1, 4]), [1, 3, 5, 6]);
        assert_eq!(at_level(&labels, [1, 1, 7], [1, 1, 2]), [2, 6]);
        let two: Vec<u8> = (0..16).collect();
        assert_eq!(at_level(&two, [2, 2, 2], [1; 3]), [7, 15]);
        assert_eq!(at_level(&two, [2, 2, 2], [2, 1, 1]), [3, 7, 11, 15], "one axis as it is");
    }

    #[test]
    fn levels_count_half_as_much_each_and_one_together() {
        assert_eq!(level_shares(1), [1.0]);
        assert_eq!(level_shares(3), [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0]);
    }

    #[test]
    fn the_loss_of_all_heads_is_the_weighted_mean_of_theirs() {
        let config = UnetConfig::new(1, 2).with_channels(vec![2, 3, 4]).with_deep_supervision(1);
        let variables = VarMap::new();
        let net =
            Unet3d::new(&config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu)).unwrap();
        initialize(&variables, 1).unwrap();
        let image = Tensor::rand(-1f32, 1.0, (2, 1, 7, 6, 5), &Device::Cpu).unwrap();
        let labels: Vec<u8> = (0..2 * 7 * 6 * 5).map(|i| u8::from(i % 5 == 0)).collect();
        let loss = LossConfig { cross_entropy: 1.0, ..LossConfig::default() };
        let scores = net.forward_levels(&image).unwrap();
        let parts = batch_loss(&scores, &loss, &labels, 0).unwrap();
        let scalar = |t: &Tensor| f64::from(t.to_scalar::<f32>().unwrap());
        assert_eq!(scores[1].dims(), [2, 2, 4, 3, 3]);
        let [d, h, w] = [4, 3, 3];
        let coarse = at_level(&labels, [7, 6, 5], [d, h, w]);
        let fine = one_hot(&labels, (2, 7, 6, 5), 2, None, &Device::Cpu).unwrap();
        let coarse = one_hot(&coarse, (2, d, h, w), 2, None, &Device::Cpu).unwrap();
        let of = |scores: &Tensor, truth: &Tensor| scalar(&loss.compute(scores, truth, 0).unwrap().total);
        let expected = (2.0 * of(&scores[0], &fine) + of(&scores[1], &coarse)) / 3.0;
        assert!((scalar(&parts.total) - expected).abs() < 1e-6);
        assert!(batch_loss(&scores, &loss, &labels[1..], 0).is_err());
        assert!(batch_loss(&[], &loss, &labels, 0).is_err());
    }
}
