//! Boxes of voxels and what can be done with them.
//!
//! recall(B̂, B) = |B ∩ B̂| / |B| and IoU(B̂, B) = |B ∩ B̂| / |B ∪ B̂|, in voxels (Zhao et al., MICCAI
//! 2019).

use organseg_volume::{Grid, Spacing};
use serde::{Deserialize, Serialize};

use crate::RoiError;

/// Furthest that a corner lies from the origin, in voxels: beyond any scan (a row of 2⁴⁰ voxels is a
/// tebibyte), near enough that sizes fit into `usize` and the product of three into `u128`.
const REACH: i64 = 1 << 40;

/// By how much of a voxel a margin in millimetres may fall short: spacings come from headers in single
/// precision, and 10 voxels of 0.7 mm are to be 7 mm although 7 / 0.7_f32 is 10.0000002.
const SHORTFALL_VOXELS: f64 = 1e-4;

/// A box of voxels, half-open: `min` inclusive, `max` exclusive, along (x, y, z). It holds at least one
/// voxel and may reach beyond a scan until it is clamped to it. In files it is
/// `{"min": [x, y, z], "max": [x, y, z]}`, checked when read.
///
/// Corners lie within 2⁴⁰ voxels of the origin; what would move one further leaves it there.
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
    /// [`RoiError::EmptyBox`] unless min < max along each axis, [`RoiError::BoxOutOfReach`] if a corner is
    /// more than 2⁴⁰ voxels from the origin.
    pub fn new(min: [i64; 3], max: [i64; 3]) -> Result<Self, RoiError> {
        if (0..3).any(|a| min[a] >= max[a]) {
            Err(RoiError::EmptyBox { min, max })
        } else if (0..3).any(|a| min[a] < -REACH || max[a] > REACH) {
            Err(RoiError::BoxOutOfReach { min, max, reach: REACH })
        } else {
            Ok(Self { min, max })
        }
    }

    /// The box between corners that are in order, held within reach and to at least one voxel.
    fn within_reach(min: [i64; 3], max: [i64; 3]) -> Self {
        Self { min: min.map(|v| v.clamp(-REACH, REACH - 1)), max: max.map(|v| v.clamp(1 - REACH, REACH)) }
    }

    /// All voxels of `grid`.
    #[must_use]
    pub fn of_grid(grid: &Grid) -> Self {
        Self::within_reach([0; 3], grid.size().map(saturating))
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

    /// Number of voxels; [`usize::MAX`] if there are more.
    #[must_use]
    pub fn voxel_count(&self) -> usize {
        usize::try_from(self.volume()).unwrap_or(usize::MAX)
    }

    /// Number of voxels, of which there may be 2¹²³.
    fn volume(&self) -> u128 {
        self.size().iter().map(|&n| n as u128).product()
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
        Self::within_reach(
            [0, 1, 2].map(|a| self.min[a].saturating_sub(saturating(margin_voxels[a]))),
            [0, 1, 2].map(|a| self.max[a].saturating_add(saturating(margin_voxels[a]))),
        )
    }

    /// Moved outwards by at least `margin_mm` on every side: the next whole number of voxels, where a
    /// ten-thousandth of a voxel is rounding. A negative margin is none.
    ///
    /// ```
    /// use organseg_roi::BoundingBox;
    /// use organseg_volume::Spacing;
    /// let organ = BoundingBox::new([10, 10, 10], [12, 12, 12])?;
    /// let grown = organ.grow_mm(5.0, Spacing::new([1.0, 2.0, 5.0])?);
    /// assert_eq!((grown.min(), grown.max()), ([5, 7, 9], [17, 15, 13]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn grow_mm(&self, margin_mm: f64, spacing: Spacing) -> Self {
        self.grow(spacing.to_array().map(|s| (margin_mm.max(0.0) / s - SHORTFALL_VOXELS).ceil() as usize))
    }

    /// Each corner times `factors`: the same box where each voxel has become a block of them. A factor of 0
    /// counts as 1.
    #[must_use]
    pub fn scale(&self, factors: [usize; 3]) -> Self {
        let scaled =
            |corner: [i64; 3]| [0, 1, 2].map(|a| corner[a].saturating_mul(saturating(factors[a].max(1))));
        Self::within_reach(scaled(self.min), scaled(self.max))
    }

    /// The part within a scan of `size` voxels, if there is any.
    #[must_use]
    pub fn clamp_to(&self, size: [usize; 3]) -> Option<Self> {
        self.intersection(&Self { min: [0; 3], max: size.map(saturating) })
    }

    /// Grown, evenly on both sides and by the odd voxel more at the far one, to at least `size`.
    #[must_use]
    pub fn with_min_size(&self, size: [usize; 3]) -> Self {
        let missing = [0, 1, 2].map(|a| saturating(size[a].saturating_sub(self.size()[a])));
        Self::within_reach(
            [0, 1, 2].map(|a| self.min[a].saturating_sub(missing[a] / 2)),
            [0, 1, 2].map(|a| self.max[a].saturating_add(missing[a] - missing[a] / 2)),
        )
    }

    /// Both corners as shares of a scan of `size` voxels (none 0): 0 is its first face, 1 its last.
    ///
    /// ```
    /// use organseg_roi::BoundingBox;
    /// let b = BoundingBox::new([0, 16, 20], [64, 32, 40])?;
    /// assert_eq!(b.to_normalized([64, 64, 40]), [[0.0, 0.25, 0.5], [1.0, 0.5, 1.0]]);
    /// // The same part of the scan at half its resolution.
    /// let half = BoundingBox::from_normalized(b.to_normalized([64, 64, 40]), [32, 32, 20])?;
    /// assert_eq!((half.min(), half.max()), ([0, 8, 10], [32, 16, 20]));
    /// # Ok::<(), organseg_roi::RoiError>(())
    /// ```
    #[must_use]
    pub fn to_normalized(&self, size: [usize; 3]) -> [[f64; 3]; 2] {
        [self.min, self.max].map(|corner| [0, 1, 2].map(|a| corner[a] as f64 / size[a] as f64))
    }

    /// The smallest box of whole voxels that covers `corners`, shares of a scan of `size` voxels.
    ///
    /// # Errors
    /// [`RoiError::InvalidNormalized`] if a corner is not finite or the box would be empty.
    pub fn from_normalized(corners: [[f64; 3]; 2], size: [usize; 3]) -> Result<Self, RoiError> {
        /// A share times the size that misses a whole number of voxels by less than this is that number.
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
        let both = self.shared_volume(other);
        both as f64 / (self.volume() + other.volume() - both) as f64
    }

    /// The share of `reference` that this box covers: |self ∩ reference| / |reference|, in voxels.
    #[must_use]
    pub fn recall(&self, reference: &Self) -> f64 {
        self.shared_volume(reference) as f64 / reference.volume() as f64
    }

    fn shared_volume(&self, other: &Self) -> u128 {
        self.intersection(other).map_or(0, |b| b.volume())
    }
}

