//! What happened in each epoch, a JSON object a line.
//!
//! Several processes may train the stages of one model at once. A line is one write at the end of the file; who
//! takes lines out replaces the file. Both are done under a lock on `history.lock` beside it, so that no line
//! is lost in between.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
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
    /// Mean of its focal part in nats, unweighted.
    #[serde(default)]
    pub focal: Option<f64>,
    /// Mean of its Tversky part, unweighted.
    #[serde(default)]
    pub tversky: Option<f64>,
    /// At the last step.
    pub learning_rate: f64,
    /// Mean of the gradient's Euclidean norm before clipping.
    pub gradient_norm: f64,
    /// Mean DSC of each label over the validation cases, where this epoch looked at them.
    pub validation_dice: Option<BTreeMap<Label, f64>>,
    /// Seconds that the epoch took, validation and checkpoints included; what was lost when a run broke off
    /// is not.
    pub seconds: f64,
    /// Share of that time in which the network waited for samples.
    pub wait_share: f64,
    /// Steps made since the training began.
    #[serde(default)]
    pub steps: usize,
    /// Minutes that the training has taken since it began, in the sense of `seconds`, reading cases included.
    #[serde(default)]
    pub minutes: f64,
    /// When the epoch ended, in seconds since 1970 (UTC).
    #[serde(default)]
    pub unix_seconds: f64,
}

impl EpochRecord {
    /// Mean DSC over the labels, where this epoch looked at the validation cases.
    #[must_use]
    pub fn mean_dice(&self) -> Option<f64> {
        let dice = self.validation_dice.as_ref().filter(|dice| !dice.is_empty())?;
        Some(dice.values().sum::<f64>() / dice.len() as f64)
    }
}

/// Appends `record` to the file at `path`, down to the disk: a checkpoint that is written afterwards never
/// knows of an epoch that the history does not. Half a line that a killed process or a full disk left at the end
/// is cut off before.
///
/// # Errors
/// [`TrainError::Io`] naming the file.
pub fn append_history(path: &Path, record: &EpochRecord) -> Result<(), TrainError> {
    let io = |source| TrainError::Io { path: path.to_path_buf(), source };
    let mut line = serde_json::to_string(record).expect("a record of numbers and strings is valid JSON");
    line.push('\n');
    let _lock = lock(path).map_err(io)?;
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(io)?;
    cut_half_line(&mut file).map_err(io)?;
    // One write, so that a reader never sees half a line.
    file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(io)
}

/// Takes what follows the last newline out of `file`: the next line would be lost with it. The epoch of such a half
/// line is in no checkpoint, and is run again.
fn cut_half_line(file: &mut File) -> std::io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut last = [b'\n'];
    if length > 0 {
        file.seek(SeekFrom::Start(length - 1))?;
        file.read_exact(&mut last)?;
    }
    if last == [b'\n'] {
        return Ok(());
    }
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    file.set_len(whole as u64)
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

/// Takes out of the file at `path` what `stage` recorded from epoch `from` on: it will be run again. An
/// unfinished line goes too. Returns what is left of the stage.
///
/// # Errors
/// [`TrainError::Io`] naming the file.
pub fn rewind_history(path: &Path, stage: &str, from: usize) -> Result<Vec<EpochRecord>, TrainError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let _lock = lock(path).map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
    let mut records = read_history(path)?;
    let mut text = String::new();
    for record in records.iter().filter(|r| r.stage != stage || r.epoch < from) {
        text.push_str(&serde_json::to_string(record).expect("it was read from JSON"));
        text.push('\n');
    }
    write_atomically(path, |file| file.write_all(text.as_bytes()))
        .map_err(|source| TrainError::Io { path: path.to_path_buf(), source })?;
    records.retain(|r| r.stage == stage && r.epoch < from);
    Ok(records)
}

