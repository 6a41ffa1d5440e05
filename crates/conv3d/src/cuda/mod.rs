//! The operations on NVIDIA GPUs, with the feature `cuda`.
//!
//! Convolutions go to cuDNN with the feature `cudnn`, and otherwise to plain kernels that are right and slow.
//! Everything else is done by the kernels in `kernels/`, which NVRTC compiles for the card at hand when one of them
//! is first used: a program needs no compiler where it runs, and no card where it is built. Numbers are `f32`, `f64`,
//! `f16` or `bf16`; the latter two are computed with in `f32`, and the sums of the threads of a norm are joined in
//! `f64`. No kernel of ours adds by atomics, so that the same input gives the same bits. Of cuDNN's algorithms those
//! that do so come first; when there is no memory for one, or cuDNN refuses it, another is taken and the last digits
//! may be others.
//!
//! # Threads
//!
//! A [`device()`] has one stream: all threads' work on it is done in the order in which it was asked for, so that tensors may
//! go from one thread to another. Of candle's own `Device::new_cuda` each thread has a stream, and nothing orders those: events
//! are recorded of all memory, which takes more time than small operations do, and nothing waits for them.
//!
//! # What is kept
//!
//! Loaded kernels are kept for each device that candle made, to the end of the process; cuDNN's handle, its choices
//! and its workspace for each such device and each thread that used it, to the end of the thread. None of it is
//! dropped with the device: make one device for a card and keep it. [`free_kept_memory`] frees what is large of it.

mod architecture;
mod cards;
mod convolution;
#[cfg(feature = "cudnn")]
mod cudnn;
mod device;
mod ends;
mod fallback;
pub(crate) mod first_layer;
pub(crate) mod head;
mod kernels;
pub(crate) mod last;
pub(crate) mod layout;
mod lists;
pub mod losses;
mod memory;
mod norm;
mod number;
mod pooling;
mod release;
pub(crate) mod tensor_cores;
mod upsampling;

#[cfg(feature = "cudnn")]
pub use cards::cudnn_version;
pub use cards::{Card, cards, driver_version};
pub(crate) use convolution::{Order, forward, input_gradient, weight_gradient};
#[cfg(feature = "cudnn")]
pub use cudnn::allow_tf32;
pub use device::device;
pub use fallback::without_cudnn;
pub use lists::{MOST_CONSTANTS, MOST_TENSORS, Rule, change_all, sum_of_squares};
pub use memory::{free_kept_memory, free_memory_bytes, peak_memory_bytes};
pub(crate) use norm::{Norm, norm, norm_gradient};
pub(crate) use number::{CudaNumber, by_cuda_type};
pub(crate) use pooling::{Windows, pool, pool_gradient};
pub use release::driver_release;
pub(crate) use upsampling::{Upsampling, upsample, upsample_gradient};

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaStorage, DType, Layout, Result, bail};

/// Memory for `count` numbers that holds anything.
pub(crate) fn uninitialized(device: &CudaDevice, number: DType, count: usize) -> Result<CudaStorage> {
    fn of<T: CudaNumber>(device: &CudaDevice, count: usize) -> Result<CudaStorage> {
        Ok(T::wrap_cuda_slice(room::<T>(device, count)?, device.clone()))
    }
    match number {
        DType::F32 => of::<f32>(device, count),
        DType::F64 => of::<f64>(device, count),
        DType::F16 => of::<half::f16>(device, count),
        DType::BF16 => of::<half::bf16>(device, count),
        other => bail!("numbers of type {other:?} on a GPU, expected F32, F64, F16 or BF16"),
    }
}

/// Memory for `count` numbers that holds anything: for one if there are none, as a driver need not give memory of no
/// bytes.
fn room<T: CudaNumber>(device: &CudaDevice, count: usize) -> Result<CudaSlice<T>> {
    // SAFETY: these are numbers, for which any bits are values.
    unsafe { device.alloc::<T>(count.max(1)) }
}

/// Memory for `count` zeros; for one if there are none, as [`room`].
fn zeros<T: CudaNumber>(device: &CudaDevice, count: usize) -> Result<CudaSlice<T>> {
    device.alloc_zeros::<T>(count.max(1))
}

/// A tensor on the card.
pub(crate) type Stored<'a> = (&'a CudaStorage, &'a Layout);

/// The values of a contiguous tensor; the public functions see to it that tensors are.
pub(crate) fn values<'a, T: CudaNumber>((storage, layout): Stored<'a>) -> Result<CudaView<'a, T>> {
    let all = T::as_cuda_slice(storage)?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(all.slice(start..end)),
        None => bail!("a tensor that is not contiguous came to a 3D operation"),
    }
}
