//! From the archive's folders to a dataset.
//!
//! One case at a time: its scan and its label are read, the label's orientation is judged
//! ([`prove_orientation`]), and if it is proved the pair is written at once. Cases whose voxels leave it open
//! wait until all others are judged; then the proved ones may decide them ([`Witnesses`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use organseg_volume::{DicomOptions, Grid, LabelVolume, Orientation, Volume, read_labels};

use super::consensus::{Witnesses, is_open};
use super::orientation::{lay_on_scan, rounded};
use super::output::{Output, binary};
use super::pairing::patient_number;
use super::reasons::{header_note, no_fit, open_reason};
use super::source::{Refused, Source, Sources, choose};
use super::{
    Evidence, NihCase, NihOutcome, NihReport, OrientationProof, OrientationRule, Verdict, prove_orientation,
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

/// A case that has been judged: its scan, its label, and how they fit.
struct Judged {
    scan: Volume<i16>,
    label: LabelVolume,
    proof: OrientationProof,
}

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
            name: NihCase::name_of(number),
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
        let (label_path, series) = source.label_and_series()?;
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

    /// Lets the proved cases decide those that their voxels leave open.
    fn decide_open(&mut self, sources: &Sources) -> Result<(), TrainError> {
        let witnesses = self.witnesses();
        let open: Vec<u32> =
            self.cases.values().filter(|case| is_open(case)).map(|case| case.number).collect();
        for number in open {
            let case = &self.cases[&number];
            let proof = case.proof.clone().expect("an open case has been judged");
            let decided = witnesses.decide(&proof);
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

    fn witnesses(&self) -> Witnesses {
        Witnesses::among(self.cases.values(), self.rule)
    }

    fn report(&self) -> NihReport {
        let Witnesses { consensus, headers_are_right } = self.witnesses();
        NihReport {
            rule: *self.rule,
            consensus,
            headers_are_right,
            cases: self.cases.values().cloned().collect(),
        }
    }

    fn finish(self) -> Result<NihReport, TrainError> {
        let report = self.report();
        self.output.finish(&report)?;
        Ok(report)
    }
}

fn written(proof: &OrientationProof, orientation: Orientation, by: Evidence) -> NihOutcome {
    NihOutcome::Written { orientation, flips: proof.flips(orientation), by }
}

fn voxel_mm3(grid: &Grid) -> f64 {
    grid.affine().determinant().abs()
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
        self.0.set_message(NihCase::name_of(number));
    }

    fn done(&self, case: &NihCase) {
        // What is open may still be decided.
        if case.outcome.is_failure() && !is_open(case) {
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
