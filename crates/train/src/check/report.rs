//! What [`crate::check_dataset`] found, for programs (serde) and for people ([`CheckReport::to_text`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write;
use std::path::PathBuf;

use organseg_volume::Label;
use serde::{Deserialize, Serialize};

use crate::dataset::{IGNORE, list_of_labels};

/// What was found in a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The dataset's name.
    pub dataset: String,
    /// The labels it declares, without background and the ignore label.
    pub labels: BTreeMap<Label, String>,
    /// The label of voxels that nobody annotated, if it declares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Label>,
    /// Whether the numbers of the labels leave some out, which training refuses and [`crate::fix_to`] repairs.
    #[serde(default)]
    pub label_gaps: bool,
    /// What was noticed when it was opened, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What was found in each case, sorted by name.
    pub cases: Vec<CaseCheck>,
}

/// What was found in one case.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaseCheck {
    /// The case's name.
    pub name: String,
    /// The image file.
    pub image: PathBuf,
    /// The label file.
    pub label: Option<PathBuf>,
    /// Voxels of the image along its (x, y, z); zeros if it could not be read.
    pub size: [usize; 3],
    /// Spacing of the image in millimetres along its (x, y, z); zeros if it could not be read.
    pub spacing_mm: [f64; 3],
    /// Where the image's axes point, such as `RAS`; empty if it could not be read.
    pub orientation: String,
    /// Smallest and largest finite intensity.
    pub range: Option<[f32; 2]>,
    /// Voxels of each label that occurs, background included.
    pub voxels_per_label: BTreeMap<Label, u64>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Something wrong with a case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// A file could not be read.
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        reason: String,
    },
    /// Image and label have different sizes.
    SizeMismatch {
        /// Voxels of the image along (x, y, z).
        image: [usize; 3],
        /// Voxels of the label along (x, y, z).
        label: [usize; 3],
    },
    /// Image and label have one size and lie in different places.
    GeometryMismatch {
        /// The image axis along which they are furthest apart in voxels: x, y or z.
        axis: char,
        /// Largest distance of a corner along each axis of the image, in its voxels.
        distance_voxels: [f64; 3],
        /// The same in millimetres.
        distance_mm: [f64; 3],
    },
    /// The axes of image and label point in different directions.
    OrientationMismatch {
        /// Where the image's axes point, such as `LPS`.
        image: String,
        /// Where the label's do.
        label: String,
        /// Whether the label lies on the image once its voxels are in the image's order: then only the files'
        /// order differs. Else nobody but a person can tell what the label was drawn on.
        same_place: bool,
    },
    /// The label file holds a label that the dataset does not declare.
    UnknownLabel {
        /// Which.
        label: Label,
        /// How often.
        voxels: u64,
    },
    /// The image has NaN or infinite voxels.
    NonFinite {
        /// How many.
        voxels: usize,
    },
    /// The axes of a file are not at right angles, by more than
    /// [`RIGHT_ANGLE_TOLERANCE`](organseg_volume::RIGHT_ANGLE_TOLERANCE): no harm here, where the affine is
    /// taken as it is, but other programs refuse the file or read another affine.
    NotAtRightAngles {
        /// Which.
        file: PathBuf,
        /// Largest |cosine| between two axes.
        cosine: f64,
    },
    /// A NIfTI file has a sform and a qform that lead to different places. Here the sform counts; other
    /// programs may take the qform.
    SformAndQformDiffer {
        /// Which.
        file: PathBuf,
        /// Largest distance of a corner along each axis, in voxels.
        distance_voxels: [f64; 3],
        /// The same in millimetres.
        distance_mm: [f64; 3],
    },
    /// A NIfTI file has neither a sform nor a qform, so that nothing says which way its axes point: they are taken as RAS,
    /// from voxel 0 on.
    NoOrientation {
        /// Which.
        file: PathBuf,
    },
    /// The label has no voxel of an organ: no mistake for certain, but nothing to learn a shape from.
    NoForeground,
}

