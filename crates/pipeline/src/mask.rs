//! A mask that may know by how much each of its labels leads, to be put on another grid.
//!
//! Leads cost a byte a voxel where a network looked. They are there for scans that were resampled; masks of others come back
//! as they are.

use organseg_roi::{BoundingBox, RoiError, paste};
use organseg_train::{Preprocessing, TrainError};
use organseg_volume::{Grid, Label, LabelVolume, Volume, VolumeError};
use rayon::prelude::*;

use crate::PipelineError;
use crate::scores::SURE;
use crate::vote::vote;

/// Labels and, perhaps, by how much they lead, as `labels_from_leads` wants it.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    pub(crate) labels: LabelVolume,
    pub(crate) leads: Option<Volume<u8>>,
}

impl Mask {
    /// From voxels on `grid`.
    pub(crate) fn from_vecs(
        grid: Grid,
        (labels, leads): (Vec<Label>, Option<Vec<u8>>),
    ) -> Result<Self, VolumeError> {
        let leads = leads.map(|leads| Volume::from_vec(grid, leads)).transpose()?;
        Ok(Self { labels: LabelVolume::from_vec(grid, labels)?, leads })
    }

    /// Undoubted background on `grid`.
    pub(crate) fn empty(grid: Grid, with_leads: bool) -> Self {
        let leads = with_leads.then(|| Volume::filled(grid, SURE));
        Self { labels: LabelVolume::filled(grid, 0), leads }
    }

    /// Puts `part` into `place`.
    pub(crate) fn paste(&mut self, part: &Self, place: &BoundingBox) -> Result<(), RoiError> {
        paste(&mut self.labels, &part.labels, place)?;
        match (&mut self.leads, &part.leads) {
            (Some(leads), Some(part)) => paste(leads, part, place),
            _ => Ok(()),
        }
    }

    /// The vote of three, of which `coarse` never doubts. The lead is the median of what the three have for the label that won,
    /// negative where one is for another: it changes its sign where the vote does.
    pub(crate) fn vote(masks: [&Self; 2], coarse: &LabelVolume) -> Result<Self, PipelineError> {
        let labels = vote(&masks[0].labels, &masks[1].labels, coarse)?;
        let [Some(first), Some(second)] = masks.map(|mask| mask.leads.as_ref()) else {
            return Ok(Self { labels, leads: None });
        };
        let mut leads = first.clone();
        let support = |voted: Label, label: Label, lead: u8| {
            if voted == label { i16::from(lead) } else { -i16::from(lead) }
        };
        leads.voxels_mut().par_iter_mut().enumerate().for_each(|(v, lead)| {
            let voted = labels.voxels()[v];
            let mut three = [
                support(voted, masks[0].labels.voxels()[v], *lead),
                support(voted, masks[1].labels.voxels()[v], second.voxels()[v]),
                support(voted, coarse.voxels()[v], SURE),
            ];
            three.sort_unstable();
            // Where no two agree, nobody is behind the answer.
            *lead = three[1].max(1) as u8;
        });
        Ok(Self { labels, leads: Some(leads) })
    }

    /// The labels on the grid `original` of the scan that `preprocessing` has prepared.
    pub(crate) fn restored(
        self,
        preprocessing: &Preprocessing,
        original: &Grid,
    ) -> Result<LabelVolume, TrainError> {
        match self.leads {
            Some(leads) => preprocessing.restore_leading_labels(self.labels, &leads, original),
            None => preprocessing.restore_labels_owned(self.labels, original),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::Spacing;

    #[test]
    fn the_lead_of_a_vote_is_the_median_of_the_three() {
        let grid = Grid::with_spacing([6, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mask = |labels: [u8; 6], leads: [u8; 6]| {
            Mask::from_vecs(grid, (labels.to_vec(), Some(leads.to_vec()))).unwrap()
        };
        let first = mask([1, 1, 0, 1, 0, 1], [10, 10, 10, 10, 10, 10]);
        let second = mask([1, 0, 0, 1, 0, 2], [90, 90, 90, 90, 90, 90]);
        let coarse = LabelVolume::from_vec(grid, vec![1, 1, 1, 0, 0, 3]).unwrap();
        let voted = Mask::vote([&first, &second], &coarse).unwrap();
        assert_eq!(voted.labels.voxels(), [1, 1, 0, 1, 0, 2]);
        assert_eq!(voted.leads.unwrap().voxels(), [90, 10, 10, 10, 90, 1]);
        let without = Mask { leads: None, ..first };
        assert!(Mask::vote([&without, &second], &coarse).unwrap().leads.is_none());
    }
}
