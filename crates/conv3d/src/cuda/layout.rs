//! From wide numbers with the channels first to those between layers with the channels last, and back.

use candle_core::cuda_backend::CudaDType;
use candle_core::{CudaStorage, Result};

use super::kernels::{for_each, kernel, launch};
use super::number::CudaNumber;
use super::{Stored, room, values};

/// (O, C, K) as (O, K, C), in numbers of type T.
pub(crate) fn last_from_first<T: CudaNumber>(
    from: Stored<'_>,
    [outer, channels, inner]: [usize; 3],
) -> Result<CudaStorage> {
    let device = from.0.device.clone();
    let count = outer * channels * inner;
    let mut out = room::<T>(&device, count)?;
    if count > 0 {
        let from = values::<T::Wide>(from)?;
        let (outer, channels, inner) = (outer as i64, channels as i64, inner as i64);
        // SAFETY: both have `count` numbers, as the caller checked of the one; the arguments are those of the kernel, in
        // its order.
        unsafe {
            let kernel = kernel::<T>(&device, "last_from_first")?;
            launch!(kernel, for_each(count), [&from, &mut out, &outer, &channels, &inner])?;
        }
    }
    Ok(T::wrap_cuda_slice(out, device))
}

/// (O, K, C) as (O, C, K), in wide numbers.
pub(crate) fn first_from_last<T: CudaNumber>(
    from: Stored<'_>,
    [outer, channels, inner]: [usize; 3],
) -> Result<CudaStorage> {
    let device = from.0.device.clone();
    let count = outer * channels * inner;
    let mut out = room::<T::Wide>(&device, count)?;
    if count > 0 {
        let from = values::<T>(from)?;
        let (outer, channels, inner) = (outer as i64, channels as i64, inner as i64);
        // SAFETY: as above.
        unsafe {
            let kernel = kernel::<T>(&device, "first_from_last")?;
            launch!(kernel, for_each(count), [&from, &mut out, &outer, &channels, &inner])?;
        }
    }
    Ok(T::Wide::wrap_cuda_slice(out, device))
}