impl Problem {
    /// Whether one can train on the case all the same.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::NoForeground
                | Self::NotAtRightAngles { .. }
                | Self::SformAndQformDiffer { .. }
                | Self::NoOrientation { .. }
        )
    }

    /// Whether [`crate::fix_to`] knows what to do about it.
    #[must_use]
    pub fn is_fixable(&self) -> bool {
        matches!(
            self,
            Self::GeometryMismatch { .. }
                | Self::NonFinite { .. }
                | Self::OrientationMismatch { same_place: true, .. }
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A reason that comes from a file names it already.
            Self::Unreadable { file, reason } if reason.contains(&*file.to_string_lossy()) => {
                f.write_str(reason)
            }
            Self::Unreadable { file, reason } => write!(f, "{}: {reason}", file.display()),
            Self::SizeMismatch { image, label } => {
                write!(f, "the image has {image:?} voxels and the label {label:?}")
            }
            Self::GeometryMismatch { axis, distance_voxels: voxels, distance_mm: mm } => {
                let worst = "xyz".find(*axis).unwrap_or(0);
                write!(
                    f,
                    "the label lies {:.3} mm ({:.3} voxels) off along {axis}",
                    mm[worst], voxels[worst]
                )?;
                write!(f, "; along (x, y, z) by ({:.3}, {:.3}, {:.3}) mm", mm[0], mm[1], mm[2])
            }
            Self::OrientationMismatch { image, label, same_place } => {
                let place = if *same_place {
                    "its voxels, put in the image's order, lie on the image"
                } else {
                    "and put in the image's order it does not lie on the image either"
                };
                write!(f, "the label's axes point {label}, the image's {image}; {place}")
            }
            Self::UnknownLabel { label, voxels } => {
                write!(f, "{voxels} voxels have label {label}, which the dataset does not declare")
            }
            Self::NonFinite { voxels } => write!(f, "{voxels} voxels of the image are NaN or infinite"),
            Self::NotAtRightAngles { file, cosine } => write!(
                f,
                "{}: its axes are not at right angles, |cosine| up to {cosine:.1e}; taken as they are here, \
                 ITK may refuse the file",
                file.display()
            ),
            Self::SformAndQformDiffer { file, distance_voxels: voxels, distance_mm: mm } => write!(
                f,
                "{}: its sform, which counts here, and its qform, which other programs may take, are up to \
                 ({:.3}, {:.3}, {:.3}) mm apart along (x, y, z), ({:.3}, {:.3}, {:.3}) voxels",
                file.display(),
                mm[0],
                mm[1],
                mm[2],
                voxels[0],
                voxels[1],
                voxels[2]
            ),
            Self::NoOrientation { file } => write!(
                f,
                "{}: has neither a sform nor a qform and says nothing about orientation; its axes are taken as right, \
                 front and up (RAS), from voxel 0 on, and left and right may be exchanged",
                file.display()
            ),
            Self::NoForeground => f.write_str("no voxel is labelled as an organ"),
        }
    }
}

