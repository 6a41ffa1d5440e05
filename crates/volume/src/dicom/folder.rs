//! The DICOM images in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::DicomSeries;
use super::file::{Found, look_at};
use super::frame::{Description, Frame, description_of, frames_of};
use super::stack::split;
use crate::VolumeError;

/// Folders within folders that are looked into.
const MAX_DEPTH: usize = 32;

/// What a folder, and the folders within it, hold of DICOM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DicomFolder {
    /// The folder, or the one file.
    pub path: PathBuf,
    /// The stacks of slices, sorted by series number (those without one last), then UID.
    pub series: Vec<DicomSeries>,
    /// Files that are DICOM but so damaged that their series cannot be told, and what is wrong with each.
    /// They are findings, too, of every series with a slice in the same folder.
    pub damaged: Vec<(PathBuf, String)>,
    /// How many files are no DICOM.
    pub other_files: usize,
    /// How many files are DICOM without pixels: directories, reports, contours.
    pub without_pixels: usize,
}

/// The series in `folder` and in the folders within it, sorted by number, then UID.
///
/// # Errors
/// As [`DicomFolder::open`].
///
/// ```no_run
/// use organseg_volume::{DicomOptions, find_dicom_series};
/// for series in find_dicom_series("patient_7")? {
///     println!("{}: {} slices", series.description, series.files.len());
///     let scan = series.read_image(&DicomOptions::default())?;
///     println!("{:?}", scan.size());
/// }
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
pub fn find_dicom_series(folder: impl AsRef<Path>) -> Result<Vec<DicomSeries>, VolumeError> {
    Ok(DicomFolder::open(folder)?.series)
}

impl DicomFolder {
    /// Looks at every file in the folder at `path` and in the folders within it, or at the one file there.
    /// Links to folders are not followed.
    ///
    /// Files are known by their content, whatever they are called. Only headers are read.
    ///
    /// # Errors
    /// [`VolumeError::Io`] if a folder or a file cannot be read, [`VolumeError::Format`] if there is no
    /// DICOM image, or all are damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, VolumeError> {
        let path = path.as_ref();
        let files = files_in(path)?;
        let found: Vec<Result<Seen, VolumeError>> = files.par_iter().map(|file| Seen::at(file)).collect();
        let (mut other_files, mut without_pixels) = (0, 0);
        let mut series: BTreeMap<String, Parts> = BTreeMap::new();
        let mut unknown = Vec::new();
        for (file, seen) in files.iter().zip(found) {
            match seen? {
                Seen::Other => other_files += 1,
                Seen::NoImage => without_pixels += 1,
                Seen::Damaged(reason) => unknown.push((file.clone(), reason)),
                Seen::Image(description, frames) => {
                    let parts =
                        series.entry(description.uid.clone()).or_insert_with(|| Parts::new(description));
                    match frames {
                        Ok(frames) => parts.frames.extend(frames),
                        Err(reason) => parts.damaged.push((file.clone(), reason)),
                    }
                }
            }
        }
        if series.is_empty() {
            let reason = match unknown.into_iter().next() {
                Some((path, reason)) => return Err(VolumeError::Format { path, reason }),
                None if path.is_dir() => format!(
                    "it is a folder with no DICOM image among its {} files ({without_pixels} are DICOM without \
                     pixels)",
                    files.len()
                ),
                None => "it is no DICOM image".to_string(),
            };
            return Err(VolumeError::Format { path: path.to_path_buf(), reason });
        }
        let mut series: Vec<_> = series.into_values().flat_map(|parts| parts.into_series(&unknown)).collect();
        series.sort_by(|a, b| {
            let number = |series: &DicomSeries| (series.number.is_none(), series.number);
            number(a).cmp(&number(b)).then_with(|| a.uid.cmp(&b.uid))
        });
        name(&mut series);
        Ok(Self { path: path.to_path_buf(), series, damaged: unknown, other_files, without_pixels })
    }

    /// The series that `choice` names: a UID, a series number, or a [`DicomSeries::key`]; without a choice
    /// the only one.
    ///
    /// # Errors
    /// [`VolumeError::ChooseSeries`], which lists the series, if it is none or several.
    pub fn choose(&self, choice: Option<&str>) -> Result<&DicomSeries, VolumeError> {
        let fits = |series: &&DicomSeries| {
            choice.is_none_or(|choice| {
                let number = series.number.is_some_and(|number| number.to_string() == choice);
                series.uid == choice || series.key == choice || number
            })
        };
        let fitting: Vec<&DicomSeries> = self.series.iter().filter(fits).collect();
        if let [series] = fitting.as_slice() {
            return Ok(series);
        }
        let found = match (choice, fitting.len()) {
            (None, n) => format!("it holds {n} series, expected the choice of one"),
            (Some(choice), 0) => format!("no series is called `{choice}`"),
            (Some(choice), n) => format!("{n} series are called `{choice}`"),
        };
        let list: Vec<String> = self.series.iter().map(DicomSeries::summary).collect();
        Err(VolumeError::ChooseSeries { path: self.path.clone(), found, series: list.join("; ") })
    }
}

