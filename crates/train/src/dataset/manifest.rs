//! `dataset.json`, as nnU-Net v2, nnU-Net v1 and the Medical Segmentation Decathlon write it.

use std::collections::BTreeMap;
use std::path::Path;

use organseg_volume::Label;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Modality;
use super::table::{self, Listed};
use crate::TrainError;

/// What nnU-Net calls the label of voxels that nobody annotated.
pub(crate) const IGNORE: &str = "ignore";

const WHAT: &str = "dataset.json, an object with labels ({\"name\": number} or {\"number\": \"name\"}) and channel_names or modality";

/// What `dataset.json` says, as far as it matters here.
#[derive(Debug, PartialEq)]
pub(super) struct Manifest {
    pub(super) name: Option<String>,
    pub(super) labels: BTreeMap<Label, String>,
    /// The label of what nobody annotated; not among `labels`.
    pub(super) ignore: Option<Label>,
    pub(super) modality: Modality,
    pub(super) file_ending: Option<String>,
    /// Names of the images listed for training, relative to the folder; empty if there is no list.
    pub(super) training_images: Vec<String>,
    /// `numTraining`.
    pub(super) cases: Option<u64>,
    /// The table `dataset`: the files of each case.
    pub(super) table: Option<BTreeMap<String, Listed>>,
}

/// The file as it is written; unknown fields are passed over.
#[derive(Deserialize)]
struct Raw {
    name: Option<String>,
    labels: Option<BTreeMap<String, Value>>,
    channel_names: Option<BTreeMap<String, String>>,
    modality: Option<BTreeMap<String, String>>,
    file_ending: Option<String>,
    training: Option<Vec<Value>>,
    #[serde(rename = "numTraining")]
    num_training: Option<Value>,
    dataset: Option<Value>,
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let raw: Raw = parse(path)?;
        let channels = raw.channel_names.or(raw.modality).unwrap_or_default();
        if channels.len() > 1 {
            let names: Vec<_> = channels.into_values().collect();
            let found = format!("it declares {} channels ({})", names.len(), names.join(", "));
            return Err(TrainError::MultiChannel { path: path.to_path_buf(), found });
        }
        let modality = Modality::from(channels.into_values().next().unwrap_or_default());
        let training_images = raw.training.unwrap_or_default().iter().filter_map(listed_image).collect();
        let (labels, ignore) = labels(path, raw.labels)?;
        Ok(Self {
            name: raw.name.filter(|name| !name.is_empty()),
            labels,
            ignore,
            modality,
            file_ending: raw.file_ending.filter(|ending| !ending.is_empty()),
            training_images,
            cases: raw.num_training.map(|number| cases(path, &number)).transpose()?,
            table: table::read(path, raw.dataset)?,
        })
    }
}

/// The label of voxels that nobody annotated, as the `dataset.json` at `path` declares it; none if it declares
/// none. Whatever else it declares may be what [`crate::Dataset`] does not support.
///
/// # Errors
/// [`TrainError::Io`] or [`TrainError::Json`] for a file that cannot be read, [`TrainError::DatasetFile`] for an
/// ignore label that is no number from 0 to 255.
pub fn read_ignore_label(path: &Path) -> Result<Option<Label>, TrainError> {
    #[derive(Deserialize)]
    struct LabelsAlone {
        labels: Option<BTreeMap<String, Value>>,
    }
    let labels = parse::<LabelsAlone>(path)?.labels.unwrap_or_default();
    let mut named = labels.iter().filter(|(key, value)| entry(key, value).1 == IGNORE);
    named.next().map(|(key, value)| number(path, key, value)).transpose()
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
    serde_json::from_str(&text).map_err(|source| TrainError::Json {
        path: path.to_path_buf(),
        expected: WHAT,
        source,
    })
}

/// An entry of the list `training`: `{"image": path, "label": path}`.
fn listed_image(entry: &Value) -> Option<String> {
    entry.get("image")?.as_str().map(str::to_string)
}

/// What `numTraining` says; some tools write numbers as text.
fn cases(path: &Path, number: &Value) -> Result<u64, TrainError> {
    let said = number.as_u64().or_else(|| number.as_str()?.trim().parse().ok());
    said.ok_or_else(|| wrong(path, format!("numTraining is {number}"), "the number of cases to train on"))
}

/// The labels but background, whichever way round they are written, and the ignore label.
fn labels(
    path: &Path,
    raw: Option<BTreeMap<String, Value>>,
) -> Result<(BTreeMap<Label, String>, Option<Label>), TrainError> {
    let raw = raw.ok_or_else(|| wrong(path, "there is no `labels`".into(), WHAT))?;
    let mut labels = BTreeMap::new();
    for (key, value) in &raw {
        let (number, name) = (number(path, key, value)?, entry(key, value).1.to_string());
        if let Some(other) = labels.insert(number, name.clone()) {
            let found = format!("label {number} is both `{other}` and `{name}`");
            return Err(wrong(path, found, "one name a label"));
        }
    }
    let ignore = labels.iter().find(|(_, name)| *name == IGNORE).map(|(&label, _)| label);
    if let Some(ignore) = ignore {
        if let Some((above, name)) = labels.range(ignore..).nth(1) {
            let found = format!("label {ignore} is called `{IGNORE}`, and above it is {above} (`{name}`)");
            return Err(wrong(path, found, "the ignore label to be the highest, as in nnU-Net"));
        }
        labels.remove(&ignore);
    }
    labels.remove(&0);
    if labels.is_empty() {
        return Err(wrong(path, "`labels` names none but background".into(), "at least one label to learn"));
    }
    Ok((labels, ignore))
}

