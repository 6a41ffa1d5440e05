//! What the two stages found, each mask where its network looked: on the coarse grid, in a box, or in the
//! whole scan. Masks of the scan's size are made from it when they are asked for, one at a time.

use organseg_roi::{BoundingBox, majority_vote, paste};
use organseg_volume::{Grid, Label, LabelVolume, upsample_nearest};
use rayon::prelude::*;

use crate::report::Fallback;
use crate::scores::most_probable;
use crate::tiles::Probabilities;
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

/// A mask and the box of the full grid that it fills.
pub(crate) type Placed = (LabelVolume, BoundingBox);

/// What the fine network found.
pub(crate) enum Found {
    /// In both candidate boxes, background elsewhere; to be voted on.
    InBoxes([Placed; 2]),
    /// In one box, or in two whose answers were made one: what counts is `answer`. Masks are those of the boxes,
    /// the widest last.
    Settled { answer: Placed, masks: Vec<Placed> },
    /// In the whole scan, which counts for all boxes.
    InScan(LabelVolume),
}

impl Found {
    /// The mask from the widest of the boxes.
    pub(crate) fn widest(&self) -> Option<&Placed> {
        match self {
            Self::InBoxes([_, second]) => Some(second),
            Self::Settled { masks, .. } => masks.last(),
            Self::InScan(_) => None,
        }
    }

    /// [`Found::widest`], without the rest.
    pub(crate) fn into_widest(self) -> Option<Placed> {
        match self {
            Self::InBoxes([_, second]) => Some(second),
            Self::Settled { mut masks, .. } => masks.pop(),
            Self::InScan(_) => None,
        }
    }
}

impl Looks {
    /// Voxels of the coarse mask, on the coarse grid, that lie in no box in which the fine network looked, where it looked
    /// in boxes alone.
    pub(crate) fn left_out(&self) -> usize {
        let boxes: Vec<&BoundingBox> = match &self.found {
            Found::InBoxes(masks) => masks.iter().map(|(_, place)| place).collect(),
            Found::Settled { masks, .. } => masks.iter().map(|(_, place)| place).collect(),
            Found::InScan(_) => return 0,
        };
        let [nx, ny, _] = self.low_mask.size();
        let is_left_out = |(v, &label): (usize, &Label)| {
            let block = [v % nx, v / nx % ny, v / (nx * ny)];
            let first = [0, 1, 2].map(|a| (block[a] * self.factors[a]) as i64);
            label > 0 && !boxes.iter().any(|place| place.contains(first))
        };
        self.low_mask.voxels().iter().enumerate().filter(|&voxel| is_left_out(voxel)).count()
    }

    /// The coarse mask on `grid`, the full one.
    pub(crate) fn coarse(&self, grid: &Grid) -> Result<LabelVolume, PipelineError> {
        Ok(upsample_nearest(&self.low_mask, self.factors, grid)?)
    }

    /// The refined masks on `grid`, one for each box that was looked at.
    pub(crate) fn refined(&self, grid: &Grid) -> Result<Vec<LabelVolume>, PipelineError> {
        let whole = BoundingBox::of_grid(grid);
        let masks = match &self.found {
            Found::InScan(mask) => return Ok(vec![mask.clone()]),
            Found::InBoxes(masks) => &masks[..],
            Found::Settled { masks, .. } => masks,
        };
        masks.iter().map(|mask| within(&whole, grid, mask)).collect()
    }

