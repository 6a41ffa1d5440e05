//! NIH Pancreas-CT, from a folder that looks as the archive delivers it to a dataset.
//!
//! The look-alike is made of phantoms: DICOM slices in nested folders, and masks whose rows run against the
//! scans' under a header that claims they do not.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use organseg_phantom::{DicomSeriesConfig, PhantomConfig, generate, write_dicom_series};
use organseg_train::nih::{Evidence, NihCase, NihOutcome, NihReport, OrientationRule, Verdict, import_nih};
use organseg_train::{Dataset, TrainError, check_dataset};
use organseg_volume::{
    Affine, Grid, LabelVolume, Orientation, Spacing, Volume, read, read_labels, reorient, reoriented_grid,
    write,
};
use tempfile::TempDir;

const SIZE: [usize; 3] = [48, 44, 36];

fn orientation(name: &str) -> Orientation {
    name.parse().unwrap()
}

/// A scan and its true mask, as DICOM slices run: columns to the left, rows to the back, slices to the head.
fn patient(seed: u64) -> (Volume<i16>, LabelVolume) {
    let made = generate(&PhantomConfig::default().with_size(SIZE), seed).unwrap();
    let lps = orientation("LPS");
    (reorient(&made.image, lps).map(|hu| hu as i16), reorient(&made.labels, lps))
}

/// A body that is its own mirror image, with a mask in its right half: its voxels cannot tell left from right.
fn mirrored_patient(seed: u64) -> (Volume<i16>, LabelVolume) {
    let (scan, truth) = patient(seed);
    let mirrored = |[x, y, z]: [usize; 3]| [x.min(SIZE[0] - 1 - x), y, z];
    let scan = Volume::from_fn(*scan.grid(), |at| scan[mirrored(at)]);
    (scan, LabelVolume::from_fn(*truth.grid(), |at| if at[0] < SIZE[0] / 2 { truth[at] } else { 0 }))
}

/// What the header of a label says.
enum Header {
    /// Where the array lies.
    Right,
    /// The scan's grid with the rows the other way round.
    RowsReversed,
    /// The spacing and nothing else.
    Bare,
}

/// A delivery under construction.
struct Delivery {
    folder: TempDir,
}

impl Delivery {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let delivery = Self { folder };
        fs::create_dir_all(delivery.labels().join("TCIA_pancreas_labels-02-05-2017")).unwrap();
        fs::create_dir_all(delivery.scans().join("Pancreas-CT")).unwrap();
        fs::write(delivery.scans().join("Pancreas-CT/LICENSE"), "CC BY 3.0").unwrap();
        delivery
    }

    fn scans(&self) -> PathBuf {
        self.folder.path().join("manifest-1599750808610")
    }

    fn labels(&self) -> PathBuf {
        self.folder.path().join("labels")
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Writes series `series` of patient `number` into a folder of its own.
    fn scan(&self, number: u32, series: i32, scan: &Volume<i16>) {
        let name = format!("PANCREAS_{number:04}");
        let study = format!("11-24-2015-PANCREAS{number:04}-Pancreas-18957/Pancreas-{series}");
        write_series(&self.scans().join("Pancreas-CT").join(&name).join(study), scan, &name, series);
    }

    fn label_path(&self, number: u32) -> PathBuf {
        self.labels().join(format!("TCIA_pancreas_labels-02-05-2017/label{number:04}.nii.gz"))
    }

    /// Writes the mask of patient `number`, its array stored in `stored`.
    fn label(&self, number: u32, truth: &LabelVolume, stored: &str, header: &Header) {
        let label = reorient(truth, orientation(stored));
        let grid = match header {
            Header::Right => *label.grid(),
            Header::RowsReversed => {
                let turned = |letter: char| match letter {
                    'A' => 'P',
                    'P' => 'A',
                    other => other,
                };
                let claimed: String = stored.chars().map(turned).collect();
                reoriented_grid(truth.grid(), orientation(&claimed))
            }
            Header::Bare => {
                Grid::new(label.size(), Affine::from_spacing(label.grid().spacing(), [0.0; 3])).unwrap()
            }
        };
        write(self.label_path(number), &label.with_grid(grid).unwrap()).unwrap();
    }

    /// Scan and mask of patient `number` as the archive delivers them, made from the seed of that number.
    fn pair(&self, number: u32) -> (Volume<i16>, LabelVolume) {
        let (scan, truth) = patient(u64::from(number));
        self.scan(number, 1, &scan);
        self.label(number, &truth, "LAS", &Header::RowsReversed);
        (scan, truth)
    }

    fn import(&self) -> NihReport {
        import_nih(self.scans(), self.labels(), self.out(), &OrientationRule::default()).unwrap()
    }

    /// The case is in the dataset voxel by voxel as the phantom was.
    fn assert_written(&self, number: u32, scan: &Volume<i16>, truth: &LabelVolume) {
        let name = format!("PANCREAS_{number:04}");
        let image: Volume<i16> = read(self.out().join(format!("imagesTr/{name}_0000.nii.gz"))).unwrap();
        let label = read_labels(self.out().join(format!("labelsTr/{name}.nii.gz"))).unwrap();
        assert!(image.voxels() == scan.voxels(), "{name}: other intensities");
        assert!(label.voxels() == truth.voxels(), "{name}: another mask");
        image.grid().check_same(scan.grid()).unwrap();
        assert_eq!(image.grid(), label.grid(), "{name}");
    }

    fn assert_not_written(&self, number: u32) {
        let name = format!("PANCREAS_{number:04}");
        assert!(!self.out().join(format!("imagesTr/{name}_0000.nii.gz")).exists(), "{name}");
        assert!(!self.out().join(format!("labelsTr/{name}.nii.gz")).exists(), "{name}");
    }
}

