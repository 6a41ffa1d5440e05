//! Each way through `Segmenter::segment`, beside the same way written down plainly: whole masks at each step,
//! as the method says it.
//!
//! The networks are made, not trained: one channel hands the image through and the head compares it with a
//! threshold, so that the coarse stage finds what is bright and thick, and the fine one what is bright.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use std::path::{Path, PathBuf};
use std::slice::from_ref;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use organseg_pipeline::{
    Boxes, Combine, Fallback, Method, ModelConfig, PipelineError, PredictionConfig, Segmenter, WhenEmpty,
    candidate_boxes, evaluate_case, model_folders, predict, weights_path,
};
use organseg_roi::{BoundingBox, Connectivity, connected_components, majority_vote};
use organseg_train::Preprocessing;
use organseg_unet::{Unet3d, UnetConfig, initialize, weights};
use organseg_volume::{
    Grid, Interpolation, LabelVolume, Orientation, Spacing, Volume, decimate_mean, reoriented_grid, resample,
    upsample_nearest,
};

/// Class 1 where the image is brighter than its mean by `threshold` standard deviations; other weights random.
fn save_network(config: &UnetConfig, threshold: f32, path: &Path) -> Unet3d {
    let variables = VarMap::new();
    Unet3d::new(config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu)).unwrap();
    initialize(&variables, 2).unwrap();
    let mut tensors = weights::tensors_of(&variables).unwrap();
    let mut change = |name: &str, change: &dyn Fn(&mut [f32])| {
        let tensor = tensors.get_mut(name).unwrap();
        let mut values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        change(&mut values);
        *tensor = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
    };
    for layer in ["down0.conv0", "down0.conv1", "up0.conv0", "up0.conv1"] {
        change(&format!("{layer}.weight"), &|values| {
            let inputs = values.len() / config.channels[0];
            values[..inputs].fill(0.0);
            values[13] = 1.0;
        });
    }
    change("head.weight", &|values| {
        values.fill(0.0);
        values[config.channels[0]] = 1.0;
    });
    change("head.bias", &|values| (values[0], values[1]) = (0.0, -threshold));
    weights::save(&tensors, None, path).unwrap();
    Unet3d::new(config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)).unwrap()
}

/// A model in `folder` and its networks.
fn save_model(config: &ModelConfig, coarse_threshold: f32, folder: &Path) -> [Unet3d; 2] {
    config.save(folder).unwrap();
    let network = config.network_of(&config.fine);
    let fine = if config.method == Method::Single { "single" } else { "fine" };
    [
        save_network(&network, coarse_threshold, &weights_path(folder, "coarse")),
        save_network(&network, 0.0, &weights_path(folder, fine)),
    ]
}

fn config() -> ModelConfig {
    let mut config = ModelConfig { decimation: [3, 2, 2], ..ModelConfig::default() };
    for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
        stage.network.channels = vec![4, 6];
    }
    config.boxes.box2_margin_voxels = 4.into();
    config
}

/// A bright block in something dark and uneven; with a `bar`, a line of bright voxels runs on from it.
fn scan(orientation: &str, bar: bool) -> Volume<f32> {
    let straight = Grid::with_spacing([44, 38, 31], Spacing::new([1.0, 1.0, 2.0]).unwrap()).unwrap();
    let grid = reoriented_grid(&straight, orientation.parse().unwrap());
    let size = grid.size();
    Volume::from_fn(grid, |at| {
        let in_block = (0..3).all(|a| at[a].abs_diff(size[a] / 2) < 4);
        let on_bar = bar && at[1] == size[1] / 2 && at[2] == size[2] / 2 && at[0] < size[0] / 2;
        if in_block || on_bar { 240.0 } else { ((at[0] * 7 + at[1] * 13 + at[2] * 29) % 17) as f32 - 100.0 }
    })
}

