//! What the two ends of a network share: sums over pieces.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, LaunchConfig};
use candle_core::{CudaStorage, Result};

use super::kernels::{Kernel, launch};
use super::number::CudaNumber;
use super::room;

/// Before both sources.
pub(super) const SOURCE: &str = include_str!("kernels/ends.cuh");

/// For each of `pieces` that a kernel left, `stride` numbers.
pub(super) struct Pieces {
    pub(super) sums: CudaSlice<f64>,
    pub(super) stride: usize,
    pub(super) pieces: usize,
}

impl Pieces {
    /// Room for them; a kernel writes all of it before it is read.
    pub(super) fn new(device: &CudaDevice, pieces: usize, stride: usize) -> Result<Self> {
        Ok(Self { sums: room::<f64>(device, pieces * stride)?, stride, pieces })
    }

    /// The sums over the pieces of `count` numbers from `first` on, by `ends_join`.
    pub(super) fn join<W: CudaNumber>(
        &self,
        device: &CudaDevice,
        join: &Kernel,
        first: usize,
        count: usize,
    ) -> Result<CudaStorage> {
        let mut out = room::<W>(device, count)?;
        let config = LaunchConfig {
            grid_dim: (count.div_ceil(32).max(1) as u32, 1, 1),
            block_dim: (32, 32, 1),
            shared_mem_bytes: 0,
        };
        let [stride, first, count, pieces] = [self.stride, first, count, self.pieces].map(|n| n as i64);
        // SAFETY: each piece has `stride` numbers, of which `first + count` are not more, and `out` has `count`; the
        // arguments are those of the kernel, in its order.
        unsafe {
            launch!(join, config, [&self.sums, &stride, &first, &count, &pieces, &mut out])?;
        }
        Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
    }
}
