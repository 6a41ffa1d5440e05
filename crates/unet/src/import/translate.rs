//! From a file's names, shapes and number types to the network's.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::{NameMap, read_state_dict};
use crate::engine::Plan;
use crate::weights::check_tensor;
use crate::{UnetConfig, UnetError};

/// The tensors of a network of `config`, in `f32` and under its own names, from the file at `path`, in which
/// they are called as `map` says. Other floating-point numbers are converted.
///
/// # Errors
/// As [`read_state_dict`] and [`UnetConfig::check`]; [`UnetError::NameMap`] for a rule that makes no sense;
/// [`UnetError::MissingTensor`], [`UnetError::TensorShape`], [`UnetError::TensorType`] or
/// [`UnetError::NotFinite`] for the first tensor of the network that the file does not give, as
/// `their name → its name`; [`UnetError::UnknownTensor`] for the first one of the file that is left over.
pub fn import_weights(
    config: &UnetConfig,
    map: &NameMap,
    path: &Path,
) -> Result<HashMap<String, Tensor>, UnetError> {
    config.check()?;
    let found = read_state_dict(path, map.key.as_deref())?;
    let (mut tensors, mut used) = (HashMap::new(), HashSet::new());
    for spec in Plan::new(config).parameters.iter() {
        let theirs = map.theirs(config, &spec.name)?;
        let name = if theirs == spec.name { theirs.clone() } else { format!("{theirs} → {}", spec.name) };
        let tensor = match found.get(&theirs) {
            Some(tensor) if tensor.dtype().is_float() => tensor.to_dtype(DType::F32)?.contiguous()?,
            Some(tensor) => tensor.clone(),
            None if map.is_zero(config, &spec.name)? => {
                Tensor::zeros(spec.shape.as_slice(), DType::F32, &Device::Cpu)?
            }
            None => {
                let expected = spec.shape.clone();
                return Err(UnetError::MissingTensor { path: path.to_path_buf(), name, expected });
            }
        };
        check_tensor(&name, &tensor, &spec.shape, DType::F32, path)?;
        tensors.insert(spec.name.clone(), tensor);
        used.insert(theirs);
    }
    let mut rest: Vec<&String> = found.keys().filter(|name| !used.contains(*name)).collect();
    rest.sort();
    for name in rest {
        if !map.is_ignored(name) {
            return Err(UnetError::UnknownTensor { path: path.to_path_buf(), name: name.clone() });
        }
    }
    Ok(tensors)
}
