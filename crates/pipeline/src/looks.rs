//! What the two stages found, each mask where its network looked: on the coarse grid, in a box, or in the
//! whole scan. Masks of the scan's size are made from it when they are asked for, one at a time.

use organseg_roi::{BoundingBox, paste};
use organseg_volume::{Grid, Label, LabelVolume, upsample_nearest};
use rayon::prelude::*;

use crate::mask::Mask;
use crate::report::Fallback;
use crate::scores::{lead_of_sums, most_probable, most_probable_with_leads};
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
pub(crate) type Placed = (Mask, BoundingBox);

/// What the fine network found.
pub(crate) enum Found {
    /// In both candidate boxes, background elsewhere; to be voted on.
    InBoxes(Box<[Placed; 2]>),
    /// In one box, or in two whose answers were made one: what counts is `answer`. Masks are those of the boxes,
    /// the widest last.
    Settled { answer: Placed, masks: Vec<Placed> },
    /// In the whole scan, which counts for all boxes.
    InScan(Mask),
}

impl Found {
    /// The mask from the widest of the boxes.
    pub(crate) fn widest(&self) -> Option<&Placed> {
        match self {
            Self::InBoxes(both) => Some(&both[1]),
            Self::Settled { masks, .. } => masks.last(),
            Self::InScan(_) => None,
        }
    }

    /// [`Found::widest`], without the rest.
    pub(crate) fn into_widest(self) -> Option<Placed> {
        match self {
            Self::InBoxes(both) => {
                let [_, second] = *both;
                Some(second)
            }
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
        let masks = match &self.found {
            Found::InScan(mask) => return Ok(vec![mask.labels.clone()]),
            Found::InBoxes(masks) => &masks[..],
            Found::Settled { masks, .. } => masks,
        };
        let labels = |(mask, place): &Placed| -> Result<LabelVolume, PipelineError> {
            let mut labels = LabelVolume::filled(*grid, 0);
            paste(&mut labels, &mask.labels, place)?;
            Ok(labels)
        };
        masks.iter().map(labels).collect()
    }

    /// The answer on `grid`: where two boxes are to be voted on, the vote of their masks and the coarse
    /// one.
    pub(crate) fn answer(self, grid: &Grid) -> Result<Mask, PipelineError> {
        let whole = |found: &Mask, place: &BoundingBox| -> Result<Mask, PipelineError> {
            let mut mask = Mask::empty(*grid, found.leads.is_some());
            mask.paste(found, place)?;
            Ok(mask)
        };
        let [first, second] = match self.found {
            // Two of three votes, whatever the coarse mask says.
            Found::InScan(mask) => return Ok(mask),
            Found::Settled { answer: (answer, place), .. } => return whole(&answer, &place),
            Found::InBoxes(found) => *found,
        };
        // Outside both boxes two of three say background.
        let place = first.1.union(&second.1);
        let coarse = coarse_within(&self.low_mask, self.factors, &place, grid)?;
        let masks = [within(&place, grid, &first)?, within(&place, grid, &second)?];
        whole(&Mask::vote([&masks[0], &masks[1]], &coarse)?, &place)
    }
}

/// Each voxel of the union of two boxes the class of the largest mean probability over the boxes that hold it;
/// background outside both. `with_leads`, it says by how much each leads.
pub(crate) fn most_probable_mean(
    looks: [(&Probabilities, &BoundingBox); 2],
    grid: &Grid,
    with_leads: bool,
) -> Result<Placed, PipelineError> {
    let place = looks[0].1.union(looks[1].1);
    let [nx, ny, nz] = place.size();
    let classes = looks[0].0.classes();
    let mut labels = vec![0; nx * ny * nz];
    // A pass for both kinds of rows: without leads those are empty.
    let mut leads = vec![0; if with_leads { labels.len() } else { 0 }];
    let mut lead_rows: Vec<&mut [u8]> = leads.chunks_mut(nx).collect();
    lead_rows.resize_with(ny * nz, Default::default);
    let room = || (vec![0.0f32; classes * nx], Vec::new());
    let rows = labels.par_chunks_mut(nx).zip(lead_rows).enumerate();
    rows.for_each_init(room, |(sums, best), (row, (labels, leads))| {
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
        if with_leads {
            most_probable_with_leads(sums.chunks(nx), lead_of_sums, best, labels, leads);
        } else {
            most_probable(sums.chunks(nx), best, labels);
        }
    });
    let part = grid.cropped(place.min(), place.size())?;
    Ok((Mask::from_vecs(part, (labels, with_leads.then_some(leads)))?, place))
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
fn within(place: &BoundingBox, grid: &Grid, (mask, own): &Placed) -> Result<Mask, PipelineError> {
    let mut wider = Mask::empty(grid.cropped(place.min(), place.size())?, mask.leads.is_some());
    let min = [0, 1, 2].map(|a| own.min()[a] - place.min()[a]);
    let max = [0, 1, 2].map(|a| own.max()[a] - place.min()[a]);
    wider.paste(mask, &BoundingBox::new(min, max)?)?;
    Ok(wider)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vote::vote;
    use organseg_volume::Spacing;

    #[test]
    fn what_is_left_out_lies_in_no_box_that_was_looked_at() {
        let grid = Grid::with_spacing([8, 2, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
        let low = grid.decimated([2; 3]).unwrap();
        let low_mask = LabelVolume::from_vec(low, vec![1, 0, 1, 1]).unwrap();
        let look = |first: i64, last: i64| {
            let place = BoundingBox::new([first, 0, 0], [last, 2, 2]).unwrap();
            (Mask::empty(grid.cropped(place.min(), place.size()).unwrap(), false), place)
        };
        let left_out = |found| {
            Looks { low_mask: low_mask.clone(), factors: [2; 3], boxes: None, found, fallback: None }
                .left_out()
        };
        assert_eq!(left_out(Found::InBoxes(Box::new([look(4, 6), look(0, 2)]))), 1);
        let settled = Found::Settled { answer: look(4, 6), masks: vec![look(4, 6)] };
        assert_eq!(left_out(settled), 2);
        assert_eq!(left_out(Found::InScan(Mask::empty(grid, false))), 0);
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
            let labels = LabelVolume::from_fn(part, |v| ((v[0] + v[1] * v[2]) % 3) as u8);
            (Mask { labels, leads: None }, place)
        });
        let looks = Looks {
            low_mask,
            factors,
            boxes: None,
            found: Found::InBoxes(Box::new(found.clone())),
            fallback: None,
        };
        let [first, second] = &looks.refined(&grid).unwrap()[..] else { panic!("two boxes") };
        for (mask, (part, place)) in [first, second].into_iter().zip(&found) {
            assert_eq!(organseg_roi::crop(mask, place, 0).voxels(), part.labels.voxels());
        }
        let coarse = looks.coarse(&grid).unwrap();
        let expected = vote(first, second, &coarse).unwrap();
        assert!(expected.voxels().contains(&2));
        assert_eq!(looks.answer(&grid).unwrap().labels, expected);
    }
}
