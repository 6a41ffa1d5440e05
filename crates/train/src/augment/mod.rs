//! Varying samples: place and shape, mirroring, intensities.
//!
//! In this order, nnU-Net's, each with its own probability and strength drawn for the sample:
//! 1. mirroring along each allowed axis, rotation about x, y and z in turn, scaling, elastic deformation: all in
//!    one pass over the image, around the sample's centre;
//! 2. Gaussian noise, blur, contrast and brightness, low resolution, gamma.
//!
//! Samples of thick slices are turned, scaled, deformed and shown at a lower resolution within their slices alone
//! ([`ThickSlices`]).
//!
//! Strengths of intensity changes are in standard deviations of the sample, so that the same numbers
//! suit images windowed to [0, 1] and z-scored ones.
//!
//! Time for a sample of 40×56×40 voxels on one core, in the dev profile on a machine busy with other work (the least
//! of 100): 0.1 ms as it is, 0.2 mirrored, 2.6 rotated and scaled, 4.8 also deformed, 1.7 with noise, contrast,
//! brightness and gamma, 0.8 blurred, 0.5 at low resolution; half of the samples of the default took 1 ms, of
//! [`AugmentConfig::strong`] 8 ms. 128³ voxels take 20 to 60 times as long. `cargo bench -p organseg-benches --bench
//! samples` measures again.

mod elastic;
mod intensity;
mod mirror;
mod reach;
mod resample;
mod smooth;
mod thick_slices;
mod transform;

use organseg_roi::BoundingBox;
use organseg_volume::{Label, LabelVolume, Volume};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

pub use thick_slices::ThickSlices;

use crate::sample::fill_for;
use crate::{Sample, TrainError};
use elastic::{Elastic, MOST_WITHOUT_FOLDING};
use mirror::mirror;
use resample::Source;
use transform::Transform;

/// How samples are varied. The default is light: it suits trainings of minutes; those of hours gain
/// from [`AugmentConfig::strong`].
///
/// ```
/// use organseg_roi::BoundingBox;
/// use organseg_train::{AugmentConfig, sample_rng};
/// use organseg_volume::{Grid, LabelVolume, Spacing, Volume};
/// let only_mirror = AugmentConfig { mirror_probability: 1.0, ..AugmentConfig::none() };
/// let config = only_mirror.with_mirror_axes([true, false, false]);
/// config.check()?;
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0)?)?;
/// let image = Volume::from_vec(grid, vec![1.0, 2.0, 3.0])?;
/// let labels = LabelVolume::from_vec(grid, vec![0, 0, 7])?;
/// let whole = BoundingBox::of_grid(&grid);
/// let sample = config.cut(&image, &labels, &whole, &mut sample_rng(0, 0, 0))?;
/// assert_eq!((sample.image, sample.labels), (vec![3.0, 2.0, 1.0], vec![7, 0, 0]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentConfig {
    /// Which of the axes (x, y, z) a sample may be mirrored along. Off along an axis where the two
    /// sides have different labels (left and right kidney); for organs that always lie on one side of
    /// a scan it is a matter of trial.
    pub mirror_axes: [bool; 3],
    /// Probability of mirroring, for each allowed axis by itself.
    pub mirror_probability: f64,
    /// Along which axis slices are stacked that are too thick to be turned out of their plane.
    pub thick_slices: ThickSlices,
    /// Probability that a sample is rotated and scaled.
    pub spatial_probability: f64,
    /// Largest angle about each of the axes, in degrees; drawn uniformly from ± this.
    pub rotation_degrees: f64,
    /// Smallest and largest magnification; its logarithm is drawn uniformly between theirs.
    pub scale_range: [f64; 2],
    /// Probability that a sample is deformed: control points of a lattice move, and what lies between them
    /// follows smoothly (cubic B-splines).
    pub elastic_probability: f64,
    /// Distance between the control points, in voxels of the finest axis. 16 are as smooth as noise filtered
    /// with a Gaussian of 9 voxels.
    pub elastic_spacing_voxels: f64,
    /// Control points move by up to this along each axis, in voxels of the finest axis; how far in a sample is
    /// drawn uniformly from 0 to this. At most 0.4 times the distance, beyond which tissue could fold.
    pub elastic_voxels: f64,
    /// Probability of each of noise, contrast, brightness and gamma, each by itself.
    pub intensity_probability: f64,
    /// Contrast: deviations from the sample's mean are multiplied by 1 ± up to this.
    pub contrast: f64,
    /// Brightness: ± up to this many standard deviations are added.
    pub brightness: f64,
    /// Smallest and largest exponent γ of v → v^γ, applied to intensities scaled from the sample's range
    /// to [0, 1]; its logarithm is drawn uniformly.
    pub gamma_range: [f64; 2],
    /// Gaussian noise of up to this many standard deviations is added.
    pub noise: f64,
    /// Probability of a blur.
    pub blur_probability: f64,
    /// Smallest and largest standard deviation of its Gaussian, in voxels.
    pub blur_range_voxels: [f64; 2],
    /// Probability that a sample looks as if taken at a lower resolution.
    pub low_resolution_probability: f64,
    /// Smallest and largest share of its voxels along each axis that such a sample keeps.
    pub low_resolution_range: [f64; 2],
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            mirror_axes: [true; 3],
            mirror_probability: 0.5,
            thick_slices: ThickSlices::None,
            spatial_probability: 0.2,
            rotation_degrees: 10.0,
            scale_range: [0.9, 1.1],
            elastic_probability: 0.0,
            elastic_spacing_voxels: 16.0,
            elastic_voxels: 6.0,
            intensity_probability: 0.3,
            contrast: 0.15,
            brightness: 0.15,
            gamma_range: [0.8, 1.25],
            noise: 0.1,
            blur_probability: 0.05,
            blur_range_voxels: [0.5, 1.0],
            low_resolution_probability: 0.05,
            low_resolution_range: [0.5, 1.0],
        }
    }
}

