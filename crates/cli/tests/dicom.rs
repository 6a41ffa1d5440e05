//! The command on folders of DICOM files.

mod support;

use organseg::phantom::{DicomSeriesConfig, write_dicom_series};
use organseg::volume::{Volume, read, read_labels};
use support::{fail, names_in, organseg, scan, succeed, text, world};

/// A scan as a DICOM series in a new folder, and the scan.
fn series(change: impl Fn(DicomSeriesConfig) -> DicomSeriesConfig) -> (tempfile::TempDir, Volume<i16>) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let image = read::<i16>(scan()).expect("the phantom is sound");
    write_dicom_series(folder.path().join("scan"), &image, &change(DicomSeriesConfig::default()))
        .expect("there is room for a series");
    (folder, image)
}

#[test]
fn info_lists_series_with_size_and_findings() {
    let (folder, image) = series(|config| config.with_number(5).with_reversed(true));
    let second = DicomSeriesConfig::default().with_number(6).with_description("late phase");
    write_dicom_series(folder.path().join("second"), &image, &second).unwrap();
    std::fs::remove_file(folder.path().join("second/1-004.dcm")).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "none").unwrap();
    let shown = succeed(&["info", text(folder.path())]);
    for words in
        ["2 series; 1 files that are no DICOM", "5 (UID 2.25.", "CT phantom, 24 slices", "36 × 32 × 24"]
    {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(
        shown.contains("late phase, 23 slices") && shown.contains("irregular    1 slice is missing"),
        "{shown}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&succeed(&["info", text(folder.path()), "--json"])).unwrap();
    assert_eq!(json["format"], "dicom");
    assert_eq!(json["series"][0]["image"]["grid"]["size"], serde_json::json!([36, 32, 24]));
    assert_eq!(json["series"][1]["findings"][0]["kind"], "missing_slices");
    assert!(json["series"][1]["error"].as_str().unwrap().contains("is irregular"));
}

#[test]
fn convert_writes_the_scan_that_the_series_holds() {
    let (folder, image) = series(|config| config.with_signed(true).with_intercept(0));
    let out = folder.path().join("out.nii.gz");
    succeed(&["convert", text(&folder.path().join("scan")), text(&out)]);
    let converted = read::<i16>(&out).unwrap();
    assert_eq!(converted.voxels(), image.voxels());
    converted.grid().check_same(image.grid()).unwrap();
}

#[test]
fn a_choice_is_asked_for_and_irregular_series_are_refused_until_accepted() {
    let (folder, image) = series(|config| config.with_number(1));
    let second = folder.path().join("second");
    write_dicom_series(&second, &image, &DicomSeriesConfig::default().with_number(2)).unwrap();
    std::fs::remove_file(second.join("1-010.dcm")).unwrap();
    let (input, out) = (folder.path(), folder.path().join("out.nii.gz"));
    fail(&["convert", text(input), text(&out)], &["holds 2 series", "1 (UID", "2 (UID"]);
    fail(&["convert", text(input), text(&out), "--series", "9"], &["no series is called `9`"]);
    fail(
        &["convert", text(input), text(&out), "--series", "2"],
        &["series 2 is irregular", "1 slice is missing"],
    );
    assert!(!out.exists());
    succeed(&["convert", text(input), text(&out), "--series", "2", "--accept-irregular"]);
    assert_eq!(read::<i32>(&out).unwrap().size(), [36, 32, 23]);
}

#[test]
fn a_series_of_another_modality_than_the_model_s_has_a_warning() {
    let (folder, _) = series(|config| config);
    let model = tempfile::tempdir().unwrap();
    for name in names_in(&world().join("model")).iter().filter(|name| name.contains(".safetensors")) {
        std::fs::copy(world().join("model").join(name), model.path().join(name)).unwrap();
    }
    let (input, mask) = (folder.path().join("scan"), folder.path().join("mask.nii"));
    let said_of = |modality: &str| {
        let made = std::fs::read_to_string(world().join("model/model.toml")).unwrap();
        let made = made.replace("modality = \"CT\"", &format!("modality = \"{modality}\""));
        std::fs::write(model.path().join("model.toml"), made).unwrap();
        let done = organseg(&["segment", "--model", text(model.path()), text(&input), "--out", text(&mask)]);
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{said}");
        said
    };
    assert!(!said_of("CT").contains("trained on"));
    let said = said_of("MRI");
    assert!(said.contains("the series is CT, and the model was trained on MRI"), "{said}");
}

#[test]
fn segment_takes_a_dicom_folder_as_a_scan() {
    let (folder, image) = series(|config| config);
    let (model, masks) = (world().join("model"), folder.path().join("masks"));
    let input = folder.path().join("scan");
    succeed(&["segment", "--model", text(&model), text(&input), "--out", text(&masks)]);
    assert_eq!(names_in(&masks), ["scan.nii.gz"]);
    let mask = read_labels(masks.join("scan.nii.gz")).unwrap();
    mask.grid().check_same(image.grid()).unwrap();
    // The same voxels give the same mask, whatever they came in.
    let same = folder.path().join("same.nii.gz");
    succeed(&["segment", "--model", text(&model), text(&scan()), "--out", text(&same)]);
    assert_eq!(read_labels(&same).unwrap().voxels(), mask.voxels());
}

#[test]
fn phantoms_are_written_as_dicom_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    succeed(&["phantom", "--out", text(&data), "--cases", "1", "--size", "20,16,12", "--dicom"]);
    let nifti = read::<i16>(data.join("imagesTr/phantom_000_0000.nii.gz")).unwrap();
    assert_eq!(read::<i16>(data.join("dicom/phantom_000")).unwrap().voxels(), nifti.voxels());
}

#[test]
fn a_folder_that_is_no_scan_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "none").unwrap();
    fail(&["info", text(folder.path())], &["no DICOM image among its 1 files"]);
    fail(&["convert", text(folder.path()), "out.nii"], &["no DICOM image"]);
}
