//! Every command doing what it is for, on tiny phantoms.

mod support;

use organseg::pipeline::WeightsCard;
use organseg::volume::{
    AntiAliasing, Grid, Interpolation, LabelVolume, ResampleConfig, Spacing, grid_with_size, read,
    resample_with, write,
};
use serde_json::Value;
use support::{change, copy_of_data, fail, names_in, organseg, plain_nifti, scan, succeed, text, world};

#[test]
fn info_says_where_the_voxels_lie() {
    let json: Value = serde_json::from_str(&succeed(&["info", "--json", text(&scan())])).unwrap();
    assert_eq!(json["grid"]["size"], serde_json::json!([36, 32, 24]));
    assert_eq!(json["orientation"], "RAS");
    assert!(succeed(&["info", text(&scan())]).contains("36 × 32 × 24"));
}

#[test]
fn info_notes_a_qform_that_leads_elsewhere_and_axes_that_are_not_at_right_angles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii");
    let mut bytes = plain_nifti();
    // The qform's offset along y, and the sform's entry (0, 1).
    bytes[272..276].copy_from_slice(&2.5f32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let printed = succeed(&["info", text(&path)]);
    assert!(printed.contains("the qform leads elsewhere, up to (0.000, 2.500, 0.000) mm"), "{printed}");
    let json: Value = serde_json::from_str(&succeed(&["info", "--json", text(&path)])).unwrap();
    assert_eq!((&json["affine_source"], &json["qform"][1][3]), (&"sform".into(), &2.5.into()));
    bytes[284..288].copy_from_slice(&0.01f32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let printed = succeed(&["info", text(&path)]);
    assert!(printed.contains("not at right angles: |cosine| up to 1.00e-2"), "{printed}");
    assert!(!succeed(&["info", text(&scan())]).contains("note"));
}

#[test]
fn converting_there_and_back_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let names = ["a.nii", "b.hdr", "c.nrrd", "d.mhd", "e.mha", "f.nhdr", "g.nii.gz"];
    let chain: Vec<_> = [scan()].into_iter().chain(names.map(at)).collect();
    for pair in chain.windows(2) {
        succeed(&["convert", text(&pair[0]), text(&pair[1])]);
        assert!(succeed(&["info", text(&pair[1])]).contains("36 × 32 × 24"));
    }
    assert_eq!(read::<i16>(&chain[0]).unwrap(), read::<i16>(&chain[7]).unwrap());
}

#[test]
fn resampling_to_a_spacing_a_size_and_another_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (scan, fine, small, like) = (scan(), at("fine.nii"), at("small.nii"), at("like.nii"));
    let cubic = ["--interpolation", "cubic"];
    succeed(&[&["resample", text(&scan), text(&fine), "--spacing", "4,4,4"], &cubic[..]].concat());
    assert_eq!(read::<i16>(&fine).unwrap().grid().spacing(), Spacing::isotropic(4.0).unwrap());
    succeed(&["resample", text(&scan), text(&small), "--size", "9,8,7"]);
    assert_eq!(read::<i16>(&small).unwrap().size(), [9, 8, 7]);
    succeed(&["resample", text(&small), text(&like), "--like", text(&scan), "--interpolation", "nearest"]);
    assert_eq!(read::<i16>(&like).unwrap().grid(), read::<i16>(&scan).unwrap().grid());
}

#[test]
fn resampling_with_means_blurring_and_another_order_across_slices() {
    let folder = tempfile::tempdir().unwrap();
    let scan = scan();
    let image = read::<i16>(&scan).unwrap();
    let target = grid_with_size(image.grid(), [12, 8, 6]).unwrap();
    let linear = ResampleConfig::new(Interpolation::Linear);
    let cases = [
        (&["--interpolation", "area"][..], ResampleConfig::new(Interpolation::Area)),
        (&["--anti-alias"][..], linear.with_anti_aliasing(AntiAliasing::Gaussian)),
        (&["--across-slices", "nearest"][..], linear.with_across_slices(Interpolation::Nearest)),
    ];
    let fill = image.voxels().iter().copied().min().unwrap();
    for (arguments, config) in cases {
        let small = folder.path().join("small.nii");
        let resample = ["resample", text(&scan), text(&small), "--size", "12,8,6"];
        succeed(&[&resample[..], arguments].concat());
        let found = read::<i16>(&small).unwrap();
        assert_eq!(found.voxels(), resample_with(&image, &target, &config, fill).voxels(), "{arguments:?}");
    }
}

