//! Changes of intensity: noise, blur, contrast, brightness, low resolution, gamma, in this order.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use super::smooth::{blur, lower_resolution};
use super::{AugmentConfig, log_uniform};

impl AugmentConfig {
    /// Varies the intensities of a sample of `size` voxels.
    pub(super) fn vary_intensity<R: Rng + ?Sized>(
        &self,
        image: &mut Vec<f32>,
        size: [usize; 3],
        rng: &mut R,
    ) {
        // Drawn in any case, so that a change of strength does not change what follows.
        let [noise, contrast, brightness, gamma] =
            [0; 4].map(|_| rng.random_bool(self.intensity_probability));
        let blurred = rng.random_bool(self.blur_probability);
        let low_resolution = rng.random_bool(self.low_resolution_probability);
        if noise && self.noise > 0.0 {
            let (_, deviation) = mean_and_deviation(image);
            add_noise(image, deviation * rng.random_range(0.0..self.noise), rng);
        }
        if blurred {
            let [low, high] = self.blur_range_voxels;
            blur(image, size, rng.random_range(low..=high));
        }
        if contrast || brightness {
            let factor = if contrast { 1.0 + rng.random_range(-self.contrast..=self.contrast) } else { 1.0 };
            let shift = if brightness { rng.random_range(-self.brightness..=self.brightness) } else { 0.0 };
            let (mean, deviation) = mean_and_deviation(image);
            let (factor, offset) = (factor as f32, (mean + deviation * shift - mean * factor) as f32);
            image.iter_mut().for_each(|v| *v = *v * factor + offset);
        }
        if low_resolution {
            let [low, high] = self.low_resolution_range;
            lower_resolution(image, size, rng.random_range(low..=high), self.thick_slices.axis());
        }
        if gamma {
            apply_gamma(image, log_uniform(self.gamma_range, rng));
        }
    }
}

/// v → v^γ on intensities scaled to [0, 1]; smallest and largest stay. A constant image stays.
fn apply_gamma(image: &mut [f32], gamma: f64) {
    let (low, high) = extremes(image);
    let (range, gamma) = (high - low, gamma as f32);
    if range > 0.0 {
        image.iter_mut().for_each(|v| *v = ((*v - low) / range).powf(gamma) * range + low);
    }
}

fn extremes(image: &[f32]) -> (f32, f32) {
    image.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// Adds normal numbers of standard deviation `deviation`.
fn add_noise<R: Rng + ?Sized>(image: &mut [f32], deviation: f64, rng: &mut R) {
    for v in image {
        *v += deviation as f32 * rng.sample::<f32, _>(StandardNormal);
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

    #[test]
    fn intensity_changes_stay_within_their_ranges() {
        let size = [4, 3, 6];
        let original: Vec<f32> = (0..72).map(|i| (i as f32 * 0.37).sin()).collect();
        let (mean, deviation) = mean_and_deviation(&original);
        let plain = AugmentConfig {
            contrast: 0.0,
            brightness: 0.0,
            gamma_range: [1.0, 1.0],
            noise: 0.0,
            ..AugmentConfig::none().with_intensity_probability(1.0)
        };
        for index in 0..50 {
            let vary = |config: AugmentConfig| {
                let mut image = original.clone();
                config.vary_intensity(&mut image, size, &mut sample_rng(1, 0, index));
                image
            };
            let shifted = vary(AugmentConfig { brightness: 0.5, ..plain.clone() });
            let (new_mean, new_deviation) = mean_and_deviation(&shifted);
            assert!((new_mean - mean).abs() <= 0.5 * deviation + 1e-6);
            assert!((new_deviation - deviation).abs() < 1e-6);

            let stretched = vary(AugmentConfig { contrast: 0.3, ..plain.clone() });
            let (new_mean, new_deviation) = mean_and_deviation(&stretched);
            assert!((new_mean - mean).abs() < 1e-6);
            assert!((0.7 - 1e-6..=1.3 + 1e-6).contains(&(new_deviation / deviation)));

            let curved = vary(AugmentConfig { gamma_range: [0.5, 2.0], ..plain.clone() });
            let ((low, high), (new_low, new_high)) = (extremes(&original), extremes(&curved));
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
}
