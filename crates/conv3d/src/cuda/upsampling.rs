//! Upsampling and its gradient.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{CudaStorage, Result};

use super::kernels::{for_each, kernel, launch};
use super::number::CudaNumber;
use super::{Stored, room, values};

/// `Upsampling` of kernels/upsample.cu. Sizes are along (D, H, W).
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Upsampling {
    /// Channels of all samples.
    channels: i64,
    input: [i64; 3],
    output: [i64; 3],
    linear: i64,
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Upsampling {}

impl Upsampling {
    pub(crate) fn new(channels: usize, input: [usize; 3], output: [usize; 3], linear: bool) -> Self {
        let wide = |sizes: [usize; 3]| sizes.map(|n| n as i64);
        Self {
            channels: channels as i64,
            input: wide(input),
            output: wide(output),
            linear: i64::from(linear),
        }
    }

    fn count(&self, size: [i64; 3]) -> usize {
        (self.channels * size.iter().product::<i64>()) as usize
    }
}

/// `x` brought to the size of the output.
pub(crate) fn upsample<T: CudaNumber>(sizes: &Upsampling, x: Stored<'_>) -> Result<CudaStorage> {
    run::<T>("upsample", sizes, sizes.count(sizes.output), x)
}

/// The gradient for the input, from that of the output.
pub(crate) fn upsample_gradient<T: CudaNumber>(
    sizes: &Upsampling,
    gradient: Stored<'_>,
) -> Result<CudaStorage> {
    run::<T>("upsample_gradient", sizes, sizes.count(sizes.input), gradient)
}

fn run<T: CudaNumber>(name: &str, sizes: &Upsampling, count: usize, from: Stored<'_>) -> Result<CudaStorage> {
    let device = from.0.device.clone();
    let from = values::<T>(from)?;
    // The kernel writes every element.
    let mut out = room::<T>(&device, count)?;
    if count > 0 {
        // SAFETY: both have the voxels of their sizes, as the caller made them; the arguments are those of the
        // kernel, in its order.
        unsafe { launch!(kernel::<T>(&device, name)?, for_each(count), [&from, &mut out, sizes])? };
    }
    Ok(T::wrap_cuda_slice(out, device))
}
