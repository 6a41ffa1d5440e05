//! `organseg import-nih`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use organseg::train::nih::{OrientationRule, import_nih};

use super::output::{print, print_json};

/// Make a dataset of NIH Pancreas-CT as The Cancer Imaging Archive delivers it.
///
/// Scans and masks are paired by number. The masks' arrays do not run as the scans' slices do, and their
/// headers do not say so: every way of laying a mask on its scan is scored by how well the mask's surface
/// follows an edge in the scan, and the best is taken only if it beats all others by a margin. Cases in which
/// none does are left out unless the others decide them, and so are the two that were withdrawn (25 and 70).
/// The dataset's import.txt and import.json say what was decided on which grounds.
///
/// Running it again goes on where it stopped.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of the scans: DICOM slices in folders PANCREAS_0001 and so on, at any depth.
    scans: PathBuf,
    /// Folder of the masks: label0001.nii.gz and so on.
    labels: PathBuf,
    /// Dataset folder to write (nnU-Net layout).
    #[arg(long, value_name = "DATASET")]
    out: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let report = import_nih(&options.scans, &options.labels, &options.out, &OrientationRule::default())?;
    if options.json {
        print_json(&report)?;
    } else {
        print(&report.to_text())?;
    }
    let out = options.out.display();
    match (report.written(), report.failures()) {
        (0, _) => bail!("{out}: no case could be written, see its import.txt"),
        (written, failures) if failures > 0 => {
            bail!("{out}: {written} cases are written, {failures} had to be left out, see its import.txt")
        }
        _ => Ok(()),
    }
}