impl AugmentConfig {
    /// What nnU-Net does (Isensee et al. 2021; its `get_training_transforms`), for trainings of hours: rotation by
    /// ±30° and magnification 0.7 to 1.4 (0.2 each: one of them in 0.36 of the samples), noise of a variance up
    /// to 0.1, contrast and brightness 0.75 to 1.25, gamma 0.7 to 1.5 (0.1 to 0.4 each: 0.2 here), blur of 0.5 to
    /// 1 voxel (0.2), low resolution of half and more (0.25). The elastic deformation, with the probability (0.2)
    /// and about the smoothness and strength that batchgenerators gives it, is one that nnU-Net has and leaves off.
    #[must_use]
    pub fn strong() -> Self {
        Self {
            spatial_probability: 0.36,
            rotation_degrees: 30.0,
            scale_range: [0.7, 1.4],
            elastic_probability: 0.2,
            intensity_probability: 0.2,
            contrast: 0.25,
            brightness: 0.25,
            gamma_range: [0.7, 1.5],
            noise: 0.3,
            blur_probability: 0.2,
            low_resolution_probability: 0.25,
            ..Self::default()
        }
    }

    /// No change at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            mirror_axes: [false; 3],
            spatial_probability: 0.0,
            elastic_probability: 0.0,
            intensity_probability: 0.0,
            blur_probability: 0.0,
            low_resolution_probability: 0.0,
            ..Self::default()
        }
    }

    /// With mirroring along these axes.
    #[must_use]
    pub fn with_mirror_axes(mut self, mirror_axes: [bool; 3]) -> Self {
        self.mirror_axes = mirror_axes;
        self
    }

    /// With slices stacked along this axis.
    #[must_use]
    pub fn with_thick_slices(mut self, thick_slices: ThickSlices) -> Self {
        self.thick_slices = thick_slices;
        self
    }

    /// With this probability of rotation and scaling.
    #[must_use]
    pub fn with_spatial_probability(mut self, probability: f64) -> Self {
        self.spatial_probability = probability;
        self
    }

    /// With this probability of elastic deformation.
    #[must_use]
    pub fn with_elastic_probability(mut self, probability: f64) -> Self {
        self.elastic_probability = probability;
        self
    }

    /// With this probability of each of noise, contrast, brightness and gamma.
    #[must_use]
    pub fn with_intensity_probability(mut self, probability: f64) -> Self {
        self.intensity_probability = probability;
        self
    }

    /// Checks probabilities and ranges.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the field.
    pub fn check(&self) -> Result<(), TrainError> {
        let probabilities = [
            ("mirror_probability", self.mirror_probability),
            ("spatial_probability", self.spatial_probability),
            ("elastic_probability", self.elastic_probability),
            ("intensity_probability", self.intensity_probability),
            ("blur_probability", self.blur_probability),
            ("low_resolution_probability", self.low_resolution_probability),
        ];
        for (field, found) in probabilities {
            require((0.0..=1.0).contains(&found), field, &found, "a number from 0 to 1")?;
        }
        let angle = self.rotation_degrees;
        require((0.0..=180.0).contains(&angle), "rotation_degrees", &angle, "a number from 0 to 180")?;
        let (distance, most) = (self.elastic_spacing_voxels, self.elastic_voxels);
        let valid = (1.0..f64::INFINITY).contains(&distance);
        require(valid, "elastic_spacing_voxels", &distance, "a number from 1")?;
        let valid = (0.0..=MOST_WITHOUT_FOLDING * distance).contains(&most);
        require(valid, "elastic_voxels", &most, "from 0 to 0.4 times elastic_spacing_voxels")?;
        require((0.0..1.0).contains(&self.contrast), "contrast", &self.contrast, "from 0 to below 1")?;
        for (field, found) in [("brightness", self.brightness), ("noise", self.noise)] {
            require((0.0..f64::INFINITY).contains(&found), field, &found, "0 or a positive number")?;
        }
        let ranges = [
            ("scale_range", self.scale_range),
            ("gamma_range", self.gamma_range),
            ("blur_range_voxels", self.blur_range_voxels),
            ("low_resolution_range", self.low_resolution_range),
        ];
        for (field, found) in ranges {
            let [low, high] = found;
            let valid = 0.0 < low && low <= high && high.is_finite();
            require(valid, field, &found, "two positive numbers, the smaller first")?;
        }
        let range = self.low_resolution_range;
        require(range[1] <= 1.0, "low_resolution_range", &range, "shares up to 1")?;
        let range = self.blur_range_voxels;
        // A Gaussian of more is no blur that a scanner has, and costs accordingly.
        require(range[1] <= 16.0, "blur_range_voxels", &range, "up to 16 voxels")
    }

    /// What `place` holds of `image` and its `labels`, varied; the box may reach outside. Rotation is rigid in
    /// millimetres. The sample has the size of `place`.
    ///
    /// # Errors
    /// As [`Sample::cut`], whose sample this is where nothing changes.
    ///
    /// # Panics
    /// If [`AugmentConfig::check`] would have refused the configuration.
    pub fn cut<R: Rng + ?Sized>(
        &self,
        image: &Volume<f32>,
        labels: &LabelVolume,
        place: &BoundingBox,
        rng: &mut R,
    ) -> Result<Sample, TrainError> {
        let (size, spacing_mm) = (place.size(), image.grid().spacing().to_array());
        let mirrored = self.mirror_axes.map(|allowed| allowed && rng.random_bool(self.mirror_probability));
        let spatial = rng.random_bool(self.spatial_probability);
        let elastic = rng.random_bool(self.elastic_probability);
        let mut sample = if spatial || elastic {
            let most = if spatial { self.rotation_degrees } else { 0.0 };
            let slices = self.thick_slices;
            // Drawn in any case, so that the same seed leads to the same mirroring, noise and so on.
            let angles_degrees = [0, 1, 2].map(|axis| {
                let angle = rng.random_range(-most..=most);
                if slices.turn_about(axis) { angle } else { 0.0 }
            });
            let drawn = if spatial { log_uniform(self.scale_range, rng) } else { 1.0 };
            let scale = [0, 1, 2].map(|axis| if slices.vary_along(axis) { drawn } else { 1.0 });
            let elastic = elastic.then(|| {
                let most = rng.random_range(0.0..=self.elastic_voxels);
                let elastic = Elastic::draw(size, spacing_mm, self.elastic_spacing_voxels, most, rng);
                match slices.axis() {
                    Some(axis) => elastic.still_along(axis),
                    None => elastic,
                }
            });
            let transform = Transform { angles_degrees, scale, mirrored, elastic };
            image.grid().check_same(labels.grid())?;
            let centre = [0, 1, 2].map(|a| place.min()[a] as f64 + (size[a] - 1) as f64 / 2.0);
            let source = Source::new(image, labels, place, fill_for(image, place));
            source.read(&transform.field(size, centre, spacing_mm), size)
        } else {
            let mut sample = Sample::cut(image, labels, place)?;
            for axis in (0..3).filter(|&axis| mirrored[axis]) {
                mirror(&mut sample.image, size, axis);
                mirror::<Label>(&mut sample.labels, size, axis);
            }
            sample
        };
        self.vary_intensity(&mut sample.image, size, rng);
        Ok(sample)
    }
}

