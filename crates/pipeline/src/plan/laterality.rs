//! Whether left and right are different labels: then samples must not be mirrored along x.
//!
//! A mirrored left kidney is a right one, and a network that has seen it under the wrong name cannot tell the two
//! any more. Names say it where they are good (`kidney_left`, `Left Lung`, `femur L`); masks say it otherwise: two
//! labels of about the same volume that lie beside each other along x, always the same one on the right. Only x
//! counts, along which bodies are symmetrical: a mirrored head of a hippocampus is still thicker than its tail.

use organseg_train::{Fingerprint, LabelExtent};
use organseg_volume::Label;

/// Volumes of a pair differ by no more than this factor.
const SIMILAR_VOLUME: f64 = 2.0;

/// A pair lies farther apart along x than so many times along y and along z.
const MOSTLY_SIDEWAYS: f64 = 2.0;

/// Share of the cases with both labels in which all that must hold.
const ALMOST_ALWAYS: f64 = 0.9;

/// Why samples must not be mirrored along x, if they must not.
pub(super) fn why_sides_differ(fingerprint: &Fingerprint) -> Option<String> {
    let named = fingerprint.labels.iter().find(|(_, name)| names_a_side(name));
    if let Some((label, name)) = named {
        return Some(format!("label {label}, {name}, is of one side by its name"));
    }
    let labels: Vec<Label> = fingerprint.labels.keys().copied().collect();
    let pairs = labels.iter().enumerate().flat_map(|(i, a)| labels[i + 1..].iter().map(move |b| (*a, *b)));
    let (a, b) = pairs.into_iter().find(|&(a, b)| are_sides(fingerprint, a, b))?;
    let name = |label: Label| &fingerprint.labels[&label];
    Some(format!("labels {a} and {b}, {} and {}, lie on opposite sides in the masks", name(a), name(b)))
}

/// Whether one of the words of `name` is left or right.
fn names_a_side(name: &str) -> bool {
    let mut words = String::new();
    let mut before = ' ';
    for letter in name.chars() {
        // `LeftKidney`, `kidneyR`.
        if before.is_lowercase() && letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
        before = letter;
    }
    let mut words = words.split(|c: char| !c.is_alphanumeric());
    words.any(|word| ["left", "right", "l", "r", "lt", "rt"].contains(&word))
}

fn are_sides(fingerprint: &Fingerprint, a: Label, b: Label) -> bool {
    let both: Vec<(&LabelExtent, &LabelExtent)> =
        fingerprint.cases.iter().filter_map(|case| case.labels.get(&a).zip(case.labels.get(&b))).collect();
    let beside = both.iter().map(|(a, b)| beside(a, b)).collect::<Vec<_>>();
    let share = |side: f64| beside.iter().filter(|s| **s == Some(side)).count() as f64 / both.len() as f64;
    !both.is_empty() && (share(1.0) >= ALMOST_ALWAYS || share(-1.0) >= ALMOST_ALWAYS)
}

/// 1 where `b` lies to the right of `a` and could be its mirror image, −1 to the left, none where it could not.
fn beside(a: &LabelExtent, b: &LabelExtent) -> Option<f64> {
    let ratio = a.voxels as f64 / b.voxels as f64;
    let apart = [0, 1, 2].map(|axis| b.middle_mm[axis] - a.middle_mm[axis]);
    let sideways = apart[0].abs() > MOSTLY_SIDEWAYS * apart[1].abs().max(apart[2].abs());
    let similar = (1.0 / SIMILAR_VOLUME..=SIMILAR_VOLUME).contains(&ratio);
    (sideways && similar).then(|| apart[0].signum())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use organseg_train::{CaseFingerprint, Modality};

    use super::*;

    type Extent = (u64, [f64; 3]);

    fn dataset(names: [&str; 2], cases: &[[Extent; 2]]) -> Fingerprint {
        let case = |[a, b]: &[Extent; 2]| CaseFingerprint {
            name: "case".into(),
            size: [100; 3],
            spacing_mm: [1.0; 3],
            organ_size: Some([50; 3]),
            piece_ml: Some(50.0),
            zero_background: 0.0,
            labels: [(1, a), (2, b)]
                .map(|(label, &(voxels, middle_mm))| (label, LabelExtent { voxels, middle_mm }))
                .into(),
        };
        Fingerprint {
            modality: Modality::Ct,
            labels: BTreeMap::from([(1, names[0].into()), (2, names[1].into())]),
            cases: cases.iter().map(case).collect(),
            intensities: None,
        }
    }

    #[test]
    fn names_with_a_side_forbid_mirroring() {
        for name in ["kidney_left", "Right Lung", "femur L", "adrenal-r", "LeftKidney", "kidneyR"] {
            let why = why_sides_differ(&dataset([name, "liver"], &[])).unwrap();
            assert!(why.contains(name), "{why}");
        }
        for name in ["liver", "anterior", "bright spot", "cleft", "lung", "BrightSpot"] {
            assert_eq!(why_sides_differ(&dataset([name, "pancreas"], &[])), None);
        }
    }

    #[test]
    fn masks_that_lie_like_kidneys_forbid_it_too() {
        let kidneys = [
            [(1000, [20.0, 50.0, 40.0]), (1100, [90.0, 52.0, 50.0])],
            [(900, [25.0, 50.0, 40.0]), (1300, [80.0, 45.0, 42.0])],
        ];
        let why = why_sides_differ(&dataset(["one", "other"], &kidneys)).unwrap();
        assert!(why.contains("opposite sides"), "{why}");
        // Now one, now the other on the right: left and right are not what tells these apart.
        let swapped = [kidneys[0], [kidneys[1][1], kidneys[1][0]]];
        assert_eq!(why_sides_differ(&dataset(["one", "other"], &swapped)), None);
    }

    #[test]
    fn organs_of_different_volume_or_one_before_the_other_do_not() {
        let liver_and_spleen = [[(20_000, [20.0, 50.0, 40.0]), (2000, [90.0, 52.0, 45.0])]; 3];
        let hippocampus = [[(1000, [18.0, 33.0, 17.0]), (1100, [17.0, 15.0, 18.0])]; 3];
        for cases in [liver_and_spleen, hippocampus] {
            assert_eq!(why_sides_differ(&dataset(["one", "other"], &cases)), None);
        }
    }
}
