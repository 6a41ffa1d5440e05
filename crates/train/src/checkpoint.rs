//! Everything a training needs to go on, in one safetensors file.
//!
//! Tensors `weights/NAME`, `optimizer/NAME`, and `average/NAME` and `best/NAME` where there are any; in the
//! header's metadata the stage, the configuration that the run was started with and where it stands, both as
//! JSON.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use organseg_unet::weights;
use safetensors::tensor::serialize;

use crate::TrainError;
use crate::state::TrainingState;

/// Where a training stands after one of its steps.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Which network: `coarse`, `fine` or `single`.
    pub stage: String,
    /// The network's and the training's configuration as JSON; a checkpoint is only taken up by a run with
    /// the same ones.
    pub config: String,
    /// The network's weights by name.
    pub weights: HashMap<String, Tensor>,
    /// The optimizer's state by name.
    pub optimizer: HashMap<String, Tensor>,
    /// Running averages of the weights; empty if none are taken.
    pub average: HashMap<String, Tensor>,
    /// The weights that did best on the validation cases; empty without early stopping or before the first
    /// look.
    pub best: HashMap<String, Tensor>,
    pub(crate) state: TrainingState,
}

impl Checkpoint {
    /// Where the checkpoint of stage `stage` of the model in `folder` lies.
    #[must_use]
    pub fn path(folder: &Path, stage: &str) -> PathBuf {
        folder.join(format!("checkpoint-{stage}.safetensors"))
    }

    /// The epoch of the next step, from 0.
    #[must_use]
    pub fn epoch(&self) -> usize {
        self.state.epoch
    }

    /// Steps made of that epoch.
    #[must_use]
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// Writes the checkpoint to `path`: first to a file `.NAME.part` beside it, down to the disk, which then
    /// takes its place. Until that, and if anything goes wrong, the one before stays. What a killed process
    /// left of such a file is written over.
    ///
    /// # Errors
    /// [`TrainError::Io`] naming the file.
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let parts = [
            ("weights", &self.weights),
            ("optimizer", &self.optimizer),
            ("average", &self.average),
            ("best", &self.best),
        ];
        let tensors: HashMap<_, _> = parts
            .iter()
            .flat_map(|(part, tensors)| {
                tensors.iter().map(move |(name, tensor)| (format!("{part}/{name}"), tensor))
            })
            .collect();
        let state = serde_json::to_string(&self.state).expect("numbers that are finite are valid JSON");
        let metadata = HashMap::from([
            ("stage".to_string(), self.stage.clone()),
            ("config".to_string(), self.config.clone()),
            ("state".to_string(), state),
        ]);
        let io = |source| TrainError::Io { path: path.to_path_buf(), source };
        let bytes = serialize(tensors, Some(metadata)).map_err(|error| io(std::io::Error::other(error)))?;
        replace(path, |file| file.write_all(&bytes)).map_err(io)
    }

    /// Reads the checkpoint at `path`.
    ///
    /// # Errors
    /// [`TrainError::Unet`] for a file that is no safetensors file, [`TrainError::Checkpoint`] for one
    /// that is no checkpoint; both name it.
    pub fn load(path: &Path, device: &Device) -> Result<Self, TrainError> {
        let metadata = weights::metadata(path)?;
        let broken = |reason: String| TrainError::Checkpoint { path: path.to_path_buf(), reason };
        let text = |key: &str| {
            metadata.get(key).cloned().ok_or_else(|| broken(format!("its header has no `{key}`")))
        };
        let state = serde_json::from_str(&text("state")?)
            .map_err(|error| broken(format!("`state` in its header cannot be read ({error})")))?;
        let mut found = Self {
            stage: text("stage")?,
            config: text("config")?,
            weights: HashMap::new(),
            optimizer: HashMap::new(),
            average: HashMap::new(),
            best: HashMap::new(),
            state,
        };
        for (full_name, tensor) in weights::load(path, device)? {
            let part = match full_name.split_once('/') {
                Some(("weights", name)) => (&mut found.weights, name),
                Some(("optimizer", name)) => (&mut found.optimizer, name),
                Some(("average", name)) => (&mut found.average, name),
                Some(("best", name)) => (&mut found.best, name),
                _ => return Err(broken(format!("tensor `{full_name}` is no part of a training"))),
            };
            part.0.insert(part.1.to_string(), tensor);
        }
        Ok(found)
    }
}

/// The weights in the file at `path`: of a file of weights all its tensors, of a checkpoint what its training would come
/// to if it ended there (the best, else the running average, else the weights as they are).
pub(crate) fn weights_in(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>, TrainError> {
    if !weights::metadata(path)?.contains_key("state") {
        return Ok(weights::load(path, device)?);
    }
    let Checkpoint { weights, average, best, .. } = Checkpoint::load(path, device)?;
    Ok([best, average].into_iter().find(|tensors| !tensors.is_empty()).unwrap_or(weights))
}

/// Puts what `write` writes in place of the file at `path`, through one beside it whose name does not change: a
/// process that is killed leaves at most one behind, and the next writes over it.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> std::io::Result<()>) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!(".{name}.part"));
    let written = File::create(&part).and_then(|mut file| {
        write(&mut file)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| std::fs::rename(&part, path));
    if replaced.is_err() {
        // It may never have been there; the first error is the one to tell.
        let _ = std::fs::remove_file(&part);
    }
    replaced
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use candle_core::Device;

    use super::*;

    fn checkpoint(epoch: usize) -> Checkpoint {
        let tensors =
            |x: f32| HashMap::from([("a.b".to_string(), Tensor::full(x, 3, &Device::Cpu).unwrap())]);
        Checkpoint {
            stage: "fine".into(),
            config: "{}".into(),
            weights: tensors(1.0),
            optimizer: tensors(2.0),
            average: tensors(3.0),
            best: HashMap::new(),
            state: TrainingState { epoch, step: 3, epoch_seconds: 0.1 + 0.2, ..TrainingState::default() },
        }
    }

    #[test]
    fn a_checkpoint_survives_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = Checkpoint::path(folder.path(), "fine");
        checkpoint(7).save(&path).unwrap();
        let found = Checkpoint::load(&path, &Device::Cpu).unwrap();
        assert_eq!((found.state.clone(), found.epoch(), found.step()), (checkpoint(7).state, 7, 3));
        let first = |tensors: &HashMap<String, Tensor>| tensors["a.b"].to_vec1::<f32>().unwrap()[0];
        assert_eq!([first(&found.weights), first(&found.optimizer), first(&found.average)], [1.0, 2.0, 3.0]);
        assert!(found.best.is_empty());
    }

    #[test]
    fn a_disk_that_fills_up_half_way_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "old").unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(Error::from(ErrorKind::StorageFull))
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_gone_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = Checkpoint::path(&folder.path().join("gone"), "fine");
        let error = checkpoint(0).save(&path).unwrap_err();
        assert!(matches!(error, TrainError::Io { .. }));
        assert!(error.to_string().contains("gone/checkpoint-fine.safetensors"), "{error}");
    }

    #[test]
    fn what_a_killed_process_left_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = Checkpoint::path(folder.path(), "fine");
        std::fs::write(folder.path().join(".checkpoint-fine.safetensors.part"), vec![1; 100_000]).unwrap();
        checkpoint(1).save(&path).unwrap();
        assert_eq!(Checkpoint::load(&path, &Device::Cpu).unwrap().epoch(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
