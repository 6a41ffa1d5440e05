//! 50 expert masks of the pancreas and two networks' predictions, against figures that DeepMind's
//! `surface-distance` package gave for them (`reference_metrics.json` beside the masks).
//!
//! The masks are not part of this project: they are looked for in `$ORGANSEG_DATA`, or in
//! `../shared/data` beside the checkout, and without them the test says that it was skipped.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use organseg_metrics::{CaseReport, EvaluationReport, LabelMetrics, evaluate};
use organseg_roi::BoundingBox;
use organseg_volume::read_labels;
use serde_json::Value;

/// Ratios of the same integers.
const OVERLAP_TOLERANCE: f64 = 1e-9;
/// The same Euclidean distance, summed in another order.
const HAUSDORFF_TOLERANCE_MM: f64 = 1e-6;
/// Required is 1 % for what is weighed by area. Areas are of the same shapes, so what is left is rounding.
const WEIGHED_TOLERANCE_RELATIVE: f64 = 1e-6;

const SURFACE_TOLERANCE_MM: f64 = 2.0;

#[test]
fn figures_of_the_dice_network_equal_those_of_the_surface_distance_package() {
    compare_network("dice");
}

#[test]
fn figures_of_the_over_segmenting_network_equal_those_of_the_surface_distance_package() {
    compare_network("wce");
}

fn compare_network(network: &str) {
    let Some(folder) = data_folder().map(|data| data.join("pancreas_masks")).filter(|f| f.is_dir()) else {
        eprintln!("skipped: no pancreas_masks in $ORGANSEG_DATA or ../shared/data");
        return;
    };
    let figures = std::fs::read_to_string(folder.join("reference_metrics.json")).unwrap();
    let figures: serde_json::Map<String, Value> = serde_json::from_str(&figures).unwrap();
    let started = Instant::now();
    let mut cases = Vec::new();
    let mut worst = 0.0;
    for (file, expected) in &figures {
        let reference = read_labels(folder.join("groundtruth").join(file)).unwrap();
        let predicted = read_labels(folder.join(format!("prediction_{network}")).join(file)).unwrap();
        let labels = evaluate(&predicted, &reference, &[1], SURFACE_TOLERANCE_MM).unwrap();
        compare_case(file, &labels[&1], expected, network, &mut worst);
        cases.push(CaseReport { case: file.trim_end_matches(".nii.gz").to_owned(), labels });
    }
    let seconds = started.elapsed().as_secs_f64();
    let report = EvaluationReport::new(cases);
    let dice = &report.summary[&1]["dice"];
    eprintln!(
        "prediction_{network}: {} cases read and measured in {seconds:.1} s, DSC {:.4} ± {:.4}, \
         largest relative deviation of a weighed figure {worst:.1e}",
        dice.n, dice.mean, dice.std
    );
    assert_eq!((dice.n, dice.n_skipped), (figures.len(), 0));
}

fn compare_case(file: &str, found: &LabelMetrics, expected: &Value, network: &str, worst: &mut f64) {
    let figures = &expected[network];
    let number = |name: &str| figures[name].as_f64().unwrap();
    let voxels =
        [(&expected["voxels"], found.reference_voxels), (&figures["voxels"], found.prediction_voxels)];
    for (expected, found) in voxels {
        assert_eq!(expected.as_u64(), Some(found), "{file}: voxels");
    }
    assert_eq!(found.reference_box, Some(as_box(&expected["bbox"])), "{file}: box of the reference");
    assert_eq!(found.prediction_box, Some(as_box(&figures["bbox"])), "{file}: box of the prediction");
    for (name, found) in [
        ("dice", found.dice),
        ("jaccard", found.jaccard),
        ("recall", found.recall),
        ("precision", found.precision),
        ("bbox_recall", found.box_recall),
        ("bbox_iou", found.box_iou),
    ] {
        assert!(
            (found - number(name)).abs() <= OVERLAP_TOLERANCE,
            "{file}: {name} {found}, {}",
            number(name)
        );
    }
    let hausdorff = number("hd100_mm");
    assert!((found.hd_mm - hausdorff).abs() <= HAUSDORFF_TOLERANCE_MM, "{file}: {} {hausdorff}", found.hd_mm);
    let directed = [number("asd_gt_to_pred_mm"), number("asd_pred_to_gt_mm")];
    for (name, found, expected) in [
        ("hd95_mm", found.hd95_mm, number("hd95_mm")),
        ("nsd_2mm", found.surface_dice, number("nsd_2mm")),
        ("asd_gt_to_pred_mm", found.asd_reference_to_prediction_mm, directed[0]),
        ("asd_pred_to_gt_mm", found.asd_prediction_to_reference_mm, directed[1]),
        ("assd_mm", found.assd_mm, (directed[0] + directed[1]) / 2.0),
    ] {
        let deviation = (found - expected).abs() / expected;
        assert!(deviation <= WEIGHED_TOLERANCE_RELATIVE, "{file}: {name} {found}, expected {expected}");
        *worst = worst.max(deviation);
    }
}

fn as_box(corners: &Value) -> BoundingBox {
    let [min, max]: [[i64; 3]; 2] = serde_json::from_value(corners.clone()).unwrap();
    BoundingBox::new(min, max).unwrap()
}

fn data_folder() -> Option<PathBuf> {
    match std::env::var_os("ORGANSEG_DATA") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => {
            Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")).filter(|f| f.is_dir())
        }
    }
}
