//! The dataset being written: nnU-Net v2 layout, case by case, and a report that is never behind.
//!
//! Every file appears whole or not at all. Within a case the image comes first, then the label, then the
//! report that names both; `dataset.json` is taken away before the first change and comes back last, so
//! that where it is, the dataset is whole. A run that is cut off leaves a folder that the next run takes up.

use std::io::Write;
use std::path::{Path, PathBuf};

use organseg_volume::{LabelVolume, Volume, read, read_labels, write, write_atomically};
use serde_json::json;

use super::{NihCase, NihOutcome, NihReport};
use crate::TrainError;

/// Name of the report in the dataset, for programs. It also marks the folder as one of ours.
const REPORT_JSON: &str = "import.json";

/// Name of the report in the dataset, for people.
const REPORT_TEXT: &str = "import.txt";

/// A dataset folder.
pub(super) struct Output {
    root: PathBuf,
}

impl Output {
    /// The folder `root`, made if it is not there, and the report of an earlier run in it.
    pub(super) fn open(root: &Path) -> Result<(Self, Option<NihReport>), TrainError> {
        let io = |source| TrainError::Io { path: root.to_path_buf(), source };
        let path = root.join(REPORT_JSON);
        let mut earlier = None;
        if path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(|source| io_at(&path, source))?;
            let report = serde_json::from_str(&text).and_then(checked).map_err(|source| {
                TrainError::Json { path: path.clone(), expected: "the report of an earlier import", source }
            })?;
            earlier = Some(report);
        } else if root.exists() && std::fs::read_dir(root).map_err(io)?.next().is_some() {
            return Err(TrainError::OutputNotEmpty { path: root.to_path_buf() });
        }
        std::fs::create_dir_all(root).map_err(io)?;
        Ok((Self { root: root.to_path_buf() }, earlier))
    }

    fn image(&self, name: &str) -> PathBuf {
        self.root.join(format!("imagesTr/{name}_0000.nii.gz"))
    }

    fn label(&self, name: &str) -> PathBuf {
        self.root.join(format!("labelsTr/{name}.nii.gz"))
    }

    fn description(&self) -> PathBuf {
        self.root.join("dataset.json")
    }

    /// Writes a case, in place of what was there.
    pub(super) fn write_case(
        &self,
        name: &str,
        scan: &Volume<i16>,
        label: &LabelVolume,
    ) -> Result<(), TrainError> {
        remove_file(&self.description())?;
        for folder in ["imagesTr", "labelsTr"] {
            let folder = self.root.join(folder);
            std::fs::create_dir_all(&folder).map_err(|source| io_at(&folder, source))?;
        }
        write(self.image(name), scan)?;
        write(self.label(name), label)?;
        Ok(())
    }

    /// Takes a case out of the dataset, if it is in it.
    pub(super) fn remove_case(&self, name: &str) -> Result<(), TrainError> {
        if self.image(name).exists() || self.label(name).exists() {
            remove_file(&self.description())?;
            remove_file(&self.image(name))?;
            remove_file(&self.label(name))?;
        }
        Ok(())
    }

    /// Whether `case` lies in the dataset as its report says: both files whole, on one grid of its size,
    /// with as many voxels of label 1 as its mask had, and no other.
    pub(super) fn is_sound(&self, case: &NihCase) -> bool {
        let (Ok(scan), Ok(label)) =
            (read::<i16>(self.image(&case.name)), read_labels(self.label(&case.name)))
        else {
            return false;
        };
        let voxels = label.voxels().iter().filter(|&&label| label == 1).count() as u64;
        case.outcome.is_written()
            && scan.grid().check_same(label.grid()).is_ok()
            && Some(scan.size()) == case.size
            && case.proof.as_ref().is_some_and(|proof| proof.voxels == voxels)
            && label.voxels().iter().all(|&label| label <= 1)
    }

    /// Writes the report of what is done so far.
    pub(super) fn save(&self, report: &NihReport) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(report).expect("a report has no keys but names");
        write_text(&self.root.join(REPORT_JSON), &text)
    }

    /// Writes both reports and, if there is a case, `dataset.json`.
    pub(super) fn finish(&self, report: &NihReport) -> Result<(), TrainError> {
        self.save(report)?;
        write_text(&self.root.join(REPORT_TEXT), &report.to_text())?;
        let cases = report.written();
        if cases == 0 {
            return remove_file(&self.description());
        }
        let description = json!({
            "name": "NIH Pancreas-CT",
            "description": "Pancreas-CT of The Cancer Imaging Archive, labels laid on the scans; see import.txt",
            "reference": "https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
            "channel_names": { "0": "CT" },
            "labels": { "background": 0, "pancreas": 1 },
            "numTraining": cases,
            "file_ending": ".nii.gz",
        });
        write_text(&self.description(), &format!("{description:#}"))
    }
}

