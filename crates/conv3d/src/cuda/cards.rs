//! The cards of this machine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda_backend::cudarc::driver::{CudaContext, DriverError, result, sys};

/// The contexts of the cards that were asked for: to make one takes a good part of a second, and to destroy it would
/// take it from under whoever works with the card without having said so.
static CONTEXTS: Mutex<BTreeMap<usize, Arc<CudaContext>>> = Mutex::new(BTreeMap::new());

/// An NVIDIA GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its number, as in `cuda:0`.
    pub number: usize,
    /// What it is called.
    pub name: String,
    /// Compute capability, such as (9, 0).
    pub capability: (i32, i32),
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes of memory that nobody uses.
    pub free_memory: usize,
}

/// The cards that the driver knows, by their numbers; for a card that cannot be worked with, because it is broken or
/// another program has it for itself, what the driver says of it.
///
/// A context is made on each, to ask how much memory is free, and stays to the end of the process (some hundred
/// megabytes of the card's memory; that of the device that candle makes of the card is the same one).
///
/// # Errors
/// What the driver says, above all where there is none.
pub fn cards() -> Result<Vec<Result<Card, DriverError>>, DriverError> {
    result::init()?;
    Ok((0..CudaContext::device_count()?.max(0) as usize).map(card).collect())
}

fn card(number: usize) -> Result<Card, DriverError> {
    let context = context(number)?;
    let (free_memory, memory) = context.mem_get_info()?;
    Ok(Card { number, name: context.name()?, capability: context.compute_capability()?, memory, free_memory })
}

fn context(number: usize) -> Result<Arc<CudaContext>, DriverError> {
    let mut all = CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = all.get(&number) {
        return Ok(context.clone());
    }
    let context = CudaContext::new(number)?;
    all.insert(number, context.clone());
    Ok(context)
}

/// Newest version of CUDA that the driver supports, such as (13, 0).
///
/// # Errors
/// What the driver says.
pub fn driver_version() -> Result<(i32, i32), DriverError> {
    let mut version = 0;
    // SAFETY: the driver writes one number.
    unsafe { sys::cuDriverGetVersion(&raw mut version).result()? };
    Ok((version / 1000, version % 1000 / 10))
}

/// Version of cuDNN, such as (9, 14, 0).
#[cfg(feature = "cudnn")]
#[must_use]
pub fn cudnn_version() -> (usize, usize, usize) {
    let version = candle_core::cuda_backend::cudarc::cudnn::result::get_version();
    (version / 10_000, version % 10_000 / 100, version % 100)
}
