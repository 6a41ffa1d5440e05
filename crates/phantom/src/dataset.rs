//! Many phantoms as a dataset folder in the layout of nnU-Net, version 2.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use organseg_volume::{write, write_atomically};
use rayon::prelude::*;
use serde_json::json;

use crate::{PANCREAS_LABEL, PhantomConfig, PhantomError, case_seed, generate};

/// Writes `cases` phantoms into `dir`: `dataset.json`, `imagesTr/phantom_000_0000.nii.gz` (16-bit
/// Hounsfield units), `labelsTr/phantom_000.nii.gz` (1 is the pancreas) and so on.
///
/// Case i is the phantom of [`case_seed`]`(seed, i)`, so a larger dataset of the same seed begins with the
/// smaller one. Folders are made as needed; `dataset.json` comes last: where it is, the dataset is whole.
/// A dataset that was cut off may be written again.
///
/// # Errors
/// Before anything is written: [`PhantomError::NoCases`]; [`PhantomError::DatasetExists`] if there is a
/// `dataset.json` that is not empty; [`PhantomError::FileInTheWay`] if `imagesTr` or `labelsTr` holds other
/// files than those about to be written; or as [`generate`]. Later: [`PhantomError::Io`] or
/// [`PhantomError::Volume`], naming the file.
///
/// ```
/// use organseg_phantom::{PhantomConfig, write_dataset};
/// # let folder = tempfile::tempdir().unwrap();
/// # let dir = folder.path();
/// write_dataset(dir, 2, &PhantomConfig::default().with_size([28, 24, 18]), 1)?;
/// assert!(dir.join("imagesTr/phantom_001_0000.nii.gz").is_file());
/// # Ok::<(), organseg_phantom::PhantomError>(())
/// ```
pub fn write_dataset(
    dir: &Path,
    cases: usize,
    config: &PhantomConfig,
    seed: u64,
) -> Result<(), PhantomError> {
    if cases == 0 {
        return Err(PhantomError::NoCases);
    }
    config.checked_grid()?;
    let description = dir.join("dataset.json");
    if std::fs::metadata(&description).is_ok_and(|m| m.len() > 0) {
        return Err(PhantomError::DatasetExists { path: description });
    }
    let names: Vec<String> = (0..cases).map(|i| format!("phantom_{i:03}")).collect();
    let images = Folder::new(dir.join("imagesTr"), &names, "_0000.nii.gz")?;
    let labels = Folder::new(dir.join("labelsTr"), &names, ".nii.gz")?;
    images.create()?;
    labels.create()?;
    (0..cases).into_par_iter().try_for_each(|i| {
        let phantom = generate(config, case_seed(seed, i))?;
        // Whole numbers from −1024 to 3071: 16 bits hold them exactly.
        write(&images.files[i], &phantom.image.map(|hu| hu as i16))?;
        write(&labels.files[i], &phantom.labels)?;
        Ok::<(), PhantomError>(())
    })?;
    let content = json!({
        "name": "phantom",
        "description": format!("synthetic abdominal CT, seed {seed}"),
        "channel_names": { "0": "CT" },
        "labels": { "background": 0, "pancreas": PANCREAS_LABEL },
        "numTraining": cases,
        "file_ending": ".nii.gz",
    });
    write_atomically(&description, |file| writeln!(file, "{content:#}"))
        .map_err(|source| PhantomError::Io { path: description.clone(), source })
}

/// A folder of the dataset and the files that go there.
struct Folder {
    path: PathBuf,
    files: Vec<PathBuf>,
}

impl Folder {
    fn new(path: PathBuf, names: &[String], ending: &str) -> Result<Self, PhantomError> {
        let files: Vec<PathBuf> = names.iter().map(|name| path.join(format!("{name}{ending}"))).collect();
        let expected: BTreeSet<&PathBuf> = files.iter().collect();
        let io = |source| PhantomError::Io { path: path.clone(), source };
        if path.exists() {
            for entry in std::fs::read_dir(&path).map_err(io)? {
                let found = entry.map_err(io)?.path();
                if !expected.contains(&found) {
                    return Err(PhantomError::FileInTheWay { path: found });
                }
            }
        }
        Ok(Self { path, files })
    }

    fn create(&self) -> Result<(), PhantomError> {
        std::fs::create_dir_all(&self.path)
            .map_err(|source| PhantomError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{read, read_labels};

    fn small() -> PhantomConfig {
        PhantomConfig::default().with_size([28, 24, 18])
    }

    #[test]
    fn what_is_read_back_is_what_was_generated() {
        let folder = tempfile::tempdir().unwrap();
        write_dataset(folder.path(), 2, &small(), 5).unwrap();
        for i in 0..2 {
            let expected = generate(&small(), case_seed(5, i)).unwrap();
            let image: organseg_volume::Volume<f32> =
                read(folder.path().join(format!("imagesTr/phantom_00{i}_0000.nii.gz"))).unwrap();
            let labels = read_labels(folder.path().join(format!("labelsTr/phantom_00{i}.nii.gz"))).unwrap();
            assert_eq!(image.voxels(), expected.image.voxels());
            assert_eq!(labels.voxels(), expected.labels.voxels());
            image.grid().check_same(expected.image.grid()).unwrap();
            labels.grid().check_same(image.grid()).unwrap();
        }
        let text = std::fs::read_to_string(folder.path().join("dataset.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["numTraining"], 2);
        assert_eq!(json["labels"]["pancreas"], 1);
        assert_eq!(json["channel_names"]["0"], "CT");
    }

    #[test]
    fn a_dataset_is_never_overwritten_but_a_cut_off_one_may_be_finished() {
        let folder = tempfile::tempdir().unwrap();
        write_dataset(folder.path(), 1, &small(), 5).unwrap();
        let again = write_dataset(folder.path(), 1, &small(), 6).unwrap_err();
        assert!(matches!(again, PhantomError::DatasetExists { .. }));
        assert!(again.to_string().contains("dataset.json exists"), "{again}");

        std::fs::remove_file(folder.path().join("dataset.json")).unwrap();
        write_dataset(folder.path(), 2, &small(), 5).unwrap();

        std::fs::remove_file(folder.path().join("dataset.json")).unwrap();
        let fewer = write_dataset(folder.path(), 1, &small(), 5).unwrap_err();
        assert!(matches!(fewer, PhantomError::FileInTheWay { .. }));
        assert!(fewer.to_string().contains("phantom_001"), "{fewer}");
    }

    #[test]
    fn no_cases_or_a_bad_configuration_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        assert!(matches!(write_dataset(&dir, 0, &small(), 1), Err(PhantomError::NoCases)));
        assert!(write_dataset(&dir, 1, &small().with_size([0, 1, 1]), 1).is_err());
        assert!(!dir.exists());
    }

    #[test]
    fn a_file_where_the_folder_should_be_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let error = write_dataset(&file, 1, &small(), 1).unwrap_err();
        assert!(matches!(error, PhantomError::Io { .. }), "{error}");
        assert!(error.to_string().contains("file"), "{error}");
    }
}
