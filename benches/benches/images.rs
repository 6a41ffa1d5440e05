//! What happens to images: resampling, decimation, components, surface distances.

use divan::{Bencher, black_box};
use organseg::metrics::surface_distances;
use organseg::phantom::{Phantom, PhantomConfig, generate};
use organseg::roi::{BoundingBox, Connectivity, connected_components};
use organseg::volume::{
    Interpolation, LabelVolume, Spacing, decimate_mean, grid_with_spacing, resample, upsample_nearest,
};

fn main() {
    divan::main();
}

/// A phantom of 224×192×144 voxels: some six million.
fn phantom() -> Phantom {
    generate(&PhantomConfig::default().with_size([224, 192, 144]), 1).expect("the configuration is sound")
}

#[divan::bench(args = [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic])]
fn resample_to_1_5_mm(bencher: Bencher, interpolation: Interpolation) {
    let image = phantom().image;
    let spacing = Spacing::isotropic(1.5).expect("1.5 is positive");
    let grid = grid_with_spacing(image.grid(), spacing).expect("the grid is small");
    bencher.bench(|| resample(black_box(&image), &grid, interpolation, -1000.0));
}

#[divan::bench]
fn decimate_by_4(bencher: Bencher) {
    let image = phantom().image;
    bencher.bench(|| decimate_mean(black_box(&image), [4; 3]));
}

#[divan::bench]
fn upsample_by_4(bencher: Bencher) {
    let image = phantom().image;
    let coarse = decimate_mean(&image, [4; 3]).expect("4 is a factor");
    bencher.bench(|| upsample_nearest(black_box(&coarse), [4; 3], image.grid()));
}

#[divan::bench]
fn components_of_bone(bencher: Bencher) {
    let bone: LabelVolume = phantom().image.map(|hu| u8::from(hu > 150.0));
    bencher.bench(|| connected_components(black_box(&bone), Connectivity::TwentySix));
}

#[divan::bench]
fn box_of_a_mask(bencher: Bencher) {
    let mask = phantom().labels;
    bencher.bench(|| BoundingBox::of_mask(black_box(&mask)));
}

#[divan::bench]
fn surface_distances_of_a_shifted_pancreas(bencher: Bencher) {
    let truth = phantom().labels;
    let shifted =
        LabelVolume::from_fn(*truth.grid(), |[x, y, z]| if x >= 3 { truth[[x - 3, y, z]] } else { 0 });
    bencher.bench(|| surface_distances(black_box(&shifted), &truth, 1));
}
