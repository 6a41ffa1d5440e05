//! What one axis of the target takes from one axis of the source: a band matrix.
//!
//! Every way to resample along an axis, smoothed or not, makes each new value a weighted sum of
//! neighbouring old ones (for the cubic spline, of its coefficients). The weights do not depend on the
//! other axes, so they are found once.
//!
//! All sums have as many weights, those of fewer voxels filled up with zeros, for the loops' sake. Zero times what is
//! not finite is not 0, so those at the ends of a sum are left out of it, or the sum is taken again without them.

use std::ops::Range;

use super::kernel::{ROUNDING, Real, mirrored, taps};
use super::{AntiAliasing, Interpolation};

/// The Gaussian is cut off after this many standard deviations, as `scipy.ndimage` does.
const GAUSSIAN_REACH: f64 = 4.0;

/// The weighted sums that make an axis.
pub(super) struct Axis<R> {
    /// Voxels of the target that have a value; the others lie outside the source.
    pub(super) inside: Range<usize>,
    /// For each voxel inside, the first of the old ones that its weights are for.
    pub(super) first: Vec<usize>,
    /// How many weights each has.
    pub(super) width: usize,
    /// The weights, `width` for each voxel inside.
    pub(super) weights: Vec<R>,
    /// For each voxel inside, those of its weights that count: before and after them are zeros.
    used: Vec<Range<usize>>,
    /// Of the voxels inside, those with such zeros.
    pub(super) narrow: Vec<usize>,
    /// Whether its sums are to be divided by their totals. Sums of whole numbers with whole weights are
    /// exact, so that the mean of equal voxels is what they are.
    pub(super) mean: bool,
    /// For each voxel inside: the total of the weights if it is a mean, else 1.
    pub(super) totals: Vec<R>,
    /// Whether the old values must be made coefficients of a spline first.
    pub(super) spline: bool,
}

impl<R: Real> Axis<R> {
    /// `new` voxels at the coordinates scale · i + offset of `old` ones.
    pub(super) fn new(
        (scale, offset): (f64, f64),
        old: usize,
        new: usize,
        interpolation: Interpolation,
        anti_aliasing: AntiAliasing,
    ) -> Self {
        let blur = match anti_aliasing {
            AntiAliasing::Gaussian => gaussian(scale, old),
            AntiAliasing::None => vec![1.0],
        };
        let sums: Vec<Vec<(usize, f64)>> = (0..new)
            .map(|i| {
                let at = scale * i as f64 + offset;
                let sharp = match interpolation {
                    Interpolation::Area => overlaps(at, scale.abs(), old),
                    _ => taps(at, old, interpolation)
                        .map(|taps| taps.index.into_iter().zip(taps.weight).collect())
                        .unwrap_or_default(),
                };
                if interpolation == Interpolation::Area {
                    sharp
                } else {
                    blurred(&sharp, &blur, old, interpolation == Interpolation::Cubic)
                }
            })
            .collect();
        let start = sums.iter().position(|sum| !sum.is_empty()).unwrap_or(0);
        let end = sums.iter().rposition(|sum| !sum.is_empty()).map_or(start, |last| last + 1);
        let mut axis = Self::banded(&sums[start..end], old);
        axis.inside = start..end;
        axis.spline = interpolation == Interpolation::Cubic && old > 1;
        if interpolation == Interpolation::Area {
            let total = |sum: &Vec<(usize, f64)>| R::of(sum.iter().map(|(_, weight)| weight).sum::<f64>());
            axis.mean = true;
            axis.totals = sums[start..end].iter().map(total).collect();
        }
        axis
    }