#[test]
fn a_sound_dataset_passes_the_check() {
    succeed(&["check", text(&world().join("data"))]);
}

#[test]
fn masks_lie_on_the_scans_grids_and_the_report_says_what_was_found() {
    let folder = tempfile::tempdir().unwrap();
    let (out, report) = (folder.path().join("masks"), folder.path().join("report.json"));
    let (model, images) = (world().join("model"), world().join("data/imagesTr"));
    let segment = ["segment", "--model", text(&model), text(&images), "--out", text(&out)];
    succeed(&[&segment[..], &["--report", text(&report)]].concat());
    let names: Vec<_> = (0..5).map(|i| format!("phantom_00{i}.nii.gz")).collect();
    assert_eq!(names_in(&out), names);
    for name in &names {
        let image = images.join(name.replace(".nii", "_0000.nii"));
        assert_eq!(read::<u8>(out.join(name)).unwrap().grid(), read::<i16>(image).unwrap().grid());
    }
    let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report.as_array().unwrap().len(), 5);
    assert!(report[0]["labels"]["1"]["name"] == "pancreas", "{report}");
    assert_eq!(report[0]["models"], serde_json::json!([model]));

    // A run that broke off is taken up.
    std::fs::remove_file(out.join(&names[3])).unwrap();
    let kept = out.join(&names[0]);
    let changed = |path: &std::path::Path| path.metadata().unwrap().modified().unwrap();
    let before = changed(&kept);
    let report = folder.path().join("again.json");
    for done in [4, 5] {
        let arguments = [&segment[..], &["--report", text(&report), "--skip-existing"]].concat();
        let printed = succeed(&arguments);
        assert_eq!(printed.matches("there already, skipped").count(), done, "{printed}");
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
        let entries = report.as_array().unwrap();
        assert_eq!(entries.len(), 5);
        // The figures of the one that was segmented stay when it is skipped.
        assert_eq!(entries.iter().filter(|entry| entry["status"] == "skipped").count(), 4, "{report}");
        let made: Vec<_> = entries.iter().filter(|entry| entry["status"] == "done").collect();
        assert!(made.len() == 1 && made[0]["labels"]["1"]["name"] == "pancreas", "{report}");
    }
    assert_eq!((names_in(&out), changed(&kept)), (names.clone(), before));

    // Two scans of one name would share a mask.
    let twice = [&segment[..3], &[text(&images), text(&images), "--out", text(&out)]].concat();
    assert_eq!(organseg(&twice).status.code(), Some(1));
}

#[test]
fn the_folds_of_a_cross_validation_are_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, out, scan) = (world().join("model"), at("mask.nii.gz"), scan());
    for fold in ["cv/fold_0", "cv/fold_1"] {
        std::fs::create_dir_all(at(fold)).unwrap();
        for name in ["model.toml", "coarse.safetensors", "fine.safetensors"] {
            std::fs::copy(model.join(name), at(fold).join(name)).unwrap();
        }
    }
    let (cv, first) = (at("cv"), at("cv/fold_0"));
    let rest = [text(&scan), "--out", text(&out)];
    let mask_of = |models: &[&str], number: &str| {
        let done = organseg(&[&["segment"], models, &rest].concat());
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success() && said.contains(number), "{said}");
        read::<u8>(&out).unwrap()
    };
    let alone = mask_of(&["--model", text(&model)], "");
    for several in [&["--model", text(&cv)][..], &["--model", text(&model), "--model", text(&first)]] {
        assert!(mask_of(several, "mean of 2 models") == alone, "a model and itself");
    }

    let refused = |models: &[&str], words: &[&str]| fail(&[&["segment"], models, &rest].concat(), words);
    refused(&["--model", text(&cv), "--model", text(&first)], &["--model", "fold_0", "given twice"]);
    refused(&["--model", text(folder.path())], &["neither model.toml nor fold_0", "expected a model"]);
    std::fs::remove_file(at("cv/fold_0/model.toml")).unwrap();
    refused(&["--model", text(&cv)], &["fold_1, but no fold_0/model.toml"]);
}

