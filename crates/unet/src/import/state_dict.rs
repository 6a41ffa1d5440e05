//! The tensors in a file of PyTorch's or in safetensors.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor, pickle};

use crate::{UnetError, weights};

/// The tensors of the state dict in the file at `path`, by name: safetensors if it ends so, else what
/// `torch.save` has written since PyTorch 1.6, at its top or under `key`. No code of the file's is run.
///
/// # Errors
/// [`UnetError::Io`], [`UnetError::Format`] or [`UnetError::StateDict`] for a file that cannot be read or is
/// something else, [`UnetError::NoTensors`] for one in which there is none; all name the file.
pub fn read_state_dict(path: &Path, key: Option<&str>) -> Result<HashMap<String, Tensor>, UnetError> {
    let tensors = if path.extension().is_some_and(|ending| ending == "safetensors") {
        weights::load(path, &Device::Cpu)?
    } else {
        // What the system refuses is told apart from what the file holds.
        std::fs::File::open(path).map_err(|source| UnetError::Io { path: path.to_path_buf(), source })?;
        pickle::read_all_with_key(path, key)
            .map_err(|source| UnetError::StateDict { path: path.to_path_buf(), source })?
            .into_iter()
            .collect()
    };
    if tensors.is_empty() {
        return Err(UnetError::NoTensors { path: path.to_path_buf() });
    }
    Ok(tensors)
}
