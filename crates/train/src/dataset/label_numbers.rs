//! Whether labels are numbered 1, 2, 3 …, and how to number them so.
//!
//! A network has a class for every number up to the highest label. Masks of one organ that are stored as 0 and 255
//! would make one of 256 classes, of which 254 never occur; nnU-Net refuses them too.

use std::collections::BTreeMap;

use organseg_volume::Label;

use super::Dataset;
use crate::TrainError;

/// So many labels are named in a message.
const MOST_NAMED: usize = 12;

impl Dataset {
    /// Checks that the labels to learn are 1, 2, 3 … without a gap, as whoever plans or trains a network does. The
    /// ignore label, which has no class, may have any number above them.
    ///
    /// # Errors
    /// [`TrainError::LabelGaps`] naming the labels and what to do.
    pub fn check_label_numbers(&self) -> Result<(), TrainError> {
        if !has_gaps(&self.labels) {
            return Ok(());
        }
        Err(TrainError::LabelGaps {
            dataset: self.root.clone(),
            labels: list(&self.labels).into(),
            highest: self.highest_label(),
            number: self.labels.len(),
        })
    }

    /// The number that each label, the ignore label among them, gets where they are numbered anew without a gap; the
    /// number that it has where there is none.
    pub(crate) fn label_numbers_without_gaps(&self) -> BTreeMap<Label, Label> {
        let learnt = self.labels.keys().copied();
        if has_gaps(&self.labels) {
            learnt.chain(self.ignore).zip(1..).collect()
        } else {
            learnt.chain(self.ignore).map(|label| (label, label)).collect()
        }
    }
}

/// Whether a number below the highest of `labels` is none of them.
pub(crate) fn has_gaps(labels: &BTreeMap<Label, String>) -> bool {
    labels.last_key_value().is_some_and(|(&highest, _)| usize::from(highest) != labels.len())
}

/// `1 (organ), 255 (tumour)`, cut short where there are many.
pub(crate) fn list(labels: &BTreeMap<Label, String>) -> String {
    let named = labels.iter().take(MOST_NAMED).map(|(label, name)| format!("{label} ({name})"));
    let mut text = named.collect::<Vec<_>>().join(", ");
    if let Some((highest, name)) = labels.last_key_value().filter(|_| labels.len() > MOST_NAMED) {
        text.push_str(&format!(", … {highest} ({name}), {} in all", labels.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Modality;
    use super::*;

    fn dataset(labels: &[Label], ignore: Option<Label>) -> Dataset {
        Dataset {
            name: "masks".into(),
            root: "masks".into(),
            labels: labels.iter().map(|&label| (label, format!("organ {label}"))).collect(),
            ignore,
            modality: Modality::Ct,
            cases: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn labels_without_a_gap_keep_their_numbers_whatever_the_ignore_label_is() {
        for labels in [&[1][..], &[1, 2, 3]] {
            let dataset = dataset(labels, Some(7));
            dataset.check_label_numbers().unwrap();
            assert!(dataset.label_numbers_without_gaps().iter().all(|(old, new)| old == new));
        }
        dataset(&(1..=255).collect::<Vec<_>>(), None).check_label_numbers().unwrap();
    }

    #[test]
    fn labels_with_a_gap_are_refused_and_get_the_numbers_from_1_on() {
        let one = dataset(&[255], None);
        let error = one.check_label_numbers().unwrap_err().to_string();
        for expected in
            ["masks: ", "255 (organ 255)", "1 to 1 without a gap", "256", "check DATASET --fix-to DIR"]
        {
            assert!(error.contains(expected), "no {expected:?} in {error}");
        }
        assert_eq!(one.label_numbers_without_gaps(), BTreeMap::from([(255, 1)]));
        let several = dataset(&[1, 4, 200], Some(255)).label_numbers_without_gaps();
        assert_eq!(several, BTreeMap::from([(1, 1), (4, 2), (200, 3), (255, 4)]));
    }

    #[test]
    fn a_long_list_is_cut_short() {
        let many = dataset(&(2..=40).collect::<Vec<_>>(), None);
        let text = list(&many.labels);
        assert!(text.ends_with("13 (organ 13), … 40 (organ 40), 39 in all"), "{text}");
    }
}
