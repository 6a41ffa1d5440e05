//! Scores one mask against another with every metric, as text, CSV and JSON.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use organseg::metrics::{CaseReport, EvaluationReport, evaluate, labels_present};
use organseg::phantom::{PhantomConfig, generate};
use organseg::pipeline::Montage;
use organseg::volume::{LabelVolume, read_labels};

/// Compares two masks on one grid.
#[derive(Parser)]
struct Arguments {
    /// The true mask; a phantom's pancreas if none is given.
    reference: Option<PathBuf>,
    /// The mask to score; the same, moved by two voxels, if none is given.
    #[arg(requires = "reference")]
    prediction: Option<PathBuf>,
    /// Distance up to which surfaces count as the same, in millimetres.
    #[arg(long, default_value_t = 2.0)]
    tolerance_mm: f64,
    /// Where the results go.
    #[arg(long, default_value = "out/score_two_masks")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    let phantom = generate(&PhantomConfig::default(), 1)?;
    let (reference, prediction) = match (&arguments.reference, &arguments.prediction) {
        (Some(reference), Some(prediction)) => (read_labels(reference)?, read_labels(prediction)?),
        (None, None) => (phantom.labels.clone(), moved(&phantom.labels, 2)),
        _ => anyhow::bail!("one mask was given, expected two or none"),
    };
    let labels = labels_present(&[&reference, &prediction]);
    ensure!(!labels.is_empty(), "both masks are empty");
    let scores = evaluate(&prediction, &reference, &labels, arguments.tolerance_mm)?;
    let report = EvaluationReport::new(vec![CaseReport { case: "example".into(), labels: scores }]);
    println!("{}", report.to_text());
    let (csv, json) = (arguments.out.join("scores.csv"), arguments.out.join("scores.json"));
    std::fs::write(&csv, report.to_csv())?;
    std::fs::write(&json, report.to_json()?)?;
    println!("{}\n{}", csv.display(), json.display());

    if arguments.reference.is_none() {
        let mut montage = Montage::default();
        let outlines = [(&reference, [60, 220, 60]), (&prediction, [255, 70, 70])];
        montage.add_row(&phantom.image, &outlines, 4);
        let picture = arguments.out.join("outlines.png");
        montage.save(&picture)?;
        println!("{} (green: reference, red: prediction)", picture.display());
    }
    Ok(())
}

/// `mask` moved by `voxels` along x.
fn moved(mask: &LabelVolume, voxels: usize) -> LabelVolume {
    LabelVolume::from_fn(*mask.grid(), |[x, y, z]| if x >= voxels { mask[[x - voxels, y, z]] } else { 0 })
}