/// The number of the entry `key`: `value` of `labels`.
fn number(path: &Path, key: &str, value: &Value) -> Result<Label, TrainError> {
    if value.is_array() {
        let found = format!("label `{key}` is the region {value}");
        return Err(wrong(path, found, "one number a label: regions of several are not supported yet"));
    }
    let number = entry(key, value).0.and_then(|number| Label::try_from(number).ok());
    number
        .ok_or_else(|| wrong(path, format!("label `{key}` is {value}"), "a label from 0 to 255 and its name"))
}

/// Number and name in an entry of `labels`, whichever way round they are written; no number where there is none.
fn entry<'a>(key: &'a str, value: &'a Value) -> (Option<i64>, &'a str) {
    match (value, key.trim().parse::<i64>()) {
        (Value::String(name), Ok(number)) => (Some(number), name),
        // Some tools write numbers as text.
        (Value::String(number), Err(_)) => (number.trim().parse().ok(), key),
        (Value::Number(number), _) => (number.as_i64(), key),
        _ => (None, key),
    }
}

fn wrong(path: &Path, found: String, expected: &str) -> TrainError {
    TrainError::DatasetFile { path: path.to_path_buf(), found, expected: expected.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Manifest, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset.json");
        std::fs::write(&path, text).unwrap();
        Manifest::read(&path)
    }

    fn two_labels() -> BTreeMap<Label, String> {
        BTreeMap::from([(1, "anterior".to_string()), (2, "posterior".to_string())])
    }

    #[test]
    fn nnunet_v2() {
        let manifest = read(
            r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "posterior": 2, "anterior": 1},
                "numTraining": 3, "file_ending": ".nii.gz"}"#,
        );
        let manifest = manifest.unwrap();
        assert_eq!((manifest.labels, manifest.modality), (two_labels(), Modality::Ct));
        assert_eq!(manifest.file_ending.as_deref(), Some(".nii.gz"));
        assert_eq!((manifest.cases, manifest.table), (Some(3), None));
        assert_eq!(read(r#"{"labels": {"a": 1}, "numTraining": "12"}"#).unwrap().cases, Some(12));
    }

    #[test]
    fn decathlon() {
        let manifest = read(
            r#"{"name": "Hippocampus", "modality": {"0": "MRI"},
                "labels": {"0": "background", "1": "anterior", "2": "posterior"},
                "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
                "test": ["./imagesTs/b.nii.gz"]}"#,
        );
        let manifest = manifest.unwrap();
        assert_eq!(manifest.name.as_deref(), Some("Hippocampus"));
        assert_eq!((manifest.labels, manifest.modality), (two_labels(), Modality::Other("MRI".into())));
        assert_eq!(manifest.training_images, ["./imagesTr/a.nii.gz"]);
    }

    #[test]
    fn the_highest_label_may_be_that_of_what_nobody_annotated() {
        for labels in [
            r#"{"background": 0, "anterior": 1, "posterior": 2, "ignore": 7}"#,
            r#"{"0": "background", "1": "anterior", "2": "posterior", "7": "ignore"}"#,
        ] {
            let manifest = read(&format!(r#"{{"labels": {labels}}}"#)).unwrap();
            assert_eq!((manifest.labels, manifest.ignore), (two_labels(), Some(7)));
        }
        assert_eq!(read(r#"{"labels": {"organ": 1}}"#).unwrap().ignore, None);
    }

    #[test]
    fn the_ignore_label_is_found_where_the_rest_is_not_supported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dataset.json");
        let ignore = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_ignore_label(&path)
        };
        let regions = r#"{"labels": {"whole": [1, 2], "core": 2, "ignore": 3}, "channel_names": ["a", "b"]}"#;
        assert_eq!(ignore(regions).unwrap(), Some(3));
        assert_eq!(ignore(r#"{"labels": {"core": 2}}"#).unwrap(), None);
        assert_eq!(ignore("{}").unwrap(), None);
        for (text, expected) in [("[", "not readable as"), (r#"{"labels": {"ignore": 256}}"#, "is 256")] {
            let error = ignore(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("dataset.json: "), "{error}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_was_found() {
        let cases = [
            ("{", "not readable as dataset.json"),
            ("[]", "not readable as dataset.json"),
            ("{}", "there is no `labels`"),
            (r#"{"labels": {"background": 0}}"#, "none but background"),
            (r#"{"labels": {"pancreas": 300}}"#, "`pancreas` is 300"),
            (r#"{"labels": {"pancreas": 1.5}}"#, "`pancreas` is 1.5"),
            (r#"{"labels": {"pancreas": "high"}}"#, "`pancreas` is \"high\""),
            (r#"{"labels": {"a": 1, "b": 1}}"#, "label 1 is both `a` and `b`"),
            (r#"{"labels": {"whole": [1, 2], "core": [2]}}"#, "region [2]"),
            (r#"{"labels": {"a": 2, "ignore": 1}}"#, "label 1 is called `ignore`, and above it is 2 (`a`)"),
            (r#"{"labels": {"a": 1, "ignore": 1}}"#, "label 1 is both `a` and `ignore`"),
            (r#"{"labels": {"a": 1, "ignore": [2, 3]}}"#, "`ignore` is the region [2,3]"),
            (r#"{"labels": {"background": 0, "ignore": 1}}"#, "none but background"),
            (r#"{"labels": {"a": 1}, "numTraining": -1}"#, "numTraining is -1, expected the number of cases"),
            (r#"{"channel_names": {"0": "T1", "1": "T2"}, "labels": {"a": 1}}"#, "2 channels (T1, T2)"),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("dataset.json: "), "{text}: {error}");
        }
    }
}
