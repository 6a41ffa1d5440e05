//! A dataset as a CSV file: a row a case, with columns image, label and perhaps name.

use std::collections::BTreeMap;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Trim};
use organseg_volume::{Label, read_labels};
use rayon::prelude::*;

use super::case::voxels_per_label;
use super::{Case, Dataset, Modality, can_be_a_file_s, channel_of, last_part, nifti_stem};
use crate::TrainError;

pub(super) fn open(path: &Path) -> Result<Dataset, TrainError> {
    let root = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut cases = BTreeMap::new();
    for case in read_rows(path, root)? {
        if cases.contains_key(&case.name) {
            let found = format!("two rows are called `{}`", case.name);
            return Err(wrong(path, found, "one row a case; a third column may name it"));
        }
        cases.insert(case.name.clone(), case);
    }
    let cases: Vec<Case> = cases.into_values().collect();
    if cases.is_empty() {
        let expected = "rows of image,label[,name]".to_string();
        return Err(TrainError::EmptyDataset { path: path.to_path_buf(), expected });
    }
    let counts = count_labels(&cases)?;
    let labels = labels_that_occur(&counts);
    if labels.is_empty() {
        return Err(wrong(path, "none of its label files holds a label above 0".into(), "some foreground"));
    }
    let name = last_part(path);
    let name = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem).to_string();
    let modality = Modality::Other(String::new());
    let warnings = labels_in_one_file(&cases, &counts);
    Ok(Dataset { name, root: root.to_path_buf(), labels, ignore: None, modality, cases, warnings })
}

fn wrong(path: &Path, found: String, expected: &str) -> TrainError {
    TrainError::DatasetFile { path: path.to_path_buf(), found, expected: expected.into() }
}

fn read_rows(path: &Path, root: &Path) -> Result<Vec<Case>, TrainError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
    // Spreadsheets begin their files with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut reader =
        ReaderBuilder::new().has_headers(false).flexible(true).trim(Trim::All).from_reader(text.as_bytes());
    let mut columns = Columns { image: 0, label: 1, name: Some(2) };
    let mut cases = Vec::new();
    for (number, row) in reader.records().enumerate() {
        let row = row.map_err(|error| wrong(path, error.to_string(), "a CSV file"))?;
        let line = row.position().map_or(number as u64 + 1, csv::Position::line);
        if number == 0
            && let Some(named) = Columns::named_by(&row)
        {
            columns = named;
            continue;
        }
        cases.push(columns.case(&row, path, line, root)?);
    }
    Ok(cases)
}

/// Which column holds what.
struct Columns {
    image: usize,
    label: usize,
    name: Option<usize>,
}

impl Columns {
    /// Where the first row names the columns; none if it is a case already.
    fn named_by(row: &StringRecord) -> Option<Self> {
        let find = |wanted: &str| row.iter().position(|field| field.eq_ignore_ascii_case(wanted));
        Some(Self { image: find("image")?, label: find("label")?, name: find("name") })
    }

    fn case(&self, row: &StringRecord, path: &Path, line: u64, root: &Path) -> Result<Case, TrainError> {
        let field = |column: usize| row.get(column).filter(|field| !field.is_empty());
        let image = field(self.image)
            .ok_or_else(|| wrong(path, format!("line {line} has no image"), "image,label[,name]"))?;
        let image_path = root.join(image);
        let label = field(self.label).ok_or_else(|| TrainError::MissingLabel {
            image: image_path.clone(),
            expected: format!("the second column of line {line} of {}", path.display()),
        })?;
        let label_path = root.join(label);
        // An image may also be a folder with the slices of a DICOM series.
        for (file, there, what) in [
            (&image_path, image_path.exists(), "a file or a DICOM folder"),
            (&label_path, label_path.is_file(), "a file"),
        ] {
            if !there {
                let expected = format!("{what}, as line {line} of {} says", path.display());
                return Err(TrainError::NotFound { path: file.clone(), expected });
            }
        }
        let name = match self.name.and_then(field) {
            Some(name) => name.to_string(),
            None => name_of(&image_path),
        };
        if !can_be_a_file_s(&name) {
            let found = format!("line {line} is called `{name}`");
            return Err(wrong(path, found, "a name that can be a file's"));
        }
        Ok(Case { name, image: image_path, label: Some(label_path) })
    }
}

/// The name of an image file, without ending and channel.
fn name_of(image: &Path) -> String {
    let file = image.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = nifti_stem(&file).unwrap_or_else(|| file.rsplit_once('.').map_or(&file, |(stem, _)| stem));
    channel_of(stem).filter(|&(_, channel)| channel == 0).map_or(stem, |(name, _)| name).to_string()
}

/// Voxels of each label, case by case.
type Counts = Vec<[u64; 256]>;

fn count_labels(cases: &[Case]) -> Result<Counts, TrainError> {
    cases.par_iter().map(|case| Ok(voxels_per_label(&read_labels(case.label_path()?)?))).collect()
}

