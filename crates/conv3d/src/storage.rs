//! From candle's storage to slices and back.

use candle_core::{CpuStorage, Layout, Result, Shape, WithDType, bail};

/// The values of a contiguous tensor; the public functions see to it that tensors are.
pub(crate) fn values<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let all = storage.as_slice::<T>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&all[start..end]),
        None => bail!("a tensor that is not contiguous came to a 3D operation"),
    }
}

/// Values as what an operation returns.
pub(crate) fn result<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((T::to_cpu_storage_owned(values), shape.into()))
}

/// The five sizes of `layout`, or an error that names the operation.
pub(crate) fn five(layout: &Layout, op: &str, what: &str) -> Result<[usize; 5]> {
    match layout.dims().try_into() {
        Ok(dims) => Ok(dims),
        Err(_) => bail!("{op}: {what} has shape {:?}, expected five axes (N, C, D, H, W)", layout.dims()),
    }
}

/// Calls a function generic in the number type with that of `$storage`.
macro_rules! by_type {
    ($op:literal, $storage:expr, $function:ident($($argument:expr),* $(,)?)) => {{
        use candle_core::backend::BackendStorage;
        match $storage.dtype() {
            candle_core::DType::F32 => $function::<f32>($($argument),*),
            candle_core::DType::F64 => $function::<f64>($($argument),*),
            other => candle_core::bail!(concat!($op, ": numbers of type {:?}, expected F32 or F64"), other),
        }
    }};
}
pub(crate) use by_type;

/// A number type whose storage can be changed in place.
pub(crate) trait InPlace: WithDType {
    /// The numbers of a storage of this type.
    fn all(storage: &mut CpuStorage) -> Result<&mut [Self]>;
}

macro_rules! in_place {
    ($type:ty, $variant:ident) => {
        impl InPlace for $type {
            fn all(storage: &mut CpuStorage) -> Result<&mut [Self]> {
                match storage {
                    CpuStorage::$variant(values) => Ok(values),
                    _ => bail!(concat!("numbers of another type than ", stringify!($variant))),
                }
            }
        }
    };
}

in_place!(f32, F32);
in_place!(f64, F64);
