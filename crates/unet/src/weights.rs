//! Weights on disk, as safetensors.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarMap;
use safetensors::SafeTensors;
use safetensors::tensor::serialize;

use crate::engine::Plan;
use crate::{UnetConfig, UnetError};

/// Writes `tensors` to `path` as safetensors with `metadata` in the header: to a temporary file in the
/// same folder first, then renamed, so that `path` is never half-written.
///
/// # Errors
/// [`UnetError::Io`] if the folder cannot be written, [`UnetError::Candle`] if a tensor cannot be read.
pub fn save(
    tensors: &HashMap<String, Tensor>,
    metadata: Option<HashMap<String, String>>,
    path: &Path,
) -> Result<(), UnetError> {
    let bytes = serialize(tensors, metadata)
        .map_err(|source| UnetError::Format { path: path.to_path_buf(), source })?;
    write_and_rename(path, &bytes).map_err(|source| UnetError::Io { path: path.to_path_buf(), source })
}

/// Reads every tensor of the safetensors file at `path`.
///
/// # Errors
/// [`UnetError::Io`] or [`UnetError::Format`], naming the file.
pub fn load(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>, UnetError> {
    let bytes = std::fs::read(path).map_err(|source| UnetError::Io { path: path.to_path_buf(), source })?;
    SafeTensors::deserialize(&bytes)
        .map_err(|source| UnetError::Format { path: path.to_path_buf(), source })?;
    Ok(candle_core::safetensors::load_buffer(&bytes, device)?)
}

/// The metadata in the header of the safetensors file at `path`; empty if there is none.
///
/// # Errors
/// [`UnetError::Io`] or [`UnetError::Format`], naming the file.
pub fn metadata(path: &Path) -> Result<HashMap<String, String>, UnetError> {
    let bytes = std::fs::read(path).map_err(|source| UnetError::Io { path: path.to_path_buf(), source })?;
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .map_err(|source| UnetError::Format { path: path.to_path_buf(), source })?;
    Ok(header.metadata().clone().unwrap_or_default())
}

/// The values of `variables` now, by name: copies, cut off from the graph, that later steps leave alone.
///
/// # Errors
/// [`UnetError::Candle`] if a tensor cannot be copied.
pub fn tensors_of(variables: &VarMap) -> Result<HashMap<String, Tensor>, UnetError> {
    let data = variables.data().lock().expect("no thread panicked while holding the variables");
    data.iter().map(|(name, variable)| Ok((name.clone(), variable.as_detached_tensor().copy()?))).collect()
}

/// Checks that `found`, read from `path`, holds just the tensors of `expected` with the same shapes and
/// types and finite values.
///
/// # Errors
/// The first disagreement in the order of the names, naming the file and the tensor.
pub fn check(
    found: &HashMap<String, Tensor>,
    expected: &HashMap<String, Tensor>,
    path: &Path,
) -> Result<(), UnetError> {
    let specs = expected.iter().map(|(name, tensor)| (name.as_str(), (tensor.dims(), tensor.dtype())));
    check_specs(found, &specs.collect(), path)
}

/// Checks that `found`, read from `path`, holds just the tensors in `f32` that a network of `config` has, without making
/// one: what a file of settings asks for may be larger than the machine.
///
/// # Errors
/// As [`UnetConfig::check`] and [`check`].
pub fn check_network(
    found: &HashMap<String, Tensor>,
    config: &UnetConfig,
    path: &Path,
) -> Result<(), UnetError> {
    config.check()?;
    let plan = Plan::new(config);
    let specs = plan.parameters.iter().map(|spec| (spec.name.as_str(), (spec.shape.as_slice(), DType::F32)));
    check_specs(found, &specs.collect(), path)
}

/// [`check`] against names, shapes and types.
fn check_specs(
    found: &HashMap<String, Tensor>,
    expected: &BTreeMap<&str, (&[usize], DType)>,
    path: &Path,
) -> Result<(), UnetError> {
    for (&name, &(shape, dtype)) in expected {
        let Some(tensor) = found.get(name) else {
            let (path, name, expected) = (path.to_path_buf(), name.to_string(), shape.to_vec());
            return Err(UnetError::MissingTensor { path, name, expected });
        };
        check_tensor(name, tensor, shape, dtype, path)?;
    }
    let mut extra: Vec<_> = found.keys().filter(|name| !expected.contains_key(name.as_str())).collect();
    extra.sort();
    match extra.first() {
        Some(name) => Err(UnetError::UnknownTensor { path: path.to_path_buf(), name: (*name).clone() }),
        None => Ok(()),
    }
}

/// Checks shape, number type and values of `tensor`, called `name` in `path`.
pub(crate) fn check_tensor(
    name: &str,
    tensor: &Tensor,
    shape: &[usize],
    dtype: DType,
    path: &Path,
) -> Result<(), UnetError> {
    let (path, name) = (|| path.to_path_buf(), name.to_string());
    if tensor.dims() != shape {
        let (found, expected) = (tensor.dims().to_vec(), shape.to_vec());
        return Err(UnetError::TensorShape { path: path(), name, found, expected });
    }
    if tensor.dtype() != dtype {
        let (found, expected) = (tensor.dtype().as_str().into(), dtype.as_str().into());
        return Err(UnetError::TensorType { path: path(), name, found, expected });
    }
    // A sum over |x| is finite only if every x is.
    let sum = tensor.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
    if !sum.is_finite() {
        return Err(UnetError::NotFinite { path: path(), name });
    }
    Ok(())
}

/// Sets `variables` to the weights in the file at `path`, which must be of the same network.
///
/// # Errors
/// As [`load`] and [`check`]; the variables are unchanged then.
pub fn load_into(variables: &VarMap, path: &Path) -> Result<(), UnetError> {
    let current = tensors_of(variables)?;
    let device = current.values().next().map_or(Device::Cpu, |tensor| tensor.device().clone());
    let found = load(path, &device)?;
    check(&found, &current, path)?;
    let data = variables.data().lock().expect("no thread panicked while holding the variables");
    for (name, variable) in data.iter() {
        variable.set(&found[name])?;
    }
    Ok(())
}

fn write_and_rename(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".organseg-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies on top: the file comes out as any other, not private as temporaries are.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    let written: File = file.persist(path).map_err(|error| error.error)?;
    drop(written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Unet3d, UnetConfig, initialize};
    use candle_nn::VarBuilder;

    fn variables(channels: Vec<usize>, seed: u64) -> VarMap {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        Unet3d::new(&UnetConfig::new(1, 2).with_channels(channels), vb).unwrap();
        initialize(&variables, seed).unwrap();
        variables
    }

    fn bits(variables: &VarMap) -> Vec<(String, Vec<u32>)> {
        let mut all: Vec<_> = tensors_of(variables)
            .unwrap()
            .into_iter()
            .map(|(name, t)| {
                let values: Vec<f32> = t.flatten_all().unwrap().to_vec1().unwrap();
                (name, values.into_iter().map(f32::to_bits).collect())
            })
            .collect();
        all.sort();
        all
    }

    #[test]
    fn weights_survive_the_disk_and_the_metadata_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let saved = variables(vec![2, 3], 7);
        let card = HashMap::from([("seed".to_string(), "7".to_string())]);
        save(&tensors_of(&saved).unwrap(), Some(card.clone()), &path).unwrap();
        let loaded = variables(vec![2, 3], 8);
        assert_ne!(bits(&saved), bits(&loaded));
        load_into(&loaded, &path).unwrap();
        assert_eq!(bits(&saved), bits(&loaded));
        assert_eq!(metadata(&path).unwrap(), card);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_missing_and_a_misshapen_tensor_are_named_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let net = variables(vec![2, 3], 7);
        let mut tensors = tensors_of(&net).unwrap();
        tensors.remove("head.bias");
        save(&tensors, None, &path).unwrap();
        let message = load_into(&net, &path).unwrap_err().to_string();
        assert!(message.contains("net.safetensors: tensor `head.bias` is missing"), "{message}");

        tensors.insert("head.bias".into(), Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap());
        save(&tensors, None, &path).unwrap();
        let message = load_into(&net, &path).unwrap_err().to_string();
        assert!(message.contains("`head.bias` has shape [5], expected [2]"), "{message}");

        let message = load_into(&variables(vec![2], 7), &path).unwrap_err().to_string();
        assert!(message.contains("head.bias"), "{message}");
    }

    #[test]
    fn a_truncated_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let net = variables(vec![2], 7);
        save(&tensors_of(&net).unwrap(), None, &path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let message = load_into(&net, &path).unwrap_err().to_string();
        assert!(message.contains("net.safetensors: not a valid safetensors file"), "{message}");
    }
}
