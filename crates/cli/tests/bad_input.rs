//! What a user can do wrong: one line that names the file and what is wrong, exit code 1, nothing
//! half-written.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

mod support;

use std::io::Write;
use std::path::PathBuf;

use organseg::unet::weights;
use organseg::volume::{Grid, LabelVolume, Volume, write};
use support::{change, copy_of_data, fail, names_in, organseg, plain_nifti, scan, succeed, text, world};
use tempfile::TempDir;

/// A folder of one file with `bytes`.
fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// A sound image with the bytes from `at` on replaced.
fn damaged(at: usize, bytes: &[u8]) -> (TempDir, PathBuf) {
    let mut image = plain_nifti();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    file("damaged.nii", &image)
}

/// Converting `path` fails with `words` and leaves nothing beside it.
fn cannot_be_read(folder: &TempDir, path: &std::path::Path, words: &[&str]) {
    let out = folder.path().join("out.nii.gz");
    fail(&["convert", text(path), text(&out)], words);
    assert_eq!(names_in(folder.path()).len(), 1, "nothing is written: {:?}", names_in(folder.path()));
}

#[test]
fn a_truncated_gzip() {
    let whole = std::fs::read(scan()).unwrap();
    let (folder, path) = file("cut.nii.gz", &whole[..whole.len() / 2]);
    cannot_be_read(&folder, &path, &["cut.nii.gz", "gzip"]);
}

#[test]
fn a_header_that_promises_more_than_the_file_holds() {
    let (folder, path) = damaged(42, &100i16.to_le_bytes());
    cannot_be_read(&folder, &path, &["damaged.nii"]);
}

#[test]
fn a_header_that_asks_for_more_memory_than_there_is() {
    let mut image = plain_nifti();
    for axis in 0..3 {
        image[42 + 2 * axis..44 + 2 * axis].copy_from_slice(&i16::MAX.to_le_bytes());
    }
    // Compressed, so that the length of the file says nothing.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("huge.nii.gz");
    let file = std::fs::File::create(&path).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    gzip.write_all(&image).unwrap();
    gzip.finish().unwrap();
    cannot_be_read(&folder, &path, &["huge.nii.gz", "memory"]);
}

#[test]
fn nan_in_the_affine() {
    let (folder, path) = damaged(280, &f32::NAN.to_le_bytes());
    cannot_be_read(&folder, &path, &["damaged.nii", "NaN"]);
}

#[test]
fn a_singular_affine() {
    let (folder, path) = damaged(280, &0f32.to_le_bytes());
    cannot_be_read(&folder, &path, &["damaged.nii", "singular"]);
}

#[test]
fn zero_and_negative_spacing() {
    for spacing in [0f32, -1.5] {
        let mut image = plain_nifti();
        // Without its sform, which would say where the voxels are whatever the spacing is.
        image[254..256].copy_from_slice(&0i16.to_le_bytes());
        image[80..84].copy_from_slice(&spacing.to_le_bytes());
        let (folder, path) = file("damaged.nii", &image);
        cannot_be_read(&folder, &path, &["damaged.nii", "spacing", &format!("{spacing:?}")]);
    }
}

#[test]
fn four_dimensions_where_three_are_meant() {
    let mut image = plain_nifti();
    image[40..42].copy_from_slice(&4i16.to_le_bytes());
    image[48..50].copy_from_slice(&2i16.to_le_bytes());
    let (folder, path) = file("time.nii", &image);
    cannot_be_read(&folder, &path, &["time.nii", "[6, 5, 4, 2]", "three dimensions"]);
}

/// Training on `data` fails with `words` and leaves no weights.
fn cannot_be_trained_on(data: &std::path::Path, words: &[&str]) {
    let model = tempfile::tempdir().unwrap();
    let model = model.path().join("model");
    let config = world().join("tiny.toml");
    let arguments = ["train", "--data", text(data), "--model", text(&model), "--config", text(&config)];
    fail(&[&arguments[..], &["--epochs", "1"]].concat(), words);
    assert!(!model.join("coarse.safetensors").exists());
}

#[test]
fn an_image_and_a_label_of_different_size() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    for name in names_in(&data.join("labelsTr")) {
        let path = data.join("labelsTr").join(name);
        change::<u8>(&path, |v| LabelVolume::filled(v.grid().cropped([0; 3], [36, 32, 20]).unwrap(), 1));
    }
    cannot_be_trained_on(&data, &["labelsTr", "imagesTr", "[36, 32, 24]", "[36, 32, 20]"]);
    fail(&["check", text(&data)], &["problems"]);
}