/// `report`, if each case is called as its number says: names become paths of files that are written and removed.
fn checked(report: NihReport) -> Result<NihReport, serde_json::Error> {
    for NihCase { number, name, .. } in &report.cases {
        let expected = NihCase::name_of(*number);
        if *name != expected {
            let message = format!("case {number} is called `{name}`, expected `{expected}`");
            return Err(serde::de::Error::custom(message));
        }
    }
    Ok(report)
}

/// The label with 1 for the organ, and the number it had; some conversions write 255.
pub(super) fn binary(label: LabelVolume) -> Result<(LabelVolume, u8), String> {
    let mut seen = [false; 256];
    label.voxels().iter().for_each(|&value| seen[usize::from(value)] = true);
    let values: Vec<u8> = (1..=255).filter(|&value| seen[usize::from(value)]).collect();
    match values[..] {
        [] => Err("the label is background everywhere".into()),
        [1] => Ok((label, 1)),
        [value] => Ok((label.map(|found| u8::from(found == value)), value)),
        _ => Err(format!("the label holds {values:?}, expected one organ")),
    }
}

impl NihOutcome {
    /// The orientation it was written in.
    pub(super) fn orientation(&self) -> Option<organseg_volume::Orientation> {
        match self {
            Self::Written { orientation, .. } => Some(*orientation),
            _ => None,
        }
    }
}

fn write_text(path: &Path, text: &str) -> Result<(), TrainError> {
    write_atomically(path, |file| writeln!(file, "{}", text.trim_end())).map_err(|source| io_at(path, source))
}

fn remove_file(path: &Path) -> Result<(), TrainError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_at(path, error)),
        _ => Ok(()),
    }
}

fn io_at(path: &Path, source: std::io::Error) -> TrainError {
    TrainError::Io { path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::*;

    #[test]
    fn one_organ_of_any_number_becomes_label_1() {
        let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let label = |voxels: [u8; 3]| LabelVolume::from_vec(grid, voxels.to_vec()).unwrap();
        assert_eq!(binary(label([0, 255, 0])).unwrap(), (label([0, 1, 0]), 255));
        assert_eq!(binary(label([1, 1, 0])).unwrap(), (label([1, 1, 0]), 1));
        assert_eq!(binary(label([0, 1, 2])).unwrap_err(), "the label holds [1, 2], expected one organ");
        assert!(binary(label([0; 3])).unwrap_err().contains("background everywhere"));
    }

    #[test]
    fn a_folder_of_something_else_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        let error = Output::open(folder.path()).err().expect("it is not empty");
        assert!(matches!(error, TrainError::OutputNotEmpty { .. }), "{error}");
        std::fs::write(folder.path().join(REPORT_JSON), "{}").unwrap();
        let error = Output::open(folder.path()).err().expect("that is no report").to_string();
        assert!(error.contains("import.json: not readable as the report of an earlier import"), "{error}");
    }

    #[test]
    fn a_report_whose_names_lead_elsewhere_is_refused() {
        let case = |name: String| NihCase {
            number: 3,
            name,
            scan: Vec::new(),
            series: None,
            label: Vec::new(),
            size: None,
            spacing_mm: None,
            volume_ml: None,
            notes: Vec::new(),
            outcome: NihOutcome::MissingScan,
            proof: None,
        };
        let report = |name: &str| NihReport {
            rule: crate::nih::OrientationRule::default(),
            consensus: None,
            headers_are_right: false,
            cases: vec![case(name.to_string())],
        };
        assert!(checked(report("PANCREAS_0003")).is_ok());
        for name in ["../../thesis", "PANCREAS_0004", "/etc/x"] {
            let error = checked(report(name)).map(drop).expect_err("it is no name of a case").to_string();
            assert_eq!(error, format!("case 3 is called `{name}`, expected `PANCREAS_0003`"));
        }
    }
}
