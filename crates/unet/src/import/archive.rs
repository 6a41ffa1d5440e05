//! The zip archive that `torch.save` writes: `NAME/data.pkl` says which tensors there are, `NAME/data/KEY`
//! holds the numbers of one storage.
//!
//! Each entry is read to its end, where its checksum is compared. What the pickle says of a tensor is checked
//! against its storage before anything is allocated.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};

use candle_core::{DType, Device, Tensor};
use thiserror::Error;
use zip::ZipArchive;

use super::pickle::{Id, MAX_BYTES, Pickle, Value};

/// The tensors together may take so many times the bytes of the file: those that share a storage are read
/// each by itself.
const MOST_SHARED: u64 = 4;

/// No layer's weights have as many axes.
const MOST_AXES: usize = 16;

/// Why a file is no state dict of PyTorch's that can be read.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum StateDictError {
    /// No zip archive, or one whose directory is damaged.
    #[error("not an archive as torch.save has written since PyTorch 1.6: {source}")]
    Archive { source: std::io::Error },
    /// An archive of something else.
    #[error("the archive has no data.pkl, expected what torch.save writes")]
    NoPickle,
    /// An entry that is damaged or missing.
    #[error("entry {entry}: {source}")]
    Entry { entry: String, source: std::io::Error },
    /// The numbers of a tensor are damaged or missing.
    #[error("tensor `{tensor}`, entry {entry}: {source}")]
    Storage { tensor: String, entry: String, source: std::io::Error },
    /// Numbers with their bytes in the other order.
    #[error("the byte order is {found}, expected little")]
    ByteOrder { found: String },
    /// A description of the tensors that is damaged or of another form.
    #[error("entry {entry}, byte {at}: {reason}")]
    Pickle { entry: String, at: usize, reason: String },
    /// No state dict where it was looked for.
    #[error("key {key} not found")]
    NoKey { key: String },
    /// A tensor that cannot be as it is described.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor { tensor: String, reason: String },
    /// Tensors of more bytes than the file can mean.
    #[error("the tensors take {found} bytes, expected at most {expected} in a file of this size")]
    TooLarge { found: u64, expected: u64 },
}

/// The tensors in `file`, by name.
pub(super) fn read(file: File, key: Option<&str>) -> Result<HashMap<String, Tensor>, StateDictError> {
    let archive = |source| StateDictError::Archive { source };
    let file_bytes = file.metadata().map_err(archive)?.len();
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| archive(error.into()))?;
    let name = zip.file_names().flatten().find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
    let name = name.ok_or(StateDictError::NoPickle)?.into_owned();
    let root = name.strip_suffix("data.pkl").expect("it ends so").to_string();
    check_byte_order(&mut zip, &format!("{root}byteorder"))?;
    let entry = |source| StateDictError::Entry { entry: name.clone(), source };
    let bytes = read_entry(&mut zip, &name, MAX_BYTES).map_err(entry)?;
    let pickle = Pickle::read(&bytes).map_err(|(at, reason)| StateDictError::Pickle {
        entry: name.clone(),
        at,
        reason,
    })?;
    let tensors = described(&pickle, key)?;
    let found = tensors.values().fold(0, |sum: u64, tensor| sum.saturating_add(tensor.bytes));
    let expected = file_bytes.saturating_mul(MOST_SHARED);
    if found > expected {
        return Err(StateDictError::TooLarge { found, expected });
    }
    let mut by_storage: BTreeMap<String, Vec<(String, Described)>> = BTreeMap::new();
    for (name, tensor) in tensors {
        by_storage.entry(format!("{root}data/{}", tensor.storage)).or_default().push((name, tensor));
    }
    let mut read = HashMap::new();
    for (entry, tensors) in by_storage {
        let bytes = read_entry(&mut zip, &entry, file_bytes).map_err(|source| StateDictError::Storage {
            tensor: tensors[0].0.clone(),
            entry: entry.clone(),
            source,
        })?;
        for (name, tensor) in tensors {
            let made = tensor.tensor(&bytes);
            let made = made.map_err(|reason| StateDictError::Tensor { tensor: name.clone(), reason })?;
            read.insert(name, made);
        }
    }
    Ok(read)
}

