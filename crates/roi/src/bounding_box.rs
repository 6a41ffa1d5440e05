//! Boxes of voxels and what can be done with them.
//!
//! recall(B̂, B) = |B ∩ B̂| / |B| and IoU(B̂, B) = |B ∩ B̂| / |B ∪ B̂|, in voxels (Zhao et al., MICCAI
//! 2019).

use organseg_volume::{Grid, Spacing};
use serde::{Deserialize, Serialize};

use crate::RoiError;

/// A box of voxels, half-open: `min` inclusive, `max` exclusive, along (x, y, z). It holds at least one
/// voxel and may reach beyond a scan until it is clamped to it.
///
/// ```
/// use organseg_roi::BoundingBox;
/// let organ = BoundingBox::new([10, 20, 30], [14, 24, 34])?;
/// let candidate = organ.grow([2, 2, 2]).clamp_to([100, 100, 35]).expect("it meets the scan");
/// assert_eq!((candidate.min(), candidate.max()), ([8, 18, 28], [16, 26, 35]));
/// assert_eq!(candidate.recall(&organ), 1.0);
/// assert_eq!(candidate.iou(&organ), 64.0 / (8.0 * 8.0 * 7.0));
/// assert_eq!(organ.scale([4, 4, 4]).min(), [40, 80, 120]);
/// # Ok::<(), organseg_roi::RoiError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Corners", into = "Corners")]
pub struct BoundingBox {
    min: [i64; 3],
    max: [i64; 3],
}

/// A box before it is known to be one.
#[derive(Serialize, Deserialize)]
struct Corners {
    min: [i64; 3],
    max: [i64; 3],
}

impl TryFrom<Corners> for BoundingBox {
    type Error = RoiError;

    fn try_from(corners: Corners) -> Result<Self, RoiError> {
        Self::new(corners.min, corners.max)
    }
}

impl From<BoundingBox> for Corners {
    fn from(b: BoundingBox) -> Self {
        Self { min: b.min, max: b.max }
    }
}

impl BoundingBox {
    /// The box from `min` (inside) to `max` (outside).
    ///
    /// # Errors
    /// [`RoiError::EmptyBox`] unless min < max along each axis.
    pub fn new(min: [i64; 3], max: [i64; 3]) -> Result<Self, RoiError> {
        if (0..3).all(|a| min[a] < max[a]) {
            Ok(Self { min, max })
        } else {
            Err(RoiError::EmptyBox { min, max })
        }
    }

    /// All voxels of `grid`.
    #[must_use]
    pub fn of_grid(grid: &Grid) -> Self {
        Self { min: [0; 3], max: grid.size().map(|n| n as i64) }
    }

    /// First voxel inside.
    #[must_use]
    pub fn min(&self) -> [i64; 3] {
        self.min
    }

    /// First voxel beyond.
    #[must_use]
    pub fn max(&self) -> [i64; 3] {
        self.max
    }

    /// Voxels along each axis.
    #[must_use]
    pub fn size(&self) -> [usize; 3] {
        [0, 1, 2].map(|a| (self.max[a] - self.min[a]) as usize)
    }

    /// Number of voxels.
    #[must_use]
    pub fn voxel_count(&self) -> usize {
        self.size().iter().product()
    }

    /// Whether `voxel` is inside.
    #[must_use]
    pub fn contains(&self, voxel: [i64; 3]) -> bool {
        (0..3).all(|a| (self.min[a]..self.max[a]).contains(&voxel[a]))
    }

