//! A card, set up.

use candle_core::{Device, Result};

use super::memory::keep_freed_memory;

/// The GPU `number`, from 0: with one stream, that all work on it goes through, and the driver keeps for this process what
/// is freed, so that a training step finds the memory of the one before. To be made once for a card and kept.
///
/// Nothing is recorded of which stream used which memory, for there is but one. Who makes another from its context, or takes a
/// tensor to another device, has to see to the order of both: by `Device::synchronize`.
///
/// # Errors
/// If there is no such card or no driver, or what the driver says.
pub fn device(number: usize) -> Result<Device> {
    let device = Device::new_cuda_with_stream(number)?;
    if let Device::Cuda(cuda) = &device {
        // SAFETY: all memory of this device is asked for, used and freed in the order of its one stream; what leaves it does
        // so after a wait, as is said above.
        unsafe { cuda.disable_event_tracking() };
    }
    keep_freed_memory(&device)?;
    Ok(device)
}
