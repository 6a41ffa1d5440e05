//! Varying samples: rotation and scaling, mirroring, intensities.
//!
//! Applied in this order, each with its own probability and strength drawn for the sample:
//! 1. rotation about x, y and z in turn, and scaling, around the sample's centre
//!    ([`crate::AugmentConfig::spatial_probability`]);
//! 2. mirroring along each allowed axis;
//! 3. gamma, scale and shift, then Gaussian noise.
//!
//! Strengths of intensity changes are in standard deviations of the sample, so that the same numbers
//! suit images windowed to [0, 1] and z-scored ones.

use organseg_volume::Label;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::augment_spatial::{Transform, resample_sample};
use crate::{Sample, TrainError};

/// How samples are varied. The default is light: it suits trainings of minutes; those of hours gain
/// from more.
///
/// ```
/// use organseg_train::{AugmentConfig, Sample, sample_rng};
/// let only_mirror = AugmentConfig { mirror_probability: 1.0, ..AugmentConfig::none() };
/// let config = only_mirror.with_mirror_axes([true, false, false]);
/// config.check()?;
/// let mut sample = Sample { image: vec![1.0, 2.0, 3.0], labels: vec![0, 0, 7], size: [3, 1, 1] };
/// config.apply(&mut sample, &mut sample_rng(0, 0, 0));
/// assert_eq!((sample.image, sample.labels), (vec![3.0, 2.0, 1.0], vec![7, 0, 0]));
/// # Ok::<(), organseg_train::TrainError>(())
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
    /// Probability that a sample is rotated and scaled.
    pub spatial_probability: f64,
    /// Largest angle about each of the axes, in degrees; drawn uniformly from ± this.
    pub rotation_degrees: f64,
    /// Smallest and largest magnification; its logarithm is drawn uniformly between theirs.
    pub scale_range: [f64; 2],
    /// Probability of each of the intensity changes below, each by itself.
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
}

impl Default for AugmentConfig {
    fn default() -> Self {
        Self {
            mirror_axes: [true; 3],
            mirror_probability: 0.5,
            spatial_probability: 0.2,
            rotation_degrees: 10.0,
            scale_range: [0.9, 1.1],
            intensity_probability: 0.3,
            contrast: 0.15,
            brightness: 0.15,
            gamma_range: [0.8, 1.25],
            noise: 0.1,
        }
    }
}

