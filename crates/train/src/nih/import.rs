//! From the archive's folders to a dataset.
//!
//! One case at a time: its scan and its label are read, the label's orientation is judged
//! ([`prove_orientation`]), and if it is proved the pair is written at once. Cases whose voxels leave
//! several orientations wait until all others are judged; then the proved ones may decide them:
//!
//! 1. If at least [`OrientationRule::witnesses`] cases are proved and all are stored in one orientation,
//!    which is among those that the case's voxels leave, it is that one: all labels of the set come from
//!    one conversion.
//! 2. Else, if the headers of as many proved cases put them on their scan's grid in the orientation that was
//!    proved, and no header of a proved case is wrong, and the case's header names one of the orientations
//!    that its voxels leave, it is that one.
//! 3. Else the case is left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use organseg_volume::{
    DicomOptions, DicomSeries, Grid, LabelVolume, Orientation, Volume, VolumeError, find_dicom_series,
    read_labels,
};

use super::orientation::{fitting_orientations, lay_on_scan, rounded};
use super::output::{Output, binary};
use super::pairing::{label_files, patient_folders, patient_number};
use super::{
    Evidence, HeaderClaim, NihCase, NihOutcome, NihReport, OrientationProof, OrientationRule, Verdict,
    prove_orientation,
};
use crate::TrainError;

/// The cases that the archive took back in 2020: cropped copies of the scan of patient 2. Their masks are
/// still delivered.
pub const WITHDRAWN: [u32; 2] = [25, 70];

/// Writes the scans of NIH Pancreas-CT and their masks as a dataset in nnU-Net v2 layout to the folder `out`,
/// each mask on exactly its scan's grid, and a report of what was decided on which grounds (`import.json`,
/// `import.txt`).
///
/// `scans` is the tree of DICOM slices as the archive delivers it: one folder a patient, called
/// `PANCREAS_0001` and so on, at any depth; if no folder is called so, the slices' PatientID counts. `labels`
/// holds `label0001.nii.gz` and so on. Case `PANCREAS_0001` is written as
/// `imagesTr/PANCREAS_0001_0000.nii.gz` (16-bit Hounsfield units) and `labelsTr/PANCREAS_0001.nii.gz` (1 is
/// the pancreas).
///
/// No orientation is guessed: a case that is not proved (see [`prove_orientation`]) and that the proved
/// cases do not decide is left out, as are the two that were withdrawn ([`WITHDRAWN`]), half cases, and pairs
/// that do not fit. The report says so for each; none of this is an error, and a report may have no case
/// written.
///
/// A run that was cut off is taken up by calling again: cases that are whole and were made by the same
/// rule are kept, those too whose scan or label is not there any more, and the dataset comes out as from one
/// run. One case is in memory at a time.
///
/// # Errors
/// [`TrainError::NotFound`] for a folder that is not there; [`TrainError::EmptyDataset`] if no scan or no
/// label is found in it; [`TrainError::OutputNotEmpty`] if `out` holds something that is not an earlier
/// import; [`TrainError::Config`] for a senseless rule; [`TrainError::Io`] or [`TrainError::Volume`] if the
/// dataset cannot be written.
pub fn import_nih(
    scans: impl AsRef<Path>,
    labels: impl AsRef<Path>,
    out: impl AsRef<Path>,
    rule: &OrientationRule,
) -> Result<NihReport, TrainError> {
    rule.check()?;
    let sources = Sources::find(scans.as_ref(), labels.as_ref())?;
    let (output, earlier) = Output::open(out.as_ref())?;
    let mut import = Import::new(output, rule, earlier)?;
    import.judge_all(&sources)?;
    import.decide_open(&sources)?;
    import.finish()
}

/// What there is of one case.
#[derive(Default)]
struct Source {
    scan: Vec<PathBuf>,
    /// The series, if they were found by their PatientID already.
    series: Vec<DicomSeries>,
    label: Vec<PathBuf>,
}

/// What there is of every case, by number.
struct Sources(BTreeMap<u32, Source>);

