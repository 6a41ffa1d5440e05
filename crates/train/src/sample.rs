//! What a network is shown: patches of a prepared case, or the crop around its organ.
//!
//! Both samplers draw from the generator they are given and from nothing else. Where a patch or crop
//! reaches outside the image it is filled with the image's smallest value (0 where it was windowed, air
//! in most scans) and background; also where there is an ignore label, for that no organ is outside is known.
//!
//! Where voxels are of an ignore label, which nobody annotated, it is no organ, and every patch is drawn around a
//! voxel that somebody did annotate, as nnU-Net does: with a few annotated slices most others would teach nothing.

use organseg_roi::{BoundingBox, crop};
use organseg_volume::{Label, LabelVolume, Volume};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::dataset::{nth_voxel_of_label, voxels_per_label};
use crate::{TrainError, organ_box};

/// One training example: an image and its labels, x fastest in memory, so that both are a contiguous
/// (D, H, W) array.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Intensities, `size` voxels.
    pub image: Vec<f32>,
    /// A label a voxel.
    pub labels: Vec<Label>,
    /// Voxels along (x, y, z).
    pub size: [usize; 3],
}

impl Sample {
    /// What `at` holds of `image` and its `labels`; the box may reach outside.
    ///
    /// # Errors
    /// [`TrainError::Volume`] if the two are not on one grid.
    pub fn cut(image: &Volume<f32>, labels: &LabelVolume, at: &BoundingBox) -> Result<Self, TrainError> {
        image.grid().check_same(labels.grid())?;
        let image = crop(image, at, fill_for(image, at)).into_vec();
        Ok(Self { image, labels: crop(labels, at, 0).into_vec(), size: at.size() })
    }
}

/// What fills the part of `at` that lies outside `image`: its smallest value. Not looked for where nothing does.
pub(crate) fn fill_for(image: &Volume<f32>, at: &BoundingBox) -> f32 {
    let inside = at.clamp_to(image.size()).is_some_and(|clamped| clamped == *at);
    if inside { 0.0 } else { image.voxels().iter().copied().fold(f32::INFINITY, f32::min) }
}

/// Draws patches of one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PatchSampler {
    size: [usize; 3],
    foreground_share: f64,
    padding: Padding,
    ignore: Option<Label>,
}

/// What happens where an image is smaller than a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// The whole image lies somewhere in the patch, and the rest is filled.
    #[default]
    Fill,
    /// It is an error.
    Refuse,
}

impl PatchSampler {
    /// A sampler of patches of `size` voxels along (x, y, z); a share of `foreground_share`, from 0 to 1,
    /// is drawn around a foreground voxel, and the others lie anywhere.
    #[must_use]
    pub fn new(size: [usize; 3], foreground_share: f64) -> Self {
        Self { size, foreground_share, padding: Padding::default(), ignore: None }
    }

    /// With this way of treating images that are smaller than a patch.
    #[must_use]
    pub fn with_padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    /// With `ignore` as the label of voxels that nobody annotated.
    #[must_use]
    pub fn with_ignore(mut self, ignore: Option<Label>) -> Self {
        self.ignore = ignore;
        self
    }

    /// Draws a patch; see [`PatchSampler::place`] for where.
    ///
    /// # Errors
    /// As [`PatchSampler::place`] and [`Sample::cut`].
    pub fn sample<R: Rng + ?Sized>(
        &self,
        image: &Volume<f32>,
        labels: &LabelVolume,
        rng: &mut R,
    ) -> Result<Sample, TrainError> {
        Sample::cut(image, labels, &self.place(labels, rng)?)
    }

