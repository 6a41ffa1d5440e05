//! What there is of each case, and which series of a patient its label was drawn on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use organseg_volume::{DicomOptions, DicomSeries, Grid, Orientation, VolumeError, find_dicom_series};

use super::NihOutcome;
use super::orientation::fitting_orientations;
use super::pairing::{label_files, patient_folders, patient_number};
use crate::TrainError;

/// What there is of one case.
#[derive(Default)]
pub(super) struct Source {
    /// Folders of the scan.
    pub(super) scan: Vec<PathBuf>,
    /// The series, if they were found by their PatientID already.
    series: Vec<DicomSeries>,
    /// Files of the label.
    pub(super) label: Vec<PathBuf>,
}

/// What there is of every case, by number.
pub(super) struct Sources(pub(super) BTreeMap<u32, Source>);

impl Sources {
    /// Finds folders, or series, and labels by their names and numbers.
    pub(super) fn find(scans: &Path, labels: &Path) -> Result<Self, TrainError> {
        let mut found: BTreeMap<u32, Source> = BTreeMap::new();
        for (number, folders) in patient_folders(scans)? {
            found.entry(number).or_default().scan = folders;
        }
        if found.is_empty() {
            let series = match find_dicom_series(scans) {
                // Not one DICOM image: said below, with what was expected.
                Err(VolumeError::Format { .. }) => Vec::new(),
                found => found?,
            };
            for series in series {
                let Some(number) = patient_number(&series.patient_id) else { continue };
                let source = found.entry(number).or_default();
                source.scan.extend(folder_of(&series));
                source.scan.dedup();
                source.series.push(series);
            }
        }
        if found.is_empty() {
            let expected = "folders PANCREAS_0001 and so on, or DICOM slices of patients of that name";
            return Err(TrainError::EmptyDataset { path: scans.to_path_buf(), expected: expected.into() });
        }
        for (number, files) in label_files(labels)? {
            found.entry(number).or_default().label = files;
        }
        Ok(Self(found))
    }
}

/// Why a pair came to nothing.
pub(super) type Refused = NihOutcome;

impl Source {
    /// The one label and the series that it may lie on; those of the folders if they have not been looked
    /// into yet.
    pub(super) fn label_and_series(&self) -> Result<(&Path, Vec<DicomSeries>), Refused> {
        let label = match &self.label[..] {
            [] => return Err(NihOutcome::MissingLabel),
            [one] => one.as_path(),
            several => {
                let found = several.iter().map(|path| path.display().to_string()).collect();
                return Err(NihOutcome::Ambiguous { found });
            }
        };
        if self.scan.is_empty() {
            return Err(NihOutcome::MissingScan);
        }
        let mut series = self.series.clone();
        if series.is_empty() {
            for folder in &self.scan {
                let found = find_dicom_series(folder)
                    .map_err(|error| NihOutcome::Unusable { reason: error.to_string() })?;
                series.extend(found);
            }
        }
        Ok((label, series))
    }
}

/// The one series that a label of `size` voxels can lie on.
pub(super) fn choose<'a>(
    series: &'a [DicomSeries],
    size: [usize; 3],
    notes: &mut Vec<String>,
) -> Result<&'a DicomSeries, Refused> {
    let grids: Vec<_> = series.iter().map(|series| series.grid(&DicomOptions::default())).collect();
    let fits =
        |grid: &Grid| !fitting_orientations(grid.size(), Orientation::of(grid.affine()), size).is_empty();
    let fitting: Vec<usize> = (0..series.len()).filter(|&i| grids[i].as_ref().is_ok_and(fits)).collect();
    match (&fitting[..], &grids[..]) {
        ([one], _) => {
            let chosen = &series[*one];
            if series.len() > 1 {
                notes.push(format!(
                    "{} series; taken: {}, the only one that the label covers",
                    series.len(),
                    chosen.uid
                ));
            }
            Ok(chosen)
        }
        ([], [Ok(grid)]) => Err(NihOutcome::SizeMismatch { scan: grid.size(), label: size }),
        ([], [Err(error)]) => Err(NihOutcome::Unusable { reason: error.to_string() }),
        ([], _) => {
            let list: Vec<_> =
                series.iter().zip(&grids).map(|(series, grid)| describe(series, grid)).collect();
            let reason =
                format!("the label has {size:?} voxels and covers none of the series {}", list.join(", "));
            Err(NihOutcome::Unusable { reason })
        }
        _ => {
            let found = fitting.iter().map(|&i| describe(&series[i], &grids[i])).collect();
            Err(NihOutcome::Ambiguous { found })
        }
    }
}

fn describe(series: &DicomSeries, grid: &Result<Grid, VolumeError>) -> String {
    match grid {
        Ok(grid) => format!("series {} of {:?} voxels", series.summary(), grid.size()),
        Err(error) => format!("series {} ({error})", series.summary()),
    }
}

fn folder_of(series: &DicomSeries) -> Option<PathBuf> {
    series.files.first().and_then(|file| file.parent()).map(Path::to_path_buf)
}
