//! One case: an image, its label, and what must be true of them.

use std::path::{Path, PathBuf};

use organseg_volume::{Label, LabelVolume, Volume, read_image, read_labels};

use super::Dataset;
use crate::TrainError;

/// Where the files of a case lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Unique in its dataset.
    pub name: String,
    /// The image file.
    pub image: PathBuf,
    /// The label file; [`Dataset::open`] finds one for every case.
    pub label: Option<PathBuf>,
}

/// An image and its label, on one grid.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedCase {
    /// The case's name.
    pub name: String,
    /// The image, as stored: in its own orientation and units.
    pub image: Volume<f32>,
    /// Its labels, on the image's grid; the dataset's ignore label among them.
    pub label: LabelVolume,
}

impl Case {
    /// Reads image and label, and checks that they belong together and to `dataset`.
    ///
    /// # Errors
    /// [`TrainError::Volume`] if a file cannot be read; [`TrainError::ImageLabelMismatch`] if size or
    /// geometry differ; [`TrainError::UnknownLabel`] for a label that the dataset does not declare;
    /// [`TrainError::NonFiniteVoxels`] for NaN or infinite voxels; [`TrainError::MissingLabel`] if the
    /// case has none. Each names the files.
    pub fn load(&self, dataset: &Dataset) -> Result<LoadedCase, TrainError> {
        let label_path = self.label_path()?;
        let image = read_image(&self.image)?;
        let label = read_labels(label_path)?;
        image.grid().check_same(label.grid()).map_err(|source| TrainError::ImageLabelMismatch {
            image: self.image.clone(),
            label: label_path.to_path_buf(),
            source: Box::new(source),
        })?;
        let voxels = image.voxels().iter().filter(|v| !v.is_finite()).count();
        if voxels > 0 {
            return Err(TrainError::NonFiniteVoxels { path: self.image.clone(), voxels });
        }
        for (found, voxels) in (0..=Label::MAX).zip(voxels_per_label(&label)) {
            if voxels > 0 && !dataset.declares(found) {
                let declared = (0..=Label::MAX).filter(|&label| dataset.declares(label)).collect();
                let path = label_path.to_path_buf();
                return Err(TrainError::UnknownLabel { path, found, voxels, declared });
            }
        }
        // Within the tolerance they are one grid: from here on it is the image's.
        let label = label.with_grid(*image.grid())?;
        Ok(LoadedCase { name: self.name.clone(), image, label })
    }

    /// Its labels alone, on the grid of their file and not compared with the image.
    ///
    /// # Errors
    /// [`TrainError::Volume`] if the file cannot be read; [`TrainError::MissingLabel`] if the case has none.
    pub fn load_labels(&self) -> Result<LabelVolume, TrainError> {
        Ok(read_labels(self.label_path()?)?)
    }

    /// The label file.
    pub(crate) fn label_path(&self) -> Result<&Path, TrainError> {
        self.label.as_deref().ok_or_else(|| TrainError::MissingLabel {
            image: self.image.clone(),
            expected: "the case's label path".into(),
        })
    }
}

/// How many voxels each of the labels 0 to 255 has.
pub(crate) fn voxels_per_label(labels: &LabelVolume) -> [u64; 256] {
    let mut counts = [0; 256];
    // Most of a scan is background, and a run of it is recognised many voxels at a time.
    for run in labels.voxels().chunks(RUN) {
        if is_background(run) {
            counts[0] += run.len() as u64;
        } else {
            run.iter().for_each(|&label| counts[usize::from(label)] += 1);
        }
    }
    counts
}

/// The offset in memory of the voxel number `rank`, from 0, among those of `label`, which is not 0.
pub(crate) fn nth_voxel_of_label(labels: &LabelVolume, label: Label, rank: usize) -> Option<usize> {
    let runs = labels.voxels().chunks(RUN).enumerate().filter(|(_, run)| !is_background(run));
    let voxels =
        runs.flat_map(|(number, run)| run.iter().enumerate().map(move |(i, l)| (number * RUN + i, *l)));
    voxels.filter(|&(_, found)| found == label).map(|(offset, _)| offset).nth(rank)
}

/// Voxels looked at together: a few vector registers.
const RUN: usize = 256;