impl AugmentConfig {
    /// No change at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            mirror_axes: [false; 3],
            spatial_probability: 0.0,
            intensity_probability: 0.0,
            ..Self::default()
        }
    }

    /// With mirroring along these axes.
    #[must_use]
    pub fn with_mirror_axes(mut self, mirror_axes: [bool; 3]) -> Self {
        self.mirror_axes = mirror_axes;
        self
    }

    /// With this probability of rotation and scaling.
    #[must_use]
    pub fn with_spatial_probability(mut self, probability: f64) -> Self {
        self.spatial_probability = probability;
        self
    }

    /// With this probability of each intensity change.
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
            ("intensity_probability", self.intensity_probability),
        ];
        for (field, found) in probabilities {
            require((0.0..=1.0).contains(&found), field, &found, "a number from 0 to 1")?;
        }
        let angle = self.rotation_degrees;
        require((0.0..=180.0).contains(&angle), "rotation_degrees", &angle, "a number from 0 to 180")?;
        require((0.0..1.0).contains(&self.contrast), "contrast", &self.contrast, "from 0 to below 1")?;
        for (field, found) in [("brightness", self.brightness), ("noise", self.noise)] {
            require((0.0..f64::INFINITY).contains(&found), field, &found, "0 or a positive number")?;
        }
        for (field, found) in [("scale_range", self.scale_range), ("gamma_range", self.gamma_range)] {
            let [low, high] = found;
            let valid = 0.0 < low && low <= high && high.is_finite();
            require(valid, field, &found, "two positive numbers, the smaller first")?;
        }
        Ok(())
    }

    /// Varies `sample`, whose voxels are taken to be as far apart along all axes. Its size stays.
    ///
    /// # Panics
    /// If [`AugmentConfig::check`] would have refused the configuration.
    pub fn apply<R: Rng + ?Sized>(&self, sample: &mut Sample, rng: &mut R) {
        self.apply_with_spacing(sample, [1.0; 3], rng);
    }

    /// Varies `sample`, whose voxels are `spacing_mm` apart along (x, y, z): a rotation is then a rigid
    /// one in millimetres. Only the ratios count. Its size stays.
    ///
    /// # Panics
    /// As [`AugmentConfig::apply`].
    pub fn apply_with_spacing<R: Rng + ?Sized>(
        &self,
        sample: &mut Sample,
        spacing_mm: [f64; 3],
        rng: &mut R,
    ) {
        if rng.random_bool(self.spatial_probability) {
            let most = self.rotation_degrees;
            let angles_degrees = [0; 3].map(|_| rng.random_range(-most..=most));
            let transform = Transform { angles_degrees, scale: log_uniform(self.scale_range, rng) };
            *sample = resample_sample(sample, spacing_mm, &transform);
        }
        for axis in 0..3 {
            if self.mirror_axes[axis] && rng.random_bool(self.mirror_probability) {
                mirror(&mut sample.image, sample.size, axis);
                mirror::<Label>(&mut sample.labels, sample.size, axis);
            }
        }
        self.vary_intensity(&mut sample.image, rng);
    }

    fn vary_intensity<R: Rng + ?Sized>(&self, image: &mut [f32], rng: &mut R) {
        // Drawn in any case, so that a change of strength does not change what follows.
        let [gamma, contrast, brightness, noise] =
            [0; 4].map(|_| rng.random_bool(self.intensity_probability));
        if gamma {
            apply_gamma(image, log_uniform(self.gamma_range, rng));
        }
        if !(contrast || brightness || noise) {
            return;
        }
        let (mean, deviation) = mean_and_deviation(image);
        let factor = if contrast { 1.0 + rng.random_range(-self.contrast..=self.contrast) } else { 1.0 };
        let shift = if brightness { rng.random_range(-self.brightness..=self.brightness) } else { 0.0 };
        if contrast || brightness {
            let offset = mean + deviation * shift;
            image.iter_mut().for_each(|v| *v = ((f64::from(*v) - mean) * factor + offset) as f32);
        }
        if noise && self.noise > 0.0 {
            add_noise(image, deviation * rng.random_range(0.0..self.noise), rng);
        }
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

/// Reverses `voxels` (x fastest) along `axis`.
fn mirror<T: Copy>(voxels: &mut [T], size: [usize; 3], axis: usize) {
    let stride: usize = size[..axis].iter().product();
    let n = size[axis];
    for block in voxels.chunks_exact_mut(stride * n) {
        for i in 0..n / 2 {
            let (front, back) = block.split_at_mut((n - 1 - i) * stride);
            front[i * stride..(i + 1) * stride].swap_with_slice(&mut back[..stride]);
        }
    }
}

/// v → v^γ on intensities scaled to [0, 1]; smallest and largest stay. A constant image stays.
fn apply_gamma(image: &mut [f32], gamma: f64) {
    let low = image.iter().copied().fold(f32::INFINITY, f32::min);
    let range = image.iter().copied().fold(f32::NEG_INFINITY, f32::max) - low;
    if range > 0.0 {
        image.iter_mut().for_each(|v| *v = ((*v - low) / range).powf(gamma as f32) * range + low);
    }
}

fn add_noise<R: Rng + ?Sized>(image: &mut [f32], deviation: f64, rng: &mut R) {
    for pair in image.chunks_mut(2) {
        // Box and Muller: two normal numbers from two uniform ones, the first of them not 0.
        let radius = deviation * (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        pair.iter_mut().zip([cos, sin]).for_each(|(v, direction)| *v += (radius * direction) as f32);
    }
}

fn mean_and_deviation(image: &[f32]) -> (f64, f64) {
    let n = image.len().max(1) as f64;
    let mean = image.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = image.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
    (mean, variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    fn sample(size: [usize; 3]) -> Sample {
        let count: usize = size.iter().product();
        let image = (0..count).map(|i| (i as f32 * 0.37).sin()).collect();
        Sample { image, labels: (0..count).map(|i| (i % 5) as Label).collect(), size }
    }

    fn vary(config: &AugmentConfig, index: usize) -> Sample {
        let mut sample = sample([4, 3, 6]);
        config.apply(&mut sample, &mut sample_rng(1, 0, index));
        sample
    }

    #[test]
    fn without_augmentation_nothing_changes() {
        assert_eq!(vary(&AugmentConfig::none(), 0), sample([4, 3, 6]));
    }

    #[test]
    fn mirroring_reverses_one_axis_and_undoes_itself() {
        let size = [4, 3, 5];
        let original: Vec<usize> = (0..60).collect();
        for axis in 0..3 {
            let mut mirrored = original.clone();
            mirror(&mut mirrored, size, axis);
            for (place, &value) in mirrored.iter().enumerate() {
                let index = |offset: usize| [offset % 4, offset / 4 % 3, offset / 12];
                let mut expected = index(place);
                expected[axis] = size[axis] - 1 - expected[axis];
                assert_eq!(index(value), expected);
            }
            mirror(&mut mirrored, size, axis);
            assert_eq!(mirrored, original);
        }
    }

    #[test]
    fn image_and_labels_are_mirrored_together_and_only_along_allowed_axes() {
        let config = AugmentConfig::none().with_mirror_axes([true, false, true]);
        let original = sample([4, 3, 6]);
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
    fn intensity_changes_leave_labels_and_stay_within_their_ranges() {
        let original = sample([4, 3, 6]);
        let (mean, deviation) = mean_and_deviation(&original.image);
        let plain = AugmentConfig {
            contrast: 0.0,
            brightness: 0.0,
            gamma_range: [1.0, 1.0],
            noise: 0.0,
            ..AugmentConfig::none().with_intensity_probability(1.0)
        };
        for index in 0..50 {
            let shifted = vary(&AugmentConfig { brightness: 0.5, ..plain.clone() }, index);
            assert_eq!(shifted.labels, original.labels);
            let (new_mean, new_deviation) = mean_and_deviation(&shifted.image);
            assert!((new_mean - mean).abs() <= 0.5 * deviation + 1e-6);
            assert!((new_deviation - deviation).abs() < 1e-6);

            let stretched = vary(&AugmentConfig { contrast: 0.3, ..plain.clone() }, index);
            let (new_mean, new_deviation) = mean_and_deviation(&stretched.image);
            assert!((new_mean - mean).abs() < 1e-6);
            assert!((0.7 - 1e-6..=1.3 + 1e-6).contains(&(new_deviation / deviation)));

            let curved = vary(&AugmentConfig { gamma_range: [0.5, 2.0], ..plain.clone() }, index);
            let extremes = |image: &[f32]| {
                image.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)))
            };
            let ((low, high), (new_low, new_high)) = (extremes(&original.image), extremes(&curved.image));
            assert!((low - new_low).abs() < 1e-6 && (high - new_high).abs() < 1e-6);
        }
    }

    #[test]
    fn noise_has_the_deviation_asked_for() {
        let mut image = vec![0.0; 100_001];
        add_noise(&mut image, 0.25, &mut sample_rng(2, 0, 0));
        let (mean, deviation) = mean_and_deviation(&image);
        // Five standard errors of the mean of 1e5 numbers.
        assert!(mean.abs() < 0.004, "{mean}");
        assert!((deviation - 0.25).abs() < 0.004, "{deviation}");
    }

    #[test]
    fn one_generator_gives_one_variation() {
        let config = AugmentConfig { spatial_probability: 1.0, ..AugmentConfig::default() };
        assert_eq!(vary(&config, 5), vary(&config, 5));
        assert_ne!(vary(&config, 5), vary(&config, 6));
    }

    #[test]
    fn impossible_settings_are_refused_by_name() {
        let default = AugmentConfig::default;
        let bad = [
            (AugmentConfig { mirror_probability: 1.1, ..default() }, "mirror_probability"),
            (AugmentConfig { spatial_probability: f64::NAN, ..default() }, "spatial_probability"),
            (AugmentConfig { scale_range: [1.1, 0.9], ..default() }, "scale_range"),
            (AugmentConfig { gamma_range: [0.0, 1.0], ..default() }, "gamma_range"),
            (AugmentConfig { rotation_degrees: -1.0, ..default() }, "rotation_degrees"),
            (AugmentConfig { contrast: 1.0, ..default() }, "contrast"),
            (AugmentConfig { noise: f64::INFINITY, ..default() }, "noise"),
        ];
        for (config, field) in bad {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{error}");
        }
    }
}
