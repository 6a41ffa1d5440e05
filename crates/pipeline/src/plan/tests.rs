//! Plans from fingerprints made up and from phantoms on disk.

use std::collections::BTreeMap;

use organseg_phantom::{PhantomConfig, write_dataset};
use organseg_train::{
    AugmentConfig, CaseFingerprint, Dataset, Fingerprint, Intensity, IntensityRange, LabelExtent, Modality,
    ThickSlices,
};

use super::*;

fn fingerprint(modality: &str, size: [usize; 3], spacing_mm: &[[f64; 3]], organ: [usize; 3]) -> Fingerprint {
    let extent = LabelExtent { voxels: 1000, middle_mm: [20.0; 3] };
    let case = |(i, &spacing_mm): (usize, &[f64; 3])| CaseFingerprint {
        name: format!("case_{i}"),
        size,
        spacing_mm,
        organ_size: Some(organ),
        piece_ml: Some(50.0),
        zero_background: 0.0,
        labels: BTreeMap::from([(1, extent)]),
    };
    Fingerprint {
        modality: Modality::from(modality.to_string()),
        labels: BTreeMap::from([(1, "organ".into())]),
        cases: spacing_mm.iter().enumerate().map(case).collect(),
        intensities: Some(IntensityRange { low: -60.0, median: 90.0, high: 200.0 }),
    }
}

fn planned(fingerprint: &Fingerprint, method: Option<Method>) -> ModelConfig {
    let mut config = ModelConfig::default();
    rules::apply(&mut config, fingerprint, method, &Table::new(), MAX_PATCH_VOXELS);
    config
}

#[test]
fn a_hippocampus_is_looked_at_once_in_patches_of_almost_its_size() {
    let mr = fingerprint("MRI", [35, 50, 35], &[[1.0; 3]; 3], [20, 30, 20]);
    let config = planned(&mr, None);
    assert_eq!((config.method, config.single.patch_size), (Method::Single, Some([32, 48, 32])));
    assert_eq!(config.single.network.channels, [16, 32, 64, 128]);
    assert_eq!((config.single.train.batch, config.single.train.augment.mirror_axes), (2, [true; 3]));
    assert_eq!((config.single.train.loss.cross_entropy, config.single.train.loss.center), (1.0, 0.0));
    assert_eq!(config.preprocessing.intensity, Intensity::ZScore { nonzero: false });
    let preprocessing = config.preprocessing;
    assert_eq!((preprocessing.spacing_mm, preprocessing.keep_within), (Some([1.0; 3]), 1.1));
    let config = planned(&mr, Some(Method::Two));
    assert_eq!((config.method, config.decimation), (Method::Two, [2; 3]));
    assert_eq!(config.coarse.train.loss.center, ModelConfig::default().coarse.train.loss.center);
    assert_eq!(config.fine.train.loss.center, 0.0);
    assert_eq!((config.coarse.patch_size, config.fine.patch_size), (None, None));
}

#[test]
fn abdominal_ct_is_looked_at_twice_as_the_paper_does() {
    let spacings = [[0.7, 0.7, 1.0], [0.86, 0.86, 1.0], [0.9, 0.9, 1.0]];
    let config = planned(&fingerprint("CT", [512, 512, 240], &spacings, [180, 110, 90]), None);
    assert_eq!((config.method, config.decimation), (Method::Two, [4; 3]));
    assert_eq!(config.preprocessing.spacing_mm, Some([0.86, 0.86, 1.0]), "the median");
    assert_eq!(config.preprocessing.intensity, Intensity::default());
    assert_eq!(config.coarse.patch_size, None, "the decimated scan goes through whole");
    let patch = config.fine.patch_size.expect("crops are larger than a patch may be");
    assert!(shape::voxels(patch) <= MAX_PATCH_VOXELS);
}

#[test]
fn thick_slices_keep_a_fine_percentile_of_their_spacing() {
    let spacings: Vec<_> = (0..11).map(|i| [0.7, 0.7, 3.0 + 0.5 * f64::from(i)]).collect();
    let config = planned(&fingerprint("CT", [512, 512, 60], &spacings, [180, 110, 20]), None);
    // Spacings of 3 to 8 mm: their tenth percentile is 3.5, their median 5.5.
    assert_eq!(config.preprocessing.spacing_mm, Some([0.7, 0.7, 3.5]));
}