fn is_background(run: &[Label]) -> bool {
    run.iter().fold(0, |any, &label| any | label) == 0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use organseg_volume::{Affine, Grid, Spacing, write};

    use super::super::Modality;
    use super::*;

    fn grid(size: [usize; 3], origin_mm: [f64; 3]) -> Grid {
        let spacing = Spacing::new([1.0, 2.0, 3.0]).unwrap();
        Grid::new(size, Affine::from_spacing(spacing, origin_mm)).unwrap()
    }

    fn load(image: &Volume<f32>, label: &LabelVolume) -> Result<LoadedCase, TrainError> {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["scan.nii.gz", "mask.nii.gz"].map(|name| folder.path().join(name));
        write(&paths[0], image).unwrap();
        write(&paths[1], label).unwrap();
        let [image, label] = paths;
        let case = Case { name: "one".into(), image, label: Some(label) };
        let dataset = Dataset {
            name: "test".into(),
            root: folder.path().to_path_buf(),
            labels: BTreeMap::from([(1, "organ".into()), (4, "tumour".into())]),
            ignore: Some(6),
            modality: Modality::Ct,
            cases: vec![case.clone()],
            warnings: Vec::new(),
        };
        case.load(&dataset)
    }

    #[test]
    fn a_sound_case_is_read_as_it_was_written() {
        let grid = grid([3, 2, 2], [5.0; 3]);
        let image = Volume::from_fn(grid, |index| grid.offset(index) as f32 - 4.0);
        let label = LabelVolume::from_fn(grid, |[x, y, _]| [0, 1, 4][x] + 2 * Label::from(x == 2 && y == 1));
        assert!(label.voxels().contains(&6), "what nobody annotated");
        let loaded = load(&image, &label).unwrap();
        assert_eq!(loaded.name, "one");
        assert_eq!((loaded.image.voxels(), loaded.label.voxels()), (image.voxels(), label.voxels()));
        assert_eq!(loaded.image.grid(), loaded.label.grid());
    }

    #[test]
    fn another_size_or_place_names_both_files() {
        let image = Volume::filled(grid([3, 2, 2], [0.0; 3]), 1.0);
        for other in [grid([3, 2, 1], [0.0; 3]), grid([3, 2, 2], [0.0, 0.5, 0.0])] {
            let error = load(&image, &LabelVolume::filled(other, 0)).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("scan.nii.gz") && text.contains("mask.nii.gz"), "{text}");
            assert!(std::error::Error::source(&error).is_some());
        }
    }

    #[test]
    fn labels_are_counted_and_found_across_runs() {
        let labels = LabelVolume::from_fn(grid([20, 20, 10], [0.0; 3]), |[x, y, z]| {
            if z == 6 && y > 2 { (x % 3) as Label } else { 0 }
        });
        let plain = |label| labels.voxels().iter().enumerate().filter(move |&(_, &l)| l == label);
        let counts = voxels_per_label(&labels);
        for label in 0..4 {
            assert_eq!(counts[usize::from(label)], plain(label).count() as u64);
        }
        for (rank, (offset, _)) in plain(2).enumerate() {
            assert_eq!(nth_voxel_of_label(&labels, 2, rank), Some(offset));
        }
        assert_eq!(nth_voxel_of_label(&labels, 2, counts[2] as usize), None);
    }

    #[test]
    fn undeclared_labels_and_nan_are_refused() {
        let grid = grid([3, 2, 2], [0.0; 3]);
        let image = Volume::filled(grid, 1.0);
        let error = load(&image, &LabelVolume::filled(grid, 3)).unwrap_err();
        assert!(
            matches!(&error, TrainError::UnknownLabel { found: 3, declared, .. } if declared[..] == [0, 1, 4, 6])
        );
        assert!(error.to_string().contains("mask.nii.gz: holds label 3"), "{error}");
        let mut broken = image.clone();
        broken[[1, 1, 1]] = f32::NAN;
        broken[[0, 1, 1]] = f32::INFINITY;
        let error = load(&broken, &LabelVolume::filled(grid, 1)).unwrap_err();
        assert!(matches!(error, TrainError::NonFiniteVoxels { voxels: 2, .. }), "{error}");
    }
}
