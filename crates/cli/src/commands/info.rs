//! `organseg info`

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use organseg::volume::{is_dicom, probe};

use super::dicom::print_folder;
use super::geometry_notes::geometry_notes;
use super::output::{print, print_json};

/// Say what the header of an image holds, or list the series of a DICOM folder.
#[derive(Args)]
pub(crate) struct Options {
    /// The image, or a folder of DICOM files.
    image: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if is_dicom(&options.image) {
        return print_folder(&options.image, options.json);
    }
    let info = probe(&options.image)?;
    if options.json {
        return print_json(&info);
    }
    let list = |values: [f64; 3]| values.map(|v| format!("{v:.6}")).join(" × ");
    let mut text = format!(
        "size         {}\nspacing mm   {}\norientation  {}\ntype         {}\n",
        info.grid.size().map(|n| n.to_string()).join(" × "),
        list(info.grid.spacing().to_array()),
        info.orientation,
        format!("{:?}", info.data_type).to_lowercase(),
    );
    if info.slope != 1.0 || info.intercept != 0.0 {
        text.push_str(&format!("scaling      {} · value + {}\n", info.slope, info.intercept));
    }
    text.push_str(&format!("affine       from the {}\n", info.affine_source));
    for row in info.grid.affine().to_rows() {
        text.push_str(&format!("             {}\n", row.map(|v| format!("{v:>12.6}")).join(" ")));
    }
    for note in geometry_notes(&info) {
        text.push_str(&format!("note         {note}\n"));
    }
    print(&text)
}