#[test]
fn a_scan_of_thick_slices_is_resampled_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (thick, mask, report, model) =
        (at("thick.nii"), at("mask.nii"), at("report.json"), world().join("model"));
    let [x, y, z] = read::<i16>(scan()).unwrap().grid().spacing().to_array();
    let spacing = format!("{x},{y},{}", 3.0 * z);
    succeed(&["resample", text(&scan()), text(&thick), "--spacing", &spacing]);
    let segment = |scan: &std::path::Path| {
        let segment = ["segment", "--model", text(&model), text(scan), "--out", text(&mask), "--report"];
        let done = organseg(&[&segment[..], &[text(&report)]].concat());
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{said}");
        (said, serde_json::from_slice::<Value>(&std::fs::read(&report).unwrap()).unwrap())
    };
    let (said, report) = segment(&thick);
    assert!(said.contains("mm apart along z (up), 3.0 times as far"), "{said}");
    assert_eq!(report[0]["resampled"]["from_mm"][2], 3.0 * z);
    assert_eq!(read::<u8>(&mask).unwrap().grid(), read::<i16>(&thick).unwrap().grid());
    let (said, report) = segment(&scan());
    assert!(!said.contains("mm apart") && report[0].get("resampled").is_none(), "{said} {report}");
}

/// The median spacing of four of five cases is another for each fold.
#[test]
fn folds_trained_one_by_one_have_one_plan_and_are_averaged() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    for (part, ending) in [("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")] {
        for i in 0..5 {
            let path = data.join(part).join(format!("phantom_00{i}{ending}"));
            let spacing = Spacing::isotropic(2.0 + 0.1 * f64::from(i)).unwrap();
            let moved = Grid::with_spacing([36, 32, 24], spacing).unwrap();
            match part {
                "imagesTr" => change::<i16>(&path, |v| v.with_grid(moved).unwrap()),
                _ => change::<u8>(&path, |v| v.with_grid(moved).unwrap()),
            }
        }
    }
    let (config, mask, scan) = (world().join("tiny.toml"), folder.path().join("mask.nii"), scan());
    let models = ["0", "4"].map(|fold| {
        let model = folder.path().join(fold);
        let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
        succeed(&[&train[..], &["--stages", "single", "--epochs", "1", "--fold", fold]].concat());
        let made = std::fs::read_to_string(model.join("model.toml")).unwrap();
        assert!(made.contains("spacing_mm = [2.2, 2.2, 2.2]") || made.contains("2.2,\n"), "{made}");
        model
    });
    let segment = ["segment", "--model", text(&models[0]), "--model", text(&models[1]), text(&scan)];
    succeed(&[&segment[..], &["--out", text(&mask)]].concat());
}

#[test]
fn a_mask_replaces_a_mask_and_no_scan() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (model, here) = (world().join("model"), folder.path());
    // The same scan twice: once with the ending in capitals, which its mask's name has not.
    std::fs::copy(scan(), at("first.NII.GZ")).unwrap();
    succeed(&["segment", "--model", text(&model), text(here), "--out", text(&at("masks"))]);
    assert_eq!(names_in(&at("masks")), ["first.nii.gz"]);
    succeed(&["segment", "--model", text(&model), text(here), "--out", text(&at("masks"))]);
    let converted = at("other.nrrd");
    succeed(&["convert", text(&scan()), text(&converted)]);
    std::fs::copy(scan(), at("other.nii.gz")).unwrap();
    let before = std::fs::read(at("other.nii.gz")).unwrap();
    let words = ["other.nii.gz", "an image of i16", "expected nothing or a mask"];
    fail(&["segment", "--model", text(&model), text(&converted), "--out", text(here)], &words);
    assert_eq!(std::fs::read(at("other.nii.gz")).unwrap(), before);
    // A scan in bytes is told by its values.
    let grid = *read::<i16>(&converted).unwrap().grid();
    let bytes = LabelVolume::from_fn(grid, |[x, _, _]| x as u8);
    write(at("other.nii.gz"), &bytes).unwrap();
    let words = ["other.nii.gz", "values up to 35", "labels up to 1"];
    fail(&["segment", "--model", text(&model), text(&converted), "--out", text(here)], &words);
    assert_eq!(read::<u8>(at("other.nii.gz")).unwrap(), bytes);
}

