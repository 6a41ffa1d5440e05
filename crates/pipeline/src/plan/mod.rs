//! Settings that fit a dataset, where a person has set none: from what [`Fingerprint`] measures, by rules that
//! docs/METHOD.md lists.
//!
//! - Intensities: z-scores but for CT, of the voxels that are not 0 where a quarter of each scan was cut away, or what the
//!   channel's name says; for CT the method's window if it holds the organs' intensities, else one from their percentiles.
//! - Spacing: the median; scans that hardly differ from it keep their own (`spacing.rs`).
//! - One stage if a whole scan is no larger than a patch may be or its organs are too small for a decimated one, else two,
//!   and how far the coarse one is decimated;
//!   levels, channels and patch sizes (`shape.rs`).
//! - Cross-entropy besides the paper's loss, for the stage that has the last word in the place of its center loss, unless
//!   a part of the loss is set.
//! - Axes to mirror along: all, without x where left and right have different labels (`laterality.rs`).
//! - Whether samples are turned within their slices alone: where those are thick and few (`shape.rs`).
//! - The label that losses ignore: the dataset's.
//!
//! What the caller's base sets otherwise than the default, and what a file sets, stands. A file with a table
//! `[dataset]` is a whole plan: nothing is measured, and it must be for this dataset.

mod file;
mod laterality;
mod rules;
mod shape;
mod spacing;
mod statistics;

use std::collections::BTreeMap;
use std::path::Path;

use organseg_train::{CaseFingerprint, Dataset, Fingerprint, Modality, Split};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::model::{PlannedDataset, not_toml};
use crate::{Method, ModelConfig, PipelineError};

/// Voxels of a patch that train on a desk computer: 16 channels of them take 64 MB, and a training step of
/// the default network some 3 GB, 6 GB in batches of two.
pub const MAX_PATCH_VOXELS: usize = 1 << 20;

/// A configuration and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// How to train.
    pub config: ModelConfig,
    /// What was measured, a line each; nothing for a plan that was read from a file.
    pub measured: Vec<String>,
    /// Which rule chose a setting, by its path in the file, such as `single.patch_size`.
    pub reasons: BTreeMap<String, String>,
    /// What a person should know before training, a line each.
    pub warnings: Vec<String>,
}

/// `base` fitted to the training cases of `split`: [`Plan::make`]'s configuration.
///
/// # Errors
/// As [`Plan::make`].
pub fn plan(
    base: &ModelConfig,
    overrides: Option<&Path>,
    dataset: &Dataset,
    split: &Split,
    max_patch_voxels: usize,
) -> Result<ModelConfig, PipelineError> {
    Ok(Plan::make(base, Some(base.method), overrides, dataset, &split.train, max_patch_voxels)?.config)
}

impl Plan {
    /// `base` fitted to the cases `names` of `dataset`, for `method` or, without one, the method that suits them.
    /// What `base` sets otherwise than the default and what the file at `overrides` sets, in the form of
    /// `model.toml`, stands.
    ///
    /// # Errors
    /// [`TrainError::LabelGaps`](organseg_train::TrainError::LabelGaps) for labels that leave numbers out; what reading the
    /// file or a case meets, naming the case; [`PipelineError::OtherDataset`] for a file whose
    /// labels or modality are not the dataset's; [`PipelineError::IgnoreLabel`] where a loss ignores another label
    /// than the dataset does; [`PipelineError::OtherMethod`] for a plan of another method; [`PipelineError::Config`] for
    /// a number in `base` that TOML cannot hold.
    pub fn make(
        base: &ModelConfig,
        method: Option<Method>,
        overrides: Option<&Path>,
        dataset: &Dataset,
        names: &[String],
        max_patch_voxels: usize,
    ) -> Result<Self, PipelineError> {
        dataset.check_label_numbers()?;
        let given = match overrides {
            Some(path) => {
                let config = ModelConfig::read(path)?;
                let given = read_table(path)?;
                check_dataset(path, &config, &given, dataset)?;
                check_method(path, &config, &given, method)?;
                if config.dataset.is_some() {
                    return Ok(Self::as_read(path, config.with_ignore_label_of(dataset)?, dataset));
                }
                given
            }
            None => Table::new(),
        };
        let mut settled = differences(base)?;
        overlay(&mut settled, &given);
        // Once before, for sizes depend on decimation, spacing and networks; once after, for the last word.
        let mut config = overlaid(base, &given, overrides)?;
        for stage in ["coarse", "fine", "single"] {
            config.stage_mut(stage).network.check_strides()?;
        }
        let fingerprint = Fingerprint::measure(dataset, names)?;
        config.labels = dataset.labels.clone();
        config.dataset = Some(PlannedDataset {
            name: dataset.name.clone(),
            modality: dataset.modality.clone(),
            cases: names.len(),
        });
        let asked = method.or_else(|| is_set(&settled, "method").then_some(config.method));
        let (mut reasons, notes) = rules::apply(&mut config, &fingerprint, asked, &settled, max_patch_voxels);
        let chosen = config.method;
        let config = ModelConfig { method: chosen, ..overlaid(&config, &given, overrides)? };
        let config = config.with_ignore_label_of(dataset)?;
        if dataset.ignore.is_some() {
            let reason = "the dataset's label `ignore`: voxels that nobody annotated teach nothing";
            let setting = |stage: &&str| format!("{stage}.train.loss.ignore_label");
            reasons.extend(rules::stages(chosen).iter().map(|stage| (setting(stage), reason.to_string())));
        }
        config.check()?;
        let mut warnings = [dataset.warnings.clone(), warnings(&fingerprint, config.method)].concat();
        warnings.extend(notes);
        Ok(Self { config, measured: file::measured(&fingerprint), reasons, warnings })
    }