/// Waits for the right to change the history at `path`, which ends when the file is closed. The lock is on a
/// file of its own, since the history itself may be replaced.
fn lock(path: &Path) -> std::io::Result<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).open(path.with_extension("lock"))?;
    // Some network file systems have no locks and say so in various ways (ENOTSUP, ENOSYS, ENOLCK). One
    // process at a time is safe there, too.
    let _ = file.lock();
    Ok(file)
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
            focal: None,
            tversky: None,
            learning_rate: 1e-3,
            gradient_norm: 1.0,
            validation_dice: Some(BTreeMap::from([(1, 0.75)])),
            seconds: 2.0,
            wait_share: 0.0,
            steps: 4,
            minutes: 1.5,
            unix_seconds: 1e9,
        }
    }

    #[test]
    fn rewinding_keeps_the_other_stage_and_what_came_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        for r in [record("coarse", 0), record("coarse", 1), record("fine", 0), record("fine", 1)] {
            append_history(&path, &r).unwrap();
        }
        assert_eq!(rewind_history(&path, "fine", 1).unwrap(), [record("fine", 0)]);
        let left: Vec<_> = read_history(&path).unwrap().into_iter().map(|r| (r.stage, r.epoch)).collect();
        let expected = [("coarse", 0), ("coarse", 1), ("fine", 0)].map(|(s, e)| (s.to_string(), e));
        assert_eq!(left, expected);
    }

    #[test]
    fn half_a_line_at_the_end_is_taken_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        append_history(&path, &record("fine", 0)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        rewind_history(&path, "fine", 1).unwrap();
        append_history(&path, &record("fine", 1)).unwrap();
        assert_eq!(read_history(&path).unwrap(), [record("fine", 0), record("fine", 1)]);
    }

    /// Of two stages that train at once one was killed in the middle of a line, or found the disk full.
    #[test]
    fn half_a_line_does_not_swallow_the_next_stage_s_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        for whole in [vec![], vec![record("coarse", 0)]] {
            let lines = whole.iter().map(|r| serde_json::to_string(r).unwrap() + "\n").collect::<String>();
            std::fs::write(&path, lines + "{\"stage\":\"coa").unwrap();
            append_history(&path, &record("fine", 0)).unwrap();
            let expected = [whole, vec![record("fine", 0)]].concat();
            assert_eq!(read_history(&path).unwrap(), expected);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.lines().count() == expected.len() && text.ends_with('\n'), "{text}");
        }
    }

    #[test]
    fn a_line_of_an_earlier_version_is_read() {
        let line = serde_json::to_value(record("fine", 0)).unwrap();
        let mut old = line.as_object().unwrap().clone();
        for key in ["steps", "minutes", "unix_seconds"] {
            old.remove(key).unwrap();
        }
        let read: EpochRecord = serde_json::from_value(old.into()).unwrap();
        assert_eq!((read.steps, read.epoch, read.mean_dice()), (0, 0, Some(0.75)));
    }

    #[test]
    fn two_stages_that_write_and_rewind_at_once_lose_and_double_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        const EPOCHS: usize = 40;
        std::thread::scope(|scope| {
            for stage in ["coarse", "fine"] {
                let path = &path;
                scope.spawn(move || {
                    for epoch in 0..EPOCHS {
                        append_history(path, &record(stage, epoch)).unwrap();
                        // As if it broke off here: this epoch is run again.
                        if epoch % 4 == 0 {
                            rewind_history(path, stage, epoch).unwrap();
                            append_history(path, &record(stage, epoch)).unwrap();
                        }
                    }
                });
            }
        });
        let records = read_history(&path).unwrap();
        for stage in ["coarse", "fine"] {
            let epochs: Vec<_> = records.iter().filter(|r| r.stage == stage).map(|r| r.epoch).collect();
            assert_eq!(epochs, Vec::from_iter(0..EPOCHS), "{stage}");
        }
        assert_eq!(records.len(), 2 * EPOCHS);
    }
}