    /// The sums as rows of one width, which stay within the `old` voxels.
    fn banded(sums: &[Vec<(usize, f64)>], old: usize) -> Self {
        let span = |sum: &Vec<(usize, f64)>| {
            let used = || sum.iter().filter(|&&(_, weight)| weight != 0.0).map(|&(index, _)| index);
            (used().min().unwrap_or(0), used().max().unwrap_or(0))
        };
        let width = sums.iter().map(span).map(|(low, high)| high - low + 1).max().unwrap_or(1);
        let first: Vec<usize> = sums.iter().map(|sum| span(sum).0.min(old - width)).collect();
        let mut weights = vec![0.0; sums.len() * width];
        for ((sum, &first), weights) in sums.iter().zip(&first).zip(weights.chunks_mut(width)) {
            for &(index, weight) in sum.iter().filter(|(_, weight)| *weight != 0.0) {
                weights[index - first] += weight;
            }
        }
        let weights: Vec<R> = weights.into_iter().map(R::of).collect();
        let used: Vec<Range<usize>> = weights.chunks(width).map(without_zeros).collect();
        let narrow = (0..sums.len()).filter(|&i| used[i].len() < width).collect();
        let totals = vec![R::of(1.0); sums.len()];
        let inside = 0..sums.len();
        Self { inside, first, width, weights, used, narrow, mean: false, totals, spline: false }
    }

    /// Of the voxel `i` of those inside: the old voxels that it takes from.
    pub(super) fn taken(&self, i: usize) -> Range<usize> {
        self.first[i] + self.used[i].start..self.first[i] + self.used[i].end
    }

    /// Of the voxel `i` of those inside: the weights of [`Axis::taken`].
    pub(super) fn weights(&self, i: usize) -> &[R] {
        &self.weights[self.width * i..][self.used[i].clone()]
    }
}

/// Which of `weights` are left without the zeros at both ends.
fn without_zeros<R: Real>(weights: &[R]) -> Range<usize> {
    let counts = |weight: &R| *weight != R::default();
    let start = weights.iter().position(counts).unwrap_or(0);
    start..weights.iter().rposition(counts).map_or(start, |last| last + 1)
}

/// Which voxels of an axis of `n` the interval of `width` about `at` overlaps, and how far.
fn overlaps(at: f64, width: f64, n: usize) -> Vec<(usize, f64)> {
    let (start, end) = (at + 0.5 - width / 2.0, at + 0.5 + width / 2.0);
    let voxels = start.max(0.0) as usize..(end.ceil().max(0.0) as usize).min(n);
    let overlap = |k: usize| end.min((k + 1) as f64) - start.max(k as f64);
    voxels.map(|k| (k, overlap(k))).filter(|&(_, overlap)| overlap > ROUNDING).collect()
}

