//! The folder layouts: `dataset.json`, `imagesTr`, `labelsTr`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::manifest::Manifest;
use super::{Case, Dataset, channel_of, last_part, nifti_stem, table};
use crate::TrainError;

pub(super) fn open(root: &Path) -> Result<Dataset, TrainError> {
    let manifest_path = root.join("dataset.json");
    if !manifest_path.is_file() {
        let expected = "the dataset's description, in nnU-Net or decathlon layout".to_string();
        return Err(TrainError::NotFound { path: manifest_path, expected });
    }
    let manifest = Manifest::read(&manifest_path)?;
    let cases = match &manifest.table {
        Some(table) => table::cases(root, table)?,
        None => cases_in_folders(root, &manifest)?,
    };
    if cases.is_empty() {
        let expected = "at least one case in the table `dataset` of dataset.json".to_string();
        return Err(TrainError::EmptyDataset { path: root.to_path_buf(), expected });
    }
    Ok(Dataset {
        warnings: compare_number(&manifest_path, manifest.cases, cases.len())?.into_iter().collect(),
        name: manifest.name.unwrap_or_else(|| last_part(root)),
        root: root.to_path_buf(),
        labels: manifest.labels,
        ignore: manifest.ignore,
        modality: manifest.modality,
        cases: cases.into_values().collect(),
    })
}

/// What is to be said of a `numTraining` that is not the number of cases that are there. More of them is an error: a
/// download may have been cut short.
fn compare_number(path: &Path, said: Option<u64>, there: usize) -> Result<Option<String>, TrainError> {
    let Some(said) = said.filter(|&said| said != there as u64) else { return Ok(None) };
    if said > there as u64 {
        let found = format!("numTraining is {said}, and {there} pairs of an image and its label are there");
        let expected = format!("as many: bring those that are missing, or write {there} if these are all");
        return Err(TrainError::DatasetFile { path: path.to_path_buf(), found, expected });
    }
    Ok(Some(format!(
        "{}: numTraining is {said}, and {there} pairs of an image and its label are there: all of them are taken",
        path.display()
    )))
}

/// The pairs in `imagesTr` and `labelsTr`.
fn cases_in_folders(root: &Path, manifest: &Manifest) -> Result<BTreeMap<String, Case>, TrainError> {
    let ending = manifest.file_ending.as_deref();
    let images = files(&root.join("imagesTr"), "the folder of the images", ending)?;
    let mut labels = files(&root.join("labelsTr"), "the folder of the labels", ending)?;
    check_listed(root, manifest, &images)?;

    let shown = ending.unwrap_or(".nii.gz");
    if images.is_empty() {
        let expected = format!("images imagesTr/NAME_0000{shown} or imagesTr/NAME{shown}");
        return Err(TrainError::EmptyDataset { path: root.to_path_buf(), expected });
    }
    let mut cases = BTreeMap::new();
    let names: Vec<_> =
        images.iter().map(|(stem, image)| (case_name(stem, &images, &labels), image)).collect();
    for ((name, channel), image) in names {
        if channel > 0 {
            let found = format!("it is channel {channel} of case {name}");
            return Err(TrainError::MultiChannel { path: image.clone(), found });
        }
        let label = labels.remove(&name).ok_or_else(|| TrainError::MissingLabel {
            image: image.clone(),
            expected: format!("labelsTr/{name}{shown}"),
        })?;
        cases.insert(name.clone(), Case { name, image: image.clone(), label: Some(label) });
    }
    if let Some((name, label)) = labels.into_iter().next() {
        let expected = format!("imagesTr/{name}_0000{shown} or imagesTr/{name}{shown}");
        return Err(TrainError::MissingImage { label, expected });
    }
    Ok(cases)
}

/// Which case an image belongs to, and which of its channels it is. A name that is that of a label file
/// is the case's (decathlon), even if it ends as a channel does: `amos_0507`. So is one without a label, unless
/// there is a label, or a first channel, of the case that it would be a channel of.
fn case_name(
    stem: &str,
    images: &BTreeMap<String, PathBuf>,
    labels: &BTreeMap<String, PathBuf>,
) -> (String, u32) {
    match channel_of(stem) {
        Some((name, channel)) if !labels.contains_key(stem) => {
            let first = format!("{name}_0000");
            let has_first = images.contains_key(&first) && !labels.contains_key(&first);
            let is_channel = has_first || labels.contains_key(name);
            if is_channel { (name.to_string(), channel) } else { (stem.to_string(), 0) }
        }
        _ => (stem.to_string(), 0),
    }
}