#[test]
fn a_scan_whose_qform_leads_elsewhere_has_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mask) = (folder.path().join("scan.nii"), folder.path().join("mask.nii"));
    let mut bytes = plain_nifti();
    bytes[272..276].copy_from_slice(&2.5f32.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let model = world().join("model");
    let done = organseg(&["segment", "--model", text(&model), text(&path), "--out", text(&mask)]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(
        done.status.success() && said.contains("warning: ") && said.contains("the qform leads"),
        "{said}"
    );
}

#[test]
fn a_scan_without_orientation_has_a_note_and_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let (path, mask) = (folder.path().join("scan.nii"), folder.path().join("mask.nii"));
    let mut bytes = plain_nifti();
    // The codes of qform and sform.
    bytes[252..256].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let printed = succeed(&["info", text(&path)]);
    assert!(printed.contains("note") && printed.contains("left and right may be exchanged"), "{printed}");
    let model = world().join("model");
    let done = organseg(&["segment", "--model", text(&model), text(&path), "--out", text(&mask)]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success() && said.contains("says nothing about orientation"), "{said}");
}

#[test]
fn evaluation_writes_the_agreed_form() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, out) = (world().join("data/labelsTr"), folder.path().join("metrics.json"));
    let evaluate = ["evaluate", "--reference", text(&labels), "--prediction", text(&labels)];
    succeed(&[&evaluate[..], &["--out", text(&out)]].concat());
    let json: Value = serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap();
    let first = &json["cases"][0];
    assert_eq!(first["case"], "phantom_000");
    for key in ["dice", "jaccard", "recall", "precision", "surface_dice", "box_recall", "box_iou"] {
        assert_eq!(first["labels"]["1"][key], 1.0, "{key}");
    }
    for key in ["hd_mm", "hd95_mm", "assd_mm"] {
        assert_eq!(first["labels"]["1"][key], 0.0, "{key}");
    }
    assert!(first["labels"]["1"]["reference_voxels"].as_u64() > Some(0));
    for key in ["mean", "std", "min", "max", "n", "n_skipped"] {
        assert!(json["summary"]["1"]["dice"][key].is_number(), "{key}");
    }
    assert_eq!(json["foreground_mean"]["dice"], 1.0);
}

