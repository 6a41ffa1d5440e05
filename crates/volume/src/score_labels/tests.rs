use super::*;
use crate::{Affine, Spacing};
use proptest::prelude::*;

/// Where the two highest scores are closer than this, rounding may decide.
const CLOSE: f64 = 1e-4;

/// The definition, voxel by voxel through the world in double precision: the label, and by how much its
/// score is above the next smaller one.
fn reference(scores: &[f32], classes: usize, score_grid: &Grid, target: &Grid) -> Vec<(u8, f64)> {
    let [nx, ny, nz] = score_grid.size();
    let [tx, ty, tz] = target.size();
    let mut labels = Vec::new();
    for (z, y, x) in (0..tz).flat_map(|z| (0..ty).flat_map(move |y| (0..tx).map(move |x| (z, y, x)))) {
        let at = score_grid.world_to_voxel(target.voxel_to_world([x as f64, y as f64, z as f64]));
        let at = [0, 1, 2].map(|a| at[a].clamp(0.0, (score_grid.size()[a] - 1) as f64));
        let low = at.map(f64::floor);
        let mut sums = vec![0.0; classes];
        for corner in 0..8 {
            let high = [0, 1, 2].map(|a| (corner >> a & 1) as f64);
            let weight: f64 = (0..3).map(|a| 1.0 - (at[a] - low[a] - high[a]).abs()).product();
            let [x, y, z] = [0, 1, 2].map(|a| ((low[a] + high[a]) as usize).min(score_grid.size()[a] - 1));
            for (class, sum) in sums.iter_mut().enumerate() {
                *sum += weight * f64::from(scores[x + nx * (y + ny * (z + nz * class))]);
            }
        }
        let best = (0..classes).fold(0, |best, k| if sums[k] > sums[best] { k } else { best });
        let others = (0..classes).filter(|&k| k != best).map(|k| sums[k]);
        labels.push((best as u8, sums[best] - others.fold(f64::NEG_INFINITY, f64::max)));
    }
    labels
}

fn agrees(scores: &[f32], classes: usize, score_grid: &Grid, target: &Grid) -> Result<(), TestCaseError> {
    let labels = labels_from_scores(scores, classes, score_grid, target).unwrap();
    prop_assert_eq!(labels.grid(), target);
    for (i, (label, margin)) in reference(scores, classes, score_grid, target).into_iter().enumerate() {
        prop_assert!(labels.voxels()[i] == label || margin < CLOSE, "voxel {} is {}", i, labels.voxels()[i]);
    }
    Ok(())
}

fn grid(size: [usize; 3]) -> Grid {
    Grid::with_spacing(size, Spacing::new([0.7, 0.8, 2.5]).unwrap()).unwrap()
}