    /// Draws the place of a patch.
    ///
    /// For a foreground patch, first one of the labels above 0 is drawn, each as likely, and then one of
    /// its voxels, so that a small structure is seen as often as a large one. The voxel comes to lie
    /// somewhere in the patch's central half, unless the border is in the way. Where there is no
    /// foreground, any patch is drawn. A patch that would be drawn anywhere is drawn around an annotated voxel
    /// in the same way, each as likely, where some voxels are of the ignore label and some are not.
    ///
    /// Along an axis where the image is at least as long as the patch, the patch lies inside; where it is
    /// shorter, the whole image lies somewhere in the patch, and the rest is outside; [`Padding::Refuse`]
    /// makes that an error.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an empty patch or a share outside [0, 1], [`TrainError::PatchTooLarge`].
    pub fn place<R: Rng + ?Sized>(
        &self,
        labels: &LabelVolume,
        rng: &mut R,
    ) -> Result<BoundingBox, TrainError> {
        if !(0.0..=1.0).contains(&self.foreground_share) {
            let found = self.foreground_share.to_string();
            return Err(TrainError::Config { field: "foreground_share", found, expected: "from 0 to 1" });
        }
        if self.size.contains(&0) {
            let found = format!("{:?}", self.size);
            return Err(TrainError::Config {
                field: "patch_size",
                found,
                expected: "at least 1 along each axis",
            });
        }
        if self.padding == Padding::Refuse && (0..3).any(|a| self.size[a] > labels.size()[a]) {
            return Err(TrainError::PatchTooLarge { patch: self.size, image: labels.size() });
        }
        let wanted = rng.random_bool(self.foreground_share);
        let foreground = if wanted { foreground_voxel(labels, self.ignore, rng) } else { None };
        let centre = foreground.or_else(|| annotated_voxel(labels, self.ignore?, rng));
        let (mut min, mut max) = ([0i64; 3], [0i64; 3]);
        for axis in 0..3 {
            let patch = self.size[axis] as i64;
            let slack = labels.size()[axis] as i64 - patch;
            min[axis] = match centre {
                Some(centre) if slack > 0 => {
                    let place_in_patch = patch / 2 + rng.random_range(-(patch / 4)..=patch / 4);
                    (centre[axis] as i64 - place_in_patch).clamp(0, slack)
                }
                _ => rng.random_range(slack.min(0)..=slack.max(0)),
            };
            max[axis] = min[axis] + patch;
        }
        Ok(BoundingBox::new(min, max)?)
    }
}

/// A voxel of one of the labels above 0 but `ignore`.
fn foreground_voxel<R: Rng + ?Sized>(
    labels: &LabelVolume,
    ignore: Option<Label>,
    rng: &mut R,
) -> Option<[usize; 3]> {
    let counts = voxels_per_label(labels);
    let occurs = |&label: &Label| counts[usize::from(label)] > 0 && Some(label) != ignore;
    let present: Vec<Label> = (1..=Label::MAX).filter(occurs).collect();
    if present.is_empty() {
        return None;
    }
    let label = present[rng.random_range(0..present.len())];
    let rank = rng.random_range(0..counts[usize::from(label)]);
    Some(index_of(nth_voxel_of_label(labels, label, rank as usize)?, labels.size()))
}

/// A voxel that is not `ignore`; none where all or no voxels are.
fn annotated_voxel<R: Rng + ?Sized>(labels: &LabelVolume, ignore: Label, rng: &mut R) -> Option<[usize; 3]> {
    let annotated = || (0..).zip(labels.voxels()).filter(|&(_, &label)| label != ignore);
    let count = annotated().count();
    if count == 0 || count == labels.voxels().len() {
        return None;
    }
    let (offset, _) = annotated().nth(rng.random_range(0..count))?;
    Some(index_of(offset, labels.size()))
}

/// The voxel at `offset` in memory.
fn index_of(offset: usize, [nx, ny, _]: [usize; 3]) -> [usize; 3] {
    [offset % nx, offset / nx % ny, offset / (nx * ny)]
}

/// Draws crops around the organ: the fine stage's training samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropSampler {
    margin_voxels: [usize; 3],
    jitter_voxels: [usize; 3],
    ignore: Option<Label>,
}

impl CropSampler {
    /// A sampler of the mask's box grown by `margin_voxels` along (x, y, z) on both sides (the paper's 10), each of the
    /// six sides then moved in or out by up to `jitter_voxels`, so that the network also sees crops as
    /// the coarse stage will give them; 0 for the paper's crops.
    #[must_use]
    pub fn new(margin_voxels: [usize; 3], jitter_voxels: [usize; 3]) -> Self {
        Self { margin_voxels, jitter_voxels, ignore: None }
    }