#[test]
fn evaluation_counts_no_voxel_that_nobody_annotated() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("labelsTr")).unwrap();
    std::fs::create_dir(at("masks")).unwrap();
    let grid = Grid::with_spacing([8, 3, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
    let reference = LabelVolume::from_fn(grid, |[x, y, _]| if y == 2 { 9 } else { u8::from(x < 4) });
    let mask = LabelVolume::from_fn(grid, |[x, y, _]| u8::from(x < 3 || y == 2));
    write(at("labelsTr/case.nii.gz"), &reference).unwrap();
    write(at("masks/case.nii.gz"), &mask).unwrap();
    let (labels, masks) = (at("labelsTr"), at("masks"));
    let evaluate = ["evaluate", "--json", "--reference", text(&labels), "--prediction", text(&masks)];
    let dice = |arguments: &[&str]| {
        let json: Value = serde_json::from_str(&succeed(&[&evaluate[..], arguments].concat())).unwrap();
        let labels = json["cases"][0]["labels"].as_object().unwrap().clone();
        (labels.len(), labels["1"]["dice"].as_f64().unwrap())
    };
    let (over_annotated, over_all) = ((1, 2.0 * 6.0 / (8.0 + 6.0)), (2, 2.0 * 6.0 / (8.0 + 14.0)));
    assert_eq!(dice(&[]), over_all, "nothing says that 9 is no organ");
    assert_eq!(dice(&["--ignore-label", "9"]), over_annotated);
    let manifest = r#"{"labels": {"background": 0, "organ": 1, "ignore": 9}}"#;
    std::fs::write(at("dataset.json"), manifest).unwrap();
    assert_eq!(dice(&[]), over_annotated);
    assert_eq!(dice(&["--ignore-label", "8"]), over_all, "what is asked for counts");
    std::fs::write(at("dataset.json"), "[").unwrap();
    fail(&evaluate, &["dataset.json", "--ignore-label"]);
}

#[test]
fn one_stage_is_trained_resumed_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let (model, mask) = (folder.path().join("model"), folder.path().join("mask.nii.gz"));
    let (data, config, scan) = (world().join("data"), world().join("tiny.toml"), scan());
    let train = ["train", "--data", text(&data), "--model", text(&model), "--stages", "single"];
    let train = [&train[..], &["--config", text(&config), "--epochs", "1", "--json"]].concat();
    let summary: Value = serde_json::from_str(&succeed(&train)).unwrap();
    assert!(summary["single"]["1"].is_number(), "{summary}");
    assert_eq!(organseg(&train).status.code(), Some(1), "a model is not written over");
    let weights = std::fs::read(model.join("single.safetensors")).unwrap();
    succeed(&[&train[..], &["--resume"]].concat());
    assert!(weights == std::fs::read(model.join("single.safetensors")).unwrap());
    let expected = [
        "card-single.toml",
        "checkpoint-single.safetensors",
        "history.jsonl",
        "history.lock",
        "model.toml",
        "plan.toml",
        "single.lock",
        "single.safetensors",
        "splits.json",
        "tensorboard",
        "validation",
    ];
    assert_eq!(names_in(&model), expected);
    let card = WeightsCard::of_weights(&model.join("single.safetensors")).unwrap().unwrap();
    assert_eq!((card.epochs, card.trained_on.len(), card.validated_on.len()), (1, 4, 1));
    assert_eq!(card.validation_dice["pancreas"], summary["single"]["1"].as_f64().unwrap());
    let for_people = std::fs::read_to_string(model.join("card-single.toml")).unwrap();
    assert!(
        for_people.contains("dataset = \"phantom\"") && for_people.contains("minutes = "),
        "{for_people}"
    );
    // One case of five is held back.
    let pictures = names_in(&model.join("validation"));
    assert!(pictures.len() == 1 && pictures[0].starts_with("single-1-phantom_"), "{pictures:?}");
    succeed(&["segment", "--model", text(&model), text(&scan), "--out", text(&mask)]);
    assert_eq!(read::<u8>(mask).unwrap().size(), [36, 32, 24]);
}

#[test]
fn a_plan_is_written_and_trained_with() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, model) = (folder.path().join("plan.toml"), folder.path().join("model"));
    let (data, config) = (world().join("data"), world().join("tiny.toml"));
    let arguments = ["plan", text(&data), "--out", text(&plan), "--config", text(&config)];
    let printed = succeed(&[&arguments[..], &["--augment", "strong"]].concat());
    assert!(printed.contains("Measured in 5 cases of CT") && printed.contains("a single stage"), "{printed}");
    let written = std::fs::read_to_string(&plan).unwrap();
    for words in ["# set by hand", "rotation_degrees = 30.0", "[dataset]", "no larger than a patch may be"] {
        assert!(written.contains(words), "{words} is not in {written}");
    }
    fail(&arguments, &["plan.toml", "exists already"]);
    // The plan says that there is one stage.
    let train = ["train", "--data", text(&data), "--model", text(&model), "--plan", text(&plan)];
    succeed(&[&train[..], &["--epochs", "1"]].concat());
    assert!(model.join("single.safetensors").exists());
}