/// Weights of the Gaussian that keeps back what a grid `scale` times as coarse cannot hold: standard
/// deviation (scale − 1) / 2 voxels, as in scikit-image's `resize`, and at most twice the axis, which has `old` voxels: a
/// grid of one voxel can ask for any scale.
fn gaussian(scale: f64, old: usize) -> Vec<f64> {
    let deviation = ((scale.abs() - 1.0) / 2.0).min(2.0 * old as f64);
    let reach = if deviation > 0.0 { (GAUSSIAN_REACH * deviation + 0.5) as isize } else { 0 };
    let weight = |k: isize| if k == 0 { 1.0 } else { (-0.5 * (k as f64 / deviation).powi(2)).exp() };
    let weights: Vec<f64> = (-reach..=reach).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// `sum` taken from values that were blurred, as a sum of those that were not. Beyond the border they are
/// mirrored for the spline, which commutes with its filter, and go on otherwise.
fn blurred(sum: &[(usize, f64)], blur: &[f64], n: usize, mirror: bool) -> Vec<(usize, f64)> {
    let reach = (blur.len() / 2) as isize;
    let place = |index: isize| {
        if mirror { mirrored(index, n) } else { index.clamp(0, n as isize - 1) as usize }
    };
    let shifted = |&(index, weight): &(usize, f64)| {
        (-reach..=reach).zip(blur).map(move |(k, &b)| (place(index as isize + k), weight * b))
    };
    sum.iter().filter(|(_, weight)| *weight != 0.0).flat_map(shifted).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn axis(map: (f64, f64), old: usize, new: usize, interpolation: Interpolation) -> Axis<f64> {
        Axis::new(map, old, new, interpolation, AntiAliasing::None)
    }

    #[test]
    fn the_same_axis_takes_one_voxel_each() {
        for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Area] {
            let same = axis((1.0, 0.0), 5, 5, interpolation);
            assert_eq!((same.width, same.first, same.weights), (1, vec![0, 1, 2, 3, 4], vec![1.0; 5]));
        }
    }

    #[test]
    fn means_take_the_share_that_lies_within() {
        // Voxels 2.5 wide from the near face of 6: 0 to 2.5, 2.5 to 5, 5 to 7.5.
        let mean = axis((2.5, 0.75), 6, 3, Interpolation::Area);
        assert_eq!((mean.inside.clone(), mean.width), (0..3, 3));
        assert_eq!(mean.weights, [1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!((mean.taken(1), mean.taken(2)), (2..5, 5..6));
        assert_eq!((mean.weights(2), &mean.narrow[..]), (&[1.0][..], &[2][..]));
        assert_eq!(mean.totals, [2.5, 2.5, 1.0]);
    }

    #[test]
    fn blurring_keeps_the_sum_of_weights_at_the_border_too() {
        for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic] {
            for scale in [0.7, 1.0, 2.0, -3.7] {
                let offset = if scale < 0.0 { 11.0 } else { 0.2 };
                let smooth = Axis::<f64>::new((scale, offset), 12, 4, interpolation, AntiAliasing::Gaussian);
                assert_eq!(smooth.first.len(), smooth.inside.len());
                for i in 0..smooth.inside.len() {
                    let sum: f64 = smooth.weights(i).iter().sum();
                    assert!((sum - 1.0).abs() < 1e-12, "{interpolation}, scale {scale}: {sum}");
                }
            }
        }
    }

    /// `scipy.ndimage._filters._gaussian_kernel1d(0.5, 0, 2)` and `(1.0, 0, 4)`.
    #[test]
    fn the_gaussian_is_scipy_s() {
        let close = |found: &[f64], expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?}");
        };
        close(&gaussian(2.0, 99), &[0.00026387, 0.10645077, 0.78657073, 0.10645077, 0.00026387]);
        let half = [0.00013383, 0.00443186, 0.05399113, 0.24197145, 0.39894347];
        close(&gaussian(3.0, 99)[..5], &half);
        assert_eq!(gaussian(0.8, 99), [1.0]);
    }

    #[test]
    fn blurring_for_any_scale_takes_memory_for_the_axis_alone() {
        for scale in [1e9, -1e300] {
            let one = Axis::<f64>::new((scale, 1.0), 3, 1, Interpolation::Linear, AntiAliasing::Gaussian);
            assert_eq!((one.inside, one.width), (0..1, 3));
            assert!((one.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    proptest! {
        /// The window over the planes lets go of those before the ones that are taken.
        #[test]
        fn what_is_taken_moves_one_way(
            (scale, offset) in (-4.0f64..4.0, -9.0f64..20.0),
            (old, new) in (1usize..14, 1usize..30),
            in_eighths in any::<bool>(),
            interpolation in prop::sample::select(vec![
                Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic, Interpolation::Area,
            ]),
            anti_aliasing in prop::sample::select(vec![AntiAliasing::None, AntiAliasing::Gaussian]),
        ) {
            let round = |v: f64| if in_eighths { (8.0 * v).round() / 8.0 } else { v };
            let map = (round(scale), round(offset));
            let axis = Axis::<f32>::new(map, old, new, interpolation, anti_aliasing);
            let starts: Vec<usize> = (0..axis.inside.len()).map(|i| axis.taken(i).start).collect();
            let one_way = if scale < 0.0 { starts.is_sorted_by(|a, b| a >= b) } else { starts.is_sorted() };
            prop_assert!(one_way, "{:?}", starts);
            prop_assert!((0..starts.len()).all(|i| !axis.taken(i).is_empty() && axis.taken(i).end <= old));
        }
    }
}
