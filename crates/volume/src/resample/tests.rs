use proptest::prelude::*;

use super::*;
use crate::{decimate_mean, reoriented_grid};

fn grid(size: [usize; 3], spacing: [f64; 3], origin: [f64; 3]) -> Grid {
    Grid::new(size, Affine::from_spacing(Spacing::new(spacing).unwrap(), origin)).unwrap()
}

fn noise(grid: Grid, seed: usize) -> Volume<f64> {
    Volume::from_fn(grid, |[x, y, z]| {
        (((x * 73 + y * 151 + z * 283 + seed * 97) * 2_654_435_761) % 1009) as f64
    })
}

const ALL: [Interpolation; 3] = [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic];

#[test]
fn the_same_grid_gives_the_same_image() {
    let volume = noise(grid([7, 5, 6], [0.8, 1.0, 2.5], [-4.0, 2.0, 8.0]), 1);
    for interpolation in ALL {
        let same = resample(&volume, volume.grid(), interpolation, -1.0);
        for (a, b) in same.voxels().iter().zip(volume.voxels()) {
            assert!((a - b).abs() < 1e-9, "{interpolation}: {a}, expected {b}");
        }
    }
}

#[test]
fn another_orientation_moves_no_value() {
    let volume = noise(grid([4, 5, 6], [0.8, 1.0, 2.5], [-4.0, 2.0, 8.0]), 2).map(|v| v as i16);
    let turned = reorient(&volume, "PSL".parse().unwrap());
    for interpolation in ALL {
        assert_eq!(resample(&volume, turned.grid(), interpolation, -1).voxels(), turned.voxels());
    }
}

/// What `resample_with` gives on the slow path, voxel by voxel with whole-volume coefficients.
fn slowly<R: Real, T: Voxel>(volume: &Volume<T>, target: &Grid, ways: [Interpolation; 3], fill: T) -> Vec<T> {
    let map = volume.grid().affine().inverse().after(target.affine());
    general::resample::<R, T>(volume, target.size(), &map, ways, fill)
}

