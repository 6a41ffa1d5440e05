//! Attributes with several values in one stack: two acquisitions whose slices lie between each other look like
//! one with half the spacing.
//!
//! Values in blocks are common and harmless (a scan in two parts), values that take turns are not: they are irregular
//! where each recurs and more than half of the neighbours differ. An attribute with more values than half the
//! slices runs along with the slices, as times do, and says nothing.

use std::collections::BTreeMap;

use super::DicomFinding;
use super::frame::{DISTINCTIONS, Frame};

/// Times of a trigger vary from beat to beat: they may take turns by chance.
const VARIES: &str = "TriggerTime";

/// What [`DISTINCTIONS`] say of `frames`, which are in order along their normal.
pub(super) fn mixed_acquisitions(frames: &[&Frame]) -> Vec<DicomFinding> {
    let mut findings = Vec::new();
    for (i, (attribute, _)) in DISTINCTIONS.iter().copied().enumerate() {
        let values: Vec<&str> =
            frames.iter().map(|frame| frame.distinctions[i].as_deref().unwrap_or("none")).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        values.iter().for_each(|&value| *counts.entry(value).or_default() += 1);
        if counts.len() < 2 || 2 * counts.len() > values.len() {
            continue;
        }
        let alternating = attribute != VARIES && take_turns(&values);
        let values = counts.into_iter().map(|(value, count)| (value.to_string(), count)).collect();
        findings.push(DicomFinding::MixedAcquisitions { attribute, values, alternating });
    }
    findings
}

/// Whether more than half of the neighbours differ.
fn take_turns(values: &[&str]) -> bool {
    let changes = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    2 * changes > values.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_blocks_do_not_take_turns_and_every_other_one_does() {
        assert!(take_turns(&["1", "2", "1", "2"]));
        assert!(take_turns(&["1", "2", "3", "1", "2", "3"]));
        assert!(!take_turns(&["1", "1", "1", "2", "2", "2"]));
        assert!(!take_turns(&["1", "1", "2", "1", "1", "1"]));
    }
}