#[test]
fn samples_of_few_thick_slices_are_varied_within_them() {
    let prostate = fingerprint("MRI", [320, 320, 20], &[[0.6, 0.6, 3.6]; 3], [80, 70, 12]);
    let of = |fingerprint: &Fingerprint| {
        planned(fingerprint, Some(Method::Single)).single.train.augment.thick_slices
    };
    assert_eq!(of(&prostate), ThickSlices::Z);
    // The coarse stage's voxels are as good as isotropic.
    let config = planned(&prostate, Some(Method::Two));
    assert_eq!(config.coarse.train.augment.thick_slices, ThickSlices::None);
    assert_eq!(config.fine.train.augment.thick_slices, ThickSlices::Z);
    assert_eq!(of(&fingerprint("MRI", [35, 50, 35], &[[1.0; 3]; 3], [20, 30, 20])), ThickSlices::None);
    // By hand it may be otherwise.
    let mut by_hand = ModelConfig::default();
    let none: Table = "[single.train.augment]\nthick_slices = \"none\"".parse().unwrap();
    rules::apply(&mut by_hand, &prostate, Some(Method::Single), &none, MAX_PATCH_VOXELS);
    assert_eq!(by_hand.single.train.augment.thick_slices, ThickSlices::None);
}

#[test]
fn what_was_cut_away_counts_in_no_z_score() {
    let mut brains = fingerprint("T1", [240, 240, 155], &[[1.0; 3]; 3], [60; 3]);
    let of = |fingerprint: &Fingerprint| {
        let mut config = ModelConfig::default();
        let (reasons, _) = rules::apply(&mut config, fingerprint, None, &Table::new(), MAX_PATCH_VOXELS);
        (config.preprocessing.intensity, reasons["preprocessing.intensity"].clone())
    };
    for (i, case) in brains.cases.iter_mut().enumerate() {
        case.zero_background = 0.75 + 0.05 * i as f64;
    }
    let (intensity, reason) = of(&brains);
    assert_eq!(intensity, Intensity::ZScore { nonzero: true });
    assert!(reason.contains("at least 75 % of each scan is exactly 0"), "{reason}");
    // One that is not cut out of its surroundings decides for all.
    brains.cases[1].zero_background = 0.1;
    assert_eq!(of(&brains).0, Intensity::ZScore { nonzero: false });
    brains.cases[1].zero_background = 0.8;
    brains.modality = Modality::Ct;
    assert_eq!(of(&brains).0, Intensity::default());
    brains.modality = Modality::Other("noNorm".into());
    let (intensity, reason) = of(&brains);
    assert_eq!(intensity, Intensity::None);
    assert!(reason.contains("noNorm"), "{reason}");
}

#[test]
fn a_window_that_would_cut_the_organ_gives_way_to_percentiles() {
    let mut lung = fingerprint("ct", [300; 3], &[[1.0; 3]; 2], [200; 3]);
    lung.intensities = Some(IntensityRange { low: -980.4, median: -800.0, high: 50.2 });
    let intensity = planned(&lung, None).preprocessing.intensity;
    assert_eq!(intensity, Intensity::Window { low: -981.0, high: 51.0 });
}

#[test]
fn what_is_settled_stands() {
    let mut base = ModelConfig::default();
    base.single.network.channels = vec![8, 16];
    base.single.train.augment = AugmentConfig::none();
    let settled = differences(&base).unwrap();
    assert!(is_set(&settled, "single.network.channels") && !is_set(&settled, "fine.network.channels"));
    assert!(is_set(&settled, "single.train.augment.mirror_axes") && !is_set(&settled, "decimation"));
    let mr = fingerprint("MRI", [35, 50, 35], &[[1.0; 3]], [20, 30, 20]);
    rules::apply(&mut base, &mr, Some(Method::Single), &settled, MAX_PATCH_VOXELS);
    assert_eq!(base.single.network.channels, [8, 16]);
    assert_eq!(base.single.train.augment.mirror_axes, [false; 3]);
    assert_eq!(base.single.patch_size, Some([34, 50, 34]), "a multiple of two is enough");
}

#[test]
fn an_ignore_label_is_no_choice_of_a_loss() {
    let mr = fingerprint("MRI", [35, 50, 35], &[[1.0; 3]], [20, 30, 20]);
    for (set, cross_entropy) in [("ignore_label = 5", 1.0), ("ignore_label = 5\ndice = 2.0", 0.0)] {
        let settled: Table = format!("[single.train.loss]\n{set}\n").parse().unwrap();
        let mut config = overlaid(&ModelConfig::default(), &settled, None).unwrap();
        rules::apply(&mut config, &mr, Some(Method::Single), &settled, MAX_PATCH_VOXELS);
        assert_eq!(config.single.train.loss.cross_entropy, cross_entropy, "{set}");
    }
}

