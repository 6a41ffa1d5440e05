//! The tensors in a file of PyTorch's or in safetensors.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use super::archive;
use crate::{UnetError, weights};

/// The tensors of the state dict in the file at `path`, by name: safetensors if it ends so, else what
/// `torch.save` has written since PyTorch 1.6, at its top or under `key`. No code of the file's is run. The
/// checksums in the file are compared; tensors of types that no weights have (complex, quantized, `int32`)
/// are passed over.
///
/// # Errors
/// [`UnetError::Io`], [`UnetError::Format`] or [`UnetError::StateDict`] for a file that cannot be read, is damaged or is
/// something else, [`UnetError::NoTensors`] for one in which there is none; all name the file.
pub fn read_state_dict(path: &Path, key: Option<&str>) -> Result<HashMap<String, Tensor>, UnetError> {
    let tensors = if path.extension().is_some_and(|ending| ending == "safetensors") {
        weights::load(path, &Device::Cpu)?
    } else {
        // What the system refuses is told apart from what the file holds.
        let file =
            std::fs::File::open(path).map_err(|source| UnetError::Io { path: path.to_path_buf(), source })?;
        archive::read(file, key)
            .map_err(|source| UnetError::StateDict { path: path.to_path_buf(), source })?
    };
    if tensors.is_empty() {
        return Err(UnetError::NoTensors { path: path.to_path_buf() });
    }
    Ok(tensors)
}
