//! One run at a time trains a stage of a model: two would write over each other's checkpoints.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use crate::PipelineError;

/// The right to train a stage of the model in a folder, from when it was taken until it is dropped or its process
/// ends, however that ends. The file `STAGE.lock` that it is known by stays: to take it away would let two others
/// have the right at once.
#[derive(Debug)]
pub(crate) struct StageLock {
    _file: Option<File>,
}

impl StageLock {
    /// Takes the right to train `stage` in `folder`. Where the file system knows no locks, everybody gets it; and so
    /// where nothing can be written, for a finished stage needs no more.
    pub(crate) fn take(folder: &Path, stage: &str) -> Result<Self, PipelineError> {
        let path = folder.join(format!("{stage}.lock"));
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = match file {
            Ok(file) => file,
            Err(error)
                if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) =>
            {
                return Ok(Self { _file: None });
            }
            Err(source) => return Err(PipelineError::Io { path, source }),
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                Err(PipelineError::Busy { folder: folder.to_path_buf(), stage: stage.to_string() })
            }
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _file: Some(file) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_trained_by_one_run_at_a_time_and_another_stage_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let coarse = StageLock::take(folder.path(), "coarse").unwrap();
        let _fine = StageLock::take(folder.path(), "fine").unwrap();
        let error = StageLock::take(folder.path(), "coarse").unwrap_err().to_string();
        assert!(error.contains("stage coarse is being trained there by another run"), "{error}");
        drop(coarse);
        StageLock::take(folder.path(), "coarse").unwrap();
    }
}