impl Sources {
    fn find(scans: &Path, labels: &Path) -> Result<Self, TrainError> {
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

/// A case that has been judged: its scan, its label, and how they fit.
struct Judged {
    scan: Volume<i16>,
    label: LabelVolume,
    proof: OrientationProof,
}

/// Why a pair came to nothing.
type Refused = NihOutcome;

/// An import under way.
struct Import<'a> {
    output: Output,
    rule: &'a OrientationRule,
    /// Cases that are done, and those of an earlier run that have not come up yet.
    cases: BTreeMap<u32, NihCase>,
}

impl<'a> Import<'a> {
    fn new(
        output: Output,
        rule: &'a OrientationRule,
        earlier: Option<NihReport>,
    ) -> Result<Self, TrainError> {
        let mut cases = BTreeMap::new();
        if let Some(earlier) = earlier {
            for case in earlier.cases {
                if earlier.rule == *rule {
                    cases.insert(case.number, case);
                } else {
                    // A dataset is of one rule: what another decided must not outlive it.
                    output.remove_case(&case.name)?;
                }
            }
        }
        let import = Self { output, rule, cases };
        // Before anything else is in the folder: it says that the folder is an import's.
        import.output.save(&import.report())?;
        Ok(import)
    }

    /// Judges every case, and writes those that are proved.
    fn judge_all(&mut self, sources: &Sources) -> Result<(), TrainError> {
        let bar = Progress::new(sources.0.len());
        for (&number, source) in &sources.0 {
            bar.begin(number);
            if !self.is_kept(number, source) {
                let case = self.judge(number, source)?;
                if !case.outcome.is_written() {
                    self.output.remove_case(&case.name)?;
                }
                self.cases.insert(number, case);
                self.output.save(&self.report())?;
            }
            bar.done(&self.cases[&number]);
        }
        self.forget_all_but(sources)
    }

    /// Of an earlier run's cases that there is nothing of any more, keeps those that are in the dataset.
    fn forget_all_but(&mut self, sources: &Sources) -> Result<(), TrainError> {
        let gone: Vec<u32> = self.cases.keys().copied().filter(|n| !sources.0.contains_key(n)).collect();
        for number in gone {
            if !self.output.is_sound(&self.cases[&number]) {
                self.output.remove_case(&self.cases[&number].name)?;
                self.cases.remove(&number);
            }
        }
        Ok(())
    }

    /// Whether the case is in the dataset already, made of the same scan and label.
    fn is_kept(&self, number: u32, source: &Source) -> bool {
        let same = |earlier: &[PathBuf], now: &[PathBuf]| now.is_empty() || earlier == now;
        self.cases.get(&number).is_some_and(|case| {
            same(&case.scan, &source.scan) && same(&case.label, &source.label) && self.output.is_sound(case)
        })
    }

    fn judge(&self, number: u32, source: &Source) -> Result<NihCase, TrainError> {
        let mut case = NihCase {
            number,
            name: format!("PANCREAS_{number:04}"),
            scan: source.scan.clone(),
            series: None,
            label: source.label.clone(),
            size: None,
            spacing_mm: None,
            volume_ml: None,
            notes: Vec::new(),
            outcome: NihOutcome::Withdrawn,
            proof: None,
        };
        if WITHDRAWN.contains(&number) {
            return Ok(case);
        }
        match self.load(source, &mut case) {
            Err(outcome) => case.outcome = outcome,
            Ok(Judged { scan, label, proof }) => {
                case.outcome = match &proof.verdict {
                    Verdict::Proved { orientation } => {
                        self.write(&case.name, &scan, label, *orientation)?;
                        written(&proof, *orientation, Evidence::Voxels)
                    }
                    Verdict::Open { .. } => NihOutcome::Undecided { reason: open_reason(&proof, self.rule) },
                    Verdict::NoFit => NihOutcome::Undecided { reason: no_fit(&proof, self.rule) },
                };
                case.proof = Some(proof);
            }
        }
        Ok(case)
    }

