//! DICOM folders as inputs: which series, and what is said of it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use organseg::volume::{DicomFinding, DicomFolder, DicomOptions, DicomSeries, ImageInfo, is_dicom};
use serde::Serialize;

use super::output::{print, print_json};

/// Which series of a DICOM folder, and in which state.
#[derive(Args)]
pub(crate) struct SeriesChoice {
    /// The series of a DICOM folder that holds several: its number or UID, as `organseg info` lists them.
    #[arg(long, value_name = "NUMBER_OR_UID")]
    series: Option<String>,
    /// Take a DICOM series although slices are missing, doubled or unevenly spaced, or files damaged.
    #[arg(long)]
    accept_irregular: bool,
}

impl SeriesChoice {
    /// How DICOM is read.
    pub(crate) fn options(&self) -> DicomOptions {
        DicomOptions::default().with_accept_irregular(self.accept_irregular)
    }

    /// The series that is meant, if there is DICOM at `path`.
    pub(crate) fn find(&self, path: &Path) -> Result<Option<DicomSeries>> {
        if !is_dicom(path) {
            return Ok(None);
        }
        Ok(Some(DicomFolder::open(path)?.choose(self.series.as_deref())?.clone()))
    }
}

/// What is known of a series without reading its voxels.
#[derive(Serialize)]
struct SeriesInfo<'a> {
    key: &'a str,
    uid: &'a str,
    number: Option<i64>,
    stack: Option<&'a str>,
    description: &'a str,
    modality: &'a str,
    patient_id: &'a str,
    slices: usize,
    padding: Option<f64>,
    /// Grid and type; none if there is no regular grid.
    image: Option<ImageInfo>,
    /// Why there is none.
    error: Option<String>,
    findings: &'a [DicomFinding],
}

impl<'a> SeriesInfo<'a> {
    fn of(series: &'a DicomSeries) -> Self {
        let info = series.info(&DicomOptions::default());
        Self {
            key: &series.key,
            uid: &series.uid,
            number: series.number,
            stack: series.stack.as_deref(),
            description: &series.description,
            modality: &series.modality,
            patient_id: &series.patient_id,
            slices: series.files.len(),
            padding: series.padding,
            error: info.as_ref().err().map(ToString::to_string),
            image: info.ok(),
            findings: series.findings(),
        }
    }
}

/// A folder and its series.
#[derive(Serialize)]
struct FolderInfo<'a> {
    format: &'static str,
    folder: &'a PathBuf,
    series: Vec<SeriesInfo<'a>>,
    damaged: &'a [(PathBuf, String)],
    other_files: usize,
    without_pixels: usize,
}

/// Prints the series at `path`, a DICOM folder or file.
pub(crate) fn print_folder(path: &Path, json: bool) -> Result<()> {
    let folder = DicomFolder::open(path)?;
    let series: Vec<_> = folder.series.iter().map(SeriesInfo::of).collect();
    if json {
        let (other_files, without_pixels) = (folder.other_files, folder.without_pixels);
        let (folder, damaged) = (&folder.path, folder.damaged.as_slice());
        let info = FolderInfo { format: "dicom", folder, series, damaged, other_files, without_pixels };
        return print_json(&info);
    }
    let mut text = format!(
        "{} series; {} files that are no DICOM, {} without pixels\n",
        series.len(),
        folder.other_files,
        folder.without_pixels
    );
    for (file, reason) in &folder.damaged {
        text.push_str(&format!("damaged: {}: {reason}\n", file.display()));
    }
    for (series, info) in folder.series.iter().zip(&series) {
        text.push_str(&format!("\n{}\n", series.summary()));
        if let Some(image) = &info.image {
            let spacing = image.grid.spacing().to_array().map(|v| format!("{v:.6}")).join(" × ");
            text.push_str(&format!(
                "  size         {}\n  spacing mm   {spacing}\n  orientation  {}\n  type         {}\n",
                image.grid.size().map(|n| n.to_string()).join(" × "),
                image.orientation,
                format!("{:?}", image.data_type).to_lowercase(),
            ));
        }
        for finding in info.findings {
            let irregular = finding.is_irregular(DicomOptions::default().spacing_tolerance);
            text.push_str(&format!(
                "  {}  {finding}\n",
                if irregular { "irregular  " } else { "note       " }
            ));
        }
        if let (Some(error), true) = (&info.error, info.findings.is_empty()) {
            text.push_str(&format!("  error        {error}\n"));
        }
    }
    print(&text)
}
