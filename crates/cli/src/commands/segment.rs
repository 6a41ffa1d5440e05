//! `organseg segment`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use organseg::pipeline::{
    DeviceChoice, LabelReport, PreparedScan, Segmentation, SegmentationReport, Segmenter, Sighting,
    model_folders,
};
use organseg::volume::{DataType, probe, read, read_image, write};
use serde::Serialize;

use super::device::open;
use super::dicom::SeriesChoice;
use super::files::{ENDINGS_TEXT, has_images, image_name, images_in, scan_name};
use super::geometry_notes::geometry_notes;
use super::modality_note::modality_note;
use super::output::{make_folder, make_folder_of, print, print_json, write_text};
use super::prediction::PredictionChoice;
use crate::failure::one_line;
use crate::steps::three_steps;

/// Segment scans with a trained model; masks lie on the scans' own grids.
///
/// A scan that cannot be read does not keep the others from being segmented; the exit code is 1 then.
#[derive(Args)]
pub(crate) struct Options {
    /// Model folder, or the folder of a cross-validation for all of its folds. May be given several times: of several
    /// models of one plan the mean of the probabilities counts, and they are asked as the first one's model.toml says.
    #[arg(long, value_name = "DIR", required = true)]
    model: Vec<PathBuf>,
    /// Scans, folders of them, or folders of DICOM files, each of which is one scan.
    #[arg(required = true)]
    input: Vec<PathBuf>,
    /// Mask to write, or, for several scans, the folder for them.
    #[arg(long, value_name = "FILE_OR_DIR")]
    out: PathBuf,
    /// cpu, cuda:N, or auto: the first GPU, or the CPU where there is none.
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    #[command(flatten)]
    prediction: PredictionChoice,
    #[command(flatten)]
    series: SeriesChoice,
    /// Leave scans whose mask is there already, as after a run that broke off: whatever model made it.
    #[arg(long)]
    skip_existing: bool,
    /// Write boxes, volumes and warnings of each scan to this file.
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
    /// Print the same as JSON.
    #[arg(long)]
    json: bool,
}

/// What the report has for a scan.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Entry {
    Done(Box<Line>),
    Failed {
        input: PathBuf,
        error: String,
    },
    Skipped {
        input: PathBuf,
        output: PathBuf,
    },
    /// What an earlier run wrote of a scan that is skipped now.
    #[serde(untagged)]
    Earlier(serde_json::Value),
}

/// A line of the report.
#[derive(Serialize)]
struct Line {
    input: PathBuf,
    output: PathBuf,
    models: Vec<PathBuf>,
    warnings: Vec<String>,
    #[serde(flatten)]
    report: SegmentationReport,
}

/// A scan, ready for the networks, and what is out of the ordinary in it.
type Read = (PreparedScan, Vec<String>);

/// The same after they have looked.
type Seen = (Sighting, Vec<String>);

pub(crate) fn run(options: &Options) -> Result<()> {
    let device = open(options.device)?;
    if let Some(report) = &options.report {
        make_folder_of(report)?;
    }
    let (jobs, done) = jobs(&options.input, &options.out)?
        .into_iter()
        .partition::<Vec<_>, _>(|(_, mask)| !options.skip_existing || probe(mask).is_err());
    let models = models(&options.model)?;
    let model = Segmenter::load_ensemble(&models, &device)?;
    let prediction = options.prediction.over(model.config().prediction);
    let model = model.with_prediction(prediction);
    for (_, output) in &jobs {
        check_holds_labels(output, model.config().classes())?;
    }
    let scans = jobs.len();
    let (mut lines, mut failed, mut alone) = (Vec::new(), 0, None);
    let earlier = earlier_entries(options.report.as_deref().filter(|_| options.skip_existing));
    for (input, output) in done {
        if !options.json {
            print(&format!("{}: there already, skipped", output.display()))?;
        }
        let of_it = |entry: &&serde_json::Value| entry["output"].as_str().map(Path::new) == Some(&output);
        lines.push(match earlier.iter().find(of_it) {
            Some(entry) => Entry::Earlier(entry.clone()),
            None => Entry::Skipped { input, output },
        });
    }
    if let Some(path) = options.report.as_ref().filter(|_| jobs.is_empty()) {
        write_text(path, &serde_json::to_string_pretty(&lines)?)?;
    }
    let read = |(input, _): &(PathBuf, PathBuf)| read_scan(&model, input, &options.series);
    let look = |(input, _): &(PathBuf, PathBuf), scan: Result<_>| look(&model, input, scan?);
    // While a GPU has a scan, the CPU reads and resamples the next, and finishes and writes the one before.
    three_steps(&jobs, device.is_cuda(), read, look, |(input, output), seen| {
        match seen.and_then(|seen| write_mask(&model, &models, input, seen, output.clone(), options)) {
            Ok(line) => lines.push(Entry::Done(Box::new(line))),
            // The other scans do not wait for this one to be mended.
            Err(error) => {
                let said = one_line(&error);
                if scans == 1 {
                    alone = Some(error);
                } else {
                    eprintln!("error: {said}");
                }
                lines.push(Entry::Failed { input: input.clone(), error: said });
                failed += 1;
            }
        }
        match &options.report {
            Some(path) => write_text(path, &serde_json::to_string_pretty(&lines)?),
            None => Ok(()),
        }
    })?;
    if options.json {
        print_json(&lines)?;
    }
    // What is wrong with a single scan is said as any other error.
    alone.map_or(Ok(()), Err)?;
    ensure!(failed == 0, "{failed} of {scans} scans could not be segmented");
    Ok(())
}