    fn as_read(path: &Path, config: ModelConfig, dataset: &Dataset) -> Self {
        let measured = vec![format!("read from {}", path.display())];
        let planned_for = config.dataset.as_ref().map(|planned| planned.name.as_str());
        let mut warnings = dataset.warnings.clone();
        match planned_for {
            Some(name) if name != dataset.name => warnings.push(format!(
                "{}: planned for the dataset {name}, and {} is {}; nothing of it was measured",
                path.display(),
                dataset.root.display(),
                dataset.name
            )),
            _ => {}
        }
        Self { config, measured, reasons: BTreeMap::new(), warnings }
    }
}

fn warnings(fingerprint: &Fingerprint, method: Method) -> Vec<String> {
    let rule = match method {
        Method::Two => {
            "it teaches the coarse stage that there may be nothing, and the fine stage does without it"
        }
        Method::Single => "it gives background patches",
    };
    let empty = fingerprint.without_foreground();
    let mut lines: Vec<_> =
        empty.into_iter().map(|case| format!("case {case}: no voxel is labelled; {rule}")).collect();
    let occurs = |label| fingerprint.cases.iter().any(|case| case.labels.contains_key(label));
    let missing = fingerprint.labels.iter().filter(|(label, _)| !occurs(label));
    lines.extend(missing.map(|(label, name)| format!("label {label} ({name}) is in none of the cases")));
    lines.extend(slices_in_several_directions(fingerprint));
    lines.extend(nearly_ct(&fingerprint.modality));
    lines
}

/// Said of a modality that may be CT under another name: of an artery, low dose, with and without contrast, cone beam.
fn nearly_ct(modality: &Modality) -> Option<String> {
    const NAMES: [&str; 6] = ["CT", "CTA", "LDCT", "CECT", "NCCT", "CBCT"];
    let name = modality.to_string();
    let upper = name.to_uppercase();
    let mut words = upper.split(|c: char| !c.is_alphanumeric());
    (*modality != Modality::Ct && words.any(|word| NAMES.contains(&word))).then(|| {
        format!(
            "the images are {name}, which is not known to be in Hounsfield units and is brought to z-scores; if it is, \
             call it CT in dataset.json"
        )
    })
}

/// Said where thick slices lie along another axis in some cases than in others: along RAS axes, a stack at some 45°
/// between two of them may be turned either way, and no spacing suits both.
fn slices_in_several_directions(fingerprint: &Fingerprint) -> Option<String> {
    let thick = |case: &CaseFingerprint| {
        let finest = case.spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
        let mut axes = (0..3).filter(|&a| case.spacing_mm[a] >= shape::THICK * finest);
        axes.next().filter(|_| axes.next().is_none())
    };
    let count = |axis: usize| fingerprint.cases.iter().filter(|case| thick(case) == Some(axis)).count();
    let counts = [0, 1, 2].map(count);
    (counts.iter().filter(|&&n| n > 0).count() > 1).then(|| {
        let [x, y, z] = counts;
        format!(
            "the slices are stacked along x in {x}, along y in {y} and along z in {z} cases: one network for all of them, at \
             one spacing, sees some in a fraction of their resolution; train on those of one direction, or resample"
        )
    })
}

fn read_table(path: &Path) -> Result<Table, PipelineError> {
    std::fs::read_to_string(path)
        .map_err(|source| PipelineError::Io { path: path.to_path_buf(), source })?
        .parse::<Table>()
        .map_err(|source| PipelineError::Toml { path: path.to_path_buf(), source: Box::new(source) })
}

