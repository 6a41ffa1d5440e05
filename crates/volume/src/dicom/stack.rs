//! One series into stacks, each of which may be a volume.
//!
//! Localizers, and slices of another orientation, are stacks of their own. What is left is one stack
//! unless several slices lie at one place: then the first attribute that explains it (echo, point in time,
//! b-value and so on) takes them apart. A series without such slices is never split, and slices at one
//! place that nothing tells apart stay together, to be reported.

use std::collections::{BTreeMap, BTreeSet};

use super::frame::{DISTINCTIONS, Frame};
use super::geometry::{MOST_COMPARED, ordered, places};

/// Direction cosines that differ by less, by component, are the same: over 512 pixels that is a twentieth
/// of one.
const ORIENTATION_TOLERANCE: f64 = 1e-4;

/// The stacks in `frames`, each in order along its normal, with what sets it apart from the others if
/// there are several.
pub(super) fn split(frames: Vec<Frame>) -> Vec<(Option<String>, Vec<Frame>)> {
    let (localizers, images): (Vec<_>, Vec<_>) = frames.into_iter().partition(|frame| frame.localizer);
    let mut kinds: Vec<(Vec<String>, Vec<Frame>)> = Vec::new();
    for (name, frames) in [(None, images), (Some("localizer"), localizers)] {
        let names: Vec<String> = name.into_iter().map(ToString::to_string).collect();
        kinds.extend(by_orientation(frames).into_iter().map(|frames| (names.clone(), frames)));
    }
    let orientations = kinds.iter().filter(|(names, _)| names.is_empty()).count();
    let mut number = 0;
    for (names, _) in &mut kinds {
        if names.is_empty() && orientations > 1 {
            number += 1;
            names.push(format!("orientation {number}"));
        }
    }
    let mut stacks: Vec<_> =
        kinds.into_iter().flat_map(|(names, frames)| by_distinctions(names, frames, 0)).collect();
    if let [(names, _)] = stacks.as_mut_slice() {
        names.clear();
    }
    stacks
        .into_iter()
        .map(|(names, frames)| {
            let name = Some(names.join(", ")).filter(|name| !name.is_empty());
            (name, ordered(frames))
        })
        .collect()
}

/// Slices of one orientation together, in the order of their first ones.
fn by_orientation(mut frames: Vec<Frame>) -> Vec<Vec<Frame>> {
    // The order in which files were found must not decide.
    frames.sort_by(|a, b| {
        a.instance.cmp(&b.instance).then_with(|| a.place_in_files().cmp(&b.place_in_files()))
    });
    let mut groups: Vec<Vec<Frame>> = Vec::new();
    for frame in frames {
        let same = |group: &&mut Vec<Frame>| {
            let pairs = group[0].orientation.as_flattened().iter().zip(frame.orientation.as_flattened());
            pairs.into_iter().all(|(a, b)| (a - b).abs() < ORIENTATION_TOLERANCE)
        };
        match groups.iter_mut().rev().take(MOST_COMPARED).find(same) {
            Some(group) => group.push(frame),
            None => groups.push(vec![frame]),
        }
    }
    groups
}

/// Slices at one place taken apart by [`DISTINCTIONS`] from the one of number `first` on.
fn by_distinctions(names: Vec<String>, frames: Vec<Frame>, first: usize) -> Vec<(Vec<String>, Vec<Frame>)> {
    let most = most_at_one_place(&frames);
    if most < 2 {
        return vec![(names, frames)];
    }
    for (i, (attribute, _)) in DISTINCTIONS.iter().enumerate().skip(first) {
        let values: BTreeSet<&Option<String>> = frames.iter().map(|frame| &frame.distinctions[i]).collect();
        // An attribute that differs from slice to slice tells slices apart, not stacks.
        if values.len() < 2 || values.len() > most {
            continue;
        }
        let mut groups: BTreeMap<Option<String>, Vec<Frame>> = BTreeMap::new();
        for frame in &frames {
            groups.entry(frame.distinctions[i].clone()).or_default().push(frame.clone());
        }
        if groups.values().any(|group| most_at_one_place(group) == most) {
            continue;
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by(|(a, _), (b, _)| numerically(a).total_cmp(&numerically(b)));
        return groups
            .into_iter()
            .flat_map(|(value, group)| {
                let value = value.unwrap_or_else(|| "none".to_string());
                let names = [names.as_slice(), &[format!("{attribute} {value}")]].concat();
                by_distinctions(names, group, i + 1)
            })
            .collect();
    }
    vec![(names, frames)]
}

fn numerically(value: &Option<String>) -> f64 {
    value.as_deref().and_then(|value| value.parse().ok()).unwrap_or(f64::NEG_INFINITY)
}

/// How many slices lie at the place that has most of them.
fn most_at_one_place(frames: &[Frame]) -> usize {
    places(&ordered(frames.to_vec())).iter().map(std::ops::Range::len).max().unwrap_or(0)
}