#[test]
fn an_image_and_a_label_of_different_geometry() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    for name in names_in(&data.join("labelsTr")) {
        let path = data.join("labelsTr").join(name);
        change::<u8>(&path, |v| {
            let moved: Grid = v.grid().cropped([1, 0, 0], v.size()).unwrap();
            v.with_grid(moved).unwrap()
        });
    }
    cannot_be_trained_on(&data, &["labelsTr", "imagesTr", "mm"]);
}

#[test]
fn a_label_that_the_dataset_does_not_name() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    for name in names_in(&data.join("labelsTr")) {
        change::<u8>(&data.join("labelsTr").join(name), |v| v.map(|label| 5 * label));
    }
    cannot_be_trained_on(&data, &["case phantom_", "labelsTr", "label 5 in", "voxels"]);
    let plan = folder.path().join("plan.toml");
    fail(&["plan", text(&data), "--out", text(&plan)], &["case phantom_", "label 5 in"]);
    assert!(!plan.exists());
}

#[test]
fn a_plan_for_another_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let (data, plan) = (copy_of_data(folder.path()), folder.path().join("plan.toml"));
    succeed(&["plan", text(&world().join("data")), "--out", text(&plan)]);
    let manifest = data.join("dataset.json");
    let original = std::fs::read_to_string(&manifest).unwrap();
    let model = folder.path().join("model");
    let train = ["train", "--data", text(&data), "--model", text(&model), "--plan", text(&plan)];
    std::fs::write(&manifest, original.replace("CT", "MRI")).unwrap();
    fail(&train, &["plan.toml", "another dataset", "modality", "CT", "MRI"]);
    std::fs::write(&manifest, original.replace("pancreas", "spleen")).unwrap();
    fail(&train, &["plan.toml", "another dataset", "labels", "pancreas", "spleen"]);
    std::fs::write(&manifest, original).unwrap();
    fail(&[&train[..], &["--stages", "both"]].concat(), &["plan.toml", "a single stage", "two stages"]);
    assert!(!model.exists());
}

#[test]
fn patches_larger_than_the_images_where_filling_is_refused() {
    let (_folder, config) =
        file("large.toml", b"[single]\npatch_size = [48, 32, 24]\npadding = \"refuse\"\n");
    let (model, data) = (tempfile::tempdir().unwrap(), world().join("data"));
    let train = ["train", "--data", text(&data), "--model", text(model.path()), "--config", text(&config)];
    let words = ["case phantom_", "[48, 32, 24]", "[36, 32, 24]", "padding"];
    fail(&[&train[..], &["--stages", "single", "--epochs", "1"]].concat(), &words);
}

#[test]
fn cases_without_foreground_are_told_and_left_to_the_first_look() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    let masks = names_in(&data.join("labelsTr"));
    let empty = |name: &String| change::<u8>(&data.join("labelsTr").join(name), |v| v.map(|_| 0));
    let (model, config) = (folder.path().join("model"), world().join("tiny.toml"));
    // The first fold holds back the first case.
    empty(&masks[1]);
    let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
    let train = [&train[..], &["--epochs", "1"]].concat();
    let output = organseg(&train);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("case phantom_001: no voxel is labelled"), "{told}");
    masks.iter().for_each(empty);
    let other = folder.path().join("other");
    let train = ["train", "--data", text(&data), "--model", text(&other), "--config", text(&config)];
    fail(
        &[&train[..], &["--epochs", "1"]].concat(),
        &["stage coarse and fine", "no voxel is labelled in any of 4 cases"],
    );
}

#[test]
fn an_empty_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    for part in ["imagesTr", "labelsTr"] {
        std::fs::remove_dir_all(data.join(part)).unwrap();
        std::fs::create_dir(data.join(part)).unwrap();
    }
    cannot_be_trained_on(&data, &["data", "empty"]);
    cannot_be_trained_on(&folder.path().join("nowhere"), &["nowhere"]);
}

#[test]
fn a_misspelt_field_and_a_fold_out_of_range() {
    let (_folder, config) = file("settings.toml", b"[fine.train]\nepoch = 3\n");
    let model = tempfile::tempdir().unwrap();
    let data = world().join("data");
    let train = ["train", "--data", text(&data), "--model", text(model.path())];
    fail(&[&train[..], &["--config", text(&config)]].concat(), &["settings.toml", "epoch"]);
    fail(&[&train[..], &["--fold", "7"]].concat(), &["7"]);
    assert!(names_in(model.path()).is_empty());
}