#[test]
fn a_model_can_be_asked_in_other_ways_than_the_paper_s() {
    let folder = tempfile::tempdir().unwrap();
    let (model, scan) = (world().join("model"), scan());
    for (name, arguments) in [
        ("flips.nii", &["--flips"][..]),
        ("box.nii", &["--boxes", "box2"]),
        ("mean.nii", &["--combine", "mean", "--flips"]),
        ("clean.nii", &["--keep-largest", "--least-volume-ml", "0.5", "--fill-holes"]),
    ] {
        let mask = folder.path().join(name);
        let segment = ["segment", "--model", text(&model), text(&scan), "--out", text(&mask)];
        succeed(&[&segment[..], arguments].concat());
        assert_eq!(read::<u8>(mask).unwrap().size(), [36, 32, 24]);
    }
}

#[test]
fn the_same_seed_gives_the_same_files_with_one_thread_and_two() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config, scan) = (world().join("data"), world().join("tiny.toml"), scan());
    let files = |threads: &str| -> Vec<Vec<u8>> {
        let model = folder.path().join(threads);
        let mask = folder.path().join(format!("{threads}.nii.gz"));
        let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
        succeed(&[&train[..], &["--epochs", "1", "--seed", "7", "--threads", threads]].concat());
        let segment = ["segment", "--model", text(&model), text(&scan), "--out", text(&mask)];
        succeed(&[&segment[..], &["--threads", threads]].concat());
        [model.join("coarse.safetensors"), model.join("fine.safetensors"), mask]
            .map(|path| std::fs::read(path).unwrap())
            .to_vec()
    };
    assert!(files("1") == files("2"));
}

#[test]
fn cross_validation_prints_the_three_tables() {
    let folder = tempfile::tempdir().unwrap();
    let (data, config) = (world().join("data"), world().join("tiny.toml"));
    let run = ["cross-validate", "--data", text(&data), "--out", text(folder.path()), "--folds", "2"];
    let printed = succeed(&[&run[..], &["--epochs", "1", "--config", text(&config)]].concat());
    for table in ["Table 1", "Table 2", "Table 3", "box 2 recall"] {
        assert!(printed.contains(table), "{printed}");
    }
    let expected = ["fold_0", "fold_1", "masks", "plan.toml", "results.json", "splits.json"];
    assert_eq!(names_in(folder.path()), expected);
    // What was found in the cases that were held back, to be measured in other ways.
    let (labels, masks) = (data.join("labelsTr"), folder.path().join("masks"));
    assert_eq!(names_in(&masks), names_in(&labels));
    let evaluate = ["evaluate", "--json", "--reference", text(&labels), "--prediction", text(&masks)];
    let measured: Value = serde_json::from_str(&succeed(&evaluate)).unwrap();
    let results = std::fs::read_to_string(folder.path().join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let folds = results["folds"].as_array().unwrap().iter();
    let cases: Vec<&Value> = folds.flat_map(|fold| fold["cases"].as_array().unwrap()).collect();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let measured = measured["cases"].as_array().unwrap().iter().find(|m| m["case"] == case["case"]);
        assert_eq!(measured.unwrap()["labels"]["1"]["dice"], case["refined"]["labels"]["1"], "{case}");
    }
    let other = ["cross-validate", "--data", text(&data), "--out", text(folder.path()), "--folds", "3"];
    let words = ["splits.json", "divides the cases in another way", "--groups"];
    fail(&[&other[..], &["--epochs", "1", "--config", text(&config)]].concat(), &words);
}