fn require(
    valid: bool,
    field: &'static str,
    found: &dyn std::fmt::Debug,
    expected: &'static str,
) -> Result<(), TrainError> {
    if valid { Ok(()) } else { Err(TrainError::Config { field, found: format!("{found:?}"), expected }) }
}

/// Between `low` and `high`, its logarithm uniform, so that r and 1/r are as likely.
fn log_uniform<R: Rng + ?Sized>([low, high]: [f64; 2], rng: &mut R) -> f64 {
    rng.random_range(low.ln()..=high.ln()).exp()
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::*;
    use crate::sample_rng;

    const SIZE: [usize; 3] = [6, 5, 7];

    fn case() -> (Volume<f32>, LabelVolume) {
        let grid = Grid::with_spacing(SIZE, Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |at| (grid.offset(at) as f32 * 0.37).sin());
        (image, LabelVolume::from_fn(grid, |at| (grid.offset(at) % 5) as Label))
    }

    fn vary(config: &AugmentConfig, index: usize) -> Sample {
        let (image, labels) = case();
        let whole = BoundingBox::of_grid(image.grid());
        config.cut(&image, &labels, &whole, &mut sample_rng(1, 0, index)).unwrap()
    }

    #[test]
    fn without_augmentation_nothing_changes() {
        let (image, labels) = case();
        let place = BoundingBox::new([2, -1, 3], [8, 4, 7]).unwrap();
        let found = AugmentConfig::none().cut(&image, &labels, &place, &mut sample_rng(0, 0, 0)).unwrap();
        assert_eq!(found, Sample::cut(&image, &labels, &place).unwrap());
    }

    #[test]
    fn image_and_labels_are_mirrored_together_and_only_along_allowed_axes() {
        let config = AugmentConfig::none().with_mirror_axes([true, false, true]);
        let (image, labels) = case();
        let original = Sample::cut(&image, &labels, &BoundingBox::of_grid(image.grid())).unwrap();
        let mut outcomes = std::collections::BTreeSet::new();
        for index in 0..40 {
            let varied = vary(&config, index);
            let mut found = false;
            for axes in [[false, false], [true, false], [false, true], [true, true]] {
                let mut expected = original.clone();
                for axis in [0, 2].into_iter().zip(axes).filter(|pair| pair.1).map(|pair| pair.0) {
                    mirror(&mut expected.image, expected.size, axis);
                    mirror(&mut expected.labels, expected.size, axis);
                }
                if expected == varied {
                    found = true;
                    outcomes.insert(axes);
                }
            }
            assert!(found);
        }
        assert_eq!(outcomes.len(), 4);
    }

    #[test]
    fn one_generator_gives_one_variation() {
        let config = AugmentConfig {
            spatial_probability: 1.0,
            elastic_probability: 1.0,
            blur_probability: 1.0,
            ..AugmentConfig::strong()
        };
        assert_eq!(vary(&config, 5), vary(&config, 5));
        assert_ne!(vary(&config, 5), vary(&config, 6));
    }

    #[test]
    fn every_change_alone_changes_the_image_and_only_changes_of_place_the_labels() {
        let still = || AugmentConfig { contrast: 0.0, brightness: 0.0, noise: 0.0, ..AugmentConfig::none() };
        let flat = || AugmentConfig { intensity_probability: 1.0, gamma_range: [1.0; 2], ..still() };
        let of_place = [still().with_spatial_probability(1.0), still().with_elastic_probability(1.0)];
        let of_intensity = [
            AugmentConfig { contrast: 0.2, ..flat() },
            AugmentConfig { brightness: 0.2, ..flat() },
            AugmentConfig { noise: 0.2, ..flat() },
            AugmentConfig { gamma_range: [0.5, 0.7], ..flat() },
            AugmentConfig { blur_probability: 1.0, ..still() },
            AugmentConfig { low_resolution_probability: 1.0, low_resolution_range: [0.5; 2], ..still() },
        ];
        let original = vary(&still(), 3);
        for config in of_place.iter().chain(&of_intensity) {
            config.check().unwrap();
            assert_ne!(vary(config, 3).image, original.image, "{config:?}");
        }
        assert!(of_place.iter().all(|config| vary(config, 3).labels != original.labels));
        assert!(of_intensity.iter().all(|config| vary(config, 3).labels == original.labels));
    }

    /// Slices that are all one value are, turned, scaled and deformed within, still that value.
    #[test]
    fn thick_slices_are_not_mixed() {
        let spacing = Spacing::new([1.0, 1.0, 5.0]).unwrap();
        let config = AugmentConfig {
            spatial_probability: 1.0,
            elastic_probability: 1.0,
            low_resolution_probability: 1.0,
            low_resolution_range: [0.5; 2],
            ..AugmentConfig::none()
        };
        let strong = AugmentConfig { scale_range: [0.7, 1.4], rotation_degrees: 30.0, ..config };
        for axis in 0..3 {
            let grid = Grid::with_spacing([8, 8, 8], spacing).unwrap();
            let image = Volume::from_fn(grid, |at| at[axis] as f32);
            let labels = LabelVolume::from_fn(grid, |at| at[axis] as Label);
            let place = BoundingBox::new([1; 3], [7; 3]).unwrap();
            let cut = |config: &AugmentConfig, index| {
                config.cut(&image, &labels, &place, &mut sample_rng(2, 0, index)).unwrap()
            };
            let original = Sample::cut(&image, &labels, &place).unwrap();
            let still = strong.clone().with_thick_slices(ThickSlices::along(axis));
            for index in 0..10 {
                let found = cut(&still, index);
                assert_eq!(found.labels, original.labels);
                let far = found.image.iter().zip(&original.image).map(|(a, b)| (a - b).abs());
                assert!(far.fold(0.0, f32::max) < 1e-5, "axis {axis}");
                assert_ne!(cut(&strong, index), found);
            }
        }
    }

    /// What is not about places is the same as without slices.
    #[test]
    fn thick_slices_leave_what_else_is_drawn() {
        let config = AugmentConfig {
            spatial_probability: 1.0,
            elastic_probability: 1.0,
            intensity_probability: 1.0,
            ..AugmentConfig::strong()
        };
        let grid = Grid::with_spacing(SIZE, Spacing::isotropic(1.0).unwrap()).unwrap();
        let (image, labels) = (Volume::filled(grid, 2.0), LabelVolume::filled(grid, 0));
        let whole = BoundingBox::of_grid(&grid);
        let last = |config: &AugmentConfig| {
            let mut rng = sample_rng(3, 0, 0);
            config.cut(&image, &labels, &whole, &mut rng).unwrap();
            rng.random::<u64>()
        };
        assert_eq!(last(&config), last(&config.clone().with_thick_slices(ThickSlices::Z)));
    }

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let default = AugmentConfig::default;
        let bad = [
            (AugmentConfig { mirror_probability: 1.1, ..default() }, "mirror_probability"),
            (AugmentConfig { spatial_probability: f64::NAN, ..default() }, "spatial_probability"),
            (AugmentConfig { blur_probability: -0.1, ..default() }, "blur_probability"),
            (AugmentConfig { scale_range: [1.1, 0.9], ..default() }, "scale_range"),
            (AugmentConfig { gamma_range: [0.0, 1.0], ..default() }, "gamma_range"),
            (AugmentConfig { blur_range_voxels: [1.0, 99.0], ..default() }, "blur_range_voxels"),
            (AugmentConfig { low_resolution_range: [0.5, 1.5], ..default() }, "low_resolution_range"),
            (AugmentConfig { rotation_degrees: -1.0, ..default() }, "rotation_degrees"),
            (AugmentConfig { elastic_voxels: 6.5, ..default() }, "elastic_voxels"),
            (AugmentConfig { elastic_spacing_voxels: 0.0, ..default() }, "elastic_spacing_voxels"),
            (AugmentConfig { contrast: 1.0, ..default() }, "contrast"),
            (AugmentConfig { noise: f64::INFINITY, ..default() }, "noise"),
        ];
        for (config, field) in bad {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{error}");
        }
        for config in [AugmentConfig::default(), AugmentConfig::strong(), AugmentConfig::none()] {
            config.check().unwrap();
        }
    }
}