/// A copy of the tiny model whose coarse weights `change` has been at.
fn damaged_model(
    change: impl FnOnce(&mut std::collections::HashMap<String, candle_core::Tensor>),
) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.toml", "coarse.safetensors", "fine.safetensors"] {
        std::fs::copy(world().join("model").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("coarse.safetensors");
    let mut tensors = weights::load(&path, &candle_core::Device::Cpu).unwrap();
    change(&mut tensors);
    weights::save(&tensors, None, &path).unwrap();
    folder
}

#[test]
fn a_model_with_a_missing_or_a_misshapen_tensor() {
    let out = tempfile::tempdir().unwrap();
    let mask = out.path().join("mask.nii.gz");
    let scan = scan();
    let segment = |model: &TempDir, words: &[&str]| {
        fail(&["segment", "--model", text(model.path()), text(&scan), "--out", text(&mask)], words);
        assert!(names_in(out.path()).is_empty());
    };
    let missing = damaged_model(|tensors| drop(tensors.remove("head.bias")));
    segment(&missing, &["coarse.safetensors", "head.bias", "missing"]);
    let misshapen = damaged_model(|tensors| {
        let long = candle_core::Tensor::zeros(9, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
        tensors.insert("head.bias".into(), long);
    });
    segment(&misshapen, &["coarse.safetensors", "head.bias", "[9]", "[2]"]);
    std::fs::remove_file(missing.path().join("model.toml")).unwrap();
    segment(&missing, &["model.toml"]);
}

#[test]
fn a_scan_with_nan() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holes.nii");
    let grid = *organseg::volume::read_image(scan()).unwrap().grid();
    let mut holes = Volume::filled(grid, 0f32);
    holes[[3, 3, 3]] = f32::NAN;
    write(&path, &holes).unwrap();
    let (model, out) = (world().join("model"), folder.path().join("mask.nii"));
    let arguments = ["segment", "--model", text(&model), text(&path), "--out", text(&out)];
    fail(&arguments, &["holes.nii", "NaN"]);
    assert_eq!(names_in(folder.path()), ["holes.nii"]);
}

#[test]
fn an_output_folder_that_cannot_be_written() {
    // A path below a file cannot be made, whoever asks.
    let (_folder, occupied) = file("occupied", b"");
    let (below, scan, model, data) =
        (occupied.join("out"), scan(), world().join("model"), world().join("data"));
    let segment = ["segment", "--model", text(&model), text(&scan), "--out", text(&below)];
    fail(&segment, &["occupied"]);
    let config = world().join("tiny.toml");
    let train = ["train", "--data", text(&data), "--model", text(&below), "--config", text(&config)];
    fail(&train, &["occupied"]);
    fail(&["phantom", "--cases", "1", "--out", text(&below)], &["occupied"]);
    let image = below.join("scan.nii.gz");
    fail(&["convert", text(&scan), text(&image)], &["occupied"]);
    let labels = data.join("labelsTr");
    let scores = below.join("scores.json");
    let evaluate = ["evaluate", "--reference", text(&labels), "--prediction", text(&labels), "--out"];
    fail(&[&evaluate[..], &[text(&scores)]].concat(), &["occupied"]);
    // Before the work, not after it.
    let nothing = tempfile::tempdir().unwrap();
    let mask = nothing.path().join("mask.nii");
    let segment = ["segment", "--model", text(&model), text(&scan), "--out", text(&mask), "--report"];
    fail(&[&segment[..], &[text(&below)]].concat(), &["occupied"]);
    fail(&[&segment[..], &[text(nothing.path())]].concat(), &["is a folder, expected a file"]);
    assert!(names_in(nothing.path()).is_empty());
    let folds = nothing.path().join("folds");
    let run = ["cross-validate", "--data", text(&data), "--out", text(&folds), "--config", text(&config)];
    fail(&[&run[..], &["--results", text(&below)]].concat(), &["occupied"]);
    assert!(!folds.exists(), "no fold is begun");
}

#[test]
fn folders_of_figures_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let labels = world().join("data/labelsTr");
    let (scores, table) = (at("new/scores.json"), at("other/new/scores.csv"));
    let evaluate = ["evaluate", "--reference", text(&labels), "--prediction", text(&labels)];
    succeed(&[&evaluate[..], &["--out", text(&scores), "--csv", text(&table)]].concat());
    assert!(scores.is_file() && table.is_file());
}