    /// Reads scan and label and judges the orientation; notes in `case` what is seen on the way.
    fn load(&self, source: &Source, case: &mut NihCase) -> Result<Judged, Refused> {
        let unusable = |reason: String| NihOutcome::Unusable { reason };
        let label_path = match &source.label[..] {
            [] => return Err(NihOutcome::MissingLabel),
            [one] => one,
            several => {
                let found = several.iter().map(|path| path.display().to_string()).collect();
                return Err(NihOutcome::Ambiguous { found });
            }
        };
        if source.scan.is_empty() {
            return Err(NihOutcome::MissingScan);
        }
        let series = Self::series(source)?;
        let label = read_labels(label_path).map_err(|error| unusable(error.to_string()))?;
        let series = choose(&series, label.size(), &mut case.notes)?;
        if patient_number(&series.patient_id).is_some_and(|number| number != case.number) {
            let reason = format!("the slices are those of patient {}", series.patient_id);
            return Err(unusable(reason));
        }
        case.series = Some(series.uid.clone());
        case.notes.extend(series.findings().iter().map(|finding| format!("scan: {finding}")));
        let scan: Volume<i16> =
            series.read(&DicomOptions::default()).map_err(|error| unusable(error.to_string()))?;
        case.size = Some(scan.size());
        case.spacing_mm = Some(scan.grid().spacing().to_array().map(rounded));
        let (label, value) =
            binary(label).map_err(|reason| unusable(format!("{}: {reason}", label_path.display())))?;
        if value != 1 {
            case.notes.push(format!("label {value} became 1"));
        }
        let proof =
            prove_orientation(&scan, &label, self.rule).map_err(|error| unusable(error.to_string()))?;
        case.volume_ml = Some(rounded(proof.voxels as f64 * voxel_mm3(scan.grid()) / 1000.0));
        case.notes.push(header_note(&proof));
        Ok(Judged { scan, label, proof })
    }

    /// The series of a patient; those of the folders if they have not been looked into yet.
    fn series(source: &Source) -> Result<Vec<DicomSeries>, Refused> {
        let mut series = source.series.clone();
        if series.is_empty() {
            for folder in &source.scan {
                let found = find_dicom_series(folder)
                    .map_err(|error| NihOutcome::Unusable { reason: error.to_string() })?;
                series.extend(found);
            }
        }
        Ok(series)
    }

    fn write(
        &self,
        name: &str,
        scan: &Volume<i16>,
        label: LabelVolume,
        orientation: Orientation,
    ) -> Result<(), TrainError> {
        let label = lay_on_scan(label, orientation, scan)?;
        self.output.write_case(name, scan, &label)
    }

    /// Lets the proved cases decide those whose voxels leave several orientations.
    fn decide_open(&mut self, sources: &Sources) -> Result<(), TrainError> {
        let (consensus, headers_are_right) = (self.consensus(), self.headers_are_right());
        let open: Vec<u32> =
            self.cases.values().filter(|case| is_open(case)).map(|case| case.number).collect();
        for number in open {
            let case = &self.cases[&number];
            let proof = case.proof.clone().expect("an open case has been judged");
            let decided = decide(&proof, consensus, headers_are_right);
            if decided.map(|(orientation, _)| orientation) == case.outcome.orientation() {
                continue; // still undecided, or in the dataset as it should be
            }
            let mut case = case.clone();
            case.outcome = match (decided, sources.0.get(&number)) {
                (Some((orientation, by)), Some(source)) => {
                    let mut again = NihCase { notes: Vec::new(), ..case.clone() };
                    match self.load(source, &mut again) {
                        Ok(Judged { scan, label, .. }) => {
                            self.write(&case.name, &scan, label, orientation)?;
                            written(&proof, orientation, by)
                        }
                        Err(outcome) => outcome,
                    }
                }
                _ => NihOutcome::Undecided { reason: open_reason(&proof, self.rule) },
            };
            if !case.outcome.is_written() {
                self.output.remove_case(&case.name)?;
            }
            self.cases.insert(number, case);
            self.output.save(&self.report())?;
        }
        Ok(())
    }

    /// The orientation that all proved cases are stored in, if there are enough.
    fn consensus(&self) -> Option<Orientation> {
        let mut proved = self.cases.values().filter_map(proved);
        let first = proved.next()?;
        let others: Vec<_> = proved.collect();
        let enough = others.len() + 1 >= self.rule.witnesses;
        (enough && others.iter().all(|&other| other == first)).then_some(first)
    }

    /// Whether the headers of enough proved cases were right and none was wrong.
    fn headers_are_right(&self) -> bool {
        let mut right = 0;
        for case in self.cases.values() {
            let (Some(orientation), Some(proof)) = (proved(case), &case.proof) else { continue };
            if proof.header != (HeaderClaim::OnGrid { orientation }) {
                return false;
            }
            right += 1;
        }
        right >= self.rule.witnesses
    }

