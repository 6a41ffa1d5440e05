//! What happened in each epoch, a JSON object a line.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use organseg_volume::{Label, write_atomically};
use serde::{Deserialize, Serialize};

use crate::TrainError;

/// One epoch of one stage: a line of `history.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// `coarse`, `fine` or `single`.
    pub stage: String,
    /// From 0.
    pub epoch: usize,
    /// Mean of the loss over the steps.
    pub loss: f64,
    /// Mean of its Dice part, unweighted.
    pub dice_loss: Option<f64>,
    /// Mean of its center part in voxels, unweighted; none where γ is 0.
    pub center_loss: Option<f64>,
    /// Mean of its cross-entropy part in nats, unweighted.
    pub cross_entropy: Option<f64>,
    /// At the last step.
    pub learning_rate: f64,
    /// Mean of the gradient's Euclidean norm before clipping.
    pub gradient_norm: f64,
    /// Mean DSC of each label over the validation cases, where this epoch looked at them.
    pub validation_dice: Option<BTreeMap<Label, f64>>,
    /// Seconds of training and validation.
    pub seconds: f64,
    /// Share of the training time in which the network waited for samples.
    pub wait_share: f64,
}

/// Appends `record` to the file at `path`.
///
/// # Errors
/// [`TrainError::Io`] naming the file.
pub fn append_history(path: &Path, record: &EpochRecord) -> Result<(), TrainError> {
    let io = |source| TrainError::Io { path: path.to_path_buf(), source };
    let mut line = serde_json::to_string(record).expect("a record of numbers and strings is valid JSON");
    line.push('\n');
    // One write, so that a reader never sees half a line.
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
    file.write_all(line.as_bytes()).map_err(io)
}

/// The records in the file at `path`; none if there is no such file. A last line that a killed process
/// left unfinished is passed over.
///
/// # Errors
/// [`TrainError::Io`] naming the file.
pub fn read_history(path: &Path) -> Result<Vec<EpochRecord>, TrainError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(TrainError::Io { path: path.to_path_buf(), source }),
    }
}

/// Takes out of the file at `path` what `stage` recorded from epoch `from` on: it will be run again.
///
/// # Errors
/// [`TrainError::Io`] naming the file.
pub fn rewind_history(path: &Path, stage: &str, from: usize) -> Result<(), TrainError> {
    let records = read_history(path)?;
    if records.is_empty() {
        return Ok(());
    }
    let mut text = String::new();
    for record in records.iter().filter(|r| r.stage != stage || r.epoch < from) {
        text.push_str(&serde_json::to_string(record).expect("it was read from JSON"));
        text.push('\n');
    }
    write_atomically(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(stage: &str, epoch: usize) -> EpochRecord {
        EpochRecord {
            stage: stage.into(),
            epoch,
            loss: 0.5,
            dice_loss: Some(0.25),
            center_loss: None,
            cross_entropy: None,
            learning_rate: 1e-3,
            gradient_norm: 1.0,
            validation_dice: Some(BTreeMap::from([(1, 0.75)])),
            seconds: 2.0,
            wait_share: 0.0,
        }
    }

    #[test]
    fn rewinding_keeps_the_other_stage_and_what_came_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        for r in [record("coarse", 0), record("coarse", 1), record("fine", 0), record("fine", 1)] {
            append_history(&path, &r).unwrap();
        }
        rewind_history(&path, "fine", 1).unwrap();
        let left: Vec<_> = read_history(&path).unwrap().into_iter().map(|r| (r.stage, r.epoch)).collect();
        let expected = [("coarse", 0), ("coarse", 1), ("fine", 0)].map(|(s, e)| (s.to_string(), e));
        assert_eq!(left, expected);
    }
}
