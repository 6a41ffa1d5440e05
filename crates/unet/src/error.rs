//! What can go wrong in building a network or reading its weights.

use std::path::PathBuf;

use thiserror::Error;

use crate::import::StateDictError;

/// What can go wrong in building a network or reading its weights.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum UnetError {
    /// A configuration that describes no network.
    #[error("network configuration: {field} is {found}, expected {expected}")]
    Config { field: &'static str, found: String, expected: &'static str },
    /// A configuration that describes no loss.
    #[error("loss configuration: {field} is {found}, expected {expected}")]
    LossConfig { field: &'static str, found: String, expected: String },
    /// A weights file without one of the network's tensors.
    #[error("{path}: tensor `{name}` is missing, expected one of shape {expected:?}", path = path.display())]
    MissingTensor { path: PathBuf, name: String, expected: Vec<usize> },
    /// A weights file with a tensor of another shape.
    #[error("{path}: tensor `{name}` has shape {found:?}, expected {expected:?}", path = path.display())]
    TensorShape { path: PathBuf, name: String, found: Vec<usize>, expected: Vec<usize> },
    /// A weights file with a tensor of another number type.
    #[error("{path}: tensor `{name}` holds {found}, expected {expected}", path = path.display())]
    TensorType { path: PathBuf, name: String, found: String, expected: String },
    /// A weights file with a tensor that the network does not have: it belongs to another network.
    #[error("{path}: tensor `{name}` is not one of this network's", path = path.display())]
    UnknownTensor { path: PathBuf, name: String },
    /// A weight that is NaN or infinite.
    #[error("{path}: tensor `{name}` holds values that are not finite", path = path.display())]
    NotFinite { path: PathBuf, name: String },
    /// A file that is no safetensors file, or a damaged one.
    #[error("{path}: not a valid safetensors file: {source}", path = path.display())]
    Format { path: PathBuf, source: safetensors::SafeTensorError },
    /// A file that is no state dict of PyTorch's.
    #[error("{path}: not a readable PyTorch state dict: {source}", path = path.display())]
    StateDict { path: PathBuf, source: StateDictError },
    /// A file without tensors where they were looked for.
    #[error("{path}: holds no tensors, expected a state dict at its top or under the key that the name map has", path = path.display())]
    NoTensors { path: PathBuf },
    /// A name map that is no TOML, or has fields that there are not.
    #[error("name map: {0}")]
    NameMapFormat(#[source] Box<toml::de::Error>),
    /// Rules for names that make no sense.
    #[error("name map: `{pattern}`: {reason}")]
    NameMap { pattern: String, reason: String },
    /// The operating system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A tensor operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
