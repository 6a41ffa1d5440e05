//! Splits that somebody else made: a file whose cases must be those of a dataset.

use std::collections::BTreeSet;
use std::path::Path;

use crate::{Dataset, Split, Splits, TrainError};

impl Splits {
    /// The splits in the JSON file at `path`, for `dataset`: ours, or nnU-Net's `splits_final.json`. Not every case of the
    /// dataset has to be in them. Names are sorted, so that their order in the file does not matter.
    ///
    /// # Errors
    /// As [`Splits::read`]; [`TrainError::DatasetFile`], naming the file, the fold and the case, for a case that the dataset
    /// does not have, one that a fold names twice (to train on and to validate with, too), a fold without a case to train on
    /// or to validate with, and a file without folds.
    pub fn read_for(path: impl AsRef<Path>, dataset: &Dataset) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let mut folds = Self::read(path)?.folds().to_vec();
        if folds.is_empty() {
            return Err(wrong(path, "there is no fold".into(), "one fold at least"));
        }
        let known: BTreeSet<&str> = dataset.names().into_iter().collect();
        for (number, split) in folds.iter_mut().enumerate() {
            check(path, number, split, &known, &dataset.root)?;
            split.train.sort();
            split.val.sort();
        }
        Ok(Self::from_folds(folds))
    }
}

fn wrong(path: &Path, found: String, expected: &str) -> TrainError {
    TrainError::DatasetFile { path: path.to_path_buf(), found, expected: expected.into() }
}

/// Whether fold `number` of the file at `path` can be trained and validated with the cases that are `known`.
fn check(
    path: &Path,
    number: usize,
    split: &Split,
    known: &BTreeSet<&str>,
    root: &Path,
) -> Result<(), TrainError> {
    let parts = [("train", &split.train), ("val", &split.val)];
    if let Some((part, _)) = parts.iter().find(|(_, names)| names.is_empty()) {
        let found = format!("fold {number} has no case in `{part}`");
        return Err(wrong(path, found, "one at least (`--fold all` trains without a validation)"));
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (part, names) in parts {
        for name in names {
            if !known.contains(name.as_str()) {
                let found = format!("fold {number} has case `{name}` in `{part}`");
                let expected = format!("cases of the dataset in {}", root.display());
                return Err(wrong(path, found, &expected));
            }
            if !seen.insert(name) {
                let both = split.train.contains(name) && split.val.contains(name);
                let place = if both { "`train` and `val`".to_string() } else { format!("`{part}` twice") };
                let found = format!("fold {number} has case `{name}` in {place}");
                return Err(wrong(path, found, "each case once in a fold"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{Case, Modality};

    fn dataset() -> Dataset {
        let case = |name: &str| Case { name: name.into(), image: name.into(), label: None };
        Dataset {
            name: "three".into(),
            root: "data".into(),
            labels: BTreeMap::from([(1, "organ".into())]),
            ignore: None,
            modality: Modality::Ct,
            cases: ["a", "b", "c"].map(case).to_vec(),
            warnings: Vec::new(),
        }
    }

    fn read(text: &str) -> Result<Splits, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.json");
        std::fs::write(&path, text).unwrap();
        Splits::read_for(&path, &dataset()).map_err(|error| error.to_string())
    }

    #[test]
    fn splits_of_nnunet_are_read_and_sorted() {
        let splits =
            read(r#"[{"train": ["c", "a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]"#).unwrap();
        assert_eq!(splits.folds()[0].train, ["a", "c"]);
        assert_eq!(splits.folds()[1].val, ["a"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_fold_and_case() {
        for (fold, words) in [
            (
                r#"{"train": ["a", "x"], "val": ["b"]}"#,
                "case `x` in `train`, expected cases of the dataset in data",
            ),
            (r#"{"train": ["a"], "val": ["y"]}"#, "case `y` in `val`"),
            (
                r#"{"train": ["a", "b"], "val": ["b"]}"#,
                "case `b` in `train` and `val`, expected each case once",
            ),
            (r#"{"train": ["a", "a"], "val": ["b"]}"#, "case `a` in `train` twice"),
            (r#"{"train": ["a"], "val": []}"#, "no case in `val`"),
            (r#"{"train": [], "val": ["a"]}"#, "no case in `train`"),
        ] {
            let error = read(&format!(r#"[{{"train": ["a"], "val": ["b"]}}, {fold}]"#)).unwrap_err();
            assert!(error.contains("mine.json") && error.contains("fold 1"), "{error}");
            assert!(error.contains(words), "{error}");
        }
        assert!(read("[]").unwrap_err().contains("there is no fold"));
        assert!(read(r#"{"train": ["a"]}"#).unwrap_err().contains("mine.json"));
    }
}