fn far(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// More planes than the window holds, so that its steps and the horizon of the spline show.
#[test]
fn the_window_is_not_to_be_seen() {
    let volume = noise(grid([5, 6, 150], [1.0, 1.0, 1.0], [0.0; 3]), 3);
    for (size, spacing, first) in
        [(300, 0.5, -0.3), (61, 2.47, 0.1), (400, 0.4, -7.0), (20, 0.1, 100.0), (4, 40.0, 3.0)]
    {
        let target = grid([4, 5, size], [1.3, 0.9, spacing], [0.2, 0.3, first]);
        for target in [target, reoriented_grid(&target, "LAI".parse().unwrap())] {
            for interpolation in ALL {
                let found = resample(&volume, &target, interpolation, -5.0);
                let expected = slowly::<f64, f64>(&volume, &target, [interpolation; 3], -5.0);
                assert!(far(found.voxels(), &expected) < 1e-9, "{interpolation}, spacing {spacing}");
                let single = resample(&volume.map(|v| v as f32), &target, interpolation, -5.0);
                let single: Vec<f64> = single.voxels().iter().map(|&v| f64::from(v)).collect();
                assert!(
                    far(&single, &expected) < 2e-3,
                    "{interpolation}, spacing {spacing}: {}",
                    far(&single, &expected)
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let volume = noise(grid([40, 50, 60], [1.0, 1.0, 2.0], [0.0; 3]), 3).map(|v| v as f32);
    let target = grid([37, 61, 90], [1.1, 0.8, 1.3], [-0.4, 0.3, -0.2]);
    let with = |threads, interpolation| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| resample(&volume, &target, interpolation, -1.0))
    };
    for interpolation in
        [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic, Interpolation::Area]
    {
        let one = with(1, interpolation);
        assert!(with(2, interpolation) == one && with(3, interpolation) == one, "{interpolation}");
    }
}

/// Integers come out as the doubles do, rounded half away from zero and kept in range.
#[test]
fn every_type_of_voxel() {
    fn check<T: Voxel>() {
        let source = grid([6, 5, 7], [1.0, 1.0, 2.0], [0.0; 3]);
        let target = grid([10, 4, 9], [0.6, 1.2, 1.4], [-0.4, 0.3, -0.2]);
        // −60 to 60, a range that splines overshoot in i8, and 0 to 120 without signs.
        let low = if T::from_f64(-1.0).to_f64() < 0.0 { 60.0 } else { 0.0 };
        let doubles = noise(source, 8).map(|v| (v % 121.0) - low);
        let volume = doubles.map(T::from_f64);
        for interpolation in
            [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic, Interpolation::Area]
        {
            let found = resample(&volume, &target, interpolation, T::from_f64(3.0));
            let exact = resample(&doubles, &target, interpolation, 3.0);
            for (found, &exact) in found.voxels().iter().zip(exact.voxels()) {
                let expected = T::from_f64(exact).to_f64();
                let halfway = (exact.abs().fract() - 0.5).abs() < 1e-4;
                let near = (found.to_f64() - expected).abs() < if halfway { 1.5 } else { 1e-4 };
                assert!(near, "{:?}, {interpolation}: {found:?} for {exact}", T::DATA_TYPE);
            }
        }
    }
    check::<u8>();
    check::<i8>();
    check::<u16>();
    check::<i16>();
    check::<u32>();
    check::<i32>();
    check::<u64>();
    check::<i64>();
    check::<f32>();
    check::<f64>();
}

#[test]
fn wide_integers_keep_all_their_digits() {
    let source = grid([4, 3, 3], [1.0; 3], [0.0; 3]);
    let volume = Volume::filled(source, i32::MAX - 1);
    let target = grid([6, 3, 3], [0.5, 1.0, 1.0], [0.25, 0.0, 0.0]);
    for interpolation in [Interpolation::Linear, Interpolation::Area] {
        assert!(resample(&volume, &target, interpolation, 0).voxels().iter().all(|&v| v == i32::MAX - 1));
    }
    let large = Volume::filled(source, i64::MAX - 1);
    let same = resample(&large, &target, Interpolation::Nearest, 0);
    assert!(same.voxels().iter().all(|&v| v == i64::MAX - 1));
}

/// The mean of a function that is constant in each voxel, summed over small parts of the new voxel.
#[test]
fn area_is_the_mean_over_the_new_voxel() {
    const PARTS: usize = 10;
    let source = grid([7, 5, 6], [1.0; 3], [0.0; 3]);
    let volume = noise(source, 4);
    // Faces of new voxels and parts coincide with old faces: the sums below are exact.
    for (size, spacing, origin) in
        [([3, 4, 3], [2.5, 1.25, 2.0], [0.75, -0.125, 0.5]), ([15, 3, 8], [0.5, 2.0, 1.0], [-0.25, 0.5, 0.0])]
    {
        let target = grid(size, spacing, origin);
        let found = resample(&volume, &target, Interpolation::Area, -1.0);
        for z in 0..size[2] {
            for y in 0..size[1] {
                for x in 0..size[0] {
                    let (mut sum, mut count) = (0.0, 0.0);
                    for part in 0..PARTS * PARTS * PARTS {
                        let part = [part % PARTS, part / PARTS % PARTS, part / (PARTS * PARTS)];
                        let at = [0, 1, 2]
                            .map(|a| [x, y, z][a] as f64 - 0.5 + (part[a] as f64 + 0.5) / PARTS as f64);
                        let at = target.voxel_to_world(at).map(f64::round);
                        if (0..3).all(|a| at[a] >= 0.0 && at[a] < source.size()[a] as f64) {
                            sum += volume[at.map(|v| v as usize)];
                            count += 1.0;
                        }
                    }
                    let expected = if count > 0.0 { sum / count } else { -1.0 };
                    assert!(
                        (found[[x, y, z]] - expected).abs() < 1e-9,
                        "{} is not {expected}",
                        found[[x, y, z]]
                    );
                }
            }
        }
    }
}

#[test]
fn area_on_a_decimated_grid_is_the_mean_of_blocks() {
    let volume = noise(grid([13, 9, 7], [0.7, 0.8, 2.5], [3.0, -5.0, 1.0]), 6).map(|v| v as f32);
    for factors in [[4, 2, 1], [3, 5, 2], [13, 9, 7], [20, 1, 4]] {
        let target = volume.grid().decimated(factors).unwrap();
        let mean = decimate_mean(&volume, factors).unwrap();
        assert_eq!(resample(&volume, &target, Interpolation::Area, -1.0), mean);
    }
}

/// Blurring along one axis after the other, then interpolation: written down step by step.
#[test]
fn gaussian_anti_aliasing_is_blurring_first() {
    let volume = noise(grid([31, 24, 26], [1.0; 3], [0.0; 3]), 7);
    let target = grid([10, 20, 9], [3.0, 1.1, 2.4], [1.2, 0.3, 0.9]);
    for (interpolation, mirror) in [(Interpolation::Linear, false), (Interpolation::Cubic, true)] {
        let mut blurred = volume.clone();
        for (axis, scale) in [3.0f64, 1.1, 2.4].into_iter().enumerate() {
            let deviation = (scale - 1.0) / 2.0;
            let reach = (4.0 * deviation + 0.5) as isize;
            let weight = |k: isize| (-(k * k) as f64 / (2.0 * deviation * deviation)).exp();
            let total: f64 = (-reach..=reach).map(weight).sum();
            let (before, n) = (blurred.clone(), volume.size()[axis]);
            blurred = Volume::from_fn(*volume.grid(), |voxel| {
                let value = |k: isize| {
                    let at = voxel[axis] as isize + k;
                    let mut other = voxel;
                    other[axis] =
                        if mirror { kernel::mirrored(at, n) } else { at.clamp(0, n as isize - 1) as usize };
                    before[other]
                };
                (-reach..=reach).map(|k| weight(k) * value(k)).sum::<f64>() / total
            });
        }
        let config = ResampleConfig::new(interpolation).with_anti_aliasing(AntiAliasing::Gaussian);
        let found = resample_with(&volume, &target, &config, 0.0);
        let expected = resample(&blurred, &target, interpolation, 0.0);
        assert!(far(found.voxels(), expected.voxels()) < 1e-9, "{interpolation}");
    }
}

#[test]
fn another_order_across_the_slices_wherever_they_lie() {
    let volume = noise(grid([6, 7, 8], [1.0, 1.0, 5.0], [0.0; 3]), 9);
    let target = grid([9, 8, 20], [0.6, 0.8, 1.9], [0.1, 0.2, -0.4]);
    let config = ResampleConfig::new(Interpolation::Cubic).with_across_slices(Interpolation::Nearest);
    let [cubic, nearest] = [Interpolation::Cubic, Interpolation::Nearest];
    let expected = slowly::<f64, f64>(&volume, &target, [cubic, cubic, nearest], 0.0);
    let found = resample_with(&volume, &target, &config, 0.0);
    assert!(far(found.voxels(), &expected) < 1e-9);
    for orientation in ["SRA", "ILP", "PSR"] {
        let turned = reorient(&volume, orientation.parse().unwrap());
        let found = resample_with(&turned, &target, &config, 0.0);
        assert!(far(found.voxels(), &expected) < 1e-9, "{orientation}");
    }
}

#[test]
fn means_and_blurring_on_oblique_grids_keep_a_constant_and_a_ramp() {
    let source = grid([40, 40, 40], [1.0; 3], [0.0; 3]);
    let (s, c) = 0.3f64.sin_cos();
    let oblique = Affine::new([
        [2.0 * c, -2.0 * s, 0.0, 14.0],
        [2.0 * s, 2.0 * c, 0.0, 12.0],
        [0.0, 0.0, 3.0, 9.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let target = Grid::new([6, 6, 6], oblique.unwrap()).unwrap();
    let configs = [
        ResampleConfig::new(Interpolation::Area),
        ResampleConfig::new(Interpolation::Linear).with_anti_aliasing(AntiAliasing::Gaussian),
    ];
    let value = |at: [f64; 3]| at[0] - 2.0 * at[1] + 0.5 * at[2];
    let ramp = Volume::from_fn(source, |v| value(v.map(|i| i as f64)));
    for config in configs {
        let found = resample_with(&ramp, &target, &config, -99.0);
        let expected = Volume::from_fn(target, |v| value(target.voxel_to_world(v.map(|i| i as f64))));
        assert!(far(found.voxels(), expected.voxels()) < 1e-9, "{config:?}");
    }
}

/// A grid about `centre` whose axes run along no other grid's.
fn oblique(size: [usize; 3], spacing: f64, centre: [f64; 3]) -> Grid {
    let ((s, c), (t, d)) = (0.4f64.sin_cos(), 0.3f64.sin_cos());
    let axes = [[c, -s * d, s * t], [s, c * d, -c * t], [0.0, t, d]].map(|row| row.map(|v| v * spacing));
    let middle = size.map(|n| (n - 1) as f64 / 2.0);
    let row = |r: usize| {
        let [x, y, z] = axes[r];
        [x, y, z, centre[r] - x * middle[0] - y * middle[1] - z * middle[2]]
    };
    Grid::new(size, Affine::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]).unwrap()).unwrap()
}

/// The grid between had a whole number of voxels from the near corner, and what it left at the far end was fill.
#[test]
fn on_oblique_grids_only_voxels_that_do_not_touch_the_image_are_fill() {
    const PARTS: usize = 7;
    let size = [7, 6, 5];
    let volume = Volume::filled(grid(size, [1.0; 3], [0.0; 3]), 7.0f64);
    let within =
        |at: [f64; 3], by: f64| (0..3).all(|a| at[a] > -0.5 + by && at[a] < size[a] as f64 - 0.5 - by);
    for spacing in [1.0, 2.3, 4.0, 11.0] {
        let target = oblique([10, 10, 10], spacing, [3.3, 2.9, 1.6]);
        let found = |config: ResampleConfig| resample_with(&volume, &target, &config, -1.0);
        let mean = found(ResampleConfig::new(Interpolation::Area));
        let blurred =
            found(ResampleConfig::new(Interpolation::Linear).with_anti_aliasing(AntiAliasing::Gaussian));
        for voxel in (0..1000).map(|i| [i % 10, i / 10 % 10, i / 100]) {
            let centre = voxel.map(|i| i as f64);
            let mut parts = (0..PARTS * PARTS * PARTS).map(|part| {
                let part = [part % PARTS, part / PARTS % PARTS, part / (PARTS * PARTS)];
                target.voxel_to_world(
                    [0, 1, 2].map(|a| centre[a] - 0.499 + 0.998 * part[a] as f64 / (PARTS - 1) as f64),
                )
            });
            if parts.any(|part| within(part, 1e-6)) {
                assert!((mean[voxel] - 7.0).abs() < 1e-9, "{spacing}: {voxel:?} is {}", mean[voxel]);
            }
            let centre = target.voxel_to_world(centre);
            let expected = if within(centre, 1e-6) { 7.0 } else { -1.0 };
            let certain = within(centre, 1e-6) || !within(centre, -1e-6);
            assert!(!certain || (blurred[voxel] - expected).abs() < 1e-9, "{spacing}: {voxel:?}");
        }
        assert_eq!(mean[[0, 0, 0]], -1.0);
    }
}

/// Between grids as unlike as these, rounding turned the axes of the grid between, which was resampled through another
/// such grid, and that through another.
#[test]
fn a_grid_of_any_spacing_has_its_mean_and_ends() {
    let source = oblique([3, 4, 5], 1e-3, [0.2, -0.1, 0.4]);
    let volume = Volume::from_fn(source, |[x, y, z]| (x + 10 * y + 100 * z) as f64);
    let target = grid([1, 1, 1], [1e8, 1.1e8, 1.2e8], [0.0; 3]);
    for config in [
        ResampleConfig::new(Interpolation::Area),
        ResampleConfig::new(Interpolation::Linear).with_anti_aliasing(AntiAliasing::Gaussian),
    ] {
        let found = resample_with(&volume, &target, &config, -1.0);
        // The target's centre lies outside.
        let expected = if config.interpolation == Interpolation::Area { 216.0 } else { -1.0 };
        assert!((found.voxels()[0] - expected).abs() < 1e-6, "{config:?}: {:?}", found.voxels());
    }
}

#[test]
fn beyond_the_image_is_fill_and_its_outer_half_voxel_is_not() {
    let volume = Volume::filled(grid([4, 4, 4], [1.0; 3], [0.0; 3]), 7u8);
    let target = grid([12, 1, 1], [0.5, 1.0, 1.0], [-1.0, 0.0, 0.0]);
    for interpolation in ALL {
        let found = resample(&volume, &target, interpolation, 0);
        // Coordinates −1, −0.5, 0, … 3.5, 4, 4.5: the image reaches from −0.5 to 3.5.
        assert_eq!(found.voxels(), [0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0], "{interpolation}");
    }
}

/// A cubic B-spline reproduces polynomials up to the third degree where the mirrored border is far.
#[test]
fn cubic_reproduces_a_cubic() {
    let value = |x: f64, y: f64| 0.01 * x * x * x - 0.2 * x * y + 0.05 * y * y * y - x;
    let source = grid([40, 40, 1], [1.0; 3], [0.0; 3]);
    let volume = Volume::from_fn(source, |[x, y, _]| value(x as f64, y as f64));
    let target = grid([20, 20, 1], [0.31, 0.37, 1.0], [16.1, 16.2, 0.0]);
    let found = resample(&volume, &target, Interpolation::Cubic, 0.0);
    for y in 0..20 {
        for x in 0..20 {
            let [wx, wy, _] = target.voxel_to_world([x as f64, y as f64, 0.0]);
            // The border's influence falls by 0.27 a voxel: 1e-9 of it is left after 16.
            assert!((found[[x, y, 0]] - value(wx, wy)).abs() < 1e-5);
        }
    }
}

/// Halfway between two axes, a volume whose axes were brought into the target's order seems to be in another
/// again; it was turned back and forth without end.
#[test]
fn axes_halfway_between_two_directions_are_turned_once() {
    let c = f64::from(0.707_106_77_f32);
    let rows = [[c, -c, 0.0, 0.0], [c, c, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let volume = Volume::filled(Grid::new([4, 5, 6], Affine::new(rows).unwrap()).unwrap(), 7.0f64);
    for order in ["RAS", "ARS", "ASR", "SRA", "LPS"] {
        let home = grid([2, 2, 2], [0.5; 3], [0.0, 2.5, 2.0]);
        let target = reoriented_grid(&home, order.parse().unwrap());
        let found = resample(&volume, &target, Interpolation::Linear, -1.0);
        assert!(found.voxels().iter().all(|&v| (v - 7.0).abs() < 1e-9), "{order}: {:?}", found.voxels());
    }
}

proptest! {
    /// The fast paths against sums over all neighbours, for ragged sizes, flips and any mixture of ways.
    #[test]
    fn both_paths_agree_on_aligned_axes(
        size in prop::array::uniform3(1usize..9),
        target_size in prop::array::uniform3(1usize..20),
        spacing in prop::array::uniform3(0.15f64..3.0),
        origin in prop::array::uniform3(-2.0f64..2.0),
        ways in prop::array::uniform3(prop::sample::select(ALL.to_vec())),
        orientation in prop::sample::select(vec!["RAS", "LPS", "RPI", "LAI"]),
    ) {
        let volume = noise(grid(size, [1.0, 1.1, 0.9], [0.0; 3]), 3);
        let target = reoriented_grid(&grid(target_size, spacing, origin), orientation.parse().unwrap());
        let found = resample_in::<f64, f64>(&volume, &target, ways, AntiAliasing::None, -5.0);
        let expected = slowly::<f64, f64>(&volume, &target, ways, -5.0);
        prop_assert!(far(&found, &expected) < 1e-9);
    }

    /// Zero times what is not finite is not 0: whether a voxel takes from another is what an image shows that is
    /// 1 there and 0 elsewhere.
    #[test]
    fn a_voxel_that_is_not_finite_spoils_those_that_take_from_it_alone(
        size in prop::array::uniform3(1usize..6),
        target_size in prop::array::uniform3(1usize..12),
        halves in prop::array::uniform3(1usize..6),
        shift in prop::array::uniform3(-2i32..5),
        place in any::<prop::sample::Index>(),
        bad in prop::sample::select(vec![f64::NAN, f64::INFINITY]),
        single in any::<bool>(),
    ) {
        let source = grid(size, [1.0; 3], [0.0; 3]);
        let target = grid(target_size, halves.map(|h| h as f64 / 2.0), shift.map(|s| f64::from(s) / 2.0));
        let at = place.index(source.voxel_count());
        let with = |others: &dyn Fn(usize) -> f64, value: f64| {
            let voxels = (0..source.voxel_count()).map(|i| if i == at { value } else { others(i) });
            Volume::from_vec(source, voxels.collect()).unwrap()
        };
        let spoiled = with(&|i| (i * 37 % 11) as f64, bad);
        let (sound, share) = (with(&|i| (i * 37 % 11) as f64, 0.0), with(&|_| 0.0, 1.0));
        for interpolation in [Interpolation::Nearest, Interpolation::Linear, Interpolation::Area] {
            let on = |volume: &Volume<f64>| {
                let ways = [interpolation; 3];
                if single {
                    let found = resample(&volume.map(|v| v as f32), &target, interpolation, 0.0);
                    found.map(f64::from).into_vec()
                } else if interpolation == Interpolation::Area {
                    resample(volume, &target, interpolation, 0.0).into_vec()
                } else {
                    slowly::<f64, f64>(volume, &target, ways, 0.0)
                }
            };
            let (spoiled, sound, share) = (on(&spoiled), on(&sound), on(&share));
            for i in 0..spoiled.len() {
                if share[i] == 0.0 {
                    prop_assert_eq!(spoiled[i], sound[i], "{}, voxel {}", interpolation, i);
                } else {
                    prop_assert!(!spoiled[i].is_finite());
                }
            }
        }
    }

    /// Linear interpolation reproduces an affine function exactly, on any rotated grid inside.
    #[test]
    fn linear_reproduces_a_ramp(angle in 0.0f64..1.5, g in prop::array::uniform3(-2.0f64..2.0)) {
        let source = grid([20, 20, 20], [1.0, 1.0, 1.0], [0.0; 3]);
        let volume = Volume::from_fn(source, |v| (0..3).map(|a| g[a] * v[a] as f64).sum::<f64>());
        let (s, c) = angle.sin_cos();
        let target = Grid::new([5, 5, 5], Affine::new([
            [c, -s, 0.0, 9.0], [s, c, 0.0, 8.0], [0.0, 0.0, 1.2, 7.0], [0.0, 0.0, 0.0, 1.0],
        ]).unwrap()).unwrap();
        let found = resample(&volume, &target, Interpolation::Linear, -99.0);
        for z in 0..5 { for y in 0..5 { for x in 0..5 {
            let world = target.voxel_to_world([x, y, z].map(|i| i as f64));
            let expected: f64 = (0..3).map(|a| g[a] * world[a]).sum();
            prop_assert!((found[[x, y, z]] - expected).abs() < 1e-9);
        }}}
    }
}
