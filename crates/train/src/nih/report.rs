//! What became of each case, for programs (serde) and for people ([`NihReport::to_text`]).

use std::fmt::{self, Write};
use std::path::PathBuf;

use organseg_volume::Orientation;
use serde::{Deserialize, Serialize};

use super::{OrientationProof, OrientationRule, Verdict};

/// What became of a set, case by case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NihReport {
    /// When an orientation counted as proved.
    pub rule: OrientationRule,
    /// The orientation in which all proved cases are stored, if there are enough of them and they agree:
    /// it decides where a case's own voxels leave several.
    pub consensus: Option<Orientation>,
    /// Whether the labels' headers were right in enough of the proved cases and wrong in none.
    pub headers_are_right: bool,
    /// The cases, sorted by number.
    pub cases: Vec<NihCase>,
}

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NihCase {
    /// 1 to 82.
    pub number: u32,
    /// The patient's name and the case's in the dataset: `PANCREAS_0001`.
    pub name: String,
    /// Folders of the scan.
    pub scan: Vec<PathBuf>,
    /// SeriesInstanceUID of the scan that the label was laid on.
    pub series: Option<String>,
    /// Files of the label.
    pub label: Vec<PathBuf>,
    /// Voxels of the scan along its (x, y, z).
    pub size: Option<[usize; 3]>,
    /// Spacing of the scan in millimetres along its (x, y, z).
    pub spacing_mm: Option<[f64; 3]>,
    /// Volume of the mask in millilitres.
    pub volume_ml: Option<f64>,
    /// What is worth knowing besides.
    pub notes: Vec<String>,
    /// What became of it.
    pub outcome: NihOutcome,
    /// How the orientations were judged, if it came to that.
    pub proof: Option<OrientationProof>,
}

impl NihCase {
    /// What the case of patient `number` is called.
    pub(super) fn name_of(number: u32) -> String {
        format!("PANCREAS_{number:04}")
    }
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum NihOutcome {
    /// Scan and label are in the dataset.
    Written {
        /// In which orientation the label was stored.
        orientation: Orientation,
        /// What was done to it, in the scan's axes: `nothing`, `flip y`.
        flips: String,
        /// What decided that.
        by: Evidence,
    },
    /// The orientation is not proved, and nothing else decides it.
    Undecided {
        /// Why.
        reason: String,
    },
    /// The archive has taken the case back.
    Withdrawn,
    /// A label without a scan.
    MissingScan,
    /// A scan without a label.
    MissingLabel,
    /// Several series or labels, and no way to choose.
    Ambiguous {
        /// The series or files.
        found: Vec<String>,
    },
    /// The label does not cover the scan in any orientation.
    SizeMismatch {
        /// Voxels of the scan along its (x, y, z).
        scan: [usize; 3],
        /// Voxels of the label along its (x, y, z).
        label: [usize; 3],
    },
    /// Scan or label is damaged, or not what it should be.
    Unusable {
        /// What is wrong.
        reason: String,
    },
}

/// What decided an orientation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The case's own voxels.
    Voxels,
    /// Not proved; among the orientations that fit is that of all proved cases.
    Consensus,
    /// Not proved; among the orientations that fit is what the header says, and the headers of proved
    /// cases were right.
    Header,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Voxels => "proved by its voxels",
            Self::Consensus => "as in all proved cases",
            Self::Header => "as its header says",
        })
    }
}

impl NihOutcome {
    /// Whether the case is in the dataset.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }

    /// Whether a complete pair of scan and label had to be left out: neither withdrawn nor half a case.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Written { .. } | Self::Withdrawn | Self::MissingScan | Self::MissingLabel)
    }
}

impl fmt::Display for NihOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Written { orientation, flips, by } => {
                write!(f, "label stored {orientation}, {by}; done to it: {flips}")
            }
            Self::Undecided { reason } => write!(f, "orientation undecided: {reason}"),
            Self::Withdrawn => f.write_str("withdrawn by the archive, a second copy of patient 2's scan"),
            Self::MissingScan => f.write_str("there is no scan"),
            Self::MissingLabel => f.write_str("there is no label"),
            Self::Ambiguous { found } => write!(f, "{} to choose from: {}", found.len(), found.join(", ")),
            Self::SizeMismatch { scan, label } => {
                write!(f, "the scan has {scan:?} voxels and the label {label:?}")
            }
            Self::Unusable { reason } => f.write_str(reason),
        }
    }
}

impl NihReport {
    /// How many cases are in the dataset.
    #[must_use]
    pub fn written(&self) -> usize {
        self.cases.iter().filter(|case| case.outcome.is_written()).count()
    }

    /// How many complete pairs of scan and label were left out.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.cases.iter().filter(|case| case.outcome.is_failure()).count()
    }

    /// The report for reading: a line a case, then a summary.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for case in &self.cases {
            let kind = if case.outcome.is_written() { "written " } else { "left out" };
            line(&mut text, &format!("{}  {kind}  {}", case.name, case.outcome));
            if let Some(proof) = &case.proof {
                line(&mut text, &format!("    {}", figures(proof)));
            }
            if let (Some(proof), Some(volume)) = (&case.proof, case.volume_ml) {
                line(&mut text, &format!("    {} voxels, {volume:.1} ml", proof.voxels));
            }
            for note in &case.notes {
                line(&mut text, &format!("    {note}"));
            }
        }
        let count = |which: fn(&NihOutcome) -> bool| self.cases.iter().filter(|c| which(&c.outcome)).count();
        line(
            &mut text,
            &format!(
                "{} cases written, {} left out, {} withdrawn, {} without a scan, {} without a label",
                self.written(),
                self.failures(),
                count(|outcome| matches!(outcome, NihOutcome::Withdrawn)),
                count(|outcome| matches!(outcome, NihOutcome::MissingScan)),
                count(|outcome| matches!(outcome, NihOutcome::MissingLabel)),
            ),
        );
        let consensus = match self.consensus {
            Some(orientation) => format!("all proved labels are stored {orientation}"),
            None => "no consensus of proved cases".into(),
        };
        let headers = if self.headers_are_right { "right" } else { "not to be trusted" };
        line(&mut text, &format!("{consensus}; headers are {headers}"));
        text
    }
}

/// The best score and the next.
fn figures(proof: &OrientationProof) -> String {
    let score = |place: usize| {
        proof.scores.get(place).map(|s| {
            format!("{} {:.2} (soft tissue {:.0} %)", s.orientation, s.contrast, 100.0 * s.soft_tissue)
        })
    };
    let best = score(0).unwrap_or_default();
    let next = score(1).map_or(String::new(), |next| format!(", next {next}"));
    let verdict = match &proof.verdict {
        Verdict::Proved { .. } => "",
        Verdict::Open { .. } => "; not proved",
        Verdict::NoFit => "; no organ's outline",
    };
    format!("scan stored {}; contrast: best {best}{next}{verdict}", proof.scan)
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}
