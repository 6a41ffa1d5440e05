//! Event files for TensorBoard, scalars only.
//!
//! A file is a row of records, each (TensorFlow, `lib/io/record_writer.h`)
//! ```text
//! length u64 · masked crc of length u32 · data · masked crc of data u32        little endian
//! ```
//! with masked crc = rotate_right(crc32c, 15) + 0xa282ead8. The data are protocol buffers:
//! ```text
//! Event   { 1: wall_time double, 2: step int64, 3: file_version string | 5: summary Summary }
//! Summary { 1: repeated Value { 1: tag string, 2: simple_value float } }
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Result, Write};
use std::path::Path;

use crate::EpochRecord;

/// A name that TensorBoard looks for.
const FILE_NAME: &str = "events.out.tfevents.organseg";

/// An event file being written.
pub(crate) struct EventFile(File);

impl EventFile {
    /// Writes the event file in `folder` anew, with `records`: what a run that broke off wrote beyond its
    /// checkpoint is gone, and nothing is in it twice.
    pub(crate) fn create(folder: &Path, records: &[EpochRecord]) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut bytes = record(&file_version(records.first().map_or_else(now, |r| r.unix_seconds)));
        records.iter().for_each(|r| bytes.extend(record(&event_of(r))));
        // In place: TensorBoard, if it is running, goes on reading where it was.
        let mut file =
            OpenOptions::new().create(true).truncate(true).write(true).open(folder.join(FILE_NAME))?;
        file.write_all(&bytes)?;
        Ok(Self(file))
    }

    /// Adds an epoch, at the step that it ended with.
    pub(crate) fn append(&mut self, epoch: &EpochRecord) -> Result<()> {
        self.0.write_all(&record(&event_of(epoch)))
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), data, &masked_crc(data)].concat()
}

fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

fn file_version(wall_time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, wall_time);
    event.bytes(3, b"brain.Event:2");
    event.0
}

fn event_of(epoch: &EpochRecord) -> Vec<u8> {
    let mut summary = Message::default();
    let mut scalar = |tag: &str, value: Option<f64>| {
        if let Some(value) = value {
            let mut scalar = Message::default();
            scalar.bytes(1, tag.as_bytes());
            scalar.float(2, value as f32);
            summary.bytes(1, &scalar.0);
        }
    };
    scalar("loss/total", Some(epoch.loss));
    scalar("loss/dice", epoch.dice_loss);
    scalar("loss/center", epoch.center_loss);
    scalar("loss/cross_entropy", epoch.cross_entropy);
    scalar("loss/focal", epoch.focal);
    scalar("loss/tversky", epoch.tversky);
    scalar("dice/mean", epoch.mean_dice());
    for (label, dice) in epoch.validation_dice.iter().flatten() {
        scalar(&format!("dice/label_{label}"), Some(*dice));
    }
    scalar("training/learning_rate", Some(epoch.learning_rate));
    scalar("training/gradient_norm", Some(epoch.gradient_norm));
    scalar("training/wait_share", Some(epoch.wait_share));
    scalar("training/seconds", Some(epoch.seconds));
    let mut event = Message::default();
    event.double(1, epoch.unix_seconds);
    event.varint(2, epoch.steps as u64);
    event.bytes(5, &summary.0);
    event.0
}

/// A protocol-buffer message being written: each field is its number and kind, then its value.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn key(&mut self, field: u64, kind: u64) {
        self.raw_varint(field << 3 | kind);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The epochs that tests/golden/tensorboard_events.py writes with TensorBoard's own code.
    fn epochs() -> Vec<EpochRecord> {
        let epoch = |epoch: usize, steps, loss, dice: Option<[f64; 2]>| EpochRecord {
            stage: "fine".into(),
            epoch,
            loss,
            dice_loss: Some(loss / 2.0),
            center_loss: None,
            cross_entropy: Some(0.125),
            focal: None,
            tversky: None,
            learning_rate: 1e-3,
            gradient_norm: 2.5,
            validation_dice: dice.map(|[a, b]| BTreeMap::from([(1, a), (2, b)])),
            seconds: 12.0,
            wait_share: 0.01,
            steps,
            minutes: 0.2,
            unix_seconds: 1.7e9 + 0.25 + epoch as f64,
        };
        vec![epoch(0, 100, 1.5, None), epoch(1, 200, 0.75, Some([0.5, 0.75])), epoch(2, 300, 0.25, None)]
    }

    #[test]
    fn the_file_is_what_tensorboard_s_own_writer_writes() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), &epochs()[..1]).unwrap();
        epochs()[1..].iter().for_each(|epoch| file.append(epoch).unwrap());
        let found = std::fs::read(folder.path().join(FILE_NAME)).unwrap();
        assert!(found == include_bytes!("../tests/golden/tensorboard.tfevents"), "{found:x?}");
    }

    #[test]
    fn a_resumed_run_has_each_epoch_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), &[]).unwrap();
        epochs().iter().for_each(|epoch| file.append(epoch).unwrap());
        let mut again = EventFile::create(folder.path(), &epochs()[..1]).unwrap();
        epochs()[1..].iter().for_each(|epoch| again.append(epoch).unwrap());
        let found = std::fs::read(folder.path().join(FILE_NAME)).unwrap();
        assert!(found == include_bytes!("../tests/golden/tensorboard.tfevents"));
    }
}
