//! The same small image on other grids as other programs have it; `golden/resample.py` made the numbers.

use std::collections::HashMap;

use organseg_volume::{
    Affine, AntiAliasing, Grid, Interpolation, ResampleConfig, Spacing, Volume, grid_with_size, resample,
    resample_with,
};

/// Six decimals are stored, of doubles.
const STORED: f64 = 2e-6;

fn golden(name: &str) -> Vec<f64> {
    let all: HashMap<String, Vec<f64>> =
        serde_json::from_str(include_str!("golden/resample.json")).expect("the golden file is JSON");
    all[name].clone()
}

fn image() -> Volume<f64> {
    let spacing = Spacing::isotropic(1.0).expect("it is positive");
    let grid = Grid::with_spacing([14, 12, 10], spacing).expect("it has voxels");
    Volume::from_fn(grid, |[x, y, z]| {
        ((7 * x * x + 13 * y * y + 29 * z * z + 5 * x * y + 3 * y * z + 11 * x * z) % 97) as f64
    })
}

fn target() -> Grid {
    let spacing = Spacing::new([1.6, 1.3, 1.41]).expect("it is positive");
    Grid::new([9, 8, 7], Affine::from_spacing(spacing, [0.15, 1.1, 0.2])).expect("it has voxels")
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < tolerance, "{found}, expected {expected}");
    }
}

#[test]
fn linear_and_cubic_are_those_of_scipy() {
    for (interpolation, name) in
        [(Interpolation::Linear, "scipy_linear"), (Interpolation::Cubic, "scipy_cubic")]
    {
        let found = resample(&image(), &target(), interpolation, 0.0);
        assert_close(found.voxels(), &golden(name), STORED);
    }
}

#[test]
fn cubic_is_that_of_simpleitk() {
    let found = resample(&image(), &target(), Interpolation::Cubic, 0.0);
    assert_close(found.voxels(), &golden("itk_cubic"), STORED);
}

#[test]
fn gaussian_anti_aliasing_is_that_of_scikit_image() {
    let image = image();
    let target = grid_with_size(image.grid(), [8, 5, 4]).unwrap();
    let config = ResampleConfig::new(Interpolation::Linear).with_anti_aliasing(AntiAliasing::Gaussian);
    let found = resample_with(&image, &target, &config, 0.0);
    assert_close(found.voxels(), &golden("skimage"), STORED);
}
