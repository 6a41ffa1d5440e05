//! Preprocessed cases as a source of training samples.

use organseg_roi::BoundingBox;
use organseg_train::{
    AugmentConfig, CropSampler, PatchSampler, Sample, SampleSource, TrainError, organ_box, sample_rng,
};
use organseg_volume::{Label, LabelVolume, Volume};
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

    fn draw(&self, case: &PreparedCase, epoch: usize, index: usize) -> Result<Sample, TrainError> {
        let mut rng = sample_rng(self.seed, epoch, index);
        let place = match &self.cut {
            Cut::Whole => BoundingBox::of_grid(case.image.grid()),
            Cut::Patch(patch) => patch.place(&case.labels, &mut rng)?,
            Cut::Crop(crop) => crop.place(&case.labels, &mut rng)?,
            Cut::PatchOfCrop(crop, patch) => {
                // The patch sees of its surroundings what tiles of a box see at prediction: the box, no more.
                let place = crop.place(&case.labels, &mut rng)?;
                let image = organseg_roi::crop(&case.image, &place, 0.0);
                let labels = organseg_roi::crop(&case.labels, &place, 0);
                let place = patch.place(&labels, &mut rng)?;
                return self.augment.cut(&image, &labels, &place, &mut rng);
            }
        };
        self.augment.cut(&case.image, &case.labels, &place, &mut rng)
    }
}

impl SampleSource for CaseSource {
    fn samples_per_epoch(&self) -> usize {
        self.cases.len() * self.samples_per_case
    }

    fn sample(&self, epoch: usize, index: usize) -> Result<Sample, TrainError> {
        let case = self.case(epoch, index);
        self.draw(case, epoch, index).map_err(|error| error.in_case(&case.name))
    }

    fn describe(&self, epoch: usize, index: usize) -> String {
        self.case(epoch, index).name.clone()
    }
}

/// `case` cut down to what training crops can reach: the box of its organs, which `ignore` is none of, grown by
/// `reach` voxels.
pub(crate) fn within_reach(case: PreparedCase, reach: usize, ignore: Option<Label>) -> Option<PreparedCase> {
    let place = organ_box(&case.labels, ignore)?.grow([reach; 3]).clamp_to(case.image.size())?;
    Some(PreparedCase {
        name: case.name,
        image: organseg_roi::crop(&case.image, &place, 0.0),
        labels: organseg_roi::crop(&case.labels, &place, 0),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use organseg_train::PrefetchLoader;
    use organseg_volume::{Grid, Spacing};

    use super::*;

    /// Two cases of different size in which everything that can be varied is.
    fn source(cut: Cut) -> CaseSource {
        let case = |name: &str, size: [usize; 3]| {
            let grid = Grid::with_spacing(size, Spacing::new([1.0, 1.0, 2.0]).unwrap()).unwrap();
            let image = Volume::from_fn(grid, |at| ((grid.offset(at) * 37) % 101) as f32);
            let labels = LabelVolume::from_fn(grid, |[x, y, z]| {
                u8::from(x.abs_diff(8) < 4 && y.abs_diff(7) < 3 && z.abs_diff(5) < 3)
            });
            PreparedCase { name: name.into(), image, labels }
        };
        let augment = AugmentConfig {
            spatial_probability: 0.7,
            elastic_probability: 0.7,
            intensity_probability: 0.7,
            blur_probability: 0.7,
            low_resolution_probability: 0.7,
            ..AugmentConfig::strong()
        };
        let cases = vec![case("a", [20, 16, 12]), case("b", [18, 15, 11])];
        CaseSource { cases, cut, augment, samples_per_case: 4, seed: 11 }
    }

    #[test]
    fn samples_are_the_same_in_any_order_and_with_any_number_of_threads() {
        let (crop, patch) = (CropSampler::new(3, 2), PatchSampler::new([8, 12, 16], 0.5));
        for cut in [Cut::Whole, Cut::Patch(patch), Cut::Crop(crop), Cut::PatchOfCrop(crop, patch)] {
            let source = Arc::new(source(cut));
            let alone: Vec<Sample> = (0..8).map(|i| source.sample(1, i).unwrap()).collect();
            for index in [5, 0, 7, 5] {
                assert!(source.sample(1, index).unwrap() == alone[index], "sample {index} out of order");
            }
            assert!(source.sample(2, 3).unwrap() != alone[3], "another epoch");
            for threads in [1, 3] {
                let source = Arc::clone(&source);
                let loader = PrefetchLoader::new(0..8, move |index| source.sample(1, index), threads, 4);
                let together: Result<Vec<_>, _> = loader.collect();
                assert!(together.unwrap() == alone, "{threads} threads");
            }
        }
    }
}