/// The two stages as the method says them: every mask as large as the scan.
fn two_stages_plainly(
    config: &ModelConfig,
    [coarse, fine]: &[Unet3d; 2],
    scan: &Volume<f32>,
) -> (LabelVolume, LabelVolume) {
    let prepared = config.preprocessing.prepare(scan).unwrap();
    let grid = prepared.grid();
    let low = decimate_mean(&prepared, config.decimation).unwrap();
    let low_mask = predict(coarse, &low, config.coarse.patch_size, &Device::Cpu).unwrap();
    let upsampled = upsample_nearest(&low_mask, config.decimation, grid).unwrap();
    let refine = |place: &BoundingBox| {
        let part = organseg_roi::crop(&prepared, place, 0.0);
        let found = predict(fine, &part, config.fine.patch_size, &Device::Cpu).unwrap();
        let mut mask = LabelVolume::filled(*grid, 0);
        organseg_roi::paste(&mut mask, &found, place).unwrap();
        mask
    };
    let whole = || refine(&BoundingBox::of_grid(grid));
    let voted = match candidate_boxes(&low_mask, config.decimation, grid, &config.boxes).unwrap() {
        None => whole(),
        Some(boxes) => {
            let refined = [refine(&boxes.box1), refine(&boxes.box2)];
            let pieces = connected_components(&refined[1], Connectivity::TwentySix);
            let organ = BoundingBox::of_voxels(pieces.labels(), |id| Some(id) == pieces.largest()).unwrap();
            let cut = (0..3).any(|a| {
                let (place, size) = (boxes.box2, grid.size()[a] as i64);
                (organ.min()[a] == place.min()[a] && place.min()[a] > 0)
                    || (organ.max()[a] == place.max()[a] && place.max()[a] < size)
            });
            if cut {
                let whole = whole();
                let pieces = connected_components(&whole, Connectivity::TwentySix);
                let ids = pieces.labels().voxels();
                let mut meets = vec![false; pieces.sizes().len() + 1];
                for (&id, &anchor) in ids.iter().zip(refined[1].voxels()) {
                    meets[id as usize] |= anchor != 0;
                }
                let kept = ids.iter().zip(whole.voxels());
                let kept = kept.map(|(&id, &label)| if meets[id as usize] { label } else { 0 }).collect();
                let whole = LabelVolume::from_vec(*grid, kept).unwrap();
                majority_vote(&[&whole, &whole, &upsampled]).unwrap()
            } else {
                majority_vote(&[&refined[0], &refined[1], &upsampled]).unwrap()
            }
        }
    };
    let back = |mask: &LabelVolume| config.preprocessing.restore_labels(mask, scan.grid()).unwrap();
    (back(&voted), back(&upsampled))
}

/// Both ways of handing over the scan against the plain way.
fn check(config: &ModelConfig, coarse_threshold: f32, scan: &Volume<f32>, fallback: Option<Fallback>) {
    let folder = tempfile::tempdir().unwrap();
    let networks = save_model(config, coarse_threshold, folder.path());
    let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap();
    let (mask, coarse) = two_stages_plainly(config, &networks, scan);
    assert!(mask.voxels().contains(&1), "something to compare");
    for found in [model.segment(scan).unwrap(), model.segment_owned(scan.clone()).unwrap()] {
        assert_eq!(found.report.fallback, fallback);
        assert!(found.mask == mask, "masks differ");
        assert!(found.coarse == Some(coarse.clone()), "coarse masks differ");
    }
    let prepared = config.preprocessing.prepare(scan).unwrap();
    let stages = model.two_stages(&prepared).unwrap();
    assert!(config.preprocessing.restore_labels(&stages.voted, scan.grid()).unwrap() == mask);
}

/// Orientations that need nothing, flips alone, and axes that change places.
const ORIENTATIONS: [&str; 3] = ["RAS", "LPS", "SPL"];

#[test]
fn two_boxes_and_a_vote() {
    for orientation in ORIENTATIONS {
        check(&config(), 2.0, &scan(orientation, false), None);
    }
}

/// Margins beyond the scan: both boxes are all of it.
#[test]
fn one_box_that_is_both() {
    let mut config = config();
    config.boxes.box1_margin_coarse_voxels = 50.into();
    config.boxes.box2_margin_voxels = 50.into();
    let scan = scan("LPS", false);
    check(&config, 2.0, &scan, None);
    let folder = tempfile::tempdir().unwrap();
    save_model(&config, 2.0, folder.path());
    let found = |prediction: PredictionConfig| {
        Segmenter::load(folder.path(), &Device::Cpu)
            .unwrap()
            .with_prediction(prediction)
            .segment(&scan)
            .unwrap()
    };
    let alone = found(PredictionConfig::default().with_boxes(Boxes::Box2));
    assert_eq!(alone.report.box1, alone.report.box2);
    assert!(found(PredictionConfig::default().with_combine(Combine::Mean)).mask == alone.mask);
}