#[test]
fn what_a_file_sets_stands_and_the_rest_stays() {
    let given: Table = "decimation = [2, 2, 2]\n[fine.train]\nepochs = 7\n".parse().unwrap();
    let config = overlaid(&ModelConfig::default(), &given, None).unwrap();
    assert_eq!((config.decimation, config.fine.train.epochs), ([2; 3], 7));
    assert_eq!(config.coarse, ModelConfig::default().coarse);
    assert_eq!(config.fine.network, ModelConfig::default().fine.network);
}

/// Three small phantoms, a plan of them in a file, and the names of the cases.
fn planned_phantoms(folder: &Path, method: Option<Method>) -> (Dataset, Plan, std::path::PathBuf) {
    let data = folder.join("data");
    write_dataset(&data, 3, &PhantomConfig::default().with_size([40, 36, 28]), 3).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    let names: Vec<String> = dataset.names().iter().map(ToString::to_string).collect();
    let plan = Plan::make(&ModelConfig::default(), method, None, &dataset, &names, MAX_PATCH_VOXELS).unwrap();
    let path = folder.join("plan.toml");
    std::fs::write(&path, plan.to_toml()).unwrap();
    (dataset, plan, path)
}

#[test]
fn a_plan_survives_its_file_and_is_not_measured_again() {
    for method in [Method::Single, Method::Two] {
        let folder = tempfile::tempdir().unwrap();
        let (mut dataset, plan, path) = planned_phantoms(folder.path(), Some(method));
        let text = plan.to_toml();
        for words in ["# Measured in 3 cases of CT", "decimation = ", "[single]", "every scan measured keeps"]
        {
            let expected = match words {
                "decimation = " => method == Method::Two,
                "[single]" => method == Method::Single,
                _ => true,
            };
            assert_eq!(text.contains(words), expected, "{words}: {text}");
        }
        assert!(text.lines().all(|line| !line.starts_with('#') || line.len() < 130));
        // Whatever lies in the cases now: the plan says it all.
        dataset.cases.clear();
        let base = ModelConfig::default();
        let read = Plan::make(&base, None, Some(&path), &dataset, &[], MAX_PATCH_VOXELS).unwrap();
        assert_eq!(read.config, plan.config);
        let other = if method == Method::Two { Method::Single } else { Method::Two };
        let error = Plan::make(&base, Some(other), Some(&path), &dataset, &[], MAX_PATCH_VOXELS);
        let error = error.unwrap_err().to_string();
        assert!(error.contains("plan.toml") && error.contains("stage"), "{error}");
    }
}

#[test]
fn a_plan_for_another_dataset_is_refused_naming_labels_or_modality() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, _, path) = planned_phantoms(folder.path(), None);
    let refused = |dataset: &Dataset| {
        let base = ModelConfig::default();
        Plan::make(&base, None, Some(&path), dataset, &[], MAX_PATCH_VOXELS).unwrap_err().to_string()
    };
    let mut other = dataset.clone();
    other.labels.insert(2, "spleen".into());
    let error = refused(&other);
    for word in ["plan.toml", "labels", "spleen", "pancreas", "data"] {
        assert!(error.contains(word), "{error}");
    }
    other.labels = BTreeMap::from([(1, "label 1".into())]);
    let base = ModelConfig::default();
    let made = |dataset: &Dataset| Plan::make(&base, None, Some(&path), dataset, &[], MAX_PATCH_VOXELS);
    assert_eq!(made(&other).expect("a list has no names").warnings, [""; 0]);
    other.name = "another".into();
    let warnings = made(&other).expect("a name alone is no reason").warnings;
    assert!(warnings.len() == 1 && warnings[0].contains("is another"), "{warnings:?}");
    other = dataset;
    other.modality = Modality::Other("MRI".into());
    let error = refused(&other);
    assert!(error.contains("modality") && error.contains("CT") && error.contains("MRI"), "{error}");
}

