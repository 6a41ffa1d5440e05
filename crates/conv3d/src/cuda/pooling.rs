//! Max pooling and its gradient.

use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
use candle_core::{CudaStorage, Result};

use super::kernels::{for_each, kernel, launch};
use super::number::CudaNumber;
use super::{Stored, room, values};

/// `Pooling` of kernels/max_pool.cu. Sizes are along (D, H, W); channels are those of all samples.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes {
    channels: i64,
    input: [i64; 3],
    output: [i64; 3],
    kernel: [i64; 3],
    stride: [i64; 3],
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Sizes {}

/// Windows of an input.
#[derive(Clone, Copy)]
pub(crate) struct Windows {
    /// Channels of all samples.
    pub(crate) channels: usize,
    pub(crate) input: [usize; 3],
    pub(crate) output: [usize; 3],
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
}

impl Windows {
    fn sizes(&self) -> Sizes {
        let wide = |sizes: [usize; 3]| sizes.map(|n| n as i64);
        Sizes {
            channels: self.channels as i64,
            input: wide(self.input),
            output: wide(self.output),
            kernel: wide(self.kernel),
            stride: wide(self.stride),
        }
    }
}

/// The largest value of each window.
pub(crate) fn pool<T: CudaNumber>(windows: &Windows, x: Stored<'_>) -> Result<CudaStorage> {
    let device = x.0.device.clone();
    let count = windows.channels * windows.output.iter().product::<usize>();
    let (x, sizes) = (values::<T>(x)?, windows.sizes());
    // The kernel writes every window.
    let mut y = room::<T>(&device, count)?;
    if count > 0 {
        // SAFETY: the input has the voxels of its channels, and windows lie within them, as the caller checked; the
        // arguments are those of the kernel, in its order.
        unsafe { launch!(kernel::<T>(&device, "max_pool")?, for_each(count), [&x, &mut y, &sizes])? };
    }
    Ok(T::wrap_cuda_slice(y, device))
}

/// The gradient for the input.
pub(crate) fn pool_gradient<T: CudaNumber>(
    windows: &Windows,
    x: Stored<'_>,
    gradient: Stored<'_>,
) -> Result<CudaStorage> {
    let device = x.0.device.clone();
    let count = windows.channels * windows.input.iter().product::<usize>();
    let (x, gradient, sizes) = (values::<T>(x)?, values::<T>(gradient)?, windows.sizes());
    // The kernel writes every voxel.
    let mut out = room::<T>(&device, count)?;
    if count > 0 {
        let kernel = kernel::<T>(&device, "max_pool_gradient")?;
        // SAFETY: as above, and there is a gradient for each window.
        unsafe { launch!(kernel, for_each(count), [&x, &gradient, &mut out, &sizes])? };
    }
    Ok(T::wrap_cuda_slice(out, device))
}
