//! Datasets on disk: which cases there are, where their files lie, what their labels mean.
//!
//! | layout | images | labels | what else |
//! |---|---|---|---|
//! | nnU-Net v2 | `imagesTr/NAME_0000.nii.gz` | `labelsTr/NAME.nii.gz` | `dataset.json` |
//! | decathlon | `imagesTr/NAME.nii.gz` | `labelsTr/NAME.nii.gz` | `dataset.json` |
//! | CSV | any path | any path | rows `image,label[,name]`, paths relative to the file |
//!
//! Opening looks at names and never at voxels (but see [`Dataset::open`] for CSV files); what the files
//! hold is checked when a case is loaded.

mod case;
mod csv_list;
mod folder;
mod label_numbers;
mod manifest;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use organseg_volume::Label;
use serde::{Deserialize, Serialize};

pub use case::{Case, LoadedCase};
pub(crate) use case::{nth_voxel_of_label, voxels_per_label};
pub(crate) use label_numbers::{has_gaps, list as list_of_labels};
pub(crate) use manifest::IGNORE;
pub use manifest::read_ignore_label;

use crate::TrainError;

/// What kind of scanner made the images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Modality {
    /// Computed tomography: intensities in Hounsfield units.
    Ct,
    /// Any other, by the name the dataset gives it; empty if it gives none.
    Other(String),
}

impl From<String> for Modality {
    fn from(name: String) -> Self {
        if name.trim().eq_ignore_ascii_case("ct") { Self::Ct } else { Self::Other(name) }
    }
}

impl From<Modality> for String {
    fn from(modality: Modality) -> Self {
        modality.to_string()
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ct => "CT",
            Self::Other(name) => name,
        })
    }
}

/// A dataset: pairs of image and label, and what the labels are called.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// From `dataset.json`, else the name of the folder or file.
    pub name: String,
    /// The folder, or the folder the CSV file lies in.
    pub root: PathBuf,
    /// Names of the labels, without background (0) and the ignore label.
    pub labels: BTreeMap<Label, String>,
    /// The label of voxels that nobody annotated, if there is one: `ignore` in `dataset.json`, higher than all
    /// others. They are neither learnt from nor scored, and networks have no class for it.
    pub ignore: Option<Label>,
    /// What kind of images these are.
    pub modality: Modality,
    /// The cases, sorted by name.
    pub cases: Vec<Case>,
    /// What a person should know, noticed when it was opened, a line each.
    pub warnings: Vec<String>,
}

impl Dataset {
    /// Opens the dataset at `path`: a folder in nnU-Net v2 or decathlon layout, or a CSV file.
    ///
    /// In a folder, an image belongs to the label file of the same name, with or without the channel
    /// number `_0000`. Files ending otherwise than `file_ending` says (`.nii.gz` or `.nii` where
    /// `dataset.json` does not say) and hidden files are passed over, and so are test images. Where `dataset.json` has
    /// a table `dataset`, the cases are those of it, wherever their files lie. A `numTraining` that is less than what
    /// is there is a [warning](Dataset::warnings).
    ///
    /// A CSV file has no place for names of labels: every label file is read, and the labels that occur
    /// in any of them become `label 1`, `label 2` and so on; one that occurs in one of three or more files is a
    /// warning. Its modality is unknown, and it has no ignore label. The first row may
    /// name the columns, in any order. A case without a name is called after its image file.
    ///
    /// # Errors
    /// [`TrainError::NotFound`] for a missing folder or file; [`TrainError::EmptyDataset`];
    /// [`TrainError::Json`] or [`TrainError::DatasetFile`] for a `dataset.json` or CSV file that makes
    /// no sense, or promises more cases than there are; [`TrainError::MissingLabel`], [`TrainError::MissingImage`] for half a case;
    /// [`TrainError::MultiChannel`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, TrainError> {
        let path = path.as_ref();
        let is_csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        if path.is_dir() {
            folder::open(path)
        } else if is_csv && path.is_file() {
            csv_list::open(path)
        } else {
            let expected = "a dataset: a folder with dataset.json, imagesTr and labelsTr, or a .csv file";
            Err(TrainError::NotFound { path: path.to_path_buf(), expected: expected.into() })
        }
    }

    /// The case called `name`.
    ///
    /// # Errors
    /// [`TrainError::UnknownCase`] if there is none.
    pub fn case(&self, name: &str) -> Result<&Case, TrainError> {
        self.cases
            .iter()
            .find(|case| case.name == name)
            .ok_or_else(|| TrainError::UnknownCase { name: name.to_string(), dataset: self.root.clone() })
    }

    /// The names of the cases, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.cases.iter().map(|case| case.name.as_str()).collect()
    }

    /// Whether a label file may hold `label`.
    #[must_use]
    pub fn declares(&self, label: Label) -> bool {
        label == 0 || self.labels.contains_key(&label) || self.ignore == Some(label)
    }

    /// The highest label to learn; a network needs one class more, for the background.
    #[must_use]
    pub fn highest_label(&self) -> Label {
        self.labels.last_key_value().map_or(0, |(&label, _)| label)
    }
}

/// Last part of a path, for naming a dataset after it.
fn last_part(path: &Path) -> String {
    let full = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The name of an image file without its ending, if it is a NIfTI file's.
fn nifti_stem(file_name: &str) -> Option<&str> {
    [".nii.gz", ".nii"].iter().find_map(|ending| file_name.strip_suffix(ending))
}

/// Whether results of a case of this name can be written to files that are called so.
fn can_be_a_file_s(name: &str) -> bool {
    !(name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']))
}

/// `NAME_0003` → (`NAME`, 3).
fn channel_of(stem: &str) -> Option<(&str, u32)> {
    let (name, digits) = stem.rsplit_once('_')?;
    let is_channel = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
    if is_channel && !name.is_empty() { Some((name, digits.parse().ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Splits;

    /// The folder of real images beside the checkout, if there is one.
    fn data() -> Option<PathBuf> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        let folder = std::env::var_os("ORGANSEG_DATA").map_or(beside, PathBuf::from);
        folder.is_dir().then_some(folder)
    }

    #[test]
    fn hippocampus_opens_and_loads() {
        let Some(folder) = data().map(|data| data.join("hippocampus")).filter(|folder| folder.is_dir())
        else {
            eprintln!("skipped: no hippocampus data beside the checkout");
            return;
        };
        let dataset = Dataset::open(folder).unwrap();
        assert_eq!(dataset.cases.len(), 200);
        assert_eq!((dataset.name.as_str(), dataset.highest_label()), ("Hippocampus", 2));
        assert_eq!(dataset.labels, BTreeMap::from([(1, "anterior".into()), (2, "posterior".into())]));
        let splits = Splits::k_fold(&dataset.names(), 5, 12345).unwrap();
        assert!(splits.folds().iter().all(|split| (split.train.len(), split.val.len()) == (160, 40)));
        // Among these are images and labels of bytes and of floats.
        for case in dataset.cases.iter().step_by(10) {
            let loaded = case.load(&dataset).unwrap();
            assert!(loaded.label.voxels().contains(&1) && loaded.label.voxels().contains(&2));
        }
    }
}