/// Files of before PyTorch 2.1 have no such record: they are of the machine's order, which was little.
fn check_byte_order(zip: &mut ZipArchive<BufReader<File>>, entry: &str) -> Result<(), StateDictError> {
    if zip.index_for_name(entry).is_none() {
        return Ok(());
    }
    let found = read_entry(zip, entry, 16)
        .map_err(|source| StateDictError::Entry { entry: entry.to_string(), source })?;
    match found.as_slice() {
        b"little" => Ok(()),
        _ => Err(StateDictError::ByteOrder { found: String::from_utf8_lossy(&found).into_owned() }),
    }
}

/// All of `entry`, which fits its checksum.
fn read_entry(
    zip: &mut ZipArchive<BufReader<File>>,
    entry: &str,
    max_bytes: u64,
) -> Result<Vec<u8>, std::io::Error> {
    let mut bytes = Vec::new();
    // The checksum is compared where the entry ends, which a reader meets one byte further.
    zip.by_name(entry)?.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        let message = format!("more than {max_bytes} bytes, expected at most so many");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// What the pickle says of a tensor.
struct Described {
    dtype: DType,
    /// The entry with its numbers.
    storage: String,
    /// In numbers, from the storage's beginning.
    offset: usize,
    size: Vec<usize>,
    stride: Vec<usize>,
    /// Of the tensor alone.
    bytes: u64,
}

/// The tensors that `pickle` has at its top, or under `key`.
fn described(pickle: &Pickle, key: Option<&str>) -> Result<BTreeMap<String, Described>, StateDictError> {
    let mut top = pickle.top();
    if let Value::Built(object, state) = *top
        && let Value::Call(class, _) = *pickle.value(object)
        && *pickle.value(class) == Value::Global("__torch__", "Module")
    {
        top = pickle.value(state);
    }
    if let (Some(key), Value::Dict(items)) = (key, top) {
        let item = items.iter().rev().find(|(name, _)| *pickle.value(*name) == Value::Text(key));
        top = pickle.value(item.ok_or_else(|| StateDictError::NoKey { key: key.to_string() })?.1);
    }
    let mut tensors = BTreeMap::new();
    let Value::Dict(items) = top else { return Ok(tensors) };
    for &(name, value) in items {
        let Value::Text(name) = *pickle.value(name) else { continue };
        let described = Described::of(pickle, value)
            .map_err(|reason| StateDictError::Tensor { tensor: name.to_string(), reason })?;
        if let Some(described) = described {
            tensors.insert(name.to_string(), described);
        }
    }
    Ok(tensors)
}

impl Described {
    /// What `pickle` says of the tensor `id`; nothing if it is none, or one of a type that is passed over.
    fn of(pickle: &Pickle, id: Id) -> Result<Option<Self>, String> {
        let (mut callable, mut arguments) = match *pickle.value(id) {
            Value::Call(callable, arguments) => (callable, arguments),
            _ => return Ok(None),
        };
        match *pickle.value(callable) {
            Value::Global("torch._tensor", "_rebuild_from_type_v2") => {
                let [function, _, inner] = first(pickle, arguments, "_rebuild_from_type_v2")?;
                (callable, arguments) = (function, inner);
            }
            Value::Global("torch._utils", "_rebuild_parameter") => {
                let [data] = first(pickle, arguments, "_rebuild_parameter")?;
                let Value::Call(function, inner) = *pickle.value(data) else { return Ok(None) };
                (callable, arguments) = (function, inner);
            }
            _ => {}
        }
        if *pickle.value(callable) != Value::Global("torch._utils", "_rebuild_tensor_v2") {
            return Ok(None);
        }
        let [storage, offset, size, stride] = first(pickle, arguments, "_rebuild_tensor_v2")?;
        let Value::Persistent(storage) = *pickle.value(storage) else {
            return Err("without a storage".to_string());
        };
        let [_, class, key] = first(pickle, storage, "a storage")?;
        let (Value::Global(_, class), Value::Text(key)) = (pickle.value(class), pickle.value(key)) else {
            return Err("a storage without type and key".to_string());
        };
        let Some(dtype) = dtype_of(class) else { return Ok(None) };
        let offset = size_of(pickle, offset)?;
        let [size, stride] = [sizes_of(pickle, size)?, sizes_of(pickle, stride)?];
        if size.len() != stride.len() {
            return Err(format!("sizes {size:?} with strides {stride:?}, expected as many of both"));
        }
        // Zeros come last: who multiplies in order must not go beyond what a number holds before them.
        let bytes = size.iter().try_fold(dtype.size_in_bytes(), |bytes, &n| bytes.checked_mul(n.max(1)));
        let bytes = bytes.ok_or_else(|| format!("sizes {size:?}, whose product is too large"))? as u64;
        let bytes = if size.contains(&0) { 0 } else { bytes };
        Ok(Some(Self { dtype, storage: key.to_string(), offset, size, stride, bytes }))
    }

    /// The tensor, whose storage is `bytes`.
    fn tensor(&self, bytes: &[u8]) -> Result<Tensor, String> {
        let width = self.dtype.size_in_bytes();
        let count = self.bytes as usize / width;
        let numbers = bytes.len() / width;
        // One behind the last number that the tensor takes.
        let end = if count == 0 {
            Some(self.offset)
        } else {
            let steps = self.size.iter().zip(&self.stride).map(|(&n, &stride)| (n - 1).checked_mul(stride));
            steps.chain([Some(1)]).try_fold(self.offset, |end, step| end.checked_add(step?))
        };
        if count > numbers || end.is_none_or(|end| end > numbers) {
            let Self { size, stride, offset, .. } = self;
            return Err(format!(
                "sizes {size:?} with strides {stride:?} from number {offset} on do not fit its storage of {numbers} numbers"
            ));
        }
        let gathered;
        let own = if count == 0 {
            &[]
        } else if self.is_contiguous() {
            &bytes[self.offset * width..][..count * width]
        } else {
            gathered = self.gather(bytes, count);
            gathered.as_slice()
        };
        Tensor::from_raw_buffer(own, self.dtype, &self.size, &Device::Cpu).map_err(|error| error.to_string())
    }

    /// Whether the numbers lie in the order of the axes, without gaps.
    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.size.iter().zip(&self.stride).rev().all(|(&n, &stride)| {
            let fits = n <= 1 || stride == expected;
            expected *= n;
            fits
        })
    }

    /// The `count` numbers in the order of the axes, out of a storage that has them all.
    fn gather(&self, bytes: &[u8], count: usize) -> Vec<u8> {
        let width = self.dtype.size_in_bytes();
        let mut gathered = Vec::with_capacity(count * width);
        for number in 0..count {
            let (mut rest, mut at) = (number, self.offset);
            for (&n, &stride) in self.size.iter().zip(&self.stride).rev() {
                at += rest % n * stride;
                rest /= n;
            }
            gathered.extend_from_slice(&bytes[at * width..][..width]);
        }
        gathered
    }
}