/// Class probabilities of `image`, seen whole.
fn probabilities(net: &Unet3d, image: &Volume<f32>) -> Vec<f32> {
    let [x, y, z] = image.size();
    let input = Tensor::from_slice(image.voxels(), (1, 1, z, y, x), &Device::Cpu).unwrap();
    let scores = net.predict(&input).unwrap();
    candle_nn::ops::softmax(&scores, 1).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn one_box_alone_and_the_mean_of_two() {
    let config = config();
    let folder = tempfile::tempdir().unwrap();
    let [coarse, fine] = save_model(&config, 2.0, folder.path());
    let scan = scan("RAS", false);
    let prepared = config.preprocessing.prepare(&scan).unwrap();
    let grid = prepared.grid();
    let low = decimate_mean(&prepared, config.decimation).unwrap();
    let low_mask = predict(&coarse, &low, None, &Device::Cpu).unwrap();
    let boxes = candidate_boxes(&low_mask, config.decimation, grid, &config.boxes).unwrap().unwrap();
    assert_ne!(boxes.box1, boxes.box2);
    let found = |prediction: PredictionConfig| {
        let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap().with_prediction(prediction);
        let found = model.segment(&scan).unwrap();
        assert_eq!(found.report.fallback, None);
        found.mask
    };
    let mut sums = vec![[0.0f32; 2]; grid.voxel_count()];
    for (place, alone) in [(boxes.box1, Boxes::Box1), (boxes.box2, Boxes::Box2)] {
        let part = organseg_roi::crop(&prepared, &place, 0.0);
        let p = probabilities(&fine, &part);
        let mut expected = LabelVolume::filled(*grid, 0);
        let [nx, ny, _] = place.size();
        for v in 0..part.voxels().len() {
            let inner = [v % nx, v / nx % ny, v / (nx * ny)];
            let at = [0, 1, 2].map(|a| place.min()[a] as usize + inner[a]);
            let pair = [p[v], p[part.voxels().len() + v]];
            expected[at] = u8::from(pair[1] > pair[0]);
            (0..2).for_each(|class| sums[grid.offset(at)][class] += pair[class]);
        }
        assert!(found(PredictionConfig::default().with_boxes(alone)) == expected, "{alone:?}");
    }
    let mean = found(PredictionConfig::default().with_combine(Combine::Mean));
    // Where the two classes differ by rounding alone, either will do.
    for (found, [background, organ]) in mean.voxels().iter().zip(sums) {
        assert!(*found == u8::from(organ > background) || (organ - background).abs() < 1e-5);
    }
    assert!(mean.voxels().contains(&1));
}

#[test]
fn flips_find_what_is_found_without_them() {
    let config = config();
    let folder = tempfile::tempdir().unwrap();
    save_model(&config, 2.0, folder.path());
    let scan = scan("RAS", false);
    let model = || Segmenter::load(folder.path(), &Device::Cpu).unwrap();
    let plain = model().segment(&scan).unwrap().mask;
    let flipped =
        model().with_prediction(PredictionConfig::default().with_flips(true)).segment(&scan).unwrap();
    assert!(flipped.mask.voxels().contains(&1));
    // The networks look at single voxels, but pad and pool from one end: borders may differ, the block does not.
    let block = |mask: &LabelVolume| mask[[22, 19, 15]];
    assert_eq!((block(&plain), block(&flipped.mask)), (1, 1));
}

#[test]
fn pieces_are_dropped_and_holes_filled_in_the_answer_of_one_stage_and_of_two() {
    for method in [Method::Single, Method::Two] {
        let config = ModelConfig { method, ..config() };
        let folder = tempfile::tempdir().unwrap();
        save_model(&config, 2.0, folder.path());
        // The last network finds what is bright and no noise: a block with a hole of one voxel, and a voxel beside it.
        let last = if method == Method::Single { "single" } else { "fine" };
        save_network(&config.network_of(&config.fine), 1.0, &weights_path(folder.path(), last));
        let mut scan = scan("RAS", false);
        scan[[22, 19, 15]] = -100.0;
        scan[[17, 17, 13]] = 240.0;
        let found = |prediction: PredictionConfig| {
            let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap().with_prediction(prediction);
            model.segment(&scan).unwrap()
        };
        let plain = found(PredictionConfig::default());
        assert_eq!((plain.mask[[22, 19, 15]], plain.report.labels[&1].dropped_ml), (0, 0.0));
        let pieces = connected_components(&plain.mask, Connectivity::TwentySix);
        let strays = pieces.sizes().iter().sum::<usize>() - pieces.sizes().iter().max().unwrap();
        assert!(strays > 0, "something to drop");
        for prediction in [
            PredictionConfig::default().with_keep_largest(true).with_fill_holes(true),
            // Voxels are of 0.002 ml.
            PredictionConfig::default().with_least_volume_ml(0.4).with_fill_holes(true),
        ] {
            let clean = found(prediction);
            assert_eq!((clean.mask[[22, 19, 15]], clean.mask[[17, 17, 13]]), (1, 0), "{prediction:?}");
            let report = &clean.report.labels[&1];
            assert!((report.dropped_ml - strays as f64 * 0.002).abs() < 1e-9, "{report:?}");
            assert_eq!(report.voxels, clean.mask.voxels().iter().filter(|&&label| label > 0).count());
        }
    }
}

#[test]
fn an_empty_coarse_mask() {
    for orientation in ORIENTATIONS {
        check(&config(), 1e6, &scan(orientation, false), Some(Fallback::CoarseMaskEmpty));
    }
}

#[test]
fn an_empty_coarse_mask_may_be_the_answer() {
    let (folder, config) = (tempfile::tempdir().unwrap(), config());
    save_model(&config, 1e6, folder.path());
    let accepting = PredictionConfig::default().with_when_empty(WhenEmpty::Accept);
    let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap().with_prediction(accepting);
    let found = model.segment(&scan("RAS", false)).unwrap();
    assert!(!found.mask.voxels().contains(&1));
    assert_eq!((found.report.fallback, found.report.box1), (None, None));
    assert!(found.report.warnings().iter().any(|line| line.starts_with("no ")), "{:?}", found.report);
}

#[test]
fn an_organ_cut_by_the_box() {
    check(&config(), 6.0, &scan("RAS", true), Some(Fallback::OrganCutByBox));
    check(&config(), 6.0, &scan("LPS", true), Some(Fallback::OrganCutByBox));
}

#[test]
fn tiles_and_a_spacing() {
    let mut tiled = config();
    tiled.preprocessing = Preprocessing::default().with_spacing_mm([1.5, 1.5, 1.5]);
    tiled.fine.patch_size = Some([16, 16, 16]);
    tiled.coarse.patch_size = Some([8, 8, 16]);
    let folder = tempfile::tempdir().unwrap();
    let networks = save_model(&tiled, 1.0, folder.path());
    let scan = scan("LPS", false);
    let found = Segmenter::load(folder.path(), &Device::Cpu).unwrap().segment_owned(scan.clone()).unwrap();
    let (mask, coarse) = two_stages_plainly(&tiled, &networks, &scan);
    assert!(found.coarse == Some(coarse));
    assert_eq!(found.mask.grid(), scan.grid());
    // By its labels alone the mask is another, within a voxel of its border.
    let count = |differ: bool| {
        mask.voxels()
            .iter()
            .zip(found.mask.voxels())
            .filter(|(a, b)| (a != b) == differ && **a + **b > 0)
            .count()
    };
    assert!(count(true) < count(false), "{} differ, {} do not", count(true), count(false));
    // And with the leads of the vote the same on the way of an evaluation.
    let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap();
    let (_, masks) = evaluate_case(&model, "case", &scan, &mask, None).unwrap();
    assert!(masks.refined == found.mask && masks.coarse == found.coarse);
}

/// A ball that is brighter to its middle: what the networks find at 2 mm, of one stage and of two, comes back to 1 mm rounder
/// than its nearest labels would.
#[test]
fn masks_come_back_to_a_finer_grid_by_what_the_networks_were_sure_of() {
    let grid = Grid::with_spacing([60, 56, 52], Spacing::isotropic(1.0).unwrap()).unwrap();
    let depth = |at: [usize; 3]| {
        let centre = [29.8, 27.35, 25.6];
        16.0 - (0..3).map(|a| (at[a] as f32 - centre[a]).powi(2)).sum::<f32>().sqrt()
    };
    let scan = Volume::from_fn(grid, |at| 70.0 + 150.0 * (depth(at) / 5.0).clamp(-1.0, 1.0));
    let prediction = PredictionConfig::default();
    for (method, prediction) in [
        (Method::Single, prediction),
        (Method::Two, prediction),
        (Method::Two, prediction.with_combine(Combine::Mean)),
        (Method::Two, prediction.with_boxes(Boxes::Box2)),
    ] {
        let mut config = ModelConfig { method, decimation: [2; 3], ..config() };
        config.preprocessing = Preprocessing::default().with_spacing_mm([2.0; 3]);
        // As sure of what is not there as of what is.
        for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
            stage.network.negative_slope = 1.0;
        }
        let folder = tempfile::tempdir().unwrap();
        save_model(&config, 0.5, folder.path());
        let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap().with_prediction(prediction);
        let found = model.segment(&scan).unwrap().mask;
        assert_eq!(found.grid(), scan.grid());
        let prepared = config.preprocessing.prepare(&scan).unwrap();
        let coarser = if method == Method::Single {
            let tensors = weights::load(&weights_path(folder.path(), "single"), &Device::Cpu).unwrap();
            let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
            let net = Unet3d::new(&config.network_of(&config.single), vb).unwrap();
            predict(&net, &prepared, None, &Device::Cpu).unwrap()
        } else {
            model.two_stages(&prepared).unwrap().voted
        };
        // The networks look at single voxels: what they found is what is brighter than something.
        let values = |label: u8| {
            let voxels = coarser.voxels().iter().zip(prepared.voxels());
            voxels.filter(move |&(&l, _)| l == label).map(|(_, &value)| value)
        };
        let border = (values(0).fold(f32::MIN, f32::max) + values(1).fold(f32::MAX, f32::min)) / 2.0;
        let truth =
            config.preprocessing.intensity.apply(&scan).unwrap().map(|value| u8::from(value > border));
        let dice = |mask: &LabelVolume| organseg_metrics::dice(mask, &truth, 1).unwrap();
        let nearest = dice(&resample(&coarser, &grid, Interpolation::Nearest, 0));
        let alone = dice(&config.preprocessing.restore_labels(&coarser, &grid).unwrap());
        let leading = dice(&found);
        println!(
            "{method}, {prediction:?}: DSC {nearest:.4} nearest, {alone:.4} labels alone, {leading:.4} with leads"
        );
        assert!(alone > nearest && leading > alone + 0.005, "{nearest} {alone} {leading}");
    }
}