#[test]
fn a_single_scan_that_fails_is_in_the_report() {
    let (folder, bad) = file("a.nii.gz", b"not an image");
    let (out, report) = (folder.path().join("mask.nii"), folder.path().join("new/report.json"));
    let model = world().join("model");
    let segment = ["segment", "--model", text(&model), text(&bad), "--out", text(&out), "--json"];
    let segment = [&segment[..], &["--report", text(&report)]].concat();
    fail(&segment, &["a.nii.gz"]);
    let printed: serde_json::Value = serde_json::from_slice(&organseg(&segment).stdout).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(printed, written);
    assert_eq!(printed[0]["input"], text(&bad));
    assert!(printed[0]["error"].as_str().unwrap().contains("a.nii.gz"), "{printed}");
    assert!(!out.exists());
}

#[test]
fn an_image_where_the_last_mask_goes_is_found_before_the_first_scan_is_segmented() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("masks")).unwrap();
    std::fs::copy(scan(), at("a.nii.gz")).unwrap();
    std::fs::copy(scan(), at("b.nii.gz")).unwrap();
    let grid = *organseg::volume::read_image(scan()).unwrap().grid();
    write(at("masks/b.nii.gz"), &LabelVolume::filled(grid, 200)).unwrap();
    let (model, out) = (world().join("model"), at("masks"));
    let segment = ["segment", "--model", text(&model), text(folder.path()), "--out", text(&out)];
    fail(&segment, &["b.nii.gz", "values up to 200", "labels up to 1"]);
    assert_eq!(names_in(&out), ["b.nii.gz"]);
}

#[test]
fn two_masks_of_one_name_are_not_scored() {
    let folder = tempfile::tempdir().unwrap();
    let labels = world().join("data/labelsTr");
    let mask = names_in(&labels).remove(0);
    std::fs::copy(labels.join(&mask), folder.path().join("a.nii.gz")).unwrap();
    let masks = text(folder.path());
    let evaluate = ["evaluate", "--reference", masks, "--prediction", masks];
    succeed(&evaluate);
    succeed(&["convert", text(&labels.join(&mask)), text(&folder.path().join("a.nrrd"))]);
    fail(&evaluate, &["a.nii.gz", "a.nrrd", "of one name"]);
}