/// Writes `scan` as DICOM slices into `folder`, numbered from the head down as most scanners do.
fn write_series(folder: &Path, scan: &Volume<i16>, patient: &str, series: i32) {
    let config = DicomSeriesConfig::default().with_patient_id(patient).with_number(series);
    write_dicom_series(folder, scan, &config.with_reversed(true)).unwrap();
}

fn case(report: &NihReport, number: u32) -> &NihCase {
    report.cases.iter().find(|case| case.number == number).unwrap()
}

fn outcome(report: &NihReport, number: u32) -> &NihOutcome {
    &case(report, number).outcome
}

/// How the case was decided; it must have been written.
fn decided(report: &NihReport, number: u32) -> (String, &str, Evidence) {
    match outcome(report, number) {
        NihOutcome::Written { orientation, flips, by } => (orientation.to_string(), flips, *by),
        other => panic!("{number}: {other:?}"),
    }
}

#[test]
fn a_set_as_delivered_becomes_a_dataset_of_exactly_the_true_masks() {
    let delivery = Delivery::new();
    let pairs = [1, 2, 3].map(|number| (number, delivery.pair(number)));
    delivery.pair(25);
    delivery.label(70, &patient(70).1, "LAS", &Header::RowsReversed);
    delivery.label(4, &patient(4).1, "LAS", &Header::RowsReversed);
    delivery.scan(5, 1, &patient(5).0);

    let report = delivery.import();
    for (number, (scan, truth)) in &pairs {
        delivery.assert_written(*number, scan, truth);
        assert_eq!(decided(&report, *number), ("LAS".into(), "flip y", Evidence::Voxels));
        let case = case(&report, *number);
        assert!(case.notes.iter().any(|note| note.contains("stored LPS, which is wrong")), "{case:?}");
        // Eight ways to lay the mask on the scan; none but the true one has an edge to follow.
        let scores = &case.proof.as_ref().unwrap().scores;
        assert_eq!(scores.len(), 8);
        assert!(scores[0].contrast > 0.5 && scores[1].contrast < 0.3, "{scores:?}");
    }
    assert_eq!((report.consensus, report.headers_are_right), (Some(orientation("LAS")), false));
    assert_eq!(outcome(&report, 25), &NihOutcome::Withdrawn);
    assert_eq!(outcome(&report, 70), &NihOutcome::Withdrawn);
    assert_eq!(outcome(&report, 4), &NihOutcome::MissingScan);
    assert_eq!(outcome(&report, 5), &NihOutcome::MissingLabel);
    assert_eq!((report.written(), report.failures()), (3, 0));
    for number in [4, 5, 25, 70] {
        delivery.assert_not_written(number);
    }

    let dataset = Dataset::open(delivery.out()).unwrap();
    assert_eq!(dataset.names(), ["PANCREAS_0001", "PANCREAS_0002", "PANCREAS_0003"]);
    assert_eq!((dataset.name.as_str(), dataset.labels[&1].as_str()), ("NIH Pancreas-CT", "pancreas"));
    let check = check_dataset(&dataset);
    assert!(check.cases.iter().all(|case| case.problems.is_empty()), "{}", check.to_text());

    let text = fs::read_to_string(delivery.out().join("import.txt")).unwrap();
    assert_eq!(text.trim_end(), report.to_text().trim_end());
    for expected in [
        "PANCREAS_0001  written   label stored LAS, proved by its voxels; done to it: flip y\n",
        "PANCREAS_0025  left out  withdrawn by the archive",
        "3 cases written, 0 left out, 2 withdrawn, 1 without a scan, 1 without a label\n",
        "all proved labels are stored LAS; headers are not to be trusted",
    ] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    let json = fs::read_to_string(delivery.out().join("import.json")).unwrap();
    assert_eq!(serde_json::from_str::<NihReport>(&json).unwrap(), report);
}