    /// With `ignore` as the label of voxels that nobody annotated, around which no crop is drawn.
    #[must_use]
    pub fn with_ignore(mut self, ignore: Option<Label>) -> Self {
        self.ignore = ignore;
        self
    }

    /// Draws a crop; see [`CropSampler::place`] for where.
    ///
    /// # Errors
    /// As [`CropSampler::place`] and [`Sample::cut`].
    pub fn sample<R: Rng + ?Sized>(
        &self,
        image: &Volume<f32>,
        labels: &LabelVolume,
        rng: &mut R,
    ) -> Result<Sample, TrainError> {
        Sample::cut(image, labels, &self.place(labels, rng)?)
    }

    /// Draws the box, clamped to the volume. A jitter that would leave nothing along an axis is not
    /// applied there; one larger than the margin may cut the organ.
    ///
    /// # Errors
    /// [`TrainError::NoForeground`] if no voxel of `labels` is an organ's.
    pub fn place<R: Rng + ?Sized>(
        &self,
        labels: &LabelVolume,
        rng: &mut R,
    ) -> Result<BoundingBox, TrainError> {
        let organ = organ_box(labels, self.ignore).ok_or(TrainError::NoForeground)?;
        let grown = organ.grow(self.margin_voxels);
        let (mut min, mut max) = (grown.min(), grown.max());
        for axis in 0..3 {
            let jitter = self.jitter_voxels[axis] as i64;
            let n = labels.size()[axis] as i64;
            let low = (min[axis] + rng.random_range(-jitter..=jitter)).max(0);
            let high = (max[axis] + rng.random_range(-jitter..=jitter)).min(n);
            (min[axis], max[axis]) =
                if low < high { (low, high) } else { (min[axis].max(0), max[axis].min(n)) };
        }
        Ok(BoundingBox::new(min, max)?)
    }
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, LabelVolume, Spacing, Volume};

    use super::*;
    use crate::sample_rng;

    const SIZE: [usize; 3] = [20, 16, 12];

    /// Voxels numbered in memory order from 5, with label 1 in a box of 24 and label 2 in one voxel.
    fn case() -> (Volume<f32>, LabelVolume) {
        let grid = Grid::with_spacing(SIZE, Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |index| grid.offset(index) as f32 + 5.0);
        let labels = LabelVolume::from_fn(grid, |index| match index {
            [15, 3, 9] => 2,
            [5..9, 6..8, 4..7] => 1,
            _ => 0,
        });
        (image, labels)
    }

    fn foreground(sample: &Sample) -> usize {
        sample.labels.iter().filter(|&&label| label > 0).count()
    }

    #[test]
    fn foreground_patches_hold_foreground_and_lie_inside() {
        let (image, labels) = case();
        let sampler = PatchSampler::new([6, 4, 4], 1.0);
        let mut seen = [0; 3];
        for index in 0..200 {
            let place = sampler.place(&labels, &mut sample_rng(0, 0, index)).unwrap();
            assert!((0..3).all(|a| place.min()[a] >= 0 && place.max()[a] <= SIZE[a] as i64));
            let sample = Sample::cut(&image, &labels, &place).unwrap();
            assert_eq!((sample.size, sample.image.len()), ([6, 4, 4], 96));
            assert!(foreground(&sample) > 0);
            (1..3).for_each(|label| seen[label] += usize::from(sample.labels.contains(&(label as Label))));
        }
        // Each is drawn in half of the cases although one has 24 voxels and the other has one.
        assert!(seen[1] > 70 && seen[2] > 70, "{seen:?}");
    }

    #[test]
    fn share_of_foreground_patches_is_kept() {
        let (image, labels) = case();
        let share = |share| {
            let sampler = PatchSampler::new([3, 3, 3], share);
            let draw = |index| sampler.sample(&image, &labels, &mut sample_rng(1, 0, index)).unwrap();
            (0..400).filter(|&index| foreground(&draw(index)) > 0).count() as f64 / 400.0
        };
        let by_chance = share(0.0);
        // Three standard deviations of a share of 400.
        assert!((share(0.5) - (0.5 + 0.5 * by_chance)).abs() < 0.08);
        assert!((share(1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_patch_larger_than_the_image_is_padded_around_all_of_it() {
        let (image, labels) = case();
        for share in [0.0, 1.0] {
            let sampler = PatchSampler::new([24, 16, 20], share);
            let sample = sampler.sample(&image, &labels, &mut sample_rng(2, 0, 0)).unwrap();
            let mut values = sample.image.clone();
            values.sort_by(f32::total_cmp);
            let padding = 24 * 16 * 20 - image.voxels().len();
            assert!(values[..padding].iter().all(|&v| v == 5.0));
            assert_eq!(values[padding..], *image.voxels());
            assert_eq!(foreground(&sample), 25);
        }
    }

    #[test]
    fn a_patch_larger_than_the_image_can_be_refused_with_both_sizes() {
        let sampler = PatchSampler::new([24, 16, 8], 0.5).with_padding(Padding::Refuse);
        let error = sampler.place(&case().1, &mut sample_rng(0, 0, 0)).unwrap_err().to_string();
        assert!(error.contains("[24, 16, 8]") && error.contains("[20, 16, 12]"), "{error}");
        let fits = PatchSampler::new([20, 16, 12], 0.5).with_padding(Padding::Refuse);
        assert!(fits.place(&case().1, &mut sample_rng(0, 0, 0)).is_ok());
    }

    #[test]
    fn image_and_labels_are_cut_at_one_place() {
        let (image, labels) = case();
        let sample = PatchSampler::new([5; 3], 1.0).sample(&image, &labels, &mut sample_rng(3, 0, 0));
        let sample = sample.unwrap();
        for (value, label) in sample.image.iter().zip(&sample.labels) {
            assert_eq!(labels.voxels()[*value as usize - 5], *label);
        }
    }

    #[test]
    fn one_generator_gives_one_sample() {
        let (image, labels) = case();
        let sampler = PatchSampler::new([5, 6, 7], 0.5);
        let draw = |index| sampler.sample(&image, &labels, &mut sample_rng(4, 1, index)).unwrap();
        assert_eq!(draw(8), draw(8));
        assert_ne!(draw(8), draw(9));
    }

    #[test]
    fn crops_grow_by_the_margin_and_stop_at_the_border() {
        let place = CropSampler::new([4; 3], [0; 3]).place(&case().1, &mut sample_rng(0, 0, 0)).unwrap();
        assert_eq!((place.min(), place.max()), ([1, 0, 0], [20, 12, 12]));
    }

    #[test]
    fn jitter_changes_the_size_of_a_crop_as_well_as_its_place() {
        let (_, labels) = case();
        let (mut sizes, mut middles) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
        for index in 0..200 {
            let place =
                CropSampler::new([2; 3], [2; 3]).place(&labels, &mut sample_rng(7, 0, index)).unwrap();
            sizes.insert(place.size()[0]);
            middles.insert(place.min()[0] + place.max()[0]);
        }
        // Along x the crop has 15 voxels and stays inside the image at the far end: both sides move by ±2 there.
        assert!(sizes.first() < Some(&15) && sizes.last() > Some(&15), "{sizes:?}");
        assert!(middles.len() > 4, "{middles:?}");
    }

    #[test]
    fn jitter_moves_each_side_by_no_more_than_it_says() {
        let (image, labels) = case();
        let sampler = CropSampler::new([2; 3], [2; 3]);
        let plain = CropSampler::new([2; 3], [0; 3]).place(&labels, &mut sample_rng(0, 0, 0)).unwrap();
        let mut sizes = std::collections::BTreeSet::new();
        for index in 0..100 {
            let place = sampler.place(&labels, &mut sample_rng(5, 0, index)).unwrap();
            for axis in 0..3 {
                assert!((place.min()[axis] - plain.min()[axis]).abs() <= 2);
                assert!((place.max()[axis] - plain.max()[axis]).abs() <= 2);
            }
            let sample = sampler.sample(&image, &labels, &mut sample_rng(5, 0, index)).unwrap();
            assert_eq!((sample.size, foreground(&sample)), (place.size(), 25));
            sizes.insert(sample.size);
        }
        assert!(sizes.len() > 10);
    }

    #[test]
    fn wild_jitter_never_empties_the_crop() {
        let (image, labels) = case();
        for index in 0..100 {
            let sample =
                CropSampler::new([0; 3], [50; 3]).sample(&image, &labels, &mut sample_rng(6, 0, index));
            assert!(!sample.unwrap().image.is_empty());
        }
    }

    #[test]
    fn labels_without_foreground_give_patches_but_no_crop() {
        let (image, labels) = case();
        let empty = labels.map(|_| 0);
        let patch = PatchSampler::new([4; 3], 1.0).sample(&image, &empty, &mut sample_rng(0, 0, 0));
        assert_eq!(patch.unwrap().size, [4; 3]);
        let error = CropSampler::new([10; 3], [0; 3]).sample(&image, &empty, &mut sample_rng(0, 0, 0));
        assert!(matches!(error, Err(TrainError::NoForeground)));
    }

    /// The case with all that lies above z = 3 ignored but the two organs and a voxel of background.
    fn sparse_case() -> LabelVolume {
        let plain = case().1;
        LabelVolume::from_fn(*plain.grid(), |at| match plain[at] {
            0 if at[2] > 3 && at != [1, 14, 11] => 9,
            label => label,
        })
    }

    #[test]
    fn no_patch_is_drawn_around_what_nobody_annotated() {
        let labels = sparse_case();
        let voxels = |place: &BoundingBox| crop(&labels, place, 0).into_vec();
        let mut at_the_edge = 0;
        for index in 0..300 {
            let draw = |share| {
                let sampler = PatchSampler::new([3, 3, 3], share).with_ignore(Some(9));
                voxels(&sampler.place(&labels, &mut sample_rng(8, 0, index)).unwrap())
            };
            assert!(draw(1.0).iter().any(|&label| label == 1 || label == 2), "an organ");
            let anywhere = draw(0.0);
            assert!(anywhere.iter().any(|&label| label != 9), "something annotated");
            at_the_edge += usize::from(anywhere.contains(&9));
        }
        assert!(at_the_edge > 0, "what lies around an annotated voxel is seen");
        // Without a foreground a patch that is to hold some is drawn around what was annotated too.
        let empty = labels.map(|label| if label == 9 { 9 } else { 0 });
        let sampler = PatchSampler::new([3, 3, 3], 1.0).with_ignore(Some(9));
        for index in 0..100 {
            let place = sampler.place(&empty, &mut sample_rng(9, 0, index)).unwrap();
            assert!(crop(&empty, &place, 9).voxels().contains(&0));
        }
        assert!(sampler.place(&empty.map(|_| 9), &mut sample_rng(9, 0, 0)).is_ok());
    }

    #[test]
    fn an_ignore_label_that_does_not_occur_changes_no_draw() {
        let labels = case().1;
        for index in 0..50 {
            let draw = |ignore| {
                let patch = PatchSampler::new([6, 4, 4], 0.5).with_ignore(ignore);
                let crop = CropSampler::new([2; 3], [2; 3]).with_ignore(ignore);
                let places = [patch.place(&labels, &mut sample_rng(1, 0, index))];
                let places = places.into_iter().chain([crop.place(&labels, &mut sample_rng(1, 0, index))]);
                places.collect::<Result<Vec<_>, _>>().unwrap()
            };
            assert_eq!(draw(Some(9)), draw(None));
        }
    }

    #[test]
    fn crops_are_drawn_around_the_organ_and_not_around_what_nobody_annotated() {
        let place = |labels: &LabelVolume| {
            CropSampler::new([4; 3], [0; 3]).with_ignore(Some(9)).place(labels, &mut sample_rng(0, 0, 0))
        };
        assert_eq!(place(&sparse_case()).unwrap(), place(&case().1).unwrap());
        let ignored = sparse_case().map(|label| if label < 9 { 0 } else { 9 });
        assert!(matches!(place(&ignored), Err(TrainError::NoForeground)));
    }

    #[test]
    fn impossible_settings_are_refused() {
        let (_, labels) = case();
        let refused =
            |sampler: PatchSampler| sampler.place(&labels, &mut sample_rng(0, 0, 0)).unwrap_err().to_string();
        assert!(refused(PatchSampler::new([8, 0, 8], 0.5)).contains("[8, 0, 8]"));
        for share in [-0.1, 1.5, f64::NAN] {
            assert!(refused(PatchSampler::new([8; 3], share)).contains("foreground_share"));
        }
    }
}
