//! The vote of two fine masks and a coarse one.

use organseg_roi::majority_vote;
use organseg_volume::LabelVolume;
use rayon::prelude::*;

use crate::PipelineError;

/// The voxelwise majority of the fine masks from box 1 and box 2 and the coarse one. Where two of them say organ and no two
/// of the three agree on a label, there is an organ: it has the fine label of box 2, or of box 1 where box 2 has none.
pub(crate) fn vote(
    first: &LabelVolume,
    second: &LabelVolume,
    coarse: &LabelVolume,
) -> Result<LabelVolume, PipelineError> {
    let mut voted = majority_vote(&[first, second, coarse])?;
    let masks = first.voxels().par_iter().zip(second.voxels()).zip(coarse.voxels());
    voted.voxels_mut().par_iter_mut().zip(masks).for_each(|(voted, ((&first, &second), &coarse))| {
        let organs = [first, second, coarse].iter().filter(|&&label| label > 0).count();
        if *voted == 0 && organs >= 2 {
            *voted = if second > 0 { second } else { first };
        }
    });
    Ok(voted)
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::*;

    #[test]
    fn three_labels_of_which_two_are_organs_are_the_fine_one_s() {
        let votes = [
            // From box 1, box 2 and the coarse mask, and the answer.
            ([1, 2, 3], 2),
            ([1, 2, 0], 2),
            ([0, 2, 1], 2),
            ([1, 0, 2], 1),
            ([1, 0, 0], 0),
            ([0, 0, 2], 0),
            ([1, 1, 2], 1),
            ([1, 2, 1], 1),
            ([0, 2, 2], 2),
            ([0, 0, 0], 0),
        ];
        let grid = Grid::with_spacing([votes.len(), 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let [first, second, coarse] =
            [0, 1, 2].map(|mask| LabelVolume::from_fn(grid, |[x, ..]| votes[x].0[mask]));
        let voted = vote(&first, &second, &coarse).unwrap();
        assert_eq!(voted.voxels(), votes.map(|(_, answer)| answer));
        // For one organ it is the majority.
        let one = [first, second, coarse].map(|mask| mask.map(|label| label.min(1)));
        let voted = vote(&one[0], &one[1], &one[2]).unwrap();
        assert_eq!(voted, majority_vote(&[&one[0], &one[1], &one[2]]).unwrap());
    }
}
