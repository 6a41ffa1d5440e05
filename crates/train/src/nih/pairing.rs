//! Which folders and files belong to which case, by their names alone.
//!
//! The archive delivers a tree with one folder a patient, `PANCREAS_0001` and so on, somewhere above
//! the slices, and beside it one flat folder of masks, `label0001.nii.gz` and so on. The numbers are the
//! same: mask 7 was drawn on the scan of patient 7.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::TrainError;

/// How deep folders are searched: the archive's trees are four deep.
const MAX_DEPTH: usize = 12;

/// The folders of patients in `root`, `root` itself included, by number. What lies in such a folder is its
/// patient's and not looked at here.
pub(super) fn patient_folders(root: &Path) -> Result<BTreeMap<u32, Vec<PathBuf>>, TrainError> {
    let expected = "the folder of the scans, with PANCREAS_0001 and so on in it";
    let mut found = BTreeMap::new();
    search(root, expected, &mut |path, is_folder| {
        let number = if is_folder { patient_number(&name_of(path)) } else { None };
        number.is_some_and(|number| {
            found.entry(number).or_insert_with(Vec::new).push(path.to_path_buf());
            true
        })
    })?;
    Ok(found)
}

/// The masks in `root` and the folders in it, by number.
pub(super) fn label_files(root: &Path) -> Result<BTreeMap<u32, Vec<PathBuf>>, TrainError> {
    let expected = "the folder of the masks, label0001.nii.gz and so on";
    let mut found = BTreeMap::new();
    search(root, expected, &mut |path, is_folder| {
        if let (false, Some(number)) = (is_folder, label_number(&name_of(path))) {
            found.entry(number).or_insert_with(Vec::new).push(path.to_path_buf());
        }
        false
    })?;
    if found.is_empty() {
        return Err(TrainError::EmptyDataset { path: root.to_path_buf(), expected: expected.into() });
    }
    Ok(found)
}

/// The number of patient `PANCREAS_0001`, as a PatientID or the name of a folder.
pub(super) fn patient_number(name: &str) -> Option<u32> {
    number_after(name.trim(), "pancreas")
}

/// The number of mask `label0001.nii.gz`. Files that begin with a dot are a Mac's.
fn label_number(file_name: &str) -> Option<u32> {
    let stem = file_name.strip_suffix(".nii.gz").or_else(|| file_name.strip_suffix(".nii"))?;
    number_after(stem, "label")
}

/// The digits after `word`, in whatever case, and perhaps a `_` or `-`; none if there is anything else.
fn number_after(text: &str, word: &str) -> Option<u32> {
    let (start, rest) = text.split_at_checked(word.len())?;
    let digits = rest.strip_prefix(['_', '-']).unwrap_or(rest);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if start.eq_ignore_ascii_case(word) && is_number { digits.parse().ok() } else { None }
}

/// Shows `root` and all that is in it to `visit`, in the order of the names; a folder for which it says
/// true is not entered.
fn search(root: &Path, expected: &str, visit: &mut dyn FnMut(&Path, bool) -> bool) -> Result<(), TrainError> {
    if !root.is_dir() {
        return Err(TrainError::NotFound { path: root.to_path_buf(), expected: expected.into() });
    }
    // A name such as `.` is no folder's own.
    let root = root.canonicalize().map_err(|source| TrainError::Io { path: root.to_path_buf(), source })?;
    enter(&root, MAX_DEPTH, visit)
}

fn enter(folder: &Path, depth: usize, visit: &mut dyn FnMut(&Path, bool) -> bool) -> Result<(), TrainError> {
    if visit(folder, true) || depth == 0 {
        return Ok(());
    }
    let io = |source| TrainError::Io { path: folder.to_path_buf(), source };
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        inside.push(entry.map_err(io)?.path());
    }
    inside.sort();
    for path in inside {
        if path.is_dir() {
            enter(&path, depth - 1, visit)?;
        } else {
            visit(&path, false);
        }
    }
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_numbers_and_nothing_else_does() {
        let patient = |name| patient_number(name);
        assert_eq!(
            [patient("PANCREAS_0001"), patient("Pancreas-82"), patient("pancreas0007 ")],
            [Some(1), Some(82), Some(7)]
        );
        for other in ["PANCREAS_", "PANCREAS_0001_old", "Pancreas-CT", "PANCREAS", "0001", "", "PANCRÉAS_1"]
        {
            assert_eq!(patient(other), None, "{other}");
        }
        assert_eq!(label_number("label0082.nii.gz"), Some(82));
        assert_eq!(label_number("label0082.nii"), Some(82));
        for other in ["._label0001.nii.gz", "label0001.txt", "label.nii.gz", "mylabel0001.nii.gz"] {
            assert_eq!(label_number(other), None, "{other}");
        }
    }

    #[test]
    fn folders_are_found_at_any_depth_and_not_entered() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("manifest-1599750808610/Pancreas-CT");
        for path in ["PANCREAS_0002/study/series", "PANCREAS_0002/study/PANCREAS_0009", "PANCREAS_0011"] {
            std::fs::create_dir_all(deep.join(path)).unwrap();
        }
        std::fs::create_dir_all(folder.path().join("more/pancreas_0002")).unwrap();
        std::fs::write(deep.join("PANCREAS_0003"), "a file").unwrap();
        let found = patient_folders(folder.path()).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [2, 11]);
        assert_eq!(found[&2].len(), 2);
        // The folder of a single patient is one, too.
        let one = patient_folders(&deep.join("PANCREAS_0011")).unwrap();
        assert_eq!(one.keys().copied().collect::<Vec<_>>(), [11]);
    }

    #[test]
    fn masks_are_found_and_their_absence_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("TCIA_pancreas_labels-02-05-2017");
        std::fs::create_dir(&inner).unwrap();
        let error = label_files(folder.path()).unwrap_err().to_string();
        assert!(error.contains("label0001.nii.gz"), "{error}");
        for name in ["label0001.nii.gz", "label0001.nii", "label0025.nii.gz", "._label0003.nii.gz"] {
            std::fs::write(inner.join(name), "").unwrap();
        }
        let found = label_files(folder.path()).unwrap();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [1, 25]);
        assert_eq!(found[&1].len(), 2);
        let error = label_files(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none: not found"), "{error}");
    }
}