#[test]
fn one_stage() {
    let config = ModelConfig { method: Method::Single, ..config() };
    for orientation in ORIENTATIONS {
        let folder = tempfile::tempdir().unwrap();
        let [_, network] = save_model(&config, 0.0, folder.path());
        let scan = scan(orientation, false);
        let prepared = config.preprocessing.prepare(&scan).unwrap();
        assert_eq!(Orientation::of(prepared.grid().affine()), Orientation::RAS);
        let mask = predict(&network, &prepared, None, &Device::Cpu).unwrap();
        let mask = config.preprocessing.restore_labels(&mask, scan.grid()).unwrap();
        let model = Segmenter::load(folder.path(), &Device::Cpu).unwrap();
        assert!(model.segment(&scan).unwrap().mask == mask);
        assert!(model.segment_owned(scan).unwrap().mask == mask);
    }
}

/// Three networks that answer differently, against the mean taken voxel by voxel.
#[test]
fn of_several_models_the_mean_probability_counts() {
    let config = ModelConfig { method: Method::Single, ..config() };
    let folder = tempfile::tempdir().unwrap();
    let folders: Vec<_> = (0..3).map(|k| folder.path().join(format!("fold_{k}"))).collect();
    // Brighter from one end to the other, so that each threshold has voxels near it.
    let grid = *scan("RAS", false).grid();
    let scan = Volume::from_fn(grid, |[x, y, z]| (x * 5 + (y * 13 + z * 29) % 37) as f32 - 60.0);
    let prepared = config.preprocessing.prepare(&scan).unwrap();
    let mut sums = vec![0.0f32; 2 * scan.voxels().len()];
    let mut alone = Vec::new();
    for (folder, threshold) in folders.iter().zip([0.1, 0.4, 1.5]) {
        std::fs::create_dir(folder).unwrap();
        config.save(folder).unwrap();
        let net =
            save_network(&config.network_of(&config.single), threshold, &weights_path(folder, "single"));
        sums.iter_mut().zip(probabilities(&net, &prepared)).for_each(|(sum, p)| *sum += p);
        alone.push(Segmenter::load(folder, &Device::Cpu).unwrap().segment(&scan).unwrap().mask);
    }
    let load = |folders: &[PathBuf]| Segmenter::load_ensemble(folders, &Device::Cpu).unwrap();
    let together = load(&model_folders(folder.path()).unwrap()).segment(&scan).unwrap().mask;
    let (background, organ) = sums.split_at(scan.voxels().len());
    for ((found, organ), background) in together.voxels().iter().zip(organ).zip(background) {
        assert!(*found == u8::from(organ > background) || (organ - background).abs() < 1e-5);
    }
    assert!(alone.iter().all(|mask| *mask != together), "something to average");
    assert_eq!(load(&folders[1..2]).segment(&scan).unwrap().mask, alone[1]);
    assert!(Segmenter::load_ensemble(&[], &Device::Cpu).is_err());
}

