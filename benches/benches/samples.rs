//! What a training sample costs: each change alone, and the light and strong mixture on average.

use std::sync::atomic::{AtomicUsize, Ordering};

use divan::Bencher;
use organseg::phantom::{Phantom, PhantomConfig, generate};
use organseg::roi::BoundingBox;
use organseg::train::{AugmentConfig, sample_rng};

fn main() {
    divan::main();
}

/// The patch of the hippocampus, and one of two million voxels.
const SIZES: [[usize; 3]; 2] = [[40, 56, 40], [128; 3]];

/// Cuts samples of `size` voxels from the middle of a phantom, each with its own generator.
fn cut(bencher: Bencher, size: [usize; 3], config: &AugmentConfig) {
    let Phantom { image, labels, .. } = generate(&PhantomConfig::default().with_size([160, 144, 136]), 1)
        .expect("the configuration is sound");
    let min = [0, 1, 2].map(|a| ((image.size()[a] - size[a]) / 2) as i64);
    let max = [0, 1, 2].map(|a| min[a] + size[a] as i64);
    let place = BoundingBox::new(min, max).expect("sizes are positive");
    let index = AtomicUsize::new(0);
    bencher.bench(|| {
        let mut rng = sample_rng(1, 0, index.fetch_add(1, Ordering::Relaxed));
        config.cut(&image, &labels, &place, &mut rng)
    });
}

#[divan::bench(args = SIZES)]
fn plain(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig::none());
}

#[divan::bench(args = SIZES)]
fn mirror(bencher: Bencher, size: [usize; 3]) {
    cut(
        bencher,
        size,
        &AugmentConfig { mirror_probability: 1.0, ..AugmentConfig::none() }.with_mirror_axes([true; 3]),
    );
}

#[divan::bench(args = SIZES)]
fn rotation_and_scaling(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig::none().with_spatial_probability(1.0));
}

#[divan::bench(args = SIZES)]
fn rotation_scaling_and_deformation(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig::none().with_spatial_probability(1.0).with_elastic_probability(1.0));
}

#[divan::bench(args = SIZES)]
fn noise_contrast_brightness_and_gamma(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig::none().with_intensity_probability(1.0));
}

#[divan::bench(args = SIZES)]
fn blur(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig { blur_probability: 1.0, ..AugmentConfig::none() });
}

#[divan::bench(args = SIZES)]
fn low_resolution(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig { low_resolution_probability: 1.0, ..AugmentConfig::none() });
}

#[divan::bench(args = SIZES)]
fn light(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig::default());
}

#[divan::bench(args = SIZES)]
fn strong(bencher: Bencher, size: [usize; 3]) {
    cut(bencher, size, &AugmentConfig::strong());
}

#[divan::bench(args = SIZES)]
fn everything(bencher: Bencher, size: [usize; 3]) {
    let config = AugmentConfig {
        mirror_probability: 1.0,
        spatial_probability: 1.0,
        elastic_probability: 1.0,
        intensity_probability: 1.0,
        blur_probability: 1.0,
        low_resolution_probability: 1.0,
        ..AugmentConfig::strong()
    };
    cut(bencher, size, &config);
}
