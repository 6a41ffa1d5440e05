//! What every phantom of the default size promises: reproducible bytes, an organ well posed for
//! segmentation, neighbours as bright as itself, tissues in their ranges.

use std::sync::LazyLock;

use organseg_phantom::{Organ, PANCREAS_LABEL, Phantom, PhantomConfig, case_seed, generate};

const CASES: usize = 12;

static PHANTOMS: LazyLock<Vec<Phantom>> = LazyLock::new(|| {
    (0..CASES)
        .map(|i| generate(&PhantomConfig::default(), case_seed(1, i)).expect("the default is valid"))
        .collect()
});

fn phantoms() -> impl Iterator<Item = (usize, &'static Phantom)> {
    PHANTOMS.iter().enumerate()
}

fn values(phantom: &Phantom, organ: Organ) -> Vec<f32> {
    let pairs = phantom.image.voxels().iter().zip(phantom.organs.voxels());
    pairs.filter(|&(_, &o)| o == organ.label()).map(|(&hu, _)| hu).collect()
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Steps of 6-connected dilation, in place; true where within `steps` of the mask.
fn dilated(mask: &[bool], size: [usize; 3], steps: usize) -> Vec<bool> {
    let mut mask = mask.to_vec();
    for _ in 0..steps {
        let before = mask.clone();
        for i in (0..before.len()).filter(|&i| before[i]) {
            for n in neighbours(i, size) {
                mask[n] = true;
            }
        }
    }
    mask
}

fn neighbours(i: usize, [nx, ny, nz]: [usize; 3]) -> impl Iterator<Item = usize> {
    let (x, y, z) = (i % nx, i / nx % ny, i / (nx * ny));
    let all = [
        (x > 0).then(|| i - 1),
        (x + 1 < nx).then(|| i + 1),
        (y > 0).then(|| i - nx),
        (y + 1 < ny).then(|| i + nx),
        (z > 0).then(|| i - nx * ny),
        (z + 1 < nz).then(|| i + nx * ny),
    ];
    all.into_iter().flatten()
}

fn pancreas(phantom: &Phantom) -> Vec<bool> {
    phantom.labels.voxels().iter().map(|&l| l == PANCREAS_LABEL).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes_with_one_thread_and_with_three() {
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| generate(&PhantomConfig::default(), 11).unwrap())
    };
    let (one, three) = (with(1), with(3));
    assert!(one == three, "phantoms of one seed differ with the number of threads");
}

#[test]
fn other_seeds_give_other_scans_and_other_pancreases() {
    let config = PhantomConfig::default().with_size([56, 48, 36]);
    let (a, b) = (generate(&config, 1).unwrap(), generate(&config, 2).unwrap());
    assert_ne!(a.image.voxels(), b.image.voxels());
    assert_ne!(a.labels.voxels(), b.labels.voxels());
}

#[test]
fn the_pancreas_is_in_one_piece_of_the_stated_size_and_away_from_the_border() {
    for (i, phantom) in phantoms() {
        let size = phantom.labels.size();
        let mask = pancreas(phantom);
        let voxels = mask.iter().filter(|&&m| m).count();
        assert!((1900..4000).contains(&voxels), "case {i}: {voxels} voxels");

        let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
        for i in (0..mask.len()).filter(|&i| mask[i]) {
            let at = [i % size[0], i / size[0] % size[1], i / (size[0] * size[1])];
            low = [0, 1, 2].map(|a| low[a].min(at[a]));
            high = [0, 1, 2].map(|a| high[a].max(at[a] + 1));
        }
        let bounds = [38..=58, 16..=32, 18..=40];
        for axis in 0..3 {
            let extent = high[axis] - low[axis];
            assert!(bounds[axis].contains(&extent), "case {i}: {extent} voxels along axis {axis}");
            assert!(low[axis] >= 5 && high[axis] + 5 <= size[axis], "case {i}: near the border");
        }

        let start = mask.iter().position(|&m| m).unwrap();
        let (mut seen, mut stack) = (vec![false; mask.len()], vec![start]);
        seen[start] = true;
        while let Some(at) = stack.pop() {
            for n in neighbours(at, size) {
                if mask[n] && !seen[n] {
                    seen[n] = true;
                    stack.push(n);
                }
            }
        }
        let connected = seen.iter().filter(|&&s| s).count();
        assert!(connected * 100 >= voxels * 99, "case {i}: {connected} of {voxels} voxels hang together");
    }
}