#[test]
fn any_storage_and_any_header_lead_to_the_same_mask() {
    let delivery = Delivery::new();
    let stored = ["LPS", "RAI", "LAI", "PLS", "SLP"];
    let headers = [Header::Right, Header::Bare, Header::RowsReversed, Header::Bare, Header::Right];
    for ((number, stored), header) in (1..).zip(stored).zip(&headers) {
        let (scan, truth) = patient(u64::from(number));
        delivery.scan(number, 1, &scan);
        delivery.label(number, &truth, stored, header);
    }
    let report = delivery.import();
    for (number, stored) in (1..).zip(stored) {
        let (scan, truth) = patient(u64::from(number));
        delivery.assert_written(number, &scan, &truth);
        assert_eq!(decided(&report, number).0, stored);
    }
    // They contradict each other: no case could be decided by the others.
    assert_eq!((report.consensus, report.headers_are_right), (None, false));
}

#[test]
fn pairs_that_do_not_belong_together_are_left_out_with_the_reason() {
    let delivery = Delivery::new();
    delivery.pair(1);
    // A slice too few.
    let (scan, truth) = patient(6);
    let short = Grid::new([SIZE[0], SIZE[1], SIZE[2] - 1], *truth.grid().affine()).unwrap();
    delivery.scan(6, 1, &scan);
    delivery.label(6, &LabelVolume::from_fn(short, |at| truth[at]), "LPS", &Header::Right);
    // A box that follows no edge.
    let (scan, truth) = patient(9);
    let inside = |[x, y, z]: [usize; 3]| {
        u8::from((12..30).contains(&x) && (20..36).contains(&y) && (4..20).contains(&z))
    };
    delivery.scan(9, 1, &scan);
    delivery.label(9, &LabelVolume::from_fn(*truth.grid(), inside), "LPS", &Header::Right);
    // Slices of patient 1 in the folder of patient 10.
    let (scan, truth) = patient(10);
    let folder = delivery.scans().join("Pancreas-CT/PANCREAS_0010/study");
    write_series(&folder, &scan, "PANCREAS_0001", 7);
    delivery.label(10, &truth, "LPS", &Header::Right);
    // A file that is no image, an empty mask, two organs, a folder without slices.
    for number in [11, 12, 13] {
        delivery.scan(number, 1, &patient(u64::from(number)).0);
    }
    fs::write(delivery.label_path(11), "not an image").unwrap();
    delivery.label(12, &truth.map(|_| 0), "LPS", &Header::Right);
    delivery.label(
        13,
        &LabelVolume::from_fn(*truth.grid(), |[x, _, _]| (x % 3) as u8),
        "LPS",
        &Header::Right,
    );
    fs::create_dir_all(delivery.scans().join("Pancreas-CT/PANCREAS_0014/study")).unwrap();
    delivery.label(14, &truth, "LPS", &Header::Right);

    let report = delivery.import();
    let [x, y, z] = SIZE;
    assert_eq!(outcome(&report, 6), &NihOutcome::SizeMismatch { scan: SIZE, label: [x, y, z - 1] });
    assert!(matches!(outcome(&report, 9), NihOutcome::Undecided { .. }), "{:?}", outcome(&report, 9));
    assert_eq!(case(&report, 9).proof.as_ref().unwrap().verdict, Verdict::NoFit);
    for (number, reason) in [
        (10, "the slices are those of patient PANCREAS_0001"),
        (11, "label0011.nii.gz"),
        (12, "label0012.nii.gz: the label is background everywhere"),
        (13, "label0013.nii.gz: the label holds [1, 2], expected one organ"),
        (14, "PANCREAS_0014: it is a folder with no DICOM image"),
    ] {
        let NihOutcome::Unusable { reason: found } = outcome(&report, number) else {
            panic!("{number}: {:?}", outcome(&report, number))
        };
        assert!(found.contains(reason), "{found}");
    }
    assert_eq!((report.written(), report.failures()), (1, 7));
    for number in [6, 9, 10, 11, 12, 13, 14] {
        delivery.assert_not_written(number);
    }
    assert_eq!(Dataset::open(delivery.out()).unwrap().names(), ["PANCREAS_0001"]);
}

