//! `organseg check`

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use organseg::train::{Dataset, check_dataset, fix_to};

use super::output::{print, print_json};

/// Look for what is wrong with a dataset: geometry, labels, damaged files.
#[derive(Args)]
pub(crate) struct Options {
    /// Dataset folder (nnU-Net or decathlon layout) or CSV of image,label pairs.
    dataset: PathBuf,
    /// Write a repaired copy to this new folder.
    #[arg(long, value_name = "DIR")]
    fix_to: Option<PathBuf>,
    /// Print JSON; with --fix-to, what was found as `check` and what was done as `fixed`.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let dataset = Dataset::open(&options.dataset)?;
    let report = check_dataset(&dataset);
    if !options.json {
        print(&report.to_text())?;
    } else if options.fix_to.is_none() {
        print_json(&report)?;
    }
    if let Some(folder) = &options.fix_to {
        let fixed = fix_to(&dataset, &report, folder)?;
        if options.json {
            print_json(&serde_json::json!({ "check": report, "fixed": fixed }))?;
        } else {
            print(&serde_json::to_string_pretty(&fixed)?)?;
            print(&format!("repaired copy in {}", folder.display()))?;
        }
    } else if !report.is_sound() {
        bail!("{}: the dataset has problems, see above", options.dataset.display());
    }
    Ok(())
}
