//! Tensors on a card, as kernels take and give them.

use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Result, Shape, Storage, Tensor, bail};

use crate::cuda::Stored;

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