    /// The answer on `grid`: where two boxes are to be voted on, the [vote] of their masks and the coarse one.
    pub(crate) fn answer(self, grid: &Grid) -> Result<LabelVolume, PipelineError> {
        let mut mask = LabelVolume::filled(*grid, 0);
        let [first, second] = match self.found {
            // Two of three votes, whatever the coarse mask says.
            Found::InScan(mask) => return Ok(mask),
            Found::Settled { answer: (answer, place), .. } => {
                paste(&mut mask, &answer, &place)?;
                return Ok(mask);
            }
            Found::InBoxes(found) => found,
        };
        // Outside both boxes two of three say background.
        let place = first.1.union(&second.1);
        let coarse = coarse_within(&self.low_mask, self.factors, &place, grid)?;
        let masks = [within(&place, grid, &first)?, within(&place, grid, &second)?];
        let voted = vote(&masks[0], &masks[1], &coarse)?;
        paste(&mut mask, &voted, &place)?;
        Ok(mask)
    }
}

/// The voxelwise majority of the fine masks from box 1 and box 2 and the coarse one. Where two of them say organ and no two
/// of the three agree on a label, there is an organ: it has the fine label of box 2, or of box 1 where box 2 has none.
fn vote(
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

/// Each voxel of the union of two boxes the class of the largest mean probability over the boxes that hold it;
/// background outside both.
pub(crate) fn most_probable_mean(
    looks: [(&Probabilities, &BoundingBox); 2],
    grid: &Grid,
) -> Result<Placed, PipelineError> {
    let place = looks[0].1.union(looks[1].1);
    let [nx, ny, nz] = place.size();
    let classes = looks[0].0.classes();
    let mut labels = vec![0; nx * ny * nz];
    let room = || (vec![0.0f32; classes * nx], Vec::new());
    labels.par_chunks_mut(nx).enumerate().for_each_init(room, |(sums, best), (row, labels)| {
        sums.fill(0.0);
        for (probabilities, own) in looks {
            let start = [0, 1, 2].map(|a| (own.min()[a] - place.min()[a]) as usize);
            let [_, n, planes] = probabilities.size();
            let (y, z) = ((row % ny).wrapping_sub(start[1]), (row / ny).wrapping_sub(start[2]));
            if y >= n || z >= planes {
                continue;
            }
            // The sum is as good as the mean: all classes of a voxel have as many summands.
            for (class, sums) in sums.chunks_mut(nx).enumerate() {
                let row = probabilities.row(class, z, y);
                sums[start[0]..].iter_mut().zip(row).for_each(|(sum, p)| *sum += p);
            }
        }
        most_probable(sums.chunks(nx), best, labels);
    });
    let part = grid.cropped(place.min(), place.size())?;
    Ok((LabelVolume::from_vec(part, labels)?, place))
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

    #[test]
    fn what_is_left_out_lies_in_no_box_that_was_looked_at() {
        let grid = Grid::with_spacing([8, 2, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
        let low = grid.decimated([2; 3]).unwrap();
        let low_mask = LabelVolume::from_vec(low, vec![1, 0, 1, 1]).unwrap();
        let look = |first: i64, last: i64| {
            let place = BoundingBox::new([first, 0, 0], [last, 2, 2]).unwrap();
            (LabelVolume::filled(grid.cropped(place.min(), place.size()).unwrap(), 0), place)
        };
        let left_out = |found| {
            Looks { low_mask: low_mask.clone(), factors: [2; 3], boxes: None, found, fallback: None }
                .left_out()
        };
        assert_eq!(left_out(Found::InBoxes([look(4, 6), look(0, 2)])), 1);
        let settled = Found::Settled { answer: look(4, 6), masks: vec![look(4, 6)] };
        assert_eq!(left_out(settled), 2);
        assert_eq!(left_out(Found::InScan(LabelVolume::filled(grid, 0))), 0);
    }

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
        let [first, second] = &looks.refined(&grid).unwrap()[..] else { panic!("two boxes") };
        for (mask, (part, place)) in [first, second].into_iter().zip(&found) {
            assert_eq!(organseg_roi::crop(mask, place, 0).voxels(), part.voxels());
        }
        let coarse = looks.coarse(&grid).unwrap();
        let expected = vote(first, second, &coarse).unwrap();
        assert!(expected.voxels().contains(&2));
        assert_eq!(looks.answer(&grid).unwrap(), expected);
    }

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
