//! A series of slices as a volume.

use std::path::PathBuf;

use super::DicomFinding;
use super::DicomOptions;
use super::frame::{Description, Frame};
use super::geometry::{arrange, places};
use super::pixels::smallest_type;
use crate::{Grid, ImageFormat, ImageInfo, VolumeError};

/// A stack of slices: one volume.
///
/// Most series are one stack. A series of several echoes, points in time or orientations is several, each
/// with the same [`uid`](Self::uid) and a [`stack`](Self::stack) of its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DicomSeries {
    /// SeriesInstanceUID.
    pub uid: String,
    /// SeriesNumber.
    pub number: Option<i64>,
    /// SeriesDescription, empty if there is none.
    pub description: String,
    /// Modality, such as CT or MR; empty if there is none.
    pub modality: String,
    /// PatientID, empty if there is none.
    pub patient_id: String,
    /// The file of each slice, in order along the normal. One that holds several slices is named for each.
    pub files: Vec<PathBuf>,
    /// What sets this stack apart from the others of its series; nothing if there are no others.
    pub stack: Option<String>,
    /// What this stack can be chosen by among those found with it: the series number if that names no
    /// other series, else the UID; and `/1`, `/2`, … if the series is several stacks.
    pub key: String,
    /// PixelPaddingValue, rescaled: what pixels outside the scanned circle hold in many CTs. They are read
    /// as that, like all others.
    pub padding: Option<f64>,
    pub(super) frames: Vec<Frame>,
    findings: Vec<DicomFinding>,
    grid: Result<Grid, Problem>,
}

/// Why there is no grid.
#[derive(Clone, Debug)]
struct Problem {
    path: PathBuf,
    reason: String,
}

impl DicomSeries {
    /// The series of `frames`, which are in order; `damaged` are files that may belong to it.
    pub(super) fn new(
        description: Description,
        stack: Option<String>,
        frames: &[Frame],
        damaged: Vec<(PathBuf, String)>,
    ) -> Self {
        let Description { uid, number, description, modality, patient_id } = description;
        let places = places(frames);
        let several = places.iter().filter(|place| place.len() > 1);
        let duplicates: Vec<Vec<PathBuf>> =
            several.map(|place| frames[place.clone()].iter().map(Frame::path).collect()).collect();
        let kept: Vec<Frame> = places.iter().map(|place| frames[place.start].clone()).collect();
        let mut findings = Vec::new();
        let grid = if kept.is_empty() {
            let (path, reason) = damaged[0].clone();
            Err(Problem { path, reason })
        } else {
            let arrangement = arrange(&kept.iter().collect::<Vec<_>>(), &modality);
            findings = arrangement.findings;
            arrangement.grid.map_err(|error| Problem { path: kept[0].path(), reason: error.to_string() })
        };
        if !duplicates.is_empty() {
            findings.insert(0, DicomFinding::DuplicatePositions { files: duplicates });
        }
        let files = match kept.is_empty() {
            true => damaged.iter().map(|(file, _)| file.clone()).collect(),
            false => kept.iter().map(Frame::path).collect(),
        };
        if !damaged.is_empty() {
            findings.insert(0, DicomFinding::DamagedFiles { files: damaged });
        }
        let padding =
            kept.iter().find_map(|frame| Some(frame.slope * frame.padding? as f64 + frame.intercept));
        let key = uid.clone();
        Self {
            uid,
            number,
            description,
            modality,
            patient_id,
            files,
            stack,
            key,
            padding,
            frames: kept,
            findings,
            grid,
        }
    }

    /// What is out of the ordinary, the worst first.
    #[must_use]
    pub fn findings(&self) -> &[DicomFinding] {
        &self.findings
    }

    /// One line: key, description, modality, number of slices.
    #[must_use]
    pub fn summary(&self) -> String {
        let (key, n) = (&self.key, self.files.len());
        let slices = if n == 1 { "slice" } else { "slices" };
        let uid = if *key == self.uid { String::new() } else { format!(" (UID {})", self.uid) };
        let words =
            [self.modality.as_str(), self.description.as_str(), self.stack.as_deref().unwrap_or_default()];
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        format!("{key}{uid}: {}, {n} {slices}", words.join(" "))
    }

    /// Where the voxels lie.
    ///
    /// x follows the columns of a slice, y its rows, z the slices along their normal; oblique orientation
    /// and gantry tilt are kept. If irregular series are accepted, what is read are the slices that there
    /// are, the first of those at one place, as if they were evenly spaced between the first and the last;
    /// [`DicomFinding`] says how far that is from the truth.
    ///
    /// # Errors
    /// [`VolumeError::IrregularSeries`] with all that is irregular; [`VolumeError::Format`] if no slice can
    /// be read.
    pub fn grid(&self, options: &DicomOptions) -> Result<Grid, VolumeError> {
        let problem = |Problem { path, reason }: &Problem| VolumeError::Format {
            path: path.clone(),
            reason: reason.clone(),
        };
        if self.frames.is_empty() {
            return self.grid.as_ref().copied().map_err(problem);
        }
        let refused = |finding: &&DicomFinding| {
            finding.is_unreadable()
                || (!options.accept_irregular && finding.is_irregular(options.spacing_tolerance))
        };
        let found: Vec<String> = self.findings.iter().filter(refused).map(ToString::to_string).collect();
        if !found.is_empty() {
            let path = self.files[0].parent().unwrap_or(&self.files[0]).to_path_buf();
            let series = format!("series {}", self.key);
            return Err(VolumeError::IrregularSeries { path, series, found: found.join("; ") });
        }
        self.grid.as_ref().copied().map_err(problem)
    }

    /// Grid and type of the values. The type is the smallest that holds whatever the stored bits can mean
    /// once they are rescaled: an integer if all slopes and intercepts are whole, else `f32`. Slope and
    /// intercept are those of values of that type: 1 and 0.
    ///
    /// # Errors
    /// As [`DicomSeries::grid`].
    pub fn info(&self, options: &DicomOptions) -> Result<ImageInfo, VolumeError> {
        let grid = self.grid(options)?;
        Ok(ImageInfo::new(ImageFormat::Dicom, grid, smallest_type(&self.frames), "dicom"))
    }
}