    fn report(&self) -> NihReport {
        NihReport {
            rule: *self.rule,
            consensus: self.consensus(),
            headers_are_right: self.headers_are_right(),
            cases: self.cases.values().cloned().collect(),
        }
    }

    fn finish(self) -> Result<NihReport, TrainError> {
        let report = self.report();
        self.output.finish(&report)?;
        Ok(report)
    }
}

/// The orientation of a case that its voxels proved and that is in the dataset.
fn proved(case: &NihCase) -> Option<Orientation> {
    match case.outcome {
        NihOutcome::Written { orientation, by: Evidence::Voxels, .. } => Some(orientation),
        _ => None,
    }
}

fn is_open(case: &NihCase) -> bool {
    let judged = matches!(case.outcome, NihOutcome::Written { .. } | NihOutcome::Undecided { .. });
    judged && case.proof.as_ref().is_some_and(|proof| matches!(proof.verdict, Verdict::Open { .. }))
}

/// The orientation of an open case, and what decides it.
fn decide(
    proof: &OrientationProof,
    consensus: Option<Orientation>,
    headers_are_right: bool,
) -> Option<(Orientation, Evidence)> {
    let Verdict::Open { orientations } = &proof.verdict else { return None };
    if let Some(orientation) = consensus {
        return orientations.contains(&orientation).then_some((orientation, Evidence::Consensus));
    }
    match proof.header {
        HeaderClaim::OnGrid { orientation } if headers_are_right && orientations.contains(&orientation) => {
            Some((orientation, Evidence::Header))
        }
        _ => None,
    }
}

fn written(proof: &OrientationProof, orientation: Orientation, by: Evidence) -> NihOutcome {
    NihOutcome::Written { orientation, flips: proof.flips(orientation), by }
}

/// The one series that a label of `size` voxels can lie on.
fn choose<'a>(
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

fn voxel_mm3(grid: &Grid) -> f64 {
    grid.affine().determinant().abs()
}

fn open_reason(proof: &OrientationProof, rule: &OrientationRule) -> String {
    let Verdict::Open { orientations } = &proof.verdict else { return String::new() };
    let names: Vec<_> = orientations.iter().map(ToString::to_string).collect();
    match (&names[..], proof.scores.first()) {
        ([one], Some(best)) => {
            let (found, expected) = (best.contrast, rule.proof_contrast);
            format!("only {one} fits, with a contrast of {found:.2}, expected at least {expected}")
        }
        _ => format!("{} fit, none better than the others by {}", names.join(", "), rule.margin),
    }
}

fn no_fit(proof: &OrientationProof, rule: &OrientationRule) -> String {
    let best = proof.scores.first().map_or(String::new(), |best| {
        format!(
            "{} has a contrast of {:.2} and {:.2} soft tissue",
            best.orientation, best.contrast, best.soft_tissue
        )
    });
    format!(
        "the mask is no organ's outline in any; the best, {best}, expected at least {} and {}",
        rule.min_contrast, rule.min_soft_tissue
    )
}

fn header_note(proof: &OrientationProof) -> String {
    match (&proof.header, &proof.verdict) {
        (HeaderClaim::OnGrid { orientation }, Verdict::Proved { orientation: true_one })
            if orientation == true_one =>
        {
            format!("label's header: stored {orientation}, which is right")
        }
        (HeaderClaim::OnGrid { orientation }, Verdict::Proved { .. }) => {
            format!("label's header: stored {orientation}, which is wrong")
        }
        (HeaderClaim::OnGrid { orientation }, _) => format!("label's header: stored {orientation}"),
        (HeaderClaim::OffGrid { distance_voxels }, _) => {
            format!("label's header: {distance_voxels:.1} voxels off the scan, which is wrong")
        }
    }
}

/// A bar on a terminal, nothing elsewhere.
struct Progress(ProgressBar);

impl Progress {
    fn new(cases: usize) -> Self {
        let bar = ProgressBar::new(cases as u64);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} · {eta} left")
            .expect("the template is valid");
        bar.set_style(style);
        Self(bar)
    }

    fn begin(&self, number: u32) {
        self.0.set_message(format!("PANCREAS_{number:04}"));
    }

    fn done(&self, case: &NihCase) {
        if case.outcome.is_failure() {
            self.0.println(format!("{}: {}", case.name, case.outcome));
        }
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
