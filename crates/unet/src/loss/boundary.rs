//! Weights of voxels by their distance from the truth's boundary, for the cross-entropy.
//!
//! ω(v) = 1 + w₀ exp(−d(v)² / (2 σ²)), d the distance in voxels from v to the nearest voxel of another class;
//! after the weight map of Ronneberger et al., MICCAI 2015, which adds the distances to two cells where here
//! is one boundary. Voxels that are ignored are no other class. Where the truth has one class alone, ω = 1.
//!
//! Of the boundary losses this one is a mean of a known loss, bounded and never negative; that of Kervadec et
//! al., MIDL 2019, is unbounded below and wants a schedule of its own.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

/// ω (N, 1, D, H, W) of the one-hot `truth` (N, K, D, H, W), `strength` w₀ and `sigma_voxels` σ. On the CPU,
/// one exact distance transform for each class that is there.
///
/// # Errors
/// If the truth has not five axes.
///
/// ```
/// use candle_core::Device;
/// use organseg_unet::loss::{boundary_weights, one_hot};
/// // 0 0 0 1: distances 3, 2, 1 and 1.
/// let truth = one_hot(&[0, 0, 0, 1], (1, 1, 1, 4), 2, None, &Device::Cpu)?;
/// let weights = boundary_weights(&truth, 10.0, 1.0)?.flatten_all()?.to_vec1::<f32>()?;
/// let expected = [3f32, 2.0, 1.0, 1.0].map(|d| 1.0 + 10.0 * (-d * d / 2.0).exp());
/// assert!(weights.iter().zip(expected).all(|(w, e)| (w - e).abs() < 1e-5));
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn boundary_weights(truth: &Tensor, strength: f64, sigma_voxels: f64) -> Result<Tensor> {
    let (n, classes, d, h, w) = truth.dims5()?;
    let values: Vec<f32> = truth.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
    let voxels = d * h * w;
    let mut weights = vec![1f32; n * voxels];
    weights.par_chunks_mut(voxels.max(1)).zip(values.par_chunks((classes * voxels).max(1))).for_each(
        |(weights, truth)| {
            let of_class = |class: usize, voxel: usize| truth[class * voxels + voxel] != 0.0;
            for class in 0..classes {
                if !(0..voxels).any(|voxel| of_class(class, voxel)) {
                    continue;
                }
                let is_other =
                    |voxel: usize| (0..classes).any(|other| other != class && of_class(other, voxel));
                let squared = squared_distances([d, h, w], is_other);
                for voxel in (0..voxels).filter(|&voxel| of_class(class, voxel)) {
                    let near = (-squared[voxel] / (2.0 * sigma_voxels * sigma_voxels)).exp();
                    weights[voxel] = (1.0 + strength * near) as f32;
                }
            }
        },
    );
    Tensor::from_vec(weights, (n, 1, d, h, w), truth.device())?.to_dtype(truth.dtype())
}

/// Squared distance of each voxel to the nearest of which `is_seed` says so; infinite if there is none. The
/// lower envelope of parabolas, axis by axis (Felzenszwalb & Huttenlocher 2012).
fn squared_distances(size: [usize; 3], is_seed: impl Fn(usize) -> bool) -> Vec<f64> {
    let count = size.iter().product();
    let mut squared: Vec<f64> = (0..count).map(|i| if is_seed(i) { 0.0 } else { f64::INFINITY }).collect();
    for (axis, &length) in size.iter().enumerate() {
        let step: usize = size[axis + 1..].iter().product();
        let mut line = vec![0.0; length];
        let mut envelope = Envelope::default();
        for first in (0..count).filter(|i| (i / step).is_multiple_of(length)) {
            for (i, value) in line.iter_mut().enumerate() {
                *value = squared[first + i * step];
            }
            envelope.build(&line);
            envelope.read(&line, |i, value| squared[first + i * step] = value);
        }
    }
    squared
}

/// The parabolas f(q) + (x − q)² that are lowest somewhere along a line, in order, and where each begins to be.
#[derive(Default)]
struct Envelope {
    parabolas: Vec<(usize, f64)>,
}

impl Envelope {
    fn build(&mut self, f: &[f64]) {
        self.parabolas.clear();
        for q in (0..f.len()).filter(|&q| f[q].is_finite()) {
            let mut begins = f64::NEG_INFINITY;
            while let Some(&(p, p_begins)) = self.parabolas.last() {
                let (at, other) = (q as f64, p as f64);
                begins = ((f[q] + at * at) - (f[p] + other * other)) / (2.0 * (at - other));
                if begins > p_begins {
                    break;
                }
                self.parabolas.pop();
                begins = f64::NEG_INFINITY;
            }
            self.parabolas.push((q, begins));
        }
    }

    fn read(&self, f: &[f64], mut write: impl FnMut(usize, f64)) {
        let mut k = 0;
        for x in 0..f.len() {
            while self.parabolas.get(k + 1).is_some_and(|next| next.1 < x as f64) {
                k += 1;
            }
            if let Some(&(q, _)) = self.parabolas.get(k) {
                write(x, f[q] + (x as f64 - q as f64).powi(2));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn distances_are_those_to_the_nearest_seed(
            size in prop::array::uniform3(1usize..6),
            seeds in prop::collection::vec(prop::bool::weighted(0.15), 125),
        ) {
            let found = squared_distances(size, |i| seeds[i]);
            let place = |i: usize| [i / (size[1] * size[2]), i / size[2] % size[1], i % size[2]];
            for (i, &found) in found.iter().enumerate() {
                let to = |j: usize| -> f64 {
                    place(i).iter().zip(place(j)).map(|(&a, b)| (a as f64 - b as f64).powi(2)).sum()
                };
                let seeds = (0..size.iter().product::<usize>()).filter(|&j| seeds[j]);
                prop_assert_eq!(found, seeds.map(to).fold(f64::INFINITY, f64::min));
            }
        }
    }

    #[test]
    fn a_truth_of_one_class_weighs_all_voxels_alike_and_an_ignored_voxel_is_no_boundary() {
        use crate::loss::one_hot;
        let device = candle_core::Device::Cpu;
        for labels in [[1u8, 1, 1, 1], [1, 1, 9, 1]] {
            let truth = one_hot(&labels, (1, 1, 1, 4), 2, Some(9), &device).unwrap();
            let weights = boundary_weights(&truth, 10.0, 2.0).unwrap().flatten_all().unwrap();
            assert_eq!(weights.to_vec1::<f32>().unwrap(), [1.0; 4]);
        }
    }
}