/// The entries of scans that were segmented in the report at `path`, if there is one: nothing else has their figures.
fn earlier_entries(path: Option<&Path>) -> Vec<serde_json::Value> {
    let text = path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let mut entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
    entries.retain(|entry| entry["status"] == "done");
    entries
}

/// The model folders that `folders` stand for, each once.
fn models(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut models: Vec<PathBuf> = Vec::new();
    for folder in folders {
        for model in model_folders(folder)? {
            let twice = models.iter().any(|other| other.canonicalize().ok() == model.canonicalize().ok());
            ensure!(!twice, "--model {}: given twice", model.display());
            models.push(model);
        }
    }
    if models.len() > 1 {
        let names: Vec<_> = models.iter().map(|model| model.display().to_string()).collect();
        eprintln!("mean of {} models: {}", models.len(), names.join(", "));
    }
    Ok(models)
}

/// What the networks see in one scan.
fn look(model: &Segmenter, input: &Path, (scan, findings): Read) -> Result<Seen> {
    Ok((model.look(scan).with_context(|| cannot_segment(input))?, findings))
}

/// Writes the mask of one scan and says what was found.
fn write_mask(
    model: &Segmenter,
    models: &[PathBuf],
    input: &Path,
    (seen, findings): Seen,
    output: PathBuf,
    options: &Options,
) -> Result<Line> {
    let done = model.finish(seen).with_context(|| cannot_segment(input))?;
    let Segmentation { mask, report, .. } = done;
    write(&output, &mask)?;
    let mut warnings = findings;
    warnings.extend(report.warnings());
    for warning in &warnings {
        eprintln!("warning: {}: {warning}", input.display());
    }
    if !options.json {
        let say = |found: &LabelReport| match found.dropped_ml {
            dropped if dropped > 0.0 => {
                format!("{} {:.1} ml ({dropped:.1} ml left out)", found.name, found.volume_ml)
            }
            _ => format!("{} {:.1} ml", found.name, found.volume_ml),
        };
        let found: Vec<_> = report.labels.values().map(say).collect();
        print(&format!("{}: {}", output.display(), found.join(", ")))?;
    }
    Ok(Line { input: input.to_path_buf(), output, models: models.to_vec(), warnings, report })
}

/// Reads and prepares one scan.
fn read_scan(model: &Segmenter, input: &Path, choice: &SeriesChoice) -> Result<Read> {
    let (scan, findings) = match choice.find(input)? {
        Some(series) => {
            let mut findings: Vec<String> = series.findings().iter().map(ToString::to_string).collect();
            let trained = model.config().dataset.as_ref().map(|dataset| &dataset.modality);
            findings.extend(trained.and_then(|trained| modality_note(&series.modality, trained)));
            (series.read_image(&choice.options())?, findings)
        }
        None => (read_image(input)?, geometry_notes(&probe(input)?)),
    };
    Ok((model.prepare(scan).with_context(|| cannot_segment(input))?, findings))
}