/// Neither the brightness alone finds it, nor is it without an outline.
#[test]
fn what_is_near_overlaps_in_brightness_but_fat_borders_most_of_it() {
    for (i, phantom) in phantoms() {
        let size = phantom.labels.size();
        let mask = pancreas(phantom);
        let hu = phantom.image.voxels();
        let middle = median(values(phantom, Organ::Pancreas));
        assert!((28.0..55.0).contains(&middle), "case {i}: {middle} HU");

        let (near, around) = (dilated(&mask, size, 1), dilated(&mask, size, 8));
        let alike = |hu: f32| (hu - middle).abs() < 15.0;
        let inside = (0..hu.len()).filter(|&v| mask[v] && alike(hu[v])).count();
        let impostors = (0..hu.len()).filter(|&v| around[v] && !near[v] && alike(hu[v])).count();
        assert!(2 * impostors > 3 * inside, "case {i}: {impostors} as bright around {inside}");

        let border: Vec<f32> = (0..hu.len()).filter(|&v| near[v] && !mask[v]).map(|v| hu[v]).collect();
        let dark = border.iter().filter(|&&hu| hu < middle - 30.0).count() as f64 / border.len() as f64;
        assert!((0.55..0.98).contains(&dark), "case {i}: {dark:.2} of the border is darker");
    }
}

#[test]
fn tissues_lie_in_their_ranges_of_hounsfield_units() {
    let ranges = [
        (Organ::Outside, -1010.0..-990.0),
        (Organ::Fat, -112.0..-80.0),
        (Organ::Liver, 50.0..76.0),
        (Organ::Spleen, 44.0..80.0),
        (Organ::RightKidney, 35.0..140.0),
        (Organ::LeftKidney, 35.0..140.0),
        (Organ::Artery, 40.0..130.0),
        (Organ::VenaCava, 40.0..110.0),
        (Organ::Muscle, 42.0..62.0),
        (Organ::Bone, 150.0..500.0),
        (Organ::Gallbladder, -5.0..30.0),
    ];
    for (i, phantom) in phantoms() {
        for (organ, range) in &ranges {
            let found = values(phantom, *organ);
            assert!(found.len() > 100, "case {i}: {} voxels of {}", found.len(), organ.name());
            let middle = median(found);
            assert!(range.contains(&middle), "case {i}: {} at {middle} HU", organ.name());
        }
        assert!(phantom.image.voxels().iter().all(|&hu| hu == hu.round() && hu.abs() <= 3071.0));
        let pancreas = phantom.organs.map(|o| u8::from(o == PANCREAS_LABEL));
        assert_eq!(pancreas, phantom.labels);
    }
}

/// More voxels over the same field of view show the same organ, finer.
#[test]
fn the_anatomy_fits_any_size() {
    let volume_ml = |size: [usize; 3]| {
        let phantom = generate(&PhantomConfig::default().with_size(size), 4).unwrap();
        let voxels = phantom.labels.voxels().iter().filter(|&&l| l == PANCREAS_LABEL).count();
        voxels as f64 * phantom.labels.grid().spacing().voxel_volume_mm3() / 1000.0
    };
    let reference = volume_ml([112, 96, 72]);
    for size in [[84, 120, 60], [140, 80, 99]] {
        let other = volume_ml(size);
        assert!((other / reference - 1.0).abs() < 0.1, "{size:?}: {other} ml, {reference} ml expected");
    }
    assert!(generate(&PhantomConfig::default().with_size([1, 1, 1]), 4).is_ok());
}