/// The labels above 0 that occur in any of the files, named by their numbers.
fn labels_that_occur(counts: &Counts) -> BTreeMap<Label, String> {
    let occurs = |label: &Label| counts.iter().any(|case| case[usize::from(*label)] > 0);
    (1..=Label::MAX).filter(occurs).map(|label| (label, format!("label {label}"))).collect()
}

/// Of so many files, a label that is in one alone may be a stray value. Of two, each may have an organ of its own.
const SEVERAL: usize = 3;

/// A line for each label that occurs in one of several files.
fn labels_in_one_file(cases: &[Case], counts: &Counts) -> Vec<String> {
    if cases.len() < SEVERAL {
        return Vec::new();
    }
    let line = |label: Label| {
        let count = |case: &[u64; 256]| case[usize::from(label)];
        let mut having = cases.iter().zip(counts).filter(|(_, counts)| count(counts) > 0);
        let (case, counts) = having.next()?;
        let (voxels, others) = (count(counts), cases.len() - 1);
        having.next().is_none().then(|| {
            let file = case.label.as_deref().unwrap_or(Path::new(&case.name)).display();
            format!(
                "label {label} is in {file} alone ({voxels} voxels), in none of the {others} other label files; if it is \
                 a stray value, correct it there: it is a class to learn"
            )
        })
    };
    (1..=Label::MAX).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, LabelVolume, Spacing, write};

    use super::*;

    /// A folder `scans` with three label files, of the labels 2, 5 and none, that serve as images too.
    fn folder_with(text: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let scans = folder.path().join("scans");
        std::fs::create_dir(&scans).unwrap();
        let grid = Grid::with_spacing([2, 2, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
        for (name, label) in [("a_0000", 2), ("b", 5), ("empty", 0)] {
            write(scans.join(format!("{name}.nii.gz")), &LabelVolume::filled(grid, label)).unwrap();
        }
        std::fs::write(folder.path().join("pairs.csv"), text).unwrap();
        folder
    }

    fn open_text(text: &str) -> Result<Dataset, TrainError> {
        Dataset::open(folder_with(text).path().join("pairs.csv"))
    }

    #[test]
    fn rows_become_cases_and_labels_are_those_that_occur() {
        let text = "scans/b.nii.gz,scans/b.nii.gz\nscans/a_0000.nii.gz, scans/a_0000.nii.gz\n";
        let folder = folder_with(text);
        let dataset = Dataset::open(folder.path().join("pairs.csv")).unwrap();
        assert_eq!((dataset.name.as_str(), dataset.names()), ("pairs", vec!["a", "b"]));
        assert_eq!(dataset.ignore, None);
        assert_eq!(dataset.labels, BTreeMap::from([(2, "label 2".into()), (5, "label 5".into())]));
        assert_eq!(dataset.cases[0].image, folder.path().join("scans/a_0000.nii.gz"));
        assert_eq!(dataset.cases[1].load(&dataset).unwrap().label.voxels(), [5; 8]);
    }

    #[test]
    fn a_label_in_one_of_several_files_is_told() {
        let two = "scans/b.nii.gz,scans/b.nii.gz\nscans/a_0000.nii.gz,scans/a_0000.nii.gz\n";
        assert_eq!(open_text(two).unwrap().warnings, [""; 0]);
        let dataset = open_text(&format!("{two}scans/b.nii.gz,scans/b.nii.gz,again\n")).unwrap();
        let [line] = &dataset.warnings[..] else { panic!("{:?}", dataset.warnings) };
        assert!(
            line.starts_with("label 2 is in ") && line.contains("scans/a_0000.nii.gz alone (8 voxels)"),
            "{line}"
        );
    }

    #[test]
    fn a_header_names_the_columns_in_any_order() {
        let text = "\u{feff}name,Label,Image\nfirst,scans/b.nii.gz,scans/a_0000.nii.gz\n\
                    ,scans/b.nii.gz,scans/empty.nii.gz\n";
        let dataset = open_text(text).unwrap();
        assert_eq!(dataset.names(), ["empty", "first"]);
        assert!(dataset.cases[1].label.as_ref().unwrap().ends_with("scans/b.nii.gz"));
    }

    #[test]
    fn broken_rows_are_named_by_their_line() {
        let good = "scans/b.nii.gz,scans/b.nii.gz";
        for (text, expected) in [
            (String::new(), "dataset is empty"),
            ("image,label\n".into(), "dataset is empty"),
            (format!("{good}\nscans/c.nii.gz,scans/b.nii.gz"), "line 2 of"),
            (format!("{good}\nscans/a_0000.nii.gz"), "second column of line 2"),
            (format!("{good}\n,scans/b.nii.gz"), "line 2 has no image"),
            (format!("{good}\n{good}"), "two rows are called `b`"),
            (format!("{good},x/y"), "line 1 is called `x/y`"),
            ("scans/b.nii.gz,scans/empty.nii.gz".into(), "none of its label files"),
        ] {
            let error = open_text(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
