//! Overlap of two masks, counted in voxels: Dice, Jaccard, recall, precision.
//!
//! With R the voxels of a label in the reference, P those in the prediction and C = |R ∩ P|:
//! dice = 2 C / (|R| + |P|), jaccard = C / |R ∪ P|, recall = C / |R|, precision = C / |P|.
//!
//! Two empty masks agree, so all four are 1. If exactly one is empty all four are 0, the recall of an
//! empty reference and the precision of an empty prediction included: 0/0 is a failed case here, not a
//! NaN that spoils a mean.

use std::collections::BTreeSet;

use organseg_volume::{Label, LabelVolume};
use rayon::prelude::*;

use crate::MetricError;

/// Voxels counted by one task. Fixed, so that work is cut the same way whatever the number of threads.
const CHUNK_VOXELS: usize = 1 << 20;

/// How many voxels carry a label in the reference, in the prediction and in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// |R|, voxels of the label in the reference.
    pub reference_voxels: u64,
    /// |P|, voxels of the label in the prediction.
    pub prediction_voxels: u64,
    /// |R ∩ P|, voxels of the label in both.
    pub common_voxels: u64,
}

impl Overlap {
    /// Counts the voxels of `label` in both volumes, in one pass.
    ///
    /// # Errors
    /// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
    pub fn of_label(
        predicted: &LabelVolume,
        reference: &LabelVolume,
        label: Label,
    ) -> Result<Self, MetricError> {
        reference.grid().check_same(predicted.grid())?;
        let predicted = predicted.voxels().par_chunks(CHUNK_VOXELS);
        let reference = reference.voxels().par_chunks(CHUNK_VOXELS);
        // Sums of integers: the order in which the chunks finish does not matter.
        Ok(predicted
            .zip(reference)
            .map(|(p, r)| Self::of_slices(p, r, label))
            .reduce(Self::default, Self::plus))
    }

    /// Sørensen–Dice coefficient 2 |R ∩ P| / (|R| + |P|), in `[0, 1]`.
    #[must_use]
    pub fn dice(self) -> f64 {
        self.ratio(2 * self.common_voxels, self.reference_voxels + self.prediction_voxels)
    }

    /// Jaccard index |R ∩ P| / |R ∪ P|, in `[0, 1]`.
    #[must_use]
    pub fn jaccard(self) -> f64 {
        self.ratio(self.common_voxels, self.reference_voxels + self.prediction_voxels - self.common_voxels)
    }

    /// Recall (sensitivity) |R ∩ P| / |R|, in `[0, 1]`.
    #[must_use]
    pub fn recall(self) -> f64 {
        self.ratio(self.common_voxels, self.reference_voxels)
    }

    /// Precision (positive predictive value) |R ∩ P| / |P|, in `[0, 1]`.
    #[must_use]
    pub fn precision(self) -> f64 {
        self.ratio(self.common_voxels, self.prediction_voxels)
    }

    /// True if neither volume holds the label.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.reference_voxels == 0 && self.prediction_voxels == 0
    }

    fn ratio(self, part: u64, whole: u64) -> f64 {
        match whole {
            0 if self.is_empty() => 1.0,
            0 => 0.0,
            _ => part as f64 / whole as f64,
        }
    }

    fn of_slices(predicted: &[Label], reference: &[Label], label: Label) -> Self {
        let mut counts = Self::default();
        // Blocks of at most 255 voxels are counted in bytes, which the compiler does 16 or 32 at a time.
        for (p, r) in predicted.chunks(255).zip(reference.chunks(255)) {
            let (mut in_p, mut in_r, mut in_both) = (0u8, 0u8, 0u8);
            for (&p, &r) in p.iter().zip(r) {
                let (p, r) = (u8::from(p == label), u8::from(r == label));
                in_p += p;
                in_r += r;
                in_both += p & r;
            }
            counts.prediction_voxels += u64::from(in_p);
            counts.reference_voxels += u64::from(in_r);
            counts.common_voxels += u64::from(in_both);
        }
        counts
    }

    fn plus(self, other: Self) -> Self {
        Self {
            reference_voxels: self.reference_voxels + other.reference_voxels,
            prediction_voxels: self.prediction_voxels + other.prediction_voxels,
            common_voxels: self.common_voxels + other.common_voxels,
        }
    }
}

/// Dice coefficient of `label` in `predicted` against `reference`, in `[0, 1]`; 1 if both are empty.
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
///
/// # Examples
/// ```
/// use organseg_metrics::{dice, jaccard, precision, recall};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
/// let reference = Volume::from_vec(grid, vec![1, 1, 1, 0])?;
/// let predicted = Volume::from_vec(grid, vec![0, 1, 1, 1])?;
/// assert_eq!(dice(&predicted, &reference, 1)?, 2.0 * 2.0 / (3.0 + 3.0));
/// assert_eq!(jaccard(&predicted, &reference, 1)?, 2.0 / 4.0);
/// assert_eq!(recall(&predicted, &reference, 1)?, 2.0 / 3.0);
/// assert_eq!(precision(&predicted, &reference, 1)?, 2.0 / 3.0);
/// assert_eq!(dice(&predicted, &reference, 7)?, 1.0); // in neither
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn dice(predicted: &LabelVolume, reference: &LabelVolume, label: Label) -> Result<f64, MetricError> {
    Overlap::of_label(predicted, reference, label).map(Overlap::dice)
}

