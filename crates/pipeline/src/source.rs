//! Preprocessed cases as a source of training samples.

use organseg_roi::BoundingBox;
use organseg_train::{
    AugmentConfig, CropSampler, PatchSampler, Sample, SampleSource, TrainError, organ_box, sample_rng,
};
use organseg_volume::{Label, LabelVolume, Volume};
use rand::Rng;
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
                let outer = crop.place(&case.labels, &mut rng)?;
                let inner = patch.place(&organseg_roi::crop(&case.labels, &outer, 0), &mut rng)?;
                return self.draw_in(case, &outer, &inner, &mut rng);
            }
        };
        self.augment.cut(&case.image, &case.labels, &place, &mut rng)
    }

    /// The patch `inner` of the crop `outer`. It sees of its surroundings what tiles of a box see at prediction: along
    /// an axis where the crop is shorter the crop, no more; along others it lies inside and, turned, shows what is
    /// beside it in the scan.
    fn draw_in(
        &self,
        case: &PreparedCase,
        outer: &BoundingBox,
        inner: &BoundingBox,
        rng: &mut impl Rng,
    ) -> Result<Sample, TrainError> {
        let size = case.image.size();
        let (mut min, mut max) = ([0; 3], size.map(|n| n as i64));
        for a in (0..3).filter(|&a| inner.size()[a] > outer.size()[a]) {
            (min[a], max[a]) = (outer.min()[a], outer.max()[a]);
        }
        let shift = [0, 1, 2].map(|a| outer.min()[a] - min[a]);
        let at = |corner: [i64; 3]| [0, 1, 2].map(|a| corner[a] + shift[a]);
        let place = BoundingBox::new(at(inner.min()), at(inner.max()))?;
        let seen = BoundingBox::new(min, max)?;
        if seen.size() == size {
            return self.augment.cut(&case.image, &case.labels, &place, rng);
        }
        let image = organseg_roi::crop(&case.image, &seen, 0.0);
        let labels = organseg_roi::crop(&case.labels, &seen, 0);
        self.augment.cut(&image, &labels, &place, rng)
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

/// What is kept of a case for the fine stage has at most so many times the voxels of its largest crop: a cube turned by
/// the 10° and shrunk to the 0.9 of the light augmentation can show 3.8 times as many (`AugmentConfig::reach_voxels`), by
/// those of the strong one nearly all of a scan, and all cases are in memory together. Beyond it the outermost voxel
/// repeats.
const MOST_KEPT: usize = 4;

/// `case` cut down to what training crops can reach: the box of its organs, which `ignore` is none of, grown by
/// `reach` voxels, and what `varied`, if they are, they or patches of `patch_size` from them show beyond, within
/// [`MOST_KEPT`].
pub(crate) fn within_reach(
    case: PreparedCase,
    reach: [usize; 3],
    varied: Option<(&AugmentConfig, Option<[usize; 3]>)>,
    ignore: Option<Label>,
) -> Option<PreparedCase> {
    let mut place = organ_box(&case.labels, ignore)?.grow(reach).clamp_to(case.image.size())?;
    if let Some((augment, patch_size)) = varied {
        let spacing_mm = case.image.grid().spacing().to_array();
        let more = augment.reach_voxels(patch_size.unwrap_or(place.size()), spacing_mm);
        let voxels = |place: &BoundingBox| place.size().into_iter().product::<usize>();
        let most = MOST_KEPT * voxels(&place);
        let wider = |tenths: usize| place.grow(more.map(|n| n * tenths / 10)).clamp_to(case.image.size());
        let affordable = (0..=10).rev().filter_map(wider).find(|wider| voxels(wider) <= most);
        place = affordable.unwrap_or(place);
    }
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

    /// What is left of a case for the fine stage shows a varied sample as the whole case does.
    #[test]
    fn what_is_kept_of_a_case_is_all_that_its_crops_and_their_patches_show() {
        let (crop, patch) = (CropSampler::new([2; 3], [1; 3]), PatchSampler::new([9, 8, 14], 0.5));
        for (cut, patch_size) in [(Cut::Crop(crop), None), (Cut::PatchOfCrop(crop, patch), Some([9, 8, 14]))]
        {
            let mut all = source(cut.clone());
            // Small beside the organ, so that something is cut off, and always turned.
            let grid = Grid::with_spacing([60, 50, 40], Spacing::new([1.0, 1.0, 2.0]).unwrap()).unwrap();
            let image = Volume::from_fn(grid, |at| ((grid.offset(at) * 37) % 101) as f32);
            let labels = LabelVolume::from_fn(grid, |[x, y, z]| {
                u8::from(x.abs_diff(30) < 5 && y.abs_diff(25) < 5 && z.abs_diff(20) < 3)
            });
            let case = PreparedCase { name: "a".into(), image, labels };
            all.augment = AugmentConfig {
                spatial_probability: 1.0,
                rotation_degrees: 5.0,
                scale_range: [0.9, 1.1],
                elastic_voxels: 1.0,
                intensity_probability: 0.0,
                blur_probability: 0.0,
                low_resolution_probability: 0.0,
                ..all.augment
            };
            let kept = within_reach(case.clone(), [3; 3], Some((&all.augment, patch_size)), None).unwrap();
            let [kept_size, size] = [kept.image.size(), case.image.size()];
            assert!((0..3).all(|a| kept_size[a] < size[a]), "{kept_size:?}");
            let part = CaseSource { cases: vec![kept], augment: all.augment.clone(), ..source(cut) };
            all.cases = vec![case];
            for index in 0..40 {
                let [found, expected] = [&part, &all].map(|source| source.sample(0, index).unwrap());
                assert_eq!((found.size, &found.labels), (expected.size, &expected.labels));
                // Places are worked out from other corners.
                let apart = found.image.iter().zip(&expected.image).map(|(a, b)| (a - b).abs());
                let worst = apart.fold(0.0f32, f32::max);
                assert!(worst < 0.02, "{index}: {worst}");
            }
        }
    }

    #[test]
    fn samples_are_the_same_in_any_order_and_with_any_number_of_threads() {
        let (crop, patch) = (CropSampler::new([3; 3], [2; 3]), PatchSampler::new([8, 12, 16], 0.5));
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
