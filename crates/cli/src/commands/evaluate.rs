//! `organseg evaluate`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, value_parser};
use organseg::metrics::{
    CaseReport, EvaluationReport, LabelMetrics, clear_ignored, evaluate, labels_present,
};
use organseg::train::{Splits, read_ignore_label};
use organseg::volume::{Label, LabelVolume, probe, read_labels};
use rayon::prelude::*;

use super::files::{image_name, images_in};
use super::output::{make_folder_of, print, write_text};

/// Score masks against references of the same names.
///
/// Voxels that nobody annotated count neither way: those of the label `ignore` in the dataset.json of the folder
/// that holds the references' (as of DATASET/labelsTr), or of --ignore-label.
#[derive(Args)]
pub(crate) struct Options {
    /// Folder of true masks.
    #[arg(long, value_name = "DIR")]
    reference: PathBuf,
    /// Folder of masks to score.
    #[arg(long, value_name = "DIR")]
    prediction: PathBuf,
    /// Score only the cases that were held back from a training: MODEL/splits.json, or that of a cross-validation.
    #[arg(long, value_name = "splits.json")]
    split: Option<PathBuf>,
    /// Label of voxels in the references that count neither way [default: `ignore` in dataset.json, if there is one]
    #[arg(long, value_name = "L", value_parser = value_parser!(u8).range(1..))]
    ignore_label: Option<Label>,
    /// Write every figure as JSON.
    #[arg(long, value_name = "metrics.json")]
    out: Option<PathBuf>,
    /// Write every case as a line of CSV.
    #[arg(long, value_name = "metrics.csv")]
    csv: Option<PathBuf>,
    /// Distance up to which surfaces count as the same.
    #[arg(long, value_name = "T", default_value_t = 2.0)]
    tolerance_mm: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    for path in options.out.iter().chain(&options.csv) {
        make_folder_of(path)?;
    }
    let held_back = options.split.as_deref().map(held_back).transpose()?;
    let pairs = pairs(&options.reference, &options.prediction, held_back)?;
    let ignore = match options.ignore_label {
        Some(label) => Some(label),
        None => declared_ignore_label(&options.reference)?,
    };
    let scored = large_ones_alone(&pairs, Pair::is_large, |pair| {
        let (prediction, reference) = pair.read(ignore)?;
        let mut labels = labels_present(&[&prediction, &reference]);
        labels.retain(|&label| Some(label) != ignore);
        let labels = pair.score(&prediction, &reference, &labels, options.tolerance_mm)?;
        Ok(CaseReport { case: pair.name.clone(), labels })
    })?;
    let report = EvaluationReport::new(complete(&pairs, scored, ignore, options.tolerance_mm)?);
    // Each, whatever becomes of the others: a disk that is full costs no figure.
    let printed = print(&if options.json { report.to_json()? } else { report.to_text() });
    let written = options.out.iter().try_for_each(|path| write_text(path, &report.to_json()?));
    options.csv.iter().try_for_each(|path| write_text(path, &report.to_csv()))?;
    written.and(printed)
}

/// From so many voxels on a case is scored alone, with all threads within it: two masks and the distances take up to ten
/// bytes a voxel, and rayon's threads begin further cases while they wait. 512×512×256 voxels are 0.7 GB.
const LARGE_VOXELS: usize = 1 << 26;

/// What `of` makes of each of `things`, in their order: the large ones one after the other, then the others side by side.
fn large_ones_alone<T: Sync, R: Send>(
    things: &[T],
    is_large: impl Fn(&T) -> bool + Sync,
    of: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let large = things.iter().map(|thing| is_large(thing).then(|| of(thing)).transpose());
    let large = large.collect::<Result<Vec<_>>>()?;
    things.par_iter().zip(large).map(|(thing, done)| done.map_or_else(|| of(thing), Ok)).collect()
}

/// A mask and its reference.
struct Pair {
    name: String,
    reference: PathBuf,
    prediction: PathBuf,
}

impl Pair {
    /// Whether the case is to be scored alone. What cannot be read is told when it is scored.
    fn is_large(&self) -> bool {
        let voxels = |path| probe(path).map_or(0, |info| info.grid.voxel_count());
        voxels(&self.reference).max(voxels(&self.prediction)) >= LARGE_VOXELS
    }

    /// The mask, with nothing in it where the reference is `ignore`, and the reference.
    fn read(&self, ignore: Option<Label>) -> Result<(LabelVolume, LabelVolume)> {
        let (mut prediction, reference) = (read_labels(&self.prediction)?, read_labels(&self.reference)?);
        if let Some(ignore) = ignore {
            clear_ignored(&mut prediction, &reference, ignore).with_context(|| self.both())?;
        }
        Ok((prediction, reference))
    }

    fn score(
        &self,
        prediction: &LabelVolume,
        reference: &LabelVolume,
        labels: &[Label],
        tolerance_mm: f64,
    ) -> Result<BTreeMap<Label, LabelMetrics>> {
        evaluate(prediction, reference, labels, tolerance_mm).with_context(|| self.both())
    }

