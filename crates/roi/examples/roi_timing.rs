//! Times the crate's work on a scan of 512×512×240 voxels: `roi_timing [IMAGE] [THRESHOLD]`.
//!
//! The mask is what lies above THRESHOLD (0 HU) in IMAGE, brought to that size; without one, a body of soft
//! tissue with noise and air in it. `--out FILE.nii.gz` as last arguments writes the mask, for other
//! programs to be timed on it.

use std::hint::black_box;
use std::time::Instant;

use organseg_roi::{
    BoundingBox, Connectivity, connected_components, crop, fill_holes, largest_component,
    largest_component_of_each_label, majority_vote, remove_small_components,
};
use organseg_volume::{
    Grid, Interpolation, LabelVolume, Spacing, VolumeError, grid_with_size, read_image, resample, write,
};

const SIZE: [usize; 3] = [512, 512, 240];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = match arguments.iter().position(|a| a == "--out") {
        Some(at) => arguments.split_off(at).pop(),
        None => None,
    };
    let threshold = arguments.get(1).map_or(Ok(0.0), |t| t.parse())?;
    let mask = match arguments.first() {
        Some(path) => {
            let image = read_image(path)?;
            let grid = grid_with_size(image.grid(), SIZE)?;
            resample(&image, &grid, Interpolation::Linear, -1024.0).map(|v| u8::from(v > threshold))
        }
        None => body()?,
    };
    if let Some(out) = out {
        write(&out, &mask)?;
    }
    let foreground = mask.voxels().iter().filter(|&&v| v != 0).count();
    println!("{} % of {SIZE:?} voxels are foreground", 100 * foreground / mask.voxels().len());
    for connectivity in [Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix] {
        let pieces = connected_components(&mask, connectivity).sizes().len();
        time(&format!("connected_components, {connectivity:?}: {pieces} pieces"), || {
            connected_components(&mask, connectivity)
        });
    }
    let all = Connectivity::TwentySix;
    time("largest_component", || largest_component(&mask, all));
    time("largest_component_of_each_label", || largest_component_of_each_label(&mask, all));
    time("remove_small_components", || remove_small_components(&mask, 100, all));
    time("fill_holes", || fill_holes(&mask, 1, Connectivity::Six));
    let empty = LabelVolume::filled(*mask.grid(), 0);
    time("BoundingBox::of_mask", || BoundingBox::of_mask(&mask));
    time("BoundingBox::of_mask of an empty mask", || BoundingBox::of_mask(&empty));
    let filled = fill_holes(&mask, 1, Connectivity::Six);
    let largest = largest_component(&mask, all);
    time("majority_vote of three", || majority_vote(&[&mask, &filled, &largest]));
    let middle = BoundingBox::new([128, 128, 60], [384, 384, 180])?;
    time("crop of an eighth", || crop(&mask, &middle, 0));
    Ok(())
}

/// An ellipse of soft tissue in every slice; one voxel in 64 of it is noise below the threshold, one in 64
/// outside above it; bubbles of air.
fn body() -> Result<LabelVolume, VolumeError> {
    let grid = Grid::with_spacing(SIZE, Spacing::new([0.8, 0.8, 1.5])?)?;
    let mut state = 1u64;
    Ok(LabelVolume::from_fn(grid, |[x, y, z]| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let noise = state >> 58 == 0;
        let from_centre = [(x as f64 - 256.0) / 220.0, (y as f64 - 256.0) / 160.0];
        let inside = from_centre[0].hypot(from_centre[1]) < 1.0;
        let bubble = [x % 64, y % 64, z % 64].iter().map(|&v| (v as f64 - 32.0).powi(2)).sum::<f64>() < 100.0;
        u8::from((inside && !bubble) != noise)
    }))
}

/// Prints the shortest of seven runs.
fn time<R>(name: &str, mut work: impl FnMut() -> R) {
    let mut shortest = f64::INFINITY;
    for _ in 0..7 {
        let started = Instant::now();
        let result = black_box(work());
        shortest = shortest.min(started.elapsed().as_secs_f64());
        drop(result);
    }
    println!("{:>8.1} ms  {name}", 1e3 * shortest);
}