#[test]
fn cases_without_foreground_are_planned_for_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, _, _) = planned_phantoms(folder.path(), None);
    let path = dataset.cases[1].label.as_ref().unwrap();
    let empty = organseg_volume::read_labels(path).unwrap().map(|_| 0);
    organseg_volume::write(path, &empty).unwrap();
    let names: Vec<String> = dataset.names().iter().map(ToString::to_string).collect();
    let plan = Plan::make(&ModelConfig::default(), None, None, &dataset, &names, MAX_PATCH_VOXELS).unwrap();
    assert_eq!(plan.warnings.len(), 1);
    assert!(plan.warnings[0].starts_with("case phantom_001: no voxel is labelled"), "{:?}", plan.warnings);
}

#[test]
fn what_nobody_annotated_changes_nothing_of_a_plan_but_what_its_losses_ignore() {
    for method in [Method::Single, Method::Two] {
        let folder = tempfile::tempdir().unwrap();
        let (mut dataset, plain, path) = planned_phantoms(folder.path(), Some(method));
        for case in &dataset.cases {
            let path = case.label.as_ref().unwrap();
            let labels = organseg_volume::read_labels(path).unwrap();
            let far = |[x, y, z]: [usize; 3]| x < 4 || y > 30 || z > 25;
            let sparse = organseg_volume::LabelVolume::from_fn(*labels.grid(), |at| match labels[at] {
                0 if far(at) => 5,
                label => label,
            });
            organseg_volume::write(path, &sparse).unwrap();
        }
        dataset.ignore = Some(5);
        let names: Vec<String> = dataset.names().iter().map(ToString::to_string).collect();
        let make = |base: &ModelConfig, file: Option<&Path>, dataset: &Dataset| {
            Plan::make(base, Some(method), file, dataset, &names, MAX_PATCH_VOXELS)
        };
        let plan = make(&ModelConfig::default(), None, &dataset).unwrap();
        assert_eq!(plan.measured, plain.measured);
        let mut expected = plain.config.clone();
        for stage in rules::stages(method) {
            expected.stage_mut(stage).train.loss.ignore_label = Some(5);
        }
        assert_eq!(plan.config, expected);
        let text = plan.to_toml();
        assert_eq!(text.matches("\nignore_label = 5\n").count(), rules::stages(method).len(), "{text}");
        assert!(text.contains("voxels that nobody annotated"), "{text}");

        // A plan without a word on it, and one for another dataset.
        assert_eq!(make(&ModelConfig::default(), Some(&path), &dataset).unwrap().config, expected);
        std::fs::write(&path, text).unwrap();
        dataset.ignore = Some(6);
        let error = make(&ModelConfig::default(), Some(&path), &dataset).unwrap_err();
        assert!(matches!(error, PipelineError::IgnoreLabel { found: 5, expected: Some(6), .. }), "{error}");
    }
}

/// What `rules` make of `fingerprint`, with what a person is told.
fn planned_and_told(fingerprint: &Fingerprint, method: Option<Method>) -> (ModelConfig, Vec<String>) {
    let mut config = ModelConfig::default();
    let (_, notes) = rules::apply(&mut config, fingerprint, method, &Table::new(), MAX_PATCH_VOXELS);
    (config, notes)
}

#[test]
fn thick_slices_have_strides_margins_and_patches_of_their_own() {
    let prostate = fingerprint("MRI", [320, 320, 20], &[[0.6, 0.6, 3.6]; 3], [83, 75, 12]);
    let config = planned(&prostate, None);
    let strides = vec![[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 2]];
    assert_eq!((config.method, &config.fine.network.strides), (Method::Two, &strides));
    assert_eq!(config.fine.network.channels, [16, 32, 64, 128, 256]);
    assert_eq!(
        (config.crop_margin_voxels, config.crop_jitter_voxels),
        ([10, 10, 2].into(), [4, 4, 1].into())
    );
    assert_eq!(config.boxes.box2_margin_voxels, [10, 10, 2].into());
    config.check().unwrap();
    let heart = fingerprint("MRI", [256, 216, 10], &[[1.4, 1.4, 10.0]; 3], [75, 65, 8]);
    let config = planned(&heart, None);
    assert_eq!((config.method, config.single.patch_size), (Method::Single, Some([256, 208, 10])));
    assert_eq!(config.single.network.levels(), 5);
    // Nearly even voxels: nothing of it.
    let config = planned(&fingerprint("CT", [512, 512, 240], &[[0.8, 0.8, 1.0]; 2], [180, 110, 90]), None);
    assert!(config.fine.network.strides.is_empty());
    assert_eq!((config.crop_margin_voxels, config.boxes), (10.into(), crate::BoxConfig::default()));
}

