//! Voxels that nobody annotated count neither way.
//!
//! Where the reference has an ignore label, nobody knows what is right. Each measure is of one label at a time, and
//! such a voxel of the reference is in none of the labels that are measured; with the prediction set to background
//! there, it is outside both masks, as in nnU-Net. Surfaces and boxes are those of what is left.

use organseg_volume::{Label, LabelVolume};

use crate::MetricError;

/// Sets `predicted` to background wherever `reference` is `ignore`, for any measure of a label other than that.
///
/// ```
/// use organseg_metrics::{clear_ignored, dice};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([5, 1, 1], Spacing::isotropic(1.0)?)?;
/// let reference = Volume::from_vec(grid, vec![0, 1, 1, 2, 2])?;
/// let mut predicted = Volume::from_vec(grid, vec![0, 0, 1, 1, 0])?;
/// assert_eq!(dice(&predicted, &reference, 1)?, 2.0 / 4.0);
/// clear_ignored(&mut predicted, &reference, 2)?;
/// assert_eq!(predicted.voxels(), [0, 0, 1, 0, 0]);
/// assert_eq!(dice(&predicted, &reference, 1)?, 2.0 / 3.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
pub fn clear_ignored(
    predicted: &mut LabelVolume,
    reference: &LabelVolume,
    ignore: Label,
) -> Result<(), MetricError> {
    reference.grid().check_same(predicted.grid())?;
    for (label, &truth) in predicted.voxels_mut().iter_mut().zip(reference.voxels()) {
        *label = if truth == ignore { 0 } else { *label };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::*;
    use crate::{Presence, evaluate};

    fn grid(size: [usize; 3]) -> Grid {
        Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap()
    }

    #[test]
    fn every_measure_is_as_if_nothing_were_found_where_nobody_annotated() {
        let grid = grid([12, 8, 6]);
        let inside = |[x, y, z]: [usize; 3]| (3..9).contains(&x) && (2..6).contains(&y) && z > 1;
        let ignored = |[_, y, z]: [usize; 3]| y == 5 || z == 5;
        let reference = LabelVolume::from_fn(grid, |at| if ignored(at) { 2 } else { inside(at).into() });
        // One voxel too far along x, and anything at all where nobody annotated.
        let found = |[x, y, z]: [usize; 3]| u8::from(inside([x + 1, y, z]));
        let mut predicted =
            LabelVolume::from_fn(grid, |at| if ignored(at) { (at[0] % 3) as u8 } else { found(at) });
        clear_ignored(&mut predicted, &reference, 2).unwrap();
        let figures = &evaluate(&predicted, &reference, &[1], 0.5).unwrap()[&1];
        // What is annotated: 6 × 3 × 3 voxels each, of which 5 × 3 × 3 are common.
        assert_eq!((figures.dice, figures.recall), (5.0 / 6.0, 5.0 / 6.0));
        assert_eq!((figures.reference_voxels, figures.prediction_voxels), (54, 54));
        assert_eq!(figures.hd_mm, 1.0);
        assert_eq!(figures.box_iou, 5.0 / 7.0);

        let nothing = LabelVolume::filled(grid, 2);
        clear_ignored(&mut predicted, &nothing, 2).unwrap();
        assert_eq!(evaluate(&predicted, &nothing, &[1], 0.5).unwrap()[&1].presence, Presence::Neither);
    }

    #[test]
    fn masks_of_different_size_are_refused() {
        let reference = LabelVolume::filled(grid([3, 3, 3]), 2);
        let error = clear_ignored(&mut LabelVolume::filled(grid([3, 3, 2]), 1), &reference, 2);
        assert!(matches!(error, Err(MetricError::GridMismatch { .. })));
    }
}