/// Jaccard index of `label` in `predicted` against `reference`, in `[0, 1]`; 1 if both are empty.
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
pub fn jaccard(predicted: &LabelVolume, reference: &LabelVolume, label: Label) -> Result<f64, MetricError> {
    Overlap::of_label(predicted, reference, label).map(Overlap::jaccard)
}

/// Fraction of the reference's voxels of `label` that `predicted` found; 1 if both are empty, 0 if only
/// the reference is.
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
pub fn recall(predicted: &LabelVolume, reference: &LabelVolume, label: Label) -> Result<f64, MetricError> {
    Overlap::of_label(predicted, reference, label).map(Overlap::recall)
}

/// Fraction of the voxels that `predicted` calls `label` that are so in the reference; 1 if both are
/// empty, 0 if only the prediction is.
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
pub fn precision(predicted: &LabelVolume, reference: &LabelVolume, label: Label) -> Result<f64, MetricError> {
    Overlap::of_label(predicted, reference, label).map(Overlap::precision)
}

/// Labels other than background that occur in at least one of `volumes`, ascending: what
/// [`evaluate`](crate::evaluate) can be asked for when no list of labels is at hand.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0)?)?;
/// let a = Volume::from_vec(grid, vec![0, 2, 0])?;
/// let b = Volume::from_vec(grid, vec![0, 1, 2])?;
/// assert_eq!(organseg_metrics::labels_present(&[&a, &b]), [1, 2]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn labels_present(volumes: &[&LabelVolume]) -> Vec<Label> {
    let mut present = BTreeSet::new();
    for volume in volumes {
        let mut previous = 0;
        for &label in volume.voxels() {
            // Labels come in runs; only their ends are looked up.
            if label != previous {
                present.insert(label);
                previous = label;
            }
        }
    }
    present.remove(&0);
    present.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing, Volume};
    use proptest::prelude::*;

    use super::*;

    fn line(voxels: &[u8]) -> LabelVolume {
        let grid = Grid::with_spacing([voxels.len(), 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        Volume::from_vec(grid, voxels.to_vec()).unwrap()
    }

    #[test]
    fn dice_of_disjoint_masks_is_zero() {
        assert_eq!(dice(&line(&[1, 0]), &line(&[0, 1]), 1).unwrap(), 0.0);
    }

    #[test]
    fn two_empty_masks_score_one_and_one_empty_mask_scores_zero() {
        let (empty, full) = (line(&[0, 0]), line(&[1, 1]));
        for score in [dice, jaccard, recall, precision] {
            assert_eq!(score(&empty, &empty, 1).unwrap(), 1.0);
            assert_eq!(score(&empty, &full, 1).unwrap(), 0.0);
            assert_eq!(score(&full, &empty, 1).unwrap(), 0.0);
            assert_eq!(score(&full, &full, 1).unwrap(), 1.0);
        }
    }

    #[test]
    fn masks_of_different_size_or_place_are_refused() {
        let error = dice(&line(&[1, 0]), &line(&[1, 0, 0]), 1).unwrap_err();
        assert!(matches!(error, MetricError::GridMismatch { .. }));
        let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(2.0).unwrap()).unwrap();
        let elsewhere = Volume::from_vec(grid, vec![1, 0]).unwrap();
        assert!(dice(&elsewhere, &line(&[1, 0]), 1).is_err());
    }

    #[test]
    fn counts_survive_blocks_longer_than_a_byte_can_count() {
        let ones = line(&[3; 1000]);
        let counts = Overlap::of_label(&ones, &ones, 3).unwrap();
        assert_eq!(counts, Overlap { reference_voxels: 1000, prediction_voxels: 1000, common_voxels: 1000 });
    }

    proptest! {
        #[test]
        fn scores_agree_with_sets_and_with_each_other(
            voxels in proptest::collection::vec((0u8..3, 0u8..3), 1..600),
        ) {
            let (p, r): (Vec<u8>, Vec<u8>) = voxels.into_iter().unzip();
            let set = |v: &[u8]| (0..v.len()).filter(|&i| v[i] == 1).collect::<BTreeSet<_>>();
            let (ps, rs) = (set(&p), set(&r));
            let counts = Overlap::of_label(&line(&p), &line(&r), 1).unwrap();
            prop_assert_eq!(counts.common_voxels as usize, ps.intersection(&rs).count());
            prop_assert_eq!(counts.prediction_voxels as usize, ps.len());
            prop_assert_eq!(counts.reference_voxels as usize, rs.len());
            let (dice, jaccard) = (counts.dice(), counts.jaccard());
            prop_assert!((dice - 2.0 * jaccard / (1.0 + jaccard)).abs() < 1e-12);
            // Swapping the masks swaps recall and precision.
            let swapped = Overlap::of_label(&line(&r), &line(&p), 1).unwrap();
            prop_assert_eq!(swapped.dice(), dice);
            prop_assert_eq!(swapped.recall(), counts.precision());
        }
    }
}
