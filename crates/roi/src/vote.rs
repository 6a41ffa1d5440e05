//! Several masks of one scan made into one.

use organseg_volume::LabelVolume;
use rayon::prelude::*;

use crate::RoiError;

/// Each voxel the label that more than half of `masks` give it, background where there is none: of
/// three masks, the label that two agree on.
///
/// ```
/// use organseg_roi::majority_vote;
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = |v: [u8; 4]| LabelVolume::from_vec(grid, v.to_vec());
/// let (a, b, c) = (mask([1, 1, 0, 1])?, mask([1, 0, 0, 2])?, mask([1, 1, 1, 3])?);
/// assert_eq!(majority_vote(&[&a, &b, &c])?.voxels(), [1, 1, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RoiError::NoMasks`] without masks, [`RoiError::Volume`] if they lie on different grids.
pub fn majority_vote(masks: &[&LabelVolume]) -> Result<LabelVolume, RoiError> {
    let first = masks.first().ok_or(RoiError::NoMasks)?;
    for mask in &masks[1..] {
        first.grid().check_same(mask.grid())?;
    }
    let row = first.size()[0];
    let mut voted = LabelVolume::filled(*first.grid(), 0);
    voted.voxels_mut().par_chunks_mut(row).enumerate().for_each(|(r, out)| {
        let rows: Vec<&[u8]> = masks.iter().map(|mask| &mask.voxels()[r * row..(r + 1) * row]).collect();
        // Background wins wherever no mask has foreground: most rows.
        if rows.iter().all(|row| row.iter().all(|&label| label == 0)) {
            return;
        }
        for (x, out) in out.iter_mut().enumerate() {
            let agree = |label: u8| 2 * rows.iter().filter(|row| row[x] == label).count() > rows.len();
            *out = rows.iter().map(|row| row[x]).find(|&label| agree(label)).unwrap_or(0);
        }
    });
    Ok(voted)
}