impl CheckReport {
    /// Whether every case can be trained on, and the labels as they are numbered.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        !self.label_gaps && self.cases.iter().flat_map(|case| &case.problems).all(Problem::is_warning)
    }

    /// The report for reading: a summary, then a line a problem.
    #[must_use]
    pub fn to_text(&self) -> String {
        let readable: Vec<_> = self.cases.iter().filter(|case| !case.orientation.is_empty()).collect();
        let mut text = format!("{}: {} cases", self.dataset, self.cases.len());
        if !readable.is_empty() {
            let sizes = three_axes(|a| spread(readable.iter().map(|case| case.size[a] as f64)));
            let spacings = three_axes(|a| spread(readable.iter().map(|case| case.spacing_mm[a])));
            let turned: BTreeSet<_> = readable.iter().map(|case| case.orientation.as_str()).collect();
            let turned: Vec<_> = turned.into_iter().collect();
            line(&mut text, &format!("  size (median, least..most): {sizes}"));
            line(&mut text, &format!("  spacing in mm: {spacings}"));
            line(&mut text, &format!("  orientation: {}", turned.join(", ")));
        }
        let labels = self.labels.iter().map(|(label, name)| (label, name.as_str()));
        for (label, name) in labels.chain(self.ignore.iter().map(|label| (label, IGNORE))) {
            let counts: Vec<f64> = self
                .cases
                .iter()
                .filter_map(|case| case.voxels_per_label.get(label))
                .map(|&n| n as f64)
                .collect();
            let seen = counts.len();
            let voxels =
                if seen > 0 { format!(", voxels {}", spread(counts.into_iter())) } else { String::new() };
            line(&mut text, &format!("  label {label} ({name}): in {seen} cases{voxels}"));
        }
        let gaps = usize::from(self.label_gaps);
        if self.label_gaps {
            let (labels, number) = (list_of_labels(&self.labels), self.labels.len());
            line(
                &mut text,
                &format!(
                    "error: the labels are {labels}, expected 1 to {number} without a gap: each number is a class"
                ),
            );
        }
        self.warnings.iter().for_each(|warning| line(&mut text, &format!("warning: {warning}")));
        let problems = self.cases.iter().flat_map(|case| case.problems.iter().map(move |p| (case, p)));
        for (case, problem) in problems.clone() {
            let kind = if problem.is_warning() { "warning" } else { "error" };
            line(&mut text, &format!("{kind}: {}: {problem}", case.name));
        }
        let fixable = gaps + problems.clone().filter(|(_, problem)| problem.is_fixable()).count();
        let (warnings, errors): (Vec<_>, _) = problems.partition(|(_, problem)| problem.is_warning());
        let (errors, warnings) = (gaps + errors.len(), self.warnings.len() + warnings.len());
        line(&mut text, &format!("{errors} errors ({fixable} of them can be fixed), {warnings} warnings"));
        text.push('\n');
        text
    }
}

fn line(text: &mut String, line: &str) {
    write!(text, "\n{line}").expect("writing to a string does not fail");
}

fn three_axes(axis: impl Fn(usize) -> String) -> String {
    [0, 1, 2].map(axis).join(" × ")
}

/// `median (least..most)`, or the one value there is.
fn spread(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let short = |v: f64| ((v * 1000.0).round() / 1000.0).to_string();
    let (Some(&least), Some(&most)) = (values.first(), values.last()) else { return "none".into() };
    let median = values[values.len() / 2];
    if least == most {
        short(least)
    } else {
        format!("{} ({}..{})", short(median), short(least), short(most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check_dataset;
    use super::super::tests::broken_dataset;
    use super::*;

    #[test]
    fn the_text_names_cases_axes_and_distances() {
        let folder = tempfile::tempdir().unwrap();
        let text = check_dataset(&broken_dataset(folder.path())).to_text();
        for expected in [
            ": 4 cases\n",
            "size (median, least..most): 4 × 3 × 2\n",
            "spacing in mm: 1 × 2 × 5\n",
            "orientation: RAS\n",
            "label 1 (organ): in 3 cases, voxels 6\n",
            "error: moved: the label lies 1.000 mm (0.500 voxels) off along y",
            "error: short: 12 voxels have label 7",
            "error: short: the image has [4, 3, 2] voxels and the label [4, 3, 1]",
            "error: torn: ",
            "5 errors (2 of them can be fixed), 0 warnings\n",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
    }

    #[test]
    fn json_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let report = check_dataset(&broken_dataset(folder.path()));
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""kind":"geometry_mismatch","axis":"y""#), "{text}");
        assert_eq!(serde_json::from_str::<CheckReport>(&text).unwrap(), report);
    }
}