/// The image files in `folder`, by their names without the ending.
fn files(
    folder: &Path,
    expected: &str,
    ending: Option<&str>,
) -> Result<BTreeMap<String, PathBuf>, TrainError> {
    if !folder.is_dir() {
        return Err(TrainError::NotFound { path: folder.to_path_buf(), expected: expected.into() });
    }
    let io = |source| TrainError::Io { path: folder.to_path_buf(), source };
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let stem = match ending {
            Some(ending) => name.strip_suffix(ending),
            None => nifti_stem(name),
        };
        // Archives made on a Mac bring a hidden `._NAME` beside each file.
        let Some(stem) = stem.filter(|_| !name.starts_with('.') && path.is_file()) else { continue };
        if let Some(other) = found.insert(stem.to_string(), path.clone()) {
            return Err(TrainError::DatasetFile {
                path: folder.to_path_buf(),
                found: format!("{} and {} are one case", other.display(), path.display()),
                expected: "one file a case".into(),
            });
        }
    }
    Ok(found)
}

/// Each image that `dataset.json` lists must be there: a download may have been cut short.
fn check_listed(
    root: &Path,
    manifest: &Manifest,
    images: &BTreeMap<String, PathBuf>,
) -> Result<(), TrainError> {
    let there: BTreeSet<&Path> = images.values().filter_map(|path| path.strip_prefix(root).ok()).collect();
    for listed in &manifest.training_images {
        let relative = Path::new(listed.strip_prefix("./").unwrap_or(listed));
        // nnU-Net v1 lists `imagesTr/NAME.nii.gz` and stores `imagesTr/NAME_0000.nii.gz`.
        let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let numbered = nifti_stem(name).is_some_and(|stem| images.contains_key(&format!("{stem}_0000")));
        if !numbered && !there.contains(relative) {
            let expected = "an image that the `training` list of dataset.json names".to_string();
            return Err(TrainError::NotFound { path: root.join(relative), expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Modality};
    use crate::TrainError;

    const V2: &str = r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "pancreas": 1},
                         "numTraining": 2, "file_ending": ".nii.gz"}"#;
    const DECATHLON: &str = r#"{"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "organ"}}"#;

    /// A folder with `dataset.json` and empty files.
    fn folder(manifest: &str, files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("imagesTr")).unwrap();
        std::fs::create_dir(folder.path().join("labelsTr")).unwrap();
        std::fs::write(folder.path().join("dataset.json"), manifest).unwrap();
        for file in files {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        folder
    }

    fn refused(manifest: &str, files: &[&str]) -> TrainError {
        Dataset::open(folder(manifest, files).path()).unwrap_err()
    }

    #[test]
    fn nnunet_layout() {
        let files = [
            "imagesTr/b_0000.nii.gz",
            "imagesTr/a_0000.nii.gz",
            "imagesTr/notes.txt",
            "imagesTr/._a_0000.nii.gz",
            "labelsTr/a.nii.gz",
            "labelsTr/b.nii.gz",
        ];
        let folder = folder(V2, &files);
        let dataset = Dataset::open(folder.path()).unwrap();
        assert_eq!(dataset.names(), ["a", "b"]);
        assert_eq!(dataset.labels[&1], "pancreas");
        assert_eq!((dataset.highest_label(), &dataset.modality), (1, &Modality::Ct));
        let case = dataset.case("b").unwrap();
        assert_eq!(case.image, folder.path().join("imagesTr/b_0000.nii.gz"));
        assert_eq!(case.label.as_deref(), Some(folder.path().join("labelsTr/b.nii.gz").as_path()));
        assert!(matches!(dataset.case("c"), Err(TrainError::UnknownCase { name, .. }) if name == "c"));
        assert_eq!(dataset.name, folder.path().file_name().unwrap().to_str().unwrap());
    }

    #[test]
    fn another_number_of_cases_than_promised_is_told_and_fewer_are_refused() {
        let files = ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"];
        let error = refused(V2, &files).to_string();
        let expected = "dataset.json: numTraining is 2, and 1 pairs of an image and its label are there, expected as many";
        assert!(error.contains(expected) && error.contains("write 1 if these are all"), "{error}");
        let more = V2.replace("\"numTraining\": 2", "\"numTraining\": 0");
        let dataset = Dataset::open(folder(&more, &files).path()).unwrap();
        let [line] = &dataset.warnings[..] else { panic!("{:?}", dataset.warnings) };
        assert!(line.contains("dataset.json: numTraining is 0, and 1 pairs"), "{line}");
    }

    #[test]
    fn decathlon_layout_keeps_numbers_that_look_like_channels() {
        let files = ["imagesTr/scan_0001.nii.gz", "labelsTr/scan_0001.nii.gz"];
        let folder = folder(DECATHLON, &files);
        let dataset = Dataset::open(folder.path()).unwrap();
        assert_eq!(dataset.names(), ["scan_0001"]);
        assert_eq!(dataset.modality, Modality::Other("MRI".into()));
    }

    #[test]
    fn half_cases_are_named() {
        let error = refused(V2, &["imagesTr/a_0000.nii.gz"]).to_string();
        assert!(error.contains("imagesTr/a_0000.nii.gz: has no label"), "{error}");
        assert!(error.contains("labelsTr/a.nii.gz"), "{error}");
        let files = ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "labelsTr/b.nii.gz"];
        let error = refused(V2, &files).to_string();
        assert!(error.contains("labelsTr/b.nii.gz: has no image"), "{error}");
    }

    #[test]
    fn a_second_channel_is_refused() {
        let files = ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"];
        let error = refused(V2, &files);
        assert!(matches!(error, TrainError::MultiChannel { .. }), "{error}");
        assert!(error.to_string().contains("multi-channel images are not supported yet"));
    }

    #[test]
    fn a_case_whose_number_looks_like_a_channel_and_whose_label_is_missing_is_no_channel() {
        let files = [
            "imagesTr/amos_0000.nii.gz",
            "imagesTr/amos_0507.nii.gz",
            "imagesTr/amos_0508.nii.gz",
            "labelsTr/amos_0000.nii.gz",
            "labelsTr/amos_0508.nii.gz",
        ];
        let error = refused(DECATHLON, &files).to_string();
        assert!(error.contains("imagesTr/amos_0507.nii.gz: has no label"), "{error}");
        assert!(error.contains("labelsTr/amos_0507.nii.gz"), "{error}");
        // With a first channel, or with a label of the case, it is a channel.
        for (files, expected) in [
            (["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], "a_0000.nii.gz: has no label"),
            (["imagesTr/a_0001.nii.gz", "labelsTr/a.nii.gz"], "it is channel 1 of case a"),
        ] {
            let error = refused(DECATHLON, &files).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn missing_and_empty_folders() {
        let error = Dataset::open("no/such/folder").unwrap_err().to_string();
        assert!(error.contains("no/such/folder: not found"), "{error}");
        let error = refused(V2, &[]);
        assert!(matches!(error, TrainError::EmptyDataset { .. }), "{error}");
        let bare = tempfile::tempdir().unwrap();
        let error = Dataset::open(bare.path()).unwrap_err().to_string();
        assert!(error.contains("dataset.json: not found"), "{error}");
        std::fs::write(bare.path().join("dataset.json"), V2).unwrap();
        let error = Dataset::open(bare.path()).unwrap_err().to_string();
        assert!(error.contains("imagesTr: not found"), "{error}");
    }

    #[test]
    fn one_case_in_two_files_is_refused() {
        let files = ["imagesTr/a.nii.gz", "imagesTr/a.nii", "labelsTr/a.nii.gz"];
        assert!(refused(DECATHLON, &files).to_string().contains("are one case"));
    }

    #[test]
    fn a_listed_image_that_is_not_there_is_named() {
        let manifest = r#"{"labels": {"1": "organ"}, "training": [
            {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"},
            {"image": "./imagesTr/b.nii.gz", "label": "./labelsTr/b.nii.gz"}]}"#;
        let one = ["imagesTr/a.nii.gz", "labelsTr/a.nii.gz"];
        assert!(refused(manifest, &one).to_string().contains("imagesTr/b.nii.gz: not found"));
        let v1 =
            ["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"];
        assert_eq!(Dataset::open(folder(manifest, &v1).path()).unwrap().names(), ["a", "b"]);
    }
}