#[test]
fn a_depth_by_hand_gets_strides_that_fit_it_and_strides_by_hand_a_depth() {
    let heart = fingerprint("MRI", [256, 216, 10], &[[1.4, 1.4, 10.0]; 3], [75, 65, 8]);
    let with = |text: &str| {
        let settled: Table = text.parse().unwrap();
        let mut config = overlaid(&ModelConfig::default(), &settled, None).unwrap();
        rules::apply(&mut config, &heart, None, &settled, MAX_PATCH_VOXELS);
        config.single.network
    };
    assert_eq!(with("[single.network]\nchannels = [8, 16, 24]").strides, [[2, 2, 1], [2, 2, 1]]);
    let by_hand = with("[single.network]\nstrides = [[2, 2, 1], [2, 2, 1]]");
    assert_eq!((by_hand.channels, by_hand.strides.len()), (vec![16, 32, 64], 2));
    let half = with("[single.train]\nprecision = \"bf16\"");
    assert_eq!((half.channels, half.strides.len()), (vec![16, 32], 0), "as GPUs know it");
}

#[test]
fn scattered_small_lesions_are_looked_for_once_and_two_stages_get_a_warning() {
    let mut lesions = fingerprint("MRI", [240, 240, 155], &[[1.0; 3]; 3], [120, 150, 100]);
    assert_eq!(planned_and_told(&lesions, None).0.method, Method::Two);
    lesions.cases.iter_mut().for_each(|case| case.piece_ml = Some(0.2));
    let (config, notes) = planned_and_told(&lesions, None);
    assert_eq!((config.method, notes), (Method::Single, vec![]));
    let (config, notes) = planned_and_told(&lesions, Some(Method::Two));
    assert_eq!((config.method, notes.len()), (Method::Two, 1));
    assert!(notes[0].contains("0.20 ml") && notes[0].contains("--stages single"), "{notes:?}");
}

#[test]
fn where_some_cases_have_nothing_nothing_may_be_the_answer() {
    let mut tumours = fingerprint("CT", [512, 512, 240], &[[0.8, 0.8, 1.0]; 3], [180, 110, 90]);
    assert_eq!(planned(&tumours, None).prediction.when_empty, crate::WhenEmpty::Look);
    (tumours.cases[1].organ_size, tumours.cases[1].piece_ml) = (None, None);
    assert_eq!(planned(&tumours, None).prediction.when_empty, crate::WhenEmpty::Accept);
}

#[test]
fn slices_stacked_in_several_directions_are_told() {
    let of = |spacings: &[[f64; 3]]| {
        warnings(&fingerprint("MRI", [256, 256, 12], spacings, [70, 60, 8]), Method::Single)
    };
    assert_eq!(of(&[[1.4, 1.4, 10.0], [1.3, 1.4, 8.0], [1.0; 3]]), [""; 0]);
    let told = of(&[[1.4, 1.4, 10.0], [10.0, 1.4, 1.4], [1.4, 1.4, 10.0]]);
    assert!(told.len() == 1 && told[0].contains("along x in 1, along y in 0 and along z in 2"), "{told:?}");
}

#[test]
fn a_modality_that_may_be_ct_is_told() {
    let of = |name: &str| warnings(&fingerprint(name, [240; 3], &[[1.0; 3]; 2], [70; 3]), Method::Single);
    for other in ["CT", "MRI", "SPECT", "fractional anisotropy"] {
        assert_eq!(of(other), [""; 0], "{other}");
    }
    for (name, told) in [("CBCT", "the images are CBCT"), ("CT (low dose)", "the images are CT (low dose)")] {
        assert!(of(name)[0].contains(told), "{name}");
    }
}

#[test]
fn a_stride_by_hand_that_cannot_be_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (dataset, _, _) = planned_phantoms(folder.path(), None);
    let names: Vec<String> = dataset.names().iter().map(ToString::to_string).collect();
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "[single.network]\nstrides = [[2, 2, 0]]").unwrap();
    let base = ModelConfig::default();
    let made = Plan::make(&base, Some(Method::Single), Some(&path), &dataset, &names, MAX_PATCH_VOXELS);
    let error = made.unwrap_err().to_string();
    assert!(error.contains("strides is [[2, 2, 0]], expected at most 7 of 1 or 2"), "{error}");
}