    /// The names of both files.
    fn both(&self) -> String {
        format!("{} and {}", self.prediction.display(), self.reference.display())
    }
}

/// What the `dataset.json` of the folder around `references`, if there is one, calls `ignore`.
fn declared_ignore_label(references: &Path) -> Result<Option<Label>> {
    let manifest = match references.file_name() {
        Some(_) => references.with_file_name("dataset.json"),
        // `.` and `..` name a folder without its name.
        None => references.join("../dataset.json"),
    };
    if !manifest.is_file() {
        return Ok(None);
    }
    let ignore = read_ignore_label(&manifest)
        .context("cannot tell which label is `ignore`, which --ignore-label says without the file")?;
    if let Some(label) = ignore {
        eprintln!("note: {} calls label {label} `ignore`: its voxels are not scored", manifest.display());
    }
    Ok(ignore)
}

/// The cases that the splits in the file at `path` hold back: the one of a model folder, or all of a cross-validation's.
fn held_back(path: &Path) -> Result<Vec<String>> {
    let splits = Splits::read(path)?;
    let held_back: Vec<String> = splits.folds().iter().flat_map(|split| split.val.iter().cloned()).collect();
    ensure!(
        !held_back.is_empty(),
        "{}: holds back no case, for the model was trained on all",
        path.display()
    );
    Ok(held_back)
}

/// Every reference, or every one that is `held_back`, with its prediction; a reference without one is an error, for
/// leaving it out would flatter the mean.
fn pairs(reference: &Path, prediction: &Path, held_back: Option<Vec<String>>) -> Result<Vec<Pair>> {
    let by_name = |folder: &Path| -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        for path in images_in(folder)? {
            let Some(name) = image_name(&path) else { continue };
            if let Some(other) = found.insert(name, path.clone()) {
                let (one, two) = (other.display(), path.display());
                bail!("{one} and {two} are two masks of one name, expected one of them");
            }
        }
        Ok(found)
    };
    let (mut references, mut predictions) = (by_name(reference)?, by_name(prediction)?);
    if let Some(names) = held_back {
        if let Some(missing) = names.iter().find(|name| !references.contains_key(*name)) {
            bail!(
                "{}: there is no reference of case {missing}, which the split holds back",
                reference.display()
            );
        }
        references.retain(|name, _| names.contains(name));
        predictions.retain(|name, _| names.contains(name));
    }
    let missing: Vec<_> = references.keys().filter(|name| !predictions.contains_key(*name)).collect();
    if let Some(first) = missing.first() {
        bail!(
            "{}: {} of {} references have no prediction, the first is {first}",
            prediction.display(),
            missing.len(),
            references.len()
        );
    }
    let pair = |(name, reference)| {
        let prediction = predictions.remove(&name).expect("none is missing");
        Pair { name, reference, prediction }
    };
    let pairs = references.into_iter().map(pair).collect();
    if let Some(name) = predictions.keys().next() {
        eprintln!("warning: {} predictions have no reference, the first is {name}", predictions.len());
    }
    Ok(pairs)
}

/// The reports with every label that any case has: a case without it counts as agreeing on nothing.
fn complete(
    pairs: &[Pair],
    mut reports: Vec<CaseReport>,
    ignore: Option<Label>,
    tolerance_mm: f64,
) -> Result<Vec<CaseReport>> {
    let all: BTreeSet<Label> = reports.iter().flat_map(|report| report.labels.keys().copied()).collect();
    for (pair, report) in pairs.iter().zip(&mut reports) {
        let missing: Vec<Label> =
            all.iter().copied().filter(|label| !report.labels.contains_key(label)).collect();
        if !missing.is_empty() {
            let (prediction, reference) = pair.read(ignore)?;
            report.labels.extend(pair.score(&prediction, &reference, &missing, tolerance_mm)?);
        }
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn large_ones_are_never_two_at_once_and_all_come_in_order() {
        let things: Vec<usize> = (0..40).collect();
        let large_now = AtomicUsize::new(0);
        let is_large = |thing: &usize| thing.is_multiple_of(3);
        let of = |&thing: &usize| {
            if is_large(&thing) {
                assert_eq!(large_now.fetch_add(1, Ordering::SeqCst), 0, "another large one");
                std::thread::sleep(std::time::Duration::from_millis(2));
                large_now.fetch_sub(1, Ordering::SeqCst);
            } else {
                assert_eq!(large_now.load(Ordering::SeqCst), 0, "beside a large one");
            }
            if thing == 41 { bail!("there is none") } else { Ok(10 * thing) }
        };
        let found = large_ones_alone(&things, is_large, of).expect("none fails");
        assert_eq!(found, things.iter().map(|thing| 10 * thing).collect::<Vec<_>>());
        assert!(large_ones_alone(&[1, 41], is_large, of).is_err());
    }
}
