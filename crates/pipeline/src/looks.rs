//! What the two stages found, each mask where its network looked: on the coarse grid, in a box, or in the
//! whole scan. Masks of the scan's size are made from it when they are asked for, one at a time.

use organseg_roi::{BoundingBox, majority_vote, paste};
use organseg_volume::{Grid, LabelVolume, upsample_nearest};

use crate::report::Fallback;
use crate::{CandidateBoxes, PipelineError};

/// The answers of both stages.
pub(crate) struct Looks {
    /// The coarse mask, on the coarse grid.
    pub(crate) low_mask: LabelVolume,
    /// By which the full grid was decimated.
    pub(crate) factors: [usize; 3],
    pub(crate) boxes: Option<CandidateBoxes>,
    pub(crate) found: Found,
    pub(crate) fallback: Option<Fallback>,
}

/// What the fine network found.
#[expect(clippy::large_enum_variant, reason = "one is made for a scan, and moved once")]
pub(crate) enum Found {
    /// In the two candidate boxes; background elsewhere.
    InBoxes([(LabelVolume, BoundingBox); 2]),
    /// In the whole scan, which counts for both boxes.
    InScan(LabelVolume),
}

impl Looks {
    /// The coarse mask on `grid`, the full one.
    pub(crate) fn coarse(&self, grid: &Grid) -> Result<LabelVolume, PipelineError> {
        Ok(upsample_nearest(&self.low_mask, self.factors, grid)?)
    }

    /// Both refined masks on `grid`.
    pub(crate) fn refined(&self, grid: &Grid) -> Result<[LabelVolume; 2], PipelineError> {
        match &self.found {
            Found::InScan(mask) => Ok([mask.clone(), mask.clone()]),
            Found::InBoxes([first, second]) => {
                let whole = BoundingBox::of_grid(grid);
                Ok([within(&whole, grid, first)?, within(&whole, grid, second)?])
            }
        }
    }

    /// The voxelwise majority of the refined masks and the coarse one, on `grid`.
    pub(crate) fn vote(self, grid: &Grid) -> Result<LabelVolume, PipelineError> {
        let [first, second] = match self.found {
            // Two of three votes, whatever the coarse mask says.
            Found::InScan(mask) => return Ok(mask),
            Found::InBoxes(found) => found,
        };
        // Outside both boxes two of three say background.
        let place = first.1.union(&second.1);
        let coarse = coarse_within(&self.low_mask, self.factors, &place, grid)?;
        let masks = [within(&place, grid, &first)?, within(&place, grid, &second)?];
        let voted = majority_vote(&[&masks[0], &masks[1], &coarse])?;
        let mut mask = LabelVolume::filled(*grid, 0);
        paste(&mut mask, &voted, &place)?;
        Ok(mask)
    }
}

/// `low_mask`, upsampled by `factors`, in `place` of the full grid.
fn coarse_within(
    low_mask: &LabelVolume,
    factors: [usize; 3],
    place: &BoundingBox,
    grid: &Grid,
) -> Result<LabelVolume, PipelineError> {
    let part = grid.cropped(place.min(), place.size())?;
    let min = place.min().map(|v| v as usize);
    Ok(LabelVolume::from_fn(part, |at| low_mask[[0, 1, 2].map(|a| (min[a] + at[a]) / factors[a])]))
}

/// `found`, a mask and its box, as it is in `place`, with background around it.
fn within(
    place: &BoundingBox,
    grid: &Grid,
    (mask, own): &(LabelVolume, BoundingBox),
) -> Result<LabelVolume, PipelineError> {
    let mut wider = LabelVolume::filled(grid.cropped(place.min(), place.size())?, 0);
    let min = [0, 1, 2].map(|a| own.min()[a] - place.min()[a]);
    let max = [0, 1, 2].map(|a| own.max()[a] - place.min()[a]);
    paste(&mut wider, mask, &BoundingBox::new(min, max)?)?;
    Ok(wider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::Spacing;

    /// A vote within the boxes is the vote of whole masks.
    #[test]
    fn the_vote_is_that_of_masks_of_the_whole_scan() {
        let grid = Grid::with_spacing([14, 11, 9], Spacing::isotropic(1.0).unwrap()).unwrap();
        let factors = [4, 3, 2];
        let low = grid.decimated(factors).unwrap();
        let low_mask = LabelVolume::from_fn(low, |v| (low.offset(v) % 3) as u8);
        let boxes = [([1, 2, 0], [9, 11, 5]), ([3, 0, 2], [14, 8, 9])];
        let found = boxes.map(|(min, max)| {
            let place = BoundingBox::new(min, max).unwrap();
            let part = grid.cropped(place.min(), place.size()).unwrap();
            (LabelVolume::from_fn(part, |v| ((v[0] + v[1] * v[2]) % 3) as u8), place)
        });
        let looks =
            Looks { low_mask, factors, boxes: None, found: Found::InBoxes(found.clone()), fallback: None };
        let [first, second] = looks.refined(&grid).unwrap();
        for (mask, (part, place)) in [&first, &second].into_iter().zip(&found) {
            assert_eq!(organseg_roi::crop(mask, place, 0).voxels(), part.voxels());
        }
        let coarse = looks.coarse(&grid).unwrap();
        let expected = majority_vote(&[&first, &second, &coarse]).unwrap();
        assert!(expected.voxels().contains(&2));
        assert_eq!(looks.vote(&grid).unwrap(), expected);
    }
}