fn cannot_segment(input: &Path) -> String {
    format!("{}: cannot segment", input.display())
}

/// Which mask goes where; folders for them are made. Two scans never share a mask, and no scan is
/// written over.
fn jobs(inputs: &[PathBuf], out: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut scans = Vec::new();
    for input in inputs {
        if input.is_dir() && has_images(input)? {
            let images = images_in(input)?;
            check_one_channel(input, &images)?;
            scans.extend(images);
        } else {
            scans.push(input.clone());
        }
    }
    if image_name(out).is_some() && !out.is_dir() {
        ensure!(
            scans.len() == 1,
            "--out {}: one file for {} scans, expected a folder",
            out.display(),
            scans.len()
        );
        make_folder_of(out)?;
        let scan = scans.remove(0);
        ensure!(!same_file(&scan, out), "--out {}: is the scan itself", out.display());
        check_replaces_a_mask(out)?;
        return Ok(vec![(scan, out.to_path_buf())]);
    }
    make_folder(out)?;
    let mut taken: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for scan in scans {
        let name = scan_name(&scan).with_context(|| {
            format!("{}: not an image by its name, expected {ENDINGS_TEXT} and UTF-8", scan.display())
        })?;
        // nnU-Net's images end in the channel's number, its masks do not.
        let mask = out.join(format!("{}.nii.gz", name.strip_suffix("_0000").unwrap_or(&name)));
        ensure!(
            !same_file(&scan, &mask),
            "--out {}: the mask would replace the scan {}",
            out.display(),
            scan.display()
        );
        check_replaces_a_mask(&mask)?;
        if let Some(other) = taken.insert(mask.clone(), scan.clone()) {
            bail!("{} and {} would both be written to {}", other.display(), scan.display(), mask.display());
        }
    }
    Ok(taken.into_iter().map(|(mask, scan)| (scan, mask)).collect())
}

/// Checks that the `images` in `folder` are scans of one channel: nnU-Net's NAME_0000 and NAME_0001 are one scan of two. Files
/// that are named one by one are taken at their word, for NAME_0001 may be the number of a scan.
fn check_one_channel(folder: &Path, images: &[PathBuf]) -> Result<()> {
    let names: BTreeSet<String> = images.iter().filter_map(|image| image_name(image)).collect();
    let mut cases = names.iter().filter_map(|name| name.strip_suffix("_0000"));
    if let Some(case) = cases.find(|case| names.contains(&format!("{case}_0001"))) {
        bail!(
            "{}: holds {case}_0000 and {case}_0001, two channels of one scan by nnU-Net's names, expected scans of one \
             channel; if they are scans of their own, name the files instead of the folder",
            folder.display()
        );
    }
    Ok(())
}

/// Checks that the file at `path`, if there is one, may be a mask of an earlier run: it holds bytes, as masks do, or is
/// no image.
fn check_replaces_a_mask(path: &Path) -> Result<()> {
    match probe(path) {
        Ok(info) if info.data_type != DataType::U8 => {
            let found = format!("{:?}", info.data_type).to_lowercase();
            bail!(
                "--out {}: there is an image of {found} already, expected nothing or a mask (u8)",
                path.display()
            )
        }
        _ => Ok(()),
    }
}

/// Checks that the image at `path`, if there is one, has no larger values than a mask of `classes` classes: a scan may be
/// stored in bytes too. One look at the voxels, which is little beside a segmentation, before the first of them.
fn check_holds_labels(path: &Path, classes: usize) -> Result<()> {
    let largest = read::<u8>(path).ok().and_then(|there| there.voxels().iter().copied().max()).unwrap_or(0);
    ensure!(
        usize::from(largest) < classes,
        "--out {}: there is an image with values up to {largest} already, expected nothing or a mask of labels up to {}",
        path.display(),
        classes - 1
    );
    Ok(())
}

/// Whether both are one file, or the two halves of one image.
fn same_file(a: &Path, b: &Path) -> bool {
    let header = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let voxels = [".img.gz", ".img"].iter().find(|ending| name.to_ascii_lowercase().ends_with(*ending));
        let header =
            |ending: &&str| path.with_file_name(format!("{}.hdr", &name[..name.len() - ending.len()]));
        voxels.map_or(path.to_path_buf(), header)
    };
    match (header(a).canonicalize(), header(b).canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}
