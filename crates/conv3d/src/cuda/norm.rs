//! Instance norm with its activation, forward and backward.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, LaunchConfig};
use candle_core::{CudaStorage, Result, bail};

use super::kernels::{MOST_BLOCKS_DOWN, THREADS, for_each, kernel, launch};
use super::number::CudaNumber;
use super::{Stored, room, values, zeros};

/// What is normalised: `channels` of all samples, each of `voxels`, with γ and β for `per_sample` of them.
#[derive(Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) channels: usize,
    pub(crate) voxels: usize,
    pub(crate) per_sample: usize,
    pub(crate) eps: f64,
    pub(crate) slope: f64,
}

/// A channel is summed up in pieces of at least so many voxels.
const LEAST_PIECE: usize = 1 << 12;

/// Pieces of a channel at most.
const MOST_PIECES: usize = 256;

impl Norm {
    fn check(&self) -> Result<()> {
        if self.channels > MOST_BLOCKS_DOWN {
            bail!(
                "instance_norm: {} channels in all samples, at most {MOST_BLOCKS_DOWN} on a GPU",
                self.channels
            );
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.channels * self.voxels == 0
    }

    fn pieces(&self) -> usize {
        self.voxels.div_ceil(LEAST_PIECE).clamp(1, MOST_PIECES)
    }

    /// A block for each piece of each channel.
    fn by_piece(&self) -> LaunchConfig {
        let grid_dim = (self.pieces() as u32, self.channels as u32, 1);
        LaunchConfig { grid_dim, block_dim: (THREADS, 1, 1), shared_mem_bytes: 0 }
    }

    /// Blocks for the voxels of each channel.
    fn by_voxel(&self) -> LaunchConfig {
        let mut config = for_each(self.voxels);
        config.grid_dim.1 = self.channels as u32;
        config
    }

    /// Mean and 1 / √(variance + ε) of each channel.
    fn statistics<T: CudaNumber>(&self, device: &CudaDevice, x: &CudaView<'_, T>) -> Result<CudaSlice<f64>> {
        let (channels, voxels, pieces) = (self.channels as i64, self.voxels as i64, self.pieces() as i64);
        // The kernels below write all of both.
        let mut sums = room::<f64>(device, 2 * self.channels * self.pieces())?;
        let mut statistics = room::<f64>(device, 2 * self.channels)?;
        // SAFETY: x has `channels` channels of `voxels` voxels, one at least, and each piece and channel its two sums;
        // the arguments are those of the kernels, in their order.
        unsafe {
            launch!(kernel::<T>(device, "norm_moments")?, self.by_piece(), [x, &mut sums, &voxels])?;
            launch!(
                kernel::<T>(device, "norm_statistics")?,
                for_each(self.channels),
                [x, &sums, &mut statistics, &channels, &voxels, &pieces, &self.eps]
            )?;
        }
        Ok(statistics)
    }
}

/// act(γ x̂ + β).
pub(crate) fn norm<T: CudaNumber>(
    norm: &Norm,
    x: Stored<'_>,
    gamma: Stored<'_>,
    beta: Stored<'_>,
) -> Result<CudaStorage> {
    norm.check()?;
    let device = x.0.device.clone();
    let (x, gamma, beta) = (values::<T>(x)?, values::<T>(gamma)?, values::<T>(beta)?);
    // The last kernel writes every voxel.
    let mut y = room::<T>(&device, norm.channels * norm.voxels)?;
    if !norm.is_empty() {
        let statistics = norm.statistics::<T>(&device, &x)?;
        let (voxels, per_sample) = (norm.voxels as i64, norm.per_sample as i64);
        // SAFETY: as for the statistics; γ and β have `per_sample` numbers.
        unsafe {
            launch!(
                kernel::<T>(&device, "norm_apply")?,
                norm.by_voxel(),
                [&x, &gamma, &beta, &statistics, &mut y, &voxels, &per_sample, &norm.slope]
            )?;
        }
    }
    Ok(T::wrap_cuda_slice(y, device))
}

/// The gradients of x, of γ for each sample and of β for each sample, one after the other, from γ and β one after the
/// other.
pub(crate) fn norm_gradient<T: CudaNumber>(
    norm: &Norm,
    x: Stored<'_>,
    gradient: Stored<'_>,
    both: Stored<'_>,
) -> Result<CudaStorage> {
    norm.check()?;
    let device = x.0.device.clone();
    let (x, gradient, both) = (values::<T>(x)?, values::<T>(gradient)?, values::<T>(both)?);
    let count = norm.channels * norm.voxels;
    if norm.is_empty() {
        return Ok(T::wrap_cuda_slice(zeros::<T>(&device, count + 2 * norm.channels)?, device));
    }
    let (gamma, beta) = both.split_at(norm.per_sample);
    let statistics = norm.statistics::<T>(&device, &x)?;
    let (channels, voxels, pieces) = (norm.channels as i64, norm.voxels as i64, norm.pieces() as i64);
    let per_sample = norm.per_sample as i64;
    // The kernels below write all of them.
    let mut out = room::<T>(&device, count + 2 * norm.channels)?;
    let mut sums = room::<f64>(&device, 2 * norm.channels * norm.pieces())?;
    let mut totals = room::<f64>(&device, 2 * norm.channels)?;
    {
        let (mut for_x, mut rest) = out.split_at_mut(count);
        // SAFETY: as for the statistics; there is a gradient for each voxel, `for_x` has as many, and `rest` two
        // numbers a channel.
        unsafe {
            launch!(
                kernel::<T>(&device, "norm_gradient_sums")?,
                norm.by_piece(),
                [&x, &gradient, &gamma, &beta, &statistics, &mut sums, &voxels, &per_sample, &norm.slope]
            )?;
            launch!(
                kernel::<T>(&device, "norm_gradient_join")?,
                for_each(norm.channels),
                [&sums, &mut totals, &mut rest, &channels, &pieces]
            )?;
            launch!(
                kernel::<T>(&device, "norm_gradient_apply")?,
                norm.by_voxel(),
                [
                    &x,
                    &gradient,
                    &gamma,
                    &beta,
                    &statistics,
                    &totals,
                    &mut for_x,
                    &voxels,
                    &per_sample,
                    &norm.slope
                ]
            )?;
        }
    }
    Ok(T::wrap_cuda_slice(out, device))
}