#[test]
fn the_means_of_several_models_decide_in_both_stages() {
    let folder = tempfile::tempdir().unwrap();
    let folders = ["strict", "lax", "other"].map(|name| folder.path().join(name));
    folders.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    // Neither the coarse network of the first nor the fine one of the second finds anything alone; the other ones' are sure
    // enough for two.
    let (config, scan) = (config(), scan("LPS", false));
    let [strict, lax, other] = &folders;
    let save = |folder: &Path, coarse: f32, fine: f32| {
        config.save(folder).unwrap();
        for (name, stage, threshold) in [("coarse", &config.coarse, coarse), ("fine", &config.fine, fine)] {
            save_network(&config.network_of(stage), threshold, &weights_path(folder, name));
        }
    };
    save(strict, 1e6, 2.0);
    save(lax, 2.0, 1e6);
    let found = |folders: &[PathBuf], combine: Combine| {
        let model = Segmenter::load_ensemble(folders, &Device::Cpu).unwrap();
        model.with_prediction(PredictionConfig::default().with_combine(combine)).segment(&scan).unwrap()
    };
    for combine in [Combine::Vote, Combine::Mean] {
        let alone = [strict, lax].map(|folder| found(from_ref(folder), combine));
        assert_eq!(alone[0].report.fallback, Some(Fallback::CoarseMaskEmpty));
        assert!(!alone[1].mask.voxels().contains(&1), "its fine network finds nothing");
        // With a third that finds everything, two of three do in each stage.
        save(other, 2.0, 2.0);
        let three = found(&[strict.clone(), lax.clone(), other.clone()], combine);
        let sure = found(from_ref(other), combine);
        assert_eq!(three.report.fallback, None, "boxes by the mean of the coarse networks");
        assert!(three.mask.voxels().contains(&1) && three.mask[[22, 19, 15]] == sure.mask[[22, 19, 15]]);
        // A model and itself are that model.
        let twice = found(&[other.clone(), other.clone()], combine);
        assert!(twice.mask == sure.mask && twice.coarse == sure.coarse, "{combine:?}");
    }

    let narrower = ModelConfig { decimation: [2, 2, 2], ..config.clone() };
    narrower.save(other).unwrap();
    let refused = Segmenter::load_ensemble(&folders, &Device::Cpu);
    let Err(PipelineError::Ensemble { path, reason, .. }) = refused else { panic!("to be refused") };
    assert_eq!((&path, reason.as_str()), (other, "decimation is [2,2,2] there and [3,2,2] here"));
}