    /// The smallest box that holds both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self {
            min: [0, 1, 2].map(|a| self.min[a].min(other.min[a])),
            max: [0, 1, 2].map(|a| self.max[a].max(other.max[a])),
        }
    }

    /// The voxels in both, if there are any.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let min = [0, 1, 2].map(|a| self.min[a].max(other.min[a]));
        let max = [0, 1, 2].map(|a| self.max[a].min(other.max[a]));
        Self::new(min, max).ok()
    }

    /// Moved outwards by `margin_voxels` on both sides of each axis.
    #[must_use]
    pub fn grow(&self, margin_voxels: [usize; 3]) -> Self {
        Self {
            min: [0, 1, 2].map(|a| self.min[a] - margin_voxels[a] as i64),
            max: [0, 1, 2].map(|a| self.max[a] + margin_voxels[a] as i64),
        }
    }

    /// Moved outwards by at least `margin_mm` on every side: the next whole number of voxels.
    #[must_use]
    pub fn grow_mm(&self, margin_mm: f64, spacing: Spacing) -> Self {
        self.grow(spacing.to_array().map(|s| (margin_mm.max(0.0) / s).ceil() as usize))
    }

    /// Each corner times `factors`: the same box where each voxel has become a block of them.
    #[must_use]
    pub fn scale(&self, factors: [usize; 3]) -> Self {
        let scaled = |corner: [i64; 3]| [0, 1, 2].map(|a| corner[a] * factors[a].max(1) as i64);
        Self { min: scaled(self.min), max: scaled(self.max) }
    }

    /// The part within a scan of `size` voxels, if there is any.
    #[must_use]
    pub fn clamp_to(&self, size: [usize; 3]) -> Option<Self> {
        self.intersection(&Self { min: [0; 3], max: size.map(|n| n as i64) })
    }

    /// Grown, evenly on both sides and by the odd voxel more at the far one, to at least `size`.
    #[must_use]
    pub fn with_min_size(&self, size: [usize; 3]) -> Self {
        let missing = [0, 1, 2].map(|a| size[a].saturating_sub(self.size()[a]) as i64);
        Self {
            min: [0, 1, 2].map(|a| self.min[a] - missing[a] / 2),
            max: [0, 1, 2].map(|a| self.max[a] + missing[a] - missing[a] / 2),
        }
    }

    /// Both corners as shares of a scan of `size` voxels: 0 is its first face, 1 its last.
    #[must_use]
    pub fn to_normalized(&self, size: [usize; 3]) -> [[f64; 3]; 2] {
        [self.min, self.max].map(|corner| [0, 1, 2].map(|a| corner[a] as f64 / size[a] as f64))
    }

    /// The smallest box of whole voxels that covers `corners`, shares of a scan of `size` voxels.
    ///
    /// # Errors
    /// [`RoiError::InvalidNormalized`] if a corner is not finite or the box would be empty.
    pub fn from_normalized(corners: [[f64; 3]; 2], size: [usize; 3]) -> Result<Self, RoiError> {
        /// A share times the size that misses a whole voxel by less than this is that voxel.
        const ROUNDING: f64 = 1e-9;
        let finite = corners.iter().flatten().all(|v| v.is_finite() && v.abs() < 1e9);
        let min = [0, 1, 2].map(|a| (corners[0][a] * size[a] as f64 + ROUNDING).floor() as i64);
        let max = [0, 1, 2].map(|a| (corners[1][a] * size[a] as f64 - ROUNDING).ceil() as i64);
        match Self::new(min, max) {
            Ok(b) if finite => Ok(b),
            _ => Err(RoiError::InvalidNormalized { corners }),
        }
    }

    /// |self ∩ other| / |self ∪ other| in voxels.
    #[must_use]
    pub fn iou(&self, other: &Self) -> f64 {
        let both = self.shared_voxels(other);
        both as f64 / (self.voxel_count() + other.voxel_count() - both) as f64
    }

    /// The share of `reference` that this box covers: |self ∩ reference| / |reference|.
    #[must_use]
    pub fn recall(&self, reference: &Self) -> f64 {
        self.shared_voxels(reference) as f64 / reference.voxel_count() as f64
    }

    fn shared_voxels(&self, other: &Self) -> usize {
        self.intersection(other).map_or(0, |b| b.voxel_count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxes() -> impl Strategy<Value = BoundingBox> {
        (prop::array::uniform3(-20i64..20), prop::array::uniform3(1i64..20))
            .prop_map(|(min, size)| BoundingBox::new(min, [0, 1, 2].map(|a| min[a] + size[a])).unwrap())
    }

    #[test]
    fn an_empty_box_is_refused() {
        assert!(BoundingBox::new([0; 3], [1, 1, 0]).is_err());
        assert!(BoundingBox::new([2; 3], [1; 3]).is_err());
    }

    #[test]
    fn millimetres_round_up_to_whole_voxels() {
        let b = BoundingBox::new([0; 3], [1; 3]).unwrap();
        let grown = b.grow_mm(5.0, Spacing::new([1.0, 2.0, 5.0]).unwrap());
        assert_eq!((grown.min(), grown.max()), ([-5, -3, -1], [6, 4, 2]));
    }

    proptest! {
        #[test]
        fn union_holds_both_and_intersection_is_in_both(a in boxes(), b in boxes()) {
            let union = a.union(&b);
            prop_assert_eq!(union.recall(&a), 1.0);
            prop_assert_eq!(union.recall(&b), 1.0);
            if let Some(both) = a.intersection(&b) {
                prop_assert_eq!(a.recall(&both), 1.0);
                prop_assert_eq!(b.recall(&both), 1.0);
            } else {
                prop_assert_eq!(a.iou(&b), 0.0);
            }
        }

        #[test]
        fn iou_is_symmetric_and_no_more_than_recall(a in boxes(), b in boxes()) {
            prop_assert_eq!(a.iou(&b), b.iou(&a));
            prop_assert!(a.iou(&b) <= a.recall(&b));
            prop_assert_eq!(a.iou(&a), 1.0);
        }

        #[test]
        fn scaling_commutes_with_union(a in boxes(), b in boxes(), r in prop::array::uniform3(1usize..6)) {
            prop_assert_eq!(a.union(&b).scale(r), a.scale(r).union(&b.scale(r)));
        }

        #[test]
        fn growing_then_clamping_stays_in_the_scan(a in boxes(), m in 0usize..9) {
            if let Some(inside) = a.grow([m; 3]).clamp_to([10, 11, 12]) {
                prop_assert!(inside.min().iter().all(|&v| v >= 0));
                prop_assert!(inside.max()[0] <= 10 && inside.max()[1] <= 11 && inside.max()[2] <= 12);
            }
        }

        #[test]
        fn normalised_corners_lead_back(a in boxes(), size in prop::array::uniform3(1usize..600)) {
            prop_assert_eq!(BoundingBox::from_normalized(a.to_normalized(size), size).unwrap(), a);
        }

        #[test]
        fn a_minimal_size_is_reached_and_nothing_is_lost(a in boxes(), size in prop::array::uniform3(1usize..30)) {
            let grown = a.with_min_size(size);
            prop_assert_eq!(grown.recall(&a), 1.0);
            prop_assert_eq!(grown.size(), [0, 1, 2].map(|k| a.size()[k].max(size[k])));
        }
    }
}