/// A file that names labels or a modality must name the dataset's.
fn check_dataset(
    path: &Path,
    config: &ModelConfig,
    given: &Table,
    dataset: &Dataset,
) -> Result<(), PipelineError> {
    if given.contains_key("labels") {
        return config.check_dataset(path, dataset);
    }
    check_modality(path, config, dataset)
}

fn check_modality(path: &Path, config: &ModelConfig, dataset: &Dataset) -> Result<(), PipelineError> {
    match &config.dataset {
        Some(planned) if planned.modality != dataset.modality => {
            let (found, expected) = (planned.modality.to_string(), dataset.modality.to_string());
            Err(other_dataset(path, dataset, "modality", found, expected))
        }
        _ => Ok(()),
    }
}

fn other_dataset(
    path: &Path,
    dataset: &Dataset,
    what: &'static str,
    found: String,
    expected: String,
) -> PipelineError {
    let (path, dataset) = (path.to_path_buf(), dataset.root.clone());
    PipelineError::OtherDataset { path, dataset, what, found, expected }
}

impl ModelConfig {
    /// Checks that this, from the file at `path`, is for `dataset`: its labels, and its modality if it knows one.
    ///
    /// # Errors
    /// [`PipelineError::OtherDataset`] saying what is another.
    pub fn check_dataset(&self, path: &Path, dataset: &Dataset) -> Result<(), PipelineError> {
        check_modality(path, self, dataset)?;
        // A list of files has no names for its labels: any will do.
        let same = |label: &u8, name: &String| {
            self.labels.get(label).is_some_and(|given| given == name || *name == format!("label {label}"))
        };
        let all_same = self.labels.len() == dataset.labels.len()
            && dataset.labels.iter().all(|(label, name)| same(label, name));
        if all_same {
            return Ok(());
        }
        let (found, expected) = (format!("{:?}", self.labels), format!("{:?}", dataset.labels));
        Err(other_dataset(path, dataset, "labels", found, expected))
    }
}

/// A whole plan has settings for its own method alone.
fn check_method(
    path: &Path,
    config: &ModelConfig,
    given: &Table,
    method: Option<Method>,
) -> Result<(), PipelineError> {
    match method {
        Some(asked) if given.contains_key("dataset") && asked != config.method => {
            Err(PipelineError::OtherMethod { path: path.to_path_buf(), found: config.method, asked })
        }
        _ => Ok(()),
    }
}

/// `config` with the fields that `given` sets.
fn overlaid(config: &ModelConfig, given: &Table, path: Option<&Path>) -> Result<ModelConfig, PipelineError> {
    let mut table = table_of(config)?;
    overlay(&mut table, given);
    table.try_into().map_err(|source| PipelineError::Toml {
        path: path.unwrap_or(Path::new("model configuration")).to_path_buf(),
        source: Box::new(source),
    })
}

fn table_of(config: &ModelConfig) -> Result<Table, PipelineError> {
    Table::try_from(config).map_err(|error| not_toml(&error))
}

fn overlay(onto: &mut Table, from: &Table) {
    for (key, value) in from {
        match (onto.get_mut(key), value) {
            // A table with a kind is one thing, not a set of fields: another kind has other fields.
            (Some(Value::Table(old)), Value::Table(new)) if !new.contains_key("kind") => overlay(old, new),
            _ => {
                onto.insert(key.clone(), value.clone());
            }
        }
    }
}

/// What `config` sets otherwise than the default, but for the labels, which are the dataset's.
fn differences(config: &ModelConfig) -> Result<Table, PipelineError> {
    fn from(config: &Table, default: &Table) -> Table {
        let mut different = Table::new();
        for (key, value) in config {
            match (value, default.get(key)) {
                (Value::Table(value), Some(Value::Table(default))) => {
                    let inner = from(value, default);
                    if !inner.is_empty() {
                        different.insert(key.clone(), Value::Table(inner));
                    }
                }
                (value, default) if default != Some(value) => {
                    different.insert(key.clone(), value.clone());
                }
                _ => {}
            }
        }
        different
    }
    let mut different = from(&table_of(config)?, &table_of(&ModelConfig::default())?);
    for key in ["labels", "method", "dataset"] {
        different.remove(key);
    }
    Ok(different)
}

/// Whether `settled` holds the setting at `path`, such as `single.patch_size`.
fn is_set(settled: &Table, path: &str) -> bool {
    let (table, last) = match path.rsplit_once('.') {
        Some((table, last)) => (table_at(settled, table), last),
        None => (Some(settled), path),
    };
    table.is_some_and(|table| table.contains_key(last))
}

/// The table at `path` of `settled`.
fn table_at<'a>(settled: &'a Table, path: &str) -> Option<&'a Table> {
    path.split('.').try_fold(settled, |table, key| table.get(key)?.as_table())
}

#[cfg(test)]
mod tests;
