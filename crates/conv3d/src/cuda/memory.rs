//! The memory of a card.

use std::sync::Arc;

use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, sys};
use candle_core::{Device, Error, Result, bail};

/// Has the driver keep what is freed for this process, instead of giving it back each time the card has nothing to
/// do. Does nothing where the driver has no pool to keep it in.
///
/// # Errors
/// What the driver says; if `device` is no GPU.
pub(super) fn keep_freed_memory(device: &Device) -> Result<()> {
    let mut threshold = u64::MAX;
    // SAFETY: the attribute is a number of 64 bits, which the driver reads.
    with_pool(context(device)?.as_ref(), |pool| unsafe {
        let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        sys::cuMemPoolSetAttribute(pool, attribute, (&raw mut threshold).cast()).result()
    })?;
    Ok(())
}

/// Gives back what is kept between one piece of work and the next: cuDNN's workspace of this thread, and all that was
/// freed and that the driver keeps for this process. Waits until the card has done what it was asked for, by all
/// threads. For whoever found too little memory and tries again with less.
///
/// # Errors
/// What the driver says; if `device` is no GPU.
pub fn free_kept_memory(device: &Device) -> Result<()> {
    let context = context(device)?;
    #[cfg(feature = "cudnn")]
    super::cudnn::free_workspaces(context.ordinal());
    context.synchronize().map_err(Error::wrap)?;
    // SAFETY: it is a pool of the driver's.
    with_pool(&context, |pool| unsafe { sys::cuMemPoolTrimTo(pool, 0).result() })?;
    Ok(())
}

/// The most bytes that this process had in use on `device` at one time. Where the driver has no pool that would know,
/// what all processes have in use now.
///
/// # Errors
/// What the driver says; if `device` is no GPU.
pub fn peak_memory_bytes(device: &Device) -> Result<usize> {
    let context = context(device)?;
    let mut bytes = 0u64;
    // SAFETY: the attribute is a number of 64 bits, which the driver writes.
    let known = with_pool(&context, |pool| unsafe {
        let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;
        sys::cuMemPoolGetAttribute(pool, attribute, (&raw mut bytes).cast()).result()
    })?;
    if known.is_some() {
        return Ok(bytes as usize);
    }
    let (free, all) = context.mem_get_info().map_err(Error::wrap)?;
    Ok(all - free)
}

/// Bytes that this process can still have on `device`: what nobody uses, and what the driver keeps for it.
///
/// # Errors
/// What the driver says; if `device` is no GPU.
pub fn free_memory_bytes(device: &Device) -> Result<usize> {
    let context = context(device)?;
    let (free, _) = context.mem_get_info().map_err(Error::wrap)?;
    let (mut reserved, mut used) = (0u64, 0u64);
    // SAFETY: the attributes are numbers of 64 bits, which the driver writes.
    with_pool(&context, |pool| unsafe {
        use sys::CUmemPool_attribute_enum as Attribute;
        let reserved_now = Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT;
        sys::cuMemPoolGetAttribute(pool, reserved_now, (&raw mut reserved).cast()).result()?;
        let used_now = Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT;
        sys::cuMemPoolGetAttribute(pool, used_now, (&raw mut used).cast()).result()
    })?;
    Ok(free + reserved.saturating_sub(used) as usize)
}

fn context(device: &Device) -> Result<Arc<CudaContext>> {
    match device {
        Device::Cuda(device) => Ok(device.cuda_stream().context().clone()),
        _ => bail!("a device without a GPU's memory"),
    }
}

/// Calls `f` with the pool that memory comes from; nothing if it comes from none.
fn with_pool<R>(
    context: &CudaContext,
    f: impl FnOnce(sys::CUmemoryPool) -> std::result::Result<R, DriverError>,
) -> Result<Option<R>> {
    if !context.has_async_alloc() {
        return Ok(None);
    }
    let mut pool = std::ptr::null_mut();
    // SAFETY: the driver writes one pointer.
    unsafe { sys::cuDeviceGetDefaultMemPool(&raw mut pool, context.cu_device()).result() }
        .map_err(Error::wrap)?;
    f(pool).map(Some).map_err(Error::wrap)
}