#[test]
fn folds_of_ones_own_and_folds_of_patients() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, config, splits, groups) =
        (world().join("data"), world().join("tiny.toml"), at("splits_final.json"), at("patients.csv"));
    let own = r#"[{"train": ["phantom_003"], "val": ["phantom_001"]},
                  {"train": ["phantom_004", "phantom_002"], "val": ["phantom_000"]}]"#;
    std::fs::write(&splits, own).unwrap();
    let rows = "case,group\nphantom_000,a\nphantom_001,b\nphantom_002,a\nphantom_003,b\nphantom_004,a\n";
    std::fs::write(&groups, rows).unwrap();
    let split_of = |model: &str| {
        let json = std::fs::read_to_string(at(model).join("splits.json")).unwrap();
        let splits: Value = serde_json::from_str(&json).unwrap();
        let names = |part: &str| {
            let names = splits[0][part].as_array().unwrap().iter();
            names.map(|name| name.as_str().unwrap().replace("phantom_00", "")).collect::<String>()
        };
        (names("train"), names("val"))
    };
    let train = |model: &str, arguments: &[&str]| {
        let (model, with) = (at(model), ["--config", text(&config), "--epochs", "1", "--stages", "single"]);
        succeed(&[&["train", "--data", text(&data), "--model", text(&model)], &with[..], arguments].concat());
    };
    train("own", &["--splits", text(&splits), "--fold", "1"]);
    assert_eq!(split_of("own"), ("24".into(), "0".into()));
    train("patients", &["--groups", text(&groups), "--folds", "2"]);
    let (trained, held_back) = split_of("patients");
    assert!([("024".into(), "13".into()), ("13".into(), "024".into())].contains(&(trained, held_back)));
    // The folds are all that a cross-validation is of, though they hold back two cases of five.
    let (out, mask, scan) = (at("cv"), at("mask.nii.gz"), scan());
    let run = ["cross-validate", "--data", text(&data), "--out", text(&out), "--splits", text(&splits)];
    succeed(&[&run[..], &["--config", text(&config), "--epochs", "1", "--stages", "single"]].concat());
    succeed(&["segment", "--model", text(&out), text(&scan), "--out", text(&mask)]);
    let (labels, masks, all) = (data.join("labelsTr"), out.join("masks"), out.join("splits.json"));
    let evaluate = ["evaluate", "--reference", text(&labels), "--prediction", text(&masks)];
    let printed = succeed(&[&evaluate[..], &["--split", text(&all), "--json"]].concat());
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["cases"].as_array().unwrap().len(), 2, "{report}");
}

#[test]
fn every_case_can_be_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    let (model, mask, scan) = (folder.path().join("model"), folder.path().join("mask.nii.gz"), scan());
    let (data, config) = (world().join("data"), world().join("tiny.toml"));
    let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
    let train = [&train[..], &["--stages", "single", "--epochs", "1", "--fold", "all"]].concat();
    fail(&[&train[..], &["--folds", "3"]].concat(), &["--fold all", "expected no --folds beside it"]);
    assert!(!model.exists());
    for resume in [&[][..], &["--resume"]] {
        let printed = succeed(&[&train[..], resume].concat());
        assert!(printed.contains("single: trained on all 5 cases, without a validation"), "{printed}");
    }
    succeed(&["segment", "--model", text(&model), text(&scan), "--out", text(&mask)]);
    let (labels, split) = (data.join("labelsTr"), model.join("splits.json"));
    let evaluate = ["evaluate", "--reference", text(&labels), "--prediction", text(&labels)];
    fail(&[&evaluate[..], &["--split", text(&split)]].concat(), &["splits.json", "holds back no case"]);
    let wrong = ["train", "--data", "x", "--model", "y", "--fold", "none"];
    assert_eq!(organseg(&wrong).status.code(), Some(2));
}

#[test]
fn a_training_of_some_minutes_plans_its_steps() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let (data, config) = (world().join("data"), world().join("tiny.toml"));
    let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
    let output = organseg(&[&train[..], &["--stages", "single", "--minutes", "0.03"]].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("fit into the time"), "{said}");
    let model = std::fs::read_to_string(model.join("model.toml")).unwrap();
    assert!(model.contains("minutes = 0.03"), "{model}");
    let both = organseg(&[&train[..], &["--minutes", "1", "--epochs", "2"]].concat());
    assert_eq!(both.status.code(), Some(2));
    assert_eq!(organseg(&[&train[..], &["--minutes", "-1"]].concat()).status.code(), Some(2));
}
