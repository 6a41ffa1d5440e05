//! Labels of a repaired copy: numbered without a gap, with a name each.

use std::collections::{BTreeMap, BTreeSet};

use organseg_volume::{Label, LabelVolume};

use crate::Dataset;
use crate::dataset::IGNORE;

/// What the labels of a copy are.
pub(super) struct CopyLabels {
    /// Of each label that has another number in the copy.
    pub(super) renumbered: BTreeMap<Label, Label>,
    /// Of each label, by its number in the copy, that has another name there: one name is one label in `dataset.json`.
    pub(super) renamed: BTreeMap<Label, String>,
    /// As `dataset.json` has them, background and the ignore label among them.
    pub(super) named: BTreeMap<String, Label>,
}

impl CopyLabels {
    pub(super) fn of(dataset: &Dataset) -> Self {
        let numbers = dataset.label_numbers_without_gaps();
        let mut named = BTreeMap::from([("background".to_string(), 0)]);
        named.extend(dataset.ignore.map(|label| (IGNORE.to_string(), numbers[&label])));
        let mut renamed = BTreeMap::new();
        // Whoever can keep a name does, whatever the order.
        let mut doubled = BTreeSet::new();
        for (label, name) in &dataset.labels {
            if named.contains_key(name) {
                doubled.insert(label);
            } else {
                named.insert(name.clone(), numbers[label]);
            }
        }
        for label in doubled {
            let mut name = dataset.labels[label].clone();
            while named.contains_key(&name) {
                name = format!("{name} (label {label})");
            }
            renamed.insert(numbers[label], name.clone());
            named.insert(name, numbers[label]);
        }
        let renumbered = numbers.into_iter().filter(|(old, new)| old != new).collect();
        Self { renumbered, renamed, named }
    }

    /// `mask` as it is in the copy.
    pub(super) fn renumber(&self, mask: LabelVolume) -> LabelVolume {
        if self.renumbered.is_empty() {
            return mask;
        }
        mask.map(|label| self.renumbered.get(&label).copied().unwrap_or(label))
    }
}
