//! Tensors on a card, as kernels take and give them.

use std::ops::Deref;

use candle_core::cuda_backend::CudaDevice;
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Layout, Result, Shape, Storage, Tensor, bail};

use super::Read;
use crate::cuda::Stored;
use crate::cuda::last::Partials;

/// The memory of a tensor on a card.
pub(super) fn cuda(storage: &Storage) -> Result<&CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => bail!("a tensor on another device came to an operation on a GPU"),
    }
}

/// Calls `with` with the memory of `tensor` on the card.
pub(super) fn on_card<R>(tensor: &Tensor, with: impl FnOnce(Stored<'_>) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    with((cuda(&storage)?, layout))
}

/// A tensor of what a kernel made.
pub(super) fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// Sums as [`norm_read`](super::norm_read) takes them, of so many samples and channels.
pub(super) fn sums(partials: Partials, [samples, channels]: [usize; 2], device: &CudaDevice) -> Tensor {
    let storage = CudaStorage::wrap_cuda_slice(partials.sums, device.clone());
    tensor(storage, (samples, partials.pieces, channels, 2))
}

/// The terms and the slope of a [`Read`], held by a lock of candle's.
pub(super) struct HeldRead<'a, Lock> {
    terms: (Lock, &'a Layout),
    slope: f64,
}

pub(super) fn held(read: &Read) -> HeldRead<'_, impl Deref<Target = Storage>> {
    HeldRead { terms: read.terms.storage_and_layout(), slope: read.slope }
}

impl<Lock: Deref<Target = Storage>> HeldRead<'_, Lock> {
    /// As kernels take them.
    pub(super) fn stored(&self) -> Result<(Stored<'_>, f64)> {
        Ok(((cuda(&self.terms.0)?, self.terms.1), self.slope))
    }
}
