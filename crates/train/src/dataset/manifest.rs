//! `dataset.json`, as nnU-Net v2, nnU-Net v1 and the Medical Segmentation Decathlon write it.

use std::collections::BTreeMap;
use std::path::Path;

use organseg_volume::Label;
use serde::Deserialize;
use serde_json::Value;

use super::Modality;
use crate::TrainError;

const WHAT: &str = "dataset.json, an object with labels ({\"name\": number} or {\"number\": \"name\"}) and channel_names or modality";

/// What `dataset.json` says, as far as it matters here.
#[derive(Debug, PartialEq)]
pub(super) struct Manifest {
    pub(super) name: Option<String>,
    pub(super) labels: BTreeMap<Label, String>,
    pub(super) modality: Modality,
    pub(super) file_ending: Option<String>,
    /// Names of the images listed for training, relative to the folder; empty if there is no list.
    pub(super) training_images: Vec<String>,
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
}

impl Manifest {
    pub(super) fn read(path: &Path) -> Result<Self, TrainError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
        let raw: Raw = serde_json::from_str(&text).map_err(|source| TrainError::Json {
            path: path.to_path_buf(),
            expected: WHAT,
            source,
        })?;
        let channels = raw.channel_names.or(raw.modality).unwrap_or_default();
        if channels.len() > 1 {
            let names: Vec<_> = channels.into_values().collect();
            let found = format!("it declares {} channels ({})", names.len(), names.join(", "));
            return Err(TrainError::MultiChannel { path: path.to_path_buf(), found });
        }
        let modality = Modality::from(channels.into_values().next().unwrap_or_default());
        let training_images = raw.training.unwrap_or_default().iter().filter_map(listed_image).collect();
        Ok(Self {
            name: raw.name.filter(|name| !name.is_empty()),
            labels: labels(path, raw.labels)?,
            modality,
            file_ending: raw.file_ending.filter(|ending| !ending.is_empty()),
            training_images,
        })
    }
}

/// An entry of the list `training`: `{"image": path, "label": path}`.
fn listed_image(entry: &Value) -> Option<String> {
    entry.get("image")?.as_str().map(str::to_string)
}

/// The labels but background, whichever way round they are written.
fn labels(path: &Path, raw: Option<BTreeMap<String, Value>>) -> Result<BTreeMap<Label, String>, TrainError> {
    let wrong = |found: String, expected: &str| TrainError::DatasetFile {
        path: path.to_path_buf(),
        found,
        expected: expected.into(),
    };
    let raw = raw.ok_or_else(|| wrong("there is no `labels`".into(), WHAT))?;
    let mut labels = BTreeMap::new();
    for (key, value) in raw {
        let (number, name) = match (&value, key.trim().parse::<i64>()) {
            (Value::String(name), Ok(number)) => (Some(number), name.clone()),
            // Some tools write numbers as text.
            (Value::String(number), Err(_)) => (number.trim().parse().ok(), key.clone()),
            (Value::Number(number), _) => (number.as_i64(), key.clone()),
            (Value::Array(_), _) => {
                let found = format!("label `{key}` is the region {value}");
                return Err(wrong(found, "one number a label: regions of several are not supported yet"));
            }
            _ => (None, key.clone()),
        };
        let number = number.and_then(|number| Label::try_from(number).ok());
        let number = number.ok_or_else(|| {
            wrong(format!("label `{key}` is {value}"), "a label from 0 to 255 and its name")
        })?;
        if name == "ignore" {
            let found = format!("label {number} is called `ignore`");
            return Err(wrong(found, "labels to learn: an ignore label is not supported yet"));
        }
        if let Some(other) = labels.insert(number, name.clone()) {
            let found = format!("label {number} is both `{other}` and `{name}`");
            return Err(wrong(found, "one name a label"));
        }
    }
    labels.remove(&0);
    if labels.is_empty() {
        return Err(wrong("`labels` names none but background".into(), "at least one label to learn"));
    }
    Ok(labels)
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
            (r#"{"labels": {"a": 1, "ignore": 2}}"#, "label 2 is called `ignore`"),
            (r#"{"channel_names": {"0": "T1", "1": "T2"}, "labels": {"a": 1}}"#, "2 channels (T1, T2)"),
        ];
        for (text, expected) in cases {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("dataset.json: "), "{text}: {error}");
        }
    }
}