#[test]
fn a_split_that_says_which_cases_are_scored() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, masks) = (world().join("data/labelsTr"), folder.path().join("masks"));
    let names = names_in(&labels);
    std::fs::create_dir(&masks).unwrap();
    // Of the other cases there need be none.
    std::fs::copy(labels.join(&names[1]), masks.join(&names[1])).unwrap();
    let split = folder.path().join("splits.json");
    let evaluate = ["evaluate", "--reference", text(&labels), "--prediction", text(&masks)];
    fail(&evaluate, &["references have no prediction"]);
    let (one, other) = (names[0].trim_end_matches(".nii.gz"), names[1].trim_end_matches(".nii.gz"));
    let evaluate = [&evaluate[..], &["--json", "--split", text(&split)]].concat();
    std::fs::write(&split, format!(r#"[{{"train": ["{one}"], "val": ["{other}"]}}]"#)).unwrap();
    let found: serde_json::Value = serde_json::from_str(&succeed(&evaluate)).unwrap();
    assert_eq!(found["cases"].as_array().unwrap().len(), 1);
    assert_eq!(found["cases"][0]["case"], *other);
    std::fs::write(&split, format!(r#"[{{"train": ["{one}"], "val": ["nobody"]}}]"#)).unwrap();
    fail(&evaluate, &["there is no reference of case nobody"]);
    let two = format!(
        r#"[{{"train": ["{one}"], "val": ["{other}"]}}, {{"train": ["{other}"], "val": ["{one}"]}}]"#
    );
    // All folds' cases, one of which has no mask.
    std::fs::write(&split, two).unwrap();
    fail(&evaluate, &["1 of 2 references have no prediction", one]);
}

#[test]
fn wrong_usage_has_a_code_of_its_own() {
    for arguments in [
        &["segment"][..],
        &["resample", "a.nii", "b.nii"],
        &["resample", "a.nii", "b.nii", "--size", "1,2"],
        &["resample", "a.nii", "b.nii", "--size", "1,2,3", "--interpolation", "quintic"],
        &["train", "--data", "x", "--model", "y", "--stages", "third"],
        &["nonsense"],
    ] {
        assert_eq!(organseg(arguments).status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn splits_and_groups_that_do_not_fit_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, out) = (world().join("data"), at("out"));
    let (splits, groups) = (at("mine.json"), at("patients.csv"));
    std::fs::write(&splits, r#"[{"train": ["phantom_000"], "val": ["phantom_009"]}]"#).unwrap();
    std::fs::write(&groups, "case,group\nphantom_000,ann\n").unwrap();
    for command in [["train", "--model"], ["cross-validate", "--out"]] {
        let run = [command[0], "--data", text(&data), command[1], text(&out)];
        let with = |arguments: &[&'static str], file: &std::path::Path| {
            let (run, arguments) = (run.map(String::from), arguments.iter().map(ToString::to_string));
            run.into_iter().chain(arguments).chain([text(file).to_string()]).collect::<Vec<_>>()
        };
        let refused = |arguments: &[&'static str], file: &std::path::Path, words: &[&str]| {
            let arguments = with(arguments, file);
            fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), words);
        };
        refused(&["--splits"], &splits, &["mine.json", "fold 0 has case `phantom_009` in `val`"]);
        refused(&["--groups"], &groups, &["patients.csv", "missing for case `phantom_001`"]);
        for other in [["--folds", "3"], ["--split-seed", "1"], ["--groups", "x.csv"]] {
            let both = [run.as_slice(), &other, &["--splits", text(&splits)]].concat();
            assert_eq!(organseg(&both).status.code(), Some(2), "{both:?}");
        }
    }
    assert!(!out.exists());
}

#[test]
fn resuming_what_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let (data, config) = (world().join("data"), world().join("tiny.toml"));
    let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
    let train = [&train[..], &["--stages", "single", "--seed", "4"]].concat();
    succeed(&[&train[..], &["--epochs", "1"]].concat());
    let refused = |arguments: &[&str], words: &[&str]| {
        fail(&[&train[..], &["--resume"], arguments].concat(), words);
    };
    refused(&["--epochs", "2"], &["model.toml", "single.train.epochs is 1 there and 2 here"]);
    refused(
        &["--epochs", "1", "--fold", "1"],
        &["splits.json", "divides the cases in another way", "--split-seed"],
    );
    // A checkpoint that somebody copied from another model.
    let other = folder.path().join("other");
    let mut elsewhere = train.clone();
    elsewhere[4] = text(&other);
    elsewhere.extend(["--epochs", "2"]);
    succeed(&elsewhere);
    let checkpoint = "checkpoint-single.safetensors";
    std::fs::copy(other.join(checkpoint), model.join(checkpoint)).unwrap();
    refused(&["--epochs", "1"], &[checkpoint, "train.epochs is 2 there and 1 here"]);
    // How often to save is no part of the run.
    succeed(&[&elsewhere[..], &["--resume", "--checkpoint-minutes", "1"]].concat());
}

#[test]
fn a_learning_rate_that_diverges() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("wild.toml");
    let settings = std::fs::read_to_string(world().join("tiny.toml")).unwrap();
    let wild = "[single.train]\nlearning_rate = 1e30\nschedule.kind = \"constant\"\n";
    std::fs::write(&config, settings + wild).unwrap();
    let (data, model) = (world().join("data"), folder.path().join("model"));
    let train = ["train", "--data", text(&data), "--model", text(&model), "--config", text(&config)];
    let words =
        ["stage single", "not finite in epoch", "phantom_", "1e30", "a lower one, from the start, may help"];
    fail(&[&train[..], &["--stages", "single"]].concat(), &words);
    assert!(!model.join("single.safetensors").exists());
}

#[test]
fn a_scan_that_cannot_be_read_does_not_keep_the_others_from_being_segmented() {
    let (folder, bad) = file("a.nii.gz", b"not an image");
    let good = folder.path().join("b.nii.gz");
    std::fs::copy(scan(), &good).unwrap();
    let (out, report) = (folder.path().join("masks"), folder.path().join("report.json"));
    let model = world().join("model");
    let output = organseg(&[
        "segment",
        "--model",
        text(&model),
        text(&bad),
        text(&good),
        "--out",
        text(&out),
        "--report",
        text(&report),
    ]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("a.nii.gz") && said.contains("1 of 2 scans"), "{said}");
    assert_eq!(names_in(&out), ["b.nii.gz"]);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    let inputs: Vec<&str> =
        report.as_array().unwrap().iter().map(|line| line["input"].as_str().unwrap()).collect();
    assert_eq!(inputs, [text(&bad), text(&good)]);
    assert!(report[0]["error"].as_str().unwrap().contains("a.nii.gz"), "{report}");
}

#[test]
fn a_scan_that_would_be_huge_at_the_model_s_spacing_is_refused_and_the_next_one_segmented() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Micrometres taken for millimetres.
    let grid =
        Grid::with_spacing([40, 40, 40], organseg::volume::Spacing::isotropic(2000.0).unwrap()).unwrap();
    write(at("a.nii"), &Volume::filled(grid, 0i16)).unwrap();
    std::fs::copy(scan(), at("b.nii.gz")).unwrap();
    let (model, out) = (world().join("model"), at("masks"));
    let segment = ["segment", "--model", text(&model), text(folder.path()), "--out", text(&out)];
    let done = organseg(&segment);
    let said = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(said.contains("a.nii: cannot segment") && said.contains("[2000.0, 2000.0, 2000.0] mm"), "{said}");
    assert_eq!(names_in(&out), ["b.nii.gz"]);
}