#[test]
fn of_several_series_the_one_that_the_label_covers_is_taken_and_two_such_are_not() {
    let delivery = Delivery::new();
    let (scan, truth) = delivery.pair(1);
    let scout = Grid::with_spacing([20, 20, 3], Spacing::isotropic(5.0).unwrap()).unwrap();
    delivery.scan(1, 2, &reorient(&Volume::filled(scout, -1000), orientation("LPS")));
    let (second, _) = delivery.pair(2);
    delivery.scan(2, 2, &second);
    let (_, three) = delivery.pair(3);
    write(delivery.label_path(3).with_extension(""), &three).unwrap();

    let report = delivery.import();
    delivery.assert_written(1, &scan, &truth);
    let notes = &case(&report, 1).notes;
    assert!(notes.iter().any(|note| note.starts_with("2 series; taken: ")), "{notes:?}");
    for (number, what) in [(2, "series "), (3, "label0003.nii")] {
        let NihOutcome::Ambiguous { found } = outcome(&report, number) else {
            panic!("{:?}", outcome(&report, number))
        };
        assert!(found.len() == 2 && found.iter().all(|name| name.contains(what)), "{found:?}");
        delivery.assert_not_written(number);
    }
}

#[test]
fn a_case_that_cannot_tell_left_from_right_waits_for_the_others() {
    let delivery = Delivery::new();
    let (scan, truth) = mirrored_patient(1);
    delivery.scan(1, 1, &scan);
    delivery.label(1, &truth, "LAS", &Header::RowsReversed);
    delivery.pair(2);
    delivery.pair(3);
    // Two proved cases are not enough.
    let report = delivery.import();
    let NihOutcome::Undecided { reason } = outcome(&report, 1) else { panic!("{:?}", outcome(&report, 1)) };
    assert!(reason.contains("LAS") && reason.contains("RAS"), "{reason}");
    delivery.assert_not_written(1);
    // Three are.
    delivery.pair(4);
    let report = delivery.import();
    assert_eq!(decided(&report, 1), ("LAS".into(), "flip y", Evidence::Consensus));
    delivery.assert_written(1, &scan, &truth);
    // A fourth that contradicts them takes the ground away.
    let (other, other_truth) = patient(5);
    delivery.scan(5, 1, &other);
    delivery.label(5, &other_truth, "LPS", &Header::RowsReversed);
    let report = delivery.import();
    assert!(matches!(outcome(&report, 1), NihOutcome::Undecided { .. }));
    delivery.assert_not_written(1);
    assert_eq!(Dataset::open(delivery.out()).unwrap().names().len(), 4);
}

#[test]
fn headers_decide_a_tie_once_they_have_been_right() {
    let delivery = Delivery::new();
    let (scan, truth) = mirrored_patient(1);
    delivery.scan(1, 1, &scan);
    delivery.label(1, &truth, "RPI", &Header::Right);
    for (number, stored) in [(2, "LPS"), (3, "LAS"), (4, "RPI")] {
        let (scan, truth) = patient(u64::from(number));
        delivery.scan(number, 1, &scan);
        delivery.label(number, &truth, stored, &Header::Right);
    }
    let report = delivery.import();
    assert_eq!((report.consensus, report.headers_are_right), (None, true));
    assert_eq!(decided(&report, 1), ("RPI".into(), "flip x, flip z", Evidence::Header));
    delivery.assert_written(1, &scan, &truth);
}

