//! Preprocessed cases as a source of training samples.

use organseg_roi::BoundingBox;
use organseg_train::{
    AugmentConfig, CropSampler, PatchSampler, Sample, SampleSource, TrainError, sample_rng,
};
use organseg_volume::{LabelVolume, Volume};
use rand::seq::SliceRandom;

/// A case as a stage sees it.
#[derive(Clone, Debug)]
pub(crate) struct PreparedCase {
    pub(crate) name: String,
    pub(crate) image: Volume<f32>,
    pub(crate) labels: LabelVolume,
}

/// What is cut out of a case for a sample.
#[derive(Clone, Debug)]
pub(crate) enum Cut {
    /// All of it.
    Whole,
    /// A patch of a size.
    Patch(PatchSampler),
    /// The box of the true mask, its sides moved about.
    Crop(CropSampler),
    /// A patch of a size from that box.
    PatchOfCrop(CropSampler, PatchSampler),
}

/// Draws samples from cases in memory; every epoch visits each case equally often, in an order of its
/// own.
pub(crate) struct CaseSource {
    pub(crate) cases: Vec<PreparedCase>,
    pub(crate) cut: Cut,
    pub(crate) augment: AugmentConfig,
    pub(crate) samples_per_case: usize,
    pub(crate) seed: u64,
}

/// Sets the generator of an epoch's order apart from those of its samples.
const ORDER_STREAM: usize = usize::MAX;

impl CaseSource {
    /// The case that sample `index` of epoch `epoch` is drawn from.
    fn case(&self, epoch: usize, index: usize) -> &PreparedCase {
        let mut order: Vec<usize> = (0..self.cases.len()).collect();
        order.shuffle(&mut sample_rng(self.seed, epoch, ORDER_STREAM));
        &self.cases[order[index % order.len()]]
    }
}

impl SampleSource for CaseSource {
    fn samples_per_epoch(&self) -> usize {
        self.cases.len() * self.samples_per_case
    }

    fn sample(&self, epoch: usize, index: usize) -> Result<Sample, TrainError> {
        let case = self.case(epoch, index);
        let mut rng = sample_rng(self.seed, epoch, index);
        let mut sample = match &self.cut {
            Cut::Whole => Sample {
                image: case.image.voxels().to_vec(),
                labels: case.labels.voxels().to_vec(),
                size: case.image.size(),
            },
            Cut::Patch(patch) => patch.sample(&case.image, &case.labels, &mut rng)?,
            Cut::Crop(crop) => crop.sample(&case.image, &case.labels, &mut rng)?,
            Cut::PatchOfCrop(crop, patch) => {
                let place = crop.place(&case.labels, &mut rng)?;
                let image = organseg_roi::crop(&case.image, &place, 0.0);
                let labels = organseg_roi::crop(&case.labels, &place, 0);
                patch.sample(&image, &labels, &mut rng)?
            }
        };
        let spacing_mm = case.image.grid().spacing().to_array();
        self.augment.apply_with_spacing(&mut sample, spacing_mm, &mut rng);
        Ok(sample)
    }

    fn describe(&self, epoch: usize, index: usize) -> String {
        self.case(epoch, index).name.clone()
    }
}

/// `case` cut down to what training crops can reach: the box of its mask grown by `reach` voxels.
pub(crate) fn within_reach(case: PreparedCase, reach: usize) -> Option<PreparedCase> {
    let place = BoundingBox::of_mask(&case.labels)?.grow([reach; 3]).clamp_to(case.image.size())?;
    Some(PreparedCase {
        name: case.name,
        image: organseg_roi::crop(&case.image, &place, 0.0),
        labels: organseg_roi::crop(&case.labels, &place, 0),
    })
}
