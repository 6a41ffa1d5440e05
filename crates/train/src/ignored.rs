//! What is left of labels without the voxels that nobody annotated.
//!
//! A dataset may have an ignore label ([`crate::Dataset::ignore`]). It is no organ: boxes of organs, measurements
//! and pictures do without it.

use organseg_roi::BoundingBox;
use organseg_volume::{Label, LabelVolume};

/// The smallest box that holds every voxel of an organ: neither background nor `ignore`; none if there is none.
///
/// ```
/// use organseg_train::organ_box;
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([5, 1, 1], Spacing::isotropic(1.0)?)?;
/// let labels = LabelVolume::from_vec(grid, vec![0, 1, 2, 9, 9])?;
/// let size = |ignore| organ_box(&labels, ignore).map(|found| found.size());
/// assert_eq!((size(Some(9)), size(None)), (Some([2, 1, 1]), Some([4, 1, 1])));
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn organ_box(labels: &LabelVolume, ignore: Option<Label>) -> Option<BoundingBox> {
    let ignore = ignore.unwrap_or(0);
    // Both conditions for every voxel: a branch would cost more.
    BoundingBox::of_voxels(labels, |label| (label != 0) & (label != ignore))
}

/// `labels` with background where they are `ignore`.
///
/// ```
/// use organseg_train::without_ignored;
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0)?)?;
/// let labels = LabelVolume::from_vec(grid, vec![0, 1, 9])?;
/// assert_eq!(without_ignored(labels, Some(9)).voxels(), [0, 1, 0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn without_ignored(labels: LabelVolume, ignore: Option<Label>) -> LabelVolume {
    match ignore {
        Some(ignore) => labels.map(|label| if label == ignore { 0 } else { label }),
        None => labels,
    }
}