#[test]
fn a_run_that_was_cut_off_is_taken_up_and_ends_the_same() {
    let delivery = Delivery::new();
    let (scan, truth) = delivery.pair(1);
    let (second, second_truth) = delivery.pair(2);
    delivery.pair(3);
    let (tied, tied_truth) = mirrored_patient(4);
    delivery.scan(4, 1, &tied);
    delivery.label(4, &tied_truth, "LAS", &Header::Bare);
    let report = delivery.import();
    let files = || -> Vec<(PathBuf, Vec<u8>)> {
        let folders = ["", "imagesTr", "labelsTr"].map(|folder| delivery.out().join(folder));
        let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        let paths = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
        let mut files: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    };
    let whole = files();
    assert_eq!(whole.len(), 2 * 4 + 3);

    // As if the machine had gone down in case 2, and the disk had lost the end of case 4's image.
    let out = delivery.out();
    fs::remove_file(out.join("dataset.json")).unwrap();
    fs::remove_file(out.join("labelsTr/PANCREAS_0002.nii.gz")).unwrap();
    let broken = out.join("imagesTr/PANCREAS_0004_0000.nii.gz");
    let bytes = fs::read(&broken).unwrap();
    fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let untouched = out.join("imagesTr/PANCREAS_0001_0000.nii.gz");
    let before = fs::metadata(&untouched).unwrap().modified().unwrap();
    assert_eq!(delivery.import(), report);
    assert!(files() == whole, "the dataset is another one");
    assert_eq!(fs::metadata(&untouched).unwrap().modified().unwrap(), before);
    delivery.assert_written(2, &second, &second_truth);
    delivery.assert_written(4, &tied, &tied_truth);

    // Cases whose sources are gone stay; another rule decides anew.
    fs::remove_dir_all(delivery.scans().join("Pancreas-CT/PANCREAS_0001")).unwrap();
    fs::remove_file(delivery.label_path(1)).unwrap();
    assert_eq!(delivery.import(), report);
    delivery.assert_written(1, &scan, &truth);
    let mut strict = OrientationRule::default();
    strict.min_contrast = 0.99;
    let report = import_nih(delivery.scans(), delivery.labels(), delivery.out(), &strict).unwrap();
    assert_eq!((report.written(), report.failures()), (0, 3));
    assert!(!out.join("dataset.json").exists());
}

#[test]
fn slices_in_folders_of_other_names_are_found_by_their_patient() {
    let delivery = Delivery::new();
    for number in [1, 2] {
        let (scan, truth) = patient(u64::from(number));
        let folder = delivery.scans().join(format!("Pancreas-CT/{number:05}/77"));
        write_series(&folder, &scan, &format!("PANCREAS_{number:04}"), 1);
        delivery.label(number, &truth, "LAS", &Header::RowsReversed);
    }
    let report = delivery.import();
    assert_eq!(report.written(), 2);
    for number in [1, 2] {
        let (scan, truth) = patient(u64::from(number));
        delivery.assert_written(number, &scan, &truth);
    }
}

#[test]
fn what_is_not_there_is_named() {
    let delivery = Delivery::new();
    let import = |scans: &Path, labels: &Path, out: &Path| {
        import_nih(scans, labels, out, &OrientationRule::default()).unwrap_err()
    };
    let (scans, labels, out) = (delivery.scans(), delivery.labels(), delivery.out());
    let error = import(&out, &labels, &out);
    assert!(matches!(error, TrainError::NotFound { .. }), "{error}");
    let error = import(&scans, &labels, &out);
    assert!(matches!(error, TrainError::EmptyDataset { .. }) && error.to_string().contains("PANCREAS_0001"));
    delivery.scan(1, 1, &patient(1).0);
    let error = import(&scans, &labels, &out).to_string();
    assert!(error.contains("labels: the dataset is empty") && error.contains("label0001.nii.gz"), "{error}");
    assert!(!out.exists());
    delivery.label(1, &patient(1).1, "LPS", &Header::Right);
    let error = import(&scans, &labels, &scans);
    assert!(matches!(error, TrainError::OutputNotEmpty { .. }), "{error}");
}
