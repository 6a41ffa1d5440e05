//! `organseg import-nih` on a folder that looks as the archive delivers it.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

mod support;

use std::path::{Path, PathBuf};

use organseg::volume::{LabelVolume, Orientation, Volume, read_labels, reorient, reoriented_grid, write};
use organseg_phantom::{DicomSeriesConfig, PhantomConfig, generate, write_dicom_series};
use serde_json::Value;
use support::{fail, names_in, succeed, text};
use tempfile::TempDir;

fn orientation(name: &str) -> Orientation {
    name.parse().unwrap()
}

/// Writes the scan of patient `number` into `folder/scans` and its mask, rows reversed and not saying so, into
/// `folder/labels`; returns the true mask.
fn deliver(folder: &Path, number: u32) -> LabelVolume {
    let made = generate(&PhantomConfig::default().with_size([48, 44, 36]), u64::from(number)).unwrap();
    let scan: Volume<i16> = reorient(&made.image, orientation("LPS")).map(|hu| hu as i16);
    let truth = reorient(&made.labels, orientation("LPS"));
    let patient = format!("PANCREAS_{number:04}");
    let config = DicomSeriesConfig::default().with_patient_id(&patient);
    write_dicom_series(folder.join(format!("scans/{patient}/study/series")), &scan, &config).unwrap();
    let claimed = reoriented_grid(truth.grid(), orientation("LPS"));
    let label = reorient(&truth, orientation("LAS")).with_grid(claimed).unwrap();
    std::fs::create_dir_all(folder.join("labels")).unwrap();
    write(folder.join(format!("labels/label{number:04}.nii.gz")), &label).unwrap();
    truth
}

/// A delivery of the patients 1 and 25, and the arguments that import it.
fn delivery() -> (TempDir, LabelVolume, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let truth = deliver(folder.path(), 1);
    deliver(folder.path(), 25);
    let paths = ["scans", "labels", "nih"].map(|name| folder.path().join(name));
    (folder, truth, paths)
}

#[test]
fn the_archives_folders_become_a_dataset_that_passes_the_check() {
    let (_folder, truth, [scans, labels, out]) = delivery();
    let import = ["import-nih", text(&scans), text(&labels), "--out", text(&out)];
    let printed = succeed(&import);
    for expected in
        ["PANCREAS_0001  written", "flip y", "PANCREAS_0025  left out  withdrawn", "1 cases written"]
    {
        assert!(printed.contains(expected), "no {expected:?} in\n{printed}");
    }
    assert_eq!(names_in(&out), ["dataset.json", "imagesTr", "import.json", "import.txt", "labelsTr"]);
    let label = read_labels(out.join("labelsTr/PANCREAS_0001.nii.gz")).unwrap();
    assert!(label.voxels() == truth.voxels());
    succeed(&["check", text(&out)]);

    // Again, for a program: nothing is done twice, and the report is the same.
    let json: Value = serde_json::from_str(&succeed(&[&import[..], &["--json"]].concat())).unwrap();
    assert_eq!(json["cases"][0]["outcome"]["kind"], "written");
    assert_eq!(json["cases"][0]["outcome"]["by"], "voxels");
    assert_eq!(json["cases"][0]["proof"]["scores"].as_array().unwrap().len(), 8);
    assert_eq!(json["cases"][1]["outcome"]["kind"], "withdrawn");
}

#[test]
fn a_pair_that_had_to_be_left_out_is_a_failure_and_the_rest_is_written() {
    let (folder, _, [scans, labels, out]) = delivery();
    deliver(folder.path(), 2);
    std::fs::write(labels.join("label0002.nii.gz"), "not an image").unwrap();
    let import = ["import-nih", text(&scans), text(&labels), "--out", text(&out)];
    fail(&import, &["1 cases are written, 1 had to be left out", "import.txt"]);
    succeed(&["check", text(&out)]);
    // A mask without a scan is no failure: not everybody downloads everything.
    std::fs::remove_dir_all(scans.join("PANCREAS_0002")).unwrap();
    succeed(&import);
}

#[test]
fn folders_that_are_not_there_or_hold_something_else_are_named() {
    let (folder, _, [scans, labels, out]) = delivery();
    let none = folder.path().join("none");
    fail(
        &["import-nih", text(&none), text(&labels), "--out", text(&out)],
        &["none: not found", "PANCREAS_0001"],
    );
    fail(&["import-nih", text(&scans), text(&scans), "--out", text(&out)], &["scans", "label0001.nii.gz"]);
    fail(&["import-nih", text(&scans), text(&labels), "--out", text(&labels)], &["labels", "not empty"]);
    assert!(!out.exists());
}