#[test]
fn channels_of_one_scan_are_not_taken_for_scans() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (first, second) = (at("patient_0000.nii.gz"), at("patient_0001.nii.gz"));
    std::fs::copy(scan(), &first).unwrap();
    std::fs::copy(scan(), &second).unwrap();
    let (model, out) = (world().join("model"), at("masks"));
    let segment = ["segment", "--model", text(&model), "--out", text(&out)];
    let words = ["patient_0000 and patient_0001", "expected scans of one channel"];
    fail(&[&segment[..], &[text(folder.path())]].concat(), &words);
    // Named, they are what somebody means.
    succeed(&[&segment[..], &[text(&first), text(&second)]].concat());
    assert_eq!(names_in(&out), ["patient.nii.gz", "patient_0001.nii.gz"]);
}

#[test]
fn a_folder_of_both_images_and_dicom_is_not_guessed_at() {
    let folder = tempfile::tempdir().unwrap();
    let mut slice = vec![0; 128];
    slice.extend(b"DICM");
    std::fs::write(folder.path().join("1.dcm"), slice).unwrap();
    std::fs::copy(scan(), folder.path().join("mask.nii.gz")).unwrap();
    let (model, out) = (world().join("model"), folder.path().join("masks"));
    let segment = ["segment", "--model", text(&model), text(folder.path()), "--out", text(&out)];
    fail(&segment, &["mask.nii.gz", "1.dcm", "DICOM"]);
    assert_eq!(names_in(folder.path()), ["1.dcm", "mask.nii.gz"]);
}

/// Masks of one organ that are stored as 0 and 255 are no network of 256 classes.
#[test]
fn labels_that_leave_numbers_out_are_refused_until_they_are_numbered_anew() {
    let folder = tempfile::tempdir().unwrap();
    let data = copy_of_data(folder.path());
    let mut rows = String::new();
    for name in names_in(&data.join("labelsTr")) {
        change(&data.join("labelsTr").join(&name), |mask: LabelVolume| {
            mask.map(|v| if v > 0 { 255 } else { 0 })
        });
        let image = name.replace(".nii.gz", "_0000.nii.gz");
        rows.push_str(&format!("imagesTr/{image},labelsTr/{name}\n"));
    }
    let list = data.join("cases.csv");
    std::fs::write(&list, rows).unwrap();
    let (plan, model) = (folder.path().join("plan.toml"), folder.path().join("model"));
    let words = ["255 (label 255)", "1 to 1 without a gap", "256", "--fix-to DIR"];
    fail(&["plan", text(&list), "--out", text(&plan)], &words);
    fail(&["train", "--data", text(&list), "--model", text(&model)], &words);
    assert!(!plan.exists() && !model.exists(), "nothing is written");
    fail(&["check", text(&list)], &["the dataset has problems"]);

    let fixed = folder.path().join("fixed");
    let told = succeed(&["check", text(&list), "--fix-to", text(&fixed)]);
    assert!(told.contains("\"255\": 1"), "{told}");
    succeed(&["check", text(&fixed)]);
    succeed(&["plan", text(&fixed), "--out", text(&plan)]);
    assert!(std::fs::read_to_string(&plan).unwrap().contains("1 = \"label 255\""));
}