/// A file after a look at it.
enum Seen {
    Other,
    NoImage,
    /// DICOM of a series that cannot be told.
    Damaged(String),
    Image(Description, Result<Vec<Frame>, String>),
}

impl Seen {
    fn at(path: &Path) -> Result<Self, VolumeError> {
        Ok(match look_at(path)? {
            Found::Other => Self::Other,
            Found::NoImage => Self::NoImage,
            Found::Damaged(reason) => Self::Damaged(reason),
            Found::Image(file) => match description_of(&file) {
                Ok(description) => Self::Image(description, frames_of(&file)),
                Err(reason) => Self::Damaged(reason),
            },
        })
    }
}

/// What is known of a series while files come in.
struct Parts {
    description: Description,
    frames: Vec<Frame>,
    damaged: Vec<(PathBuf, String)>,
}

impl Parts {
    fn new(description: Description) -> Self {
        Self { description, frames: Vec::new(), damaged: Vec::new() }
    }

    /// The stacks; `unknown` are damaged files that may belong to any series of their folder.
    fn into_series(mut self, unknown: &[(PathBuf, String)]) -> Vec<DicomSeries> {
        let here = |file: &Path| {
            let folder = file.parent();
            self.frames.iter().any(|frame| frame.path().parent() == folder)
        };
        let near: Vec<_> = unknown.iter().filter(|(file, _)| here(file)).cloned().collect();
        self.damaged.extend(near);
        if self.frames.is_empty() {
            return vec![DicomSeries::new(self.description, None, &[], self.damaged)];
        }
        let stacks = split(self.frames);
        let series = |(name, frames): (Option<String>, Vec<Frame>)| {
            DicomSeries::new(self.description.clone(), name, &frames, self.damaged.clone())
        };
        stacks.into_iter().map(series).collect()
    }
}

/// Gives each series the key that it can be chosen by.
fn name(series: &mut [DicomSeries]) {
    let bases: Vec<String> = series
        .iter()
        .map(|this| match this.number {
            Some(number) if series.iter().all(|s| s.uid == this.uid || s.number != this.number) => {
                number.to_string()
            }
            _ => this.uid.clone(),
        })
        .collect();
    for i in 0..bases.len() {
        let stacks = bases.iter().filter(|&base| *base == bases[i]).count();
        let before = bases[..i].iter().filter(|&base| *base == bases[i]).count();
        series[i].key = if stacks == 1 { bases[i].clone() } else { format!("{}/{}", bases[i], before + 1) };
    }
}

/// The files in the folder at `path` and in those within it, sorted; or the file itself.
fn files_in(path: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let io = |path: &Path, source| VolumeError::Io { path: path.to_path_buf(), source };
    if !std::fs::metadata(path).map_err(|source| io(path, source))?.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![(path.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|source| io(&folder, source))? {
            let entry = entry.map_err(|source| io(&folder, source))?;
            let kind = entry.file_type().map_err(|source| io(&entry.path(), source))?;
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if kind.is_file() || std::fs::metadata(entry.path()).is_ok_and(|target| target.is_file()) {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
