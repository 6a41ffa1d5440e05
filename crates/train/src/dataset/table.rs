//! The table `dataset` of `dataset.json`: nnU-Net's way to name the files of each case.
//!
//! `"dataset": {"NAME": {"images": ["FILE"], "label": "FILE"}}`, paths relative to the folder. Where it is there it
//! says which cases there are, and `imagesTr` and `labelsTr` are not looked into.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::{Case, can_be_a_file_s};
use crate::TrainError;

/// What the table says of a case.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Listed {
    images: Vec<String>,
    label: String,
}

/// The table as `dataset.json` at `path` has it; none where there is none.
pub(super) fn read(
    path: &Path,
    value: Option<Value>,
) -> Result<Option<BTreeMap<String, Listed>>, TrainError> {
    let Some(value) = value.filter(Value::is_object) else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|source| TrainError::Json {
        path: path.to_path_buf(),
        expected: "dataset.json, whose `dataset` is {\"NAME\": {\"images\": [\"FILE\"], \"label\": \"FILE\"}}",
        source,
    })
}

/// The cases of the table of the dataset in `root`.
pub(super) fn cases(
    root: &Path,
    table: &BTreeMap<String, Listed>,
) -> Result<BTreeMap<String, Case>, TrainError> {
    let path = root.join("dataset.json");
    let mut cases = BTreeMap::new();
    for (name, listed) in table {
        if !can_be_a_file_s(name) {
            let (found, expected) =
                (format!("`dataset` has a case called `{name}`"), "a name that can be a file's".into());
            return Err(TrainError::DatasetFile { path, found, expected });
        }
        let [image] = &listed.images[..] else {
            let found = format!("case {name} of `dataset` has {} images", listed.images.len());
            if listed.images.is_empty() {
                return Err(TrainError::DatasetFile { path, found, expected: "one".into() });
            }
            return Err(TrainError::MultiChannel { path, found });
        };
        let (image, label) = (root.join(image), root.join(&listed.label));
        for (file, what) in [(&image, "image"), (&label, "label")] {
            if !file.is_file() {
                let expected = format!("the {what} of case {name} in the table `dataset` of dataset.json");
                return Err(TrainError::NotFound { path: file.clone(), expected });
            }
        }
        cases.insert(name.clone(), Case { name: name.clone(), image, label: Some(label) });
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::super::Dataset;
    use crate::TrainError;

    /// A folder with two scans elsewhere than in `imagesTr`, and this `dataset`.
    fn open(table: &str) -> Result<Dataset, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("scans")).unwrap();
        for file in ["one.nii.gz", "one_mask.nii.gz", "two.nii.gz"] {
            std::fs::write(root.join("scans").join(file), "").unwrap();
        }
        let text = format!(r#"{{"labels": {{"background": 0, "organ": 1}}, "dataset": {table}}}"#);
        std::fs::write(root.join("dataset.json"), text).unwrap();
        Dataset::open(root)
    }

    #[test]
    fn the_table_says_where_the_files_are() {
        let table = r#"{"first": {"images": ["scans/one.nii.gz"], "label": "./scans/one_mask.nii.gz"}}"#;
        let dataset = open(table).unwrap();
        assert_eq!(dataset.names(), ["first"]);
        let case = &dataset.cases[0];
        assert!(case.image.ends_with("scans/one.nii.gz"), "{}", case.image.display());
        assert!(case.label.as_ref().unwrap().ends_with("scans/one_mask.nii.gz"));
    }

    #[test]
    fn what_the_table_cannot_say_is_refused_by_case() {
        let case = |images: &str, label: &str| {
            format!(r#"{{"first": {{"images": [{images}], "label": "{label}"}}}}"#)
        };
        let (one, mask) = (r#""scans/one.nii.gz""#, "scans/one_mask.nii.gz");
        for (table, expected) in [
            (case(r#""scans/one.nii.gz", "scans/two.nii.gz""#, mask), "case first of `dataset` has 2 images"),
            (case("", mask), "case first of `dataset` has 0 images, expected one"),
            (
                case(r#""scans/three.nii.gz""#, mask),
                "three.nii.gz: not found, expected the image of case first",
            ),
            (case(one, "scans/three.nii.gz"), "three.nii.gz: not found, expected the label of case first"),
            (case(one, mask).replace("first", "../first"), "a case called `../first`"),
            (r#"{"first": ["scans/one.nii.gz"]}"#.into(), "whose `dataset` is"),
            ("{}".into(), "the dataset is empty"),
        ] {
            let error = open(&table).unwrap_err().to_string();
            assert!(error.contains(expected), "{table}: {error}");
        }
    }
}