/// A count as a coordinate, the furthest there is if it is larger.
fn saturating(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
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
    fn a_spacing_in_single_precision_costs_no_extra_voxel() {
        let b = BoundingBox::new([0; 3], [1; 3]).unwrap();
        let grown = b.grow_mm(7.0, Spacing::isotropic(f64::from(0.7f32)).unwrap());
        assert_eq!(grown.min(), [-10; 3]);
        assert_eq!(b.grow_mm(7.01, Spacing::isotropic(0.7).unwrap()).min(), [-11; 3]);
        assert_eq!(b.grow_mm(0.0, Spacing::isotropic(0.7).unwrap()), b);
        assert_eq!(b.grow_mm(-3.0, Spacing::isotropic(0.7).unwrap()), b);
    }

    #[test]
    fn overlap_of_boxes_in_closed_form() {
        let a = BoundingBox::new([0; 3], [4; 3]).unwrap();
        let b = BoundingBox::new([2; 3], [6; 3]).unwrap();
        assert_eq!(a.iou(&b), 8.0 / 120.0);
        assert_eq!(a.recall(&b), 8.0 / 64.0);
        let beside = BoundingBox::new([4, 0, 0], [5, 4, 4]).unwrap();
        assert_eq!(a.intersection(&beside), None);
        assert_eq!((a.iou(&beside), a.recall(&beside)), (0.0, 0.0));
        assert!(a.contains([3, 3, 3]) && !a.contains([3, 3, 4]) && !a.contains([-1, 0, 0]));
    }

    #[test]
    fn an_odd_voxel_goes_to_the_far_side() {
        let b = BoundingBox::new([5; 3], [7; 3]).unwrap().with_min_size([2, 4, 5]);
        assert_eq!((b.min(), b.max()), ([5, 4, 4], [7, 8, 9]));
    }

    #[test]
    fn boxes_without_end_stay_boxes() {
        // An infinite margin once wrapped round and shrank the box.
        let b = BoundingBox::new([3, -4, 5], [4, 6, 7]).unwrap();
        let spacing = Spacing::isotropic(1.0).unwrap();
        for huge in
            [b.grow_mm(f64::INFINITY, spacing), b.grow([usize::MAX; 3]), b.with_min_size([usize::MAX; 3])]
        {
            assert_eq!(huge.clamp_to([10; 3]), Some(BoundingBox::new([0; 3], [10; 3]).unwrap()));
            assert_eq!(huge.recall(&b), 1.0);
            assert!(huge.iou(&b) < 1e-30 && huge.iou(&huge) == 1.0);
            assert_eq!(huge.voxel_count(), usize::MAX);
        }
        let far = b.scale([usize::MAX; 3]).scale([usize::MAX; 3]);
        assert!(BoundingBox::new(far.min(), far.max()).is_ok(), "{far:?}");
        assert!(matches!(
            BoundingBox::new([i64::MIN; 3], [i64::MAX; 3]),
            Err(RoiError::BoxOutOfReach { .. })
        ));
    }

    #[test]
    fn a_box_from_a_file_is_checked() {
        let b = BoundingBox::new([-1, 2, 3], [4, 5, 6]).unwrap();
        let json = serde_json::to_string(&b).unwrap();
        assert_eq!(json, r#"{"min":[-1,2,3],"max":[4,5,6]}"#);
        assert_eq!(serde_json::from_str::<BoundingBox>(&json).unwrap(), b);
        let error = serde_json::from_str::<BoundingBox>(r#"{"min":[0,0,0],"max":[1,0,1]}"#).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }

    #[test]
    fn normalised_corners_that_are_no_box_are_refused() {
        for corners in [
            [[f64::NAN, 0.0, 0.0], [1.0; 3]],
            [[0.0; 3], [1.0, f64::INFINITY, 1.0]],
            [[0.5; 3], [0.5; 3]],
            [[0.6; 3], [0.2; 3]],
        ] {
            let found = BoundingBox::from_normalized(corners, [10; 3]);
            assert!(matches!(found, Err(RoiError::InvalidNormalized { .. })), "{found:?}");
        }
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
                prop_assert_eq!(a.iou(&b), both.voxel_count() as f64
                    / (a.voxel_count() + b.voxel_count() - both.voxel_count()) as f64);
            } else {
                prop_assert_eq!(a.iou(&b), 0.0);
            }
        }

        #[test]
        fn iou_is_symmetric_and_no_more_than_recall(a in boxes(), b in boxes()) {
            prop_assert_eq!(a.iou(&b), b.iou(&a));
            prop_assert!(a.iou(&b) <= a.recall(&b));
            prop_assert_eq!(a.iou(&a), 1.0);
            prop_assert!((0.0..=1.0).contains(&a.iou(&b)) && (0.0..=1.0).contains(&a.recall(&b)));
        }

        #[test]
        fn scaling_commutes_with_union(a in boxes(), b in boxes(), r in prop::array::uniform3(1usize..6)) {
            prop_assert_eq!(a.union(&b).scale(r), a.scale(r).union(&b.scale(r)));
        }

        #[test]
        fn overlaps_do_not_change_when_both_boxes_are_scaled(a in boxes(), b in boxes(), r in prop::array::uniform3(1usize..6)) {
            prop_assert_eq!(a.scale(r).iou(&b.scale(r)), a.iou(&b));
            prop_assert_eq!(a.scale(r).recall(&b.scale(r)), a.recall(&b));
        }

        #[test]
        fn a_grown_box_holds_the_first_and_so_does_the_part_in_the_scan(a in boxes(), m in prop::array::uniform3(0usize..9)) {
            let grown = a.grow(m);
            prop_assert_eq!(grown.recall(&a), 1.0);
            prop_assert_eq!(grown.size(), [0, 1, 2].map(|k| a.size()[k] + 2 * m[k]));
            if let (Some(first), Some(inside)) = (a.clamp_to([10, 11, 12]), grown.clamp_to([10, 11, 12])) {
                prop_assert_eq!(inside.recall(&first), 1.0);
            }
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