/// The first `N` arguments of `what`.
fn first<const N: usize>(pickle: &Pickle, arguments: Id, what: &str) -> Result<[Id; N], String> {
    let found = match pickle.value(arguments) {
        Value::Tuple(items) => items.as_slice(),
        _ => &[],
    };
    match found.first_chunk() {
        Some(first) => Ok(*first),
        None => Err(format!("{what} has {} arguments, expected at least {N}", found.len())),
    }
}

fn size_of(pickle: &Pickle, id: Id) -> Result<usize, String> {
    match *pickle.value(id) {
        Value::Integer(value) => {
            usize::try_from(value).map_err(|_| format!("a size of {value}, expected 0 or more"))
        }
        _ => Err("a size that is no integer".to_string()),
    }
}

fn sizes_of(pickle: &Pickle, id: Id) -> Result<Vec<usize>, String> {
    match pickle.value(id) {
        Value::Tuple(items) if items.len() > MOST_AXES => {
            Err(format!("{} axes, expected at most {MOST_AXES}", items.len()))
        }
        Value::Tuple(items) => items.iter().map(|&item| size_of(pickle, item)).collect(),
        _ => Err("sizes that are no tuple".to_string()),
    }
}

fn dtype_of(class: &str) -> Option<DType> {
    match class {
        "FloatStorage" => Some(DType::F32),
        "DoubleStorage" => Some(DType::F64),
        "HalfStorage" => Some(DType::F16),
        "BFloat16Storage" => Some(DType::BF16),
        "ByteStorage" => Some(DType::U8),
        "LongStorage" => Some(DType::I64),
        _ => None,
    }
}