/// Scores without a pattern, in steps of 1/`steps` between −1 and 1.
fn noise(count: usize, seed: usize, steps: f32) -> Vec<f32> {
    let mixed = |i: usize| (i * 7919 + seed * 104_729 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (0..count).map(|i| ((mixed(i) % 2001) as f32 / 1000.0 - 1.0) * steps).map(|v| v.round() / steps).collect()
}

/// Scores of smooth regions: the nearer a class's centre, the higher.
fn regions(grid: &Grid, classes: usize) -> Vec<f32> {
    let size = grid.size();
    let centre = |k: usize, a: usize| ((k * 37 + a * 11) % 17) as f32 / 17.0 * size[a] as f32;
    let near = |k: usize, v: [usize; 3]| (0..3).map(|a| -(v[a] as f32 - centre(k, a)).powi(2)).sum::<f32>();
    (0..classes).flat_map(|k| Volume::from_fn(*grid, |v| near(k, v)).into_vec()).collect()
}

/// Few values and factors that are powers of two: all sums are exact, and many scores are equal.
#[test]
fn equal_scores_give_the_smaller_class() {
    for (classes, steps) in [(1, 1.0), (2, 1.0), (3, 1.0), (5, 2.0), (2, 2.0)] {
        for factors in [[2, 4, 1], [4, 4, 4], [1, 2, 2]] {
            let full = Grid::with_spacing([13, 11, 9], Spacing::isotropic(1.0).unwrap()).unwrap();
            let coarse = full.decimated(factors).unwrap();
            let scores = noise(classes * coarse.voxel_count(), classes, steps);
            let labels = labels_from_scores(&scores, classes, &coarse, &full).unwrap();
            let expected: Vec<_> =
                reference(&scores, classes, &coarse, &full).into_iter().map(|(label, _)| label).collect();
            assert_eq!(labels.voxels(), expected, "{classes} classes, factors {factors:?}");
        }
    }
}

#[test]
fn two_classes_are_the_sign_of_the_upsampled_difference() {
    let (full, factors) = (grid([21, 18, 10]), [4, 4, 3]);
    let coarse = full.decimated(factors).unwrap();
    let n = coarse.voxel_count();
    let scores = noise(2 * n, 5, 1000.0);
    let difference = (0..n).map(|i| scores[n + i] - scores[i]).collect();
    let up = crate::upsample_linear(&Volume::from_vec(coarse, difference).unwrap(), factors, &full).unwrap();
    let labels = labels_from_scores(&scores, 2, &coarse, &full).unwrap();
    for (&label, &difference) in labels.voxels().iter().zip(up.voxels()) {
        assert!(label == u8::from(difference > 0.0) || f64::from(difference).abs() < CLOSE);
    }
}

#[test]
fn a_hundred_and_eighteen_classes() {
    let full = grid([24, 20, 9]);
    let coarse = full.decimated([4, 4, 1]).unwrap();
    agrees(&regions(&coarse, 118), 118, &coarse, &full).unwrap();
    agrees(&noise(118 * coarse.voxel_count(), 3, 1000.0), 118, &coarse, &full).unwrap();
}

#[test]
fn a_class_that_leads_at_no_centre_can_win_between_them() {
    let coarse = grid([2, 1, 1]);
    let fine = crate::grid_with_size(&coarse, [8, 1, 1]).unwrap();
    let scores = [10.0, 0.0, 0.0, 10.0, 7.0, 7.0];
    let labels = labels_from_scores(&scores, 3, &coarse, &fine).unwrap();
    assert_eq!(labels.voxels(), [0, 0, 0, 2, 2, 1, 1, 1]);
}

#[test]
fn beyond_the_scores_their_border_goes_on() {
    let coarse = grid([2, 2, 1]);
    let scores = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let target = coarse.cropped([-50, -50, -3], [102, 102, 7]).unwrap();
    let labels = labels_from_scores(&scores, 2, &coarse, &target).unwrap();
    assert!(labels.array().indexed_iter().all(|((x, _, _), &label)| label == u8::from(x > 50)));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let full = grid([33, 30, 26]);
    let coarse = full.decimated([3, 4, 2]).unwrap();
    let scores = noise(4 * coarse.voxel_count(), 9, 1000.0);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| labels_from_scores(&scores, 4, &coarse, &full).unwrap())
    };
    let one = with(1);
    assert!(with(2) == one && with(3) == one);
}

#[test]
fn what_is_wrong_with_scores_is_said() {
    let coarse = grid([3, 2, 1]);
    let error = |scores: &[f32], classes| {
        labels_from_scores(scores, classes, &coarse, &coarse).unwrap_err().to_string()
    };
    assert_eq!(error(&[], 0), "0 classes are not valid, expected 1 to 256");
    assert_eq!(error(&[0.0; 1542], 257), "257 classes are not valid, expected 1 to 256");
    let few = "2 classes on a grid of size [3, 2, 1] were given 11 scores, expected 12";
    assert_eq!(error(&[0.0; 11], 2), few);
    let mut scores = [0.0; 12];
    scores[10] = f32::NAN;
    assert_eq!(error(&scores, 2), "class 1 has the score NaN at voxel [1, 1, 0], expected finite numbers");
}

proptest! {
    #[test]
    fn labels_are_those_of_the_interpolated_scores(
        size in prop::array::uniform3(1usize..7),
        target_size in prop::array::uniform3(1usize..14),
        spacing in prop::array::uniform3(0.2f64..3.0),
        origin in prop::array::uniform3(-3.0f64..3.0),
        orientation in prop::sample::select(vec!["RAS", "LPS", "RPI", "SAR", "PIL", "ASL"]),
        classes in 1usize..6,
        seed in 0usize..1000,
    ) {
        let score_grid = grid(size);
        let affine = Affine::from_spacing(Spacing::new(spacing).unwrap(), origin);
        let target = reoriented_grid(&Grid::new(target_size, affine).unwrap(), orientation.parse().unwrap());
        agrees(&noise(classes * score_grid.voxel_count(), seed, 1000.0), classes, &score_grid, &target)?;
        agrees(&regions(&score_grid, classes), classes, &score_grid, &target)?;
    }

    #[test]
    fn oblique_targets_too(angle in 0.01f64..1.5, classes in 1usize..4, seed in 0usize..1000) {
        let (s, c) = angle.sin_cos();
        let score_grid = grid([5, 6, 4]);
        let target = Grid::new([9, 8, 7], Affine::new([
            [c, -s, 0.0, -1.0], [s, c, 0.0, 0.5], [0.0, 0.1, 0.9, -0.5], [0.0, 0.0, 0.0, 1.0],
        ]).unwrap()).unwrap();
        agrees(&noise(classes * score_grid.voxel_count(), seed, 1000.0), classes, &score_grid, &target)?;
    }
}
