//! A 1×1×1 convolution of (N, D, H, W, C) to a few scores (N, K, D, H, W), and its gradients.

use std::marker::PhantomData;

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::LaunchConfig;
use candle_core::{CudaStorage, Result, bail};

use super::ends::{Pieces, SOURCE};
use super::kernels::{FREE_SHARED_BYTES, Kernel, MOST_BLOCKS_DOWN, THREADS, kernel_with, launch};
use super::number::CudaNumber;
use super::{Stored, room, values, zeros};
use crate::channels_last::Voxels;

/// Channels that a thread has at a time, if all that it needs of a voxel's place is a multiple of it.
const WIDE: usize = 8;

/// Classes at most: each has sums in registers.
const MOST_CLASSES: usize = 16;

/// Blocks along the voxels of a sample, at most, forward: some for each multiprocessor of a large card.
const MOST_BLOCKS: usize = 1024;

/// Blocks of all samples backward, of which each leaves sums: about as many as a large card runs at once, twice.
const MOST_PIECES: usize = 512;

/// Lanes of `head_backward` along the channels at most, so that the weights of a round fit in shared memory.
const MOST_ACROSS: usize = 32;

/// Whether the kernels are made for so many classes and channels.
pub(crate) fn takes(classes: usize, channels: usize) -> bool {
    // Rows of weights, scales and shifts, filled up to the channels of eight lanes, of the widest numbers.
    let shared = (classes + 2) * channels.next_multiple_of(8 * WIDE) * size_of::<f64>();
    (1..=MOST_CLASSES).contains(&classes) && channels > 0 && shared <= FREE_SHARED_BYTES
}

/// Weights (K, C) and what they are for.
struct Head<'a, T> {
    device: CudaDevice,
    voxels: &'a Voxels,
    classes: usize,
    wide: bool,
    number: PhantomData<T>,
}

impl<'a, T: CudaNumber> Head<'a, T> {
    /// # Errors
    /// If shapes do not fit, or [`takes`] says no.
    fn new(
        y: &CudaStorage,
        voxels: &'a Voxels,
        terms: Option<Stored<'_>>,
        weights: Stored<'_>,
    ) -> Result<Self> {
        let &[classes, channels] = weights.1.dims() else {
            bail!("head: weights {:?}, expected (K, C)", weights.1.dims())
        };
        if channels != voxels.channels || !takes(classes, channels) || voxels.batch > MOST_BLOCKS_DOWN {
            bail!("head: weights {:?} for {:?} on a GPU", weights.1.dims(), voxels);
        }
        if let Some((_, layout)) = terms
            && layout.dims() != [4, voxels.batch, channels]
        {
            bail!("head: terms {:?}, expected [4, {}, {channels}]", layout.dims(), voxels.batch);
        }
        let wide = [channels, voxels.step, voxels.start].iter().all(|n| n % WIDE == 0);
        Ok(Self { device: y.device.clone(), voxels, classes, wide, number: PhantomData })
    }

    fn kernel(&self, name: &str) -> Result<Kernel> {
        let header = header(self.classes);
        kernel_with::<T>(&self.device, "head", &header, &[SOURCE, include_str!("kernels/head.cu")], name, 0)
    }

    /// Channels that a thread has at a time.
    fn together(&self) -> usize {
        if self.wide { WIDE } else { 1 }
    }

    /// Neighbouring lanes for a voxel: as many as have something to read, as far as each lane's sums and values, which
    /// are for as many voxels, stay in registers.
    fn lanes(&self) -> usize {
        if !self.wide {
            return 1;
        }
        let bytes = size_of::<T::Wide>();
        let most = (96 / (self.classes * bytes)).min(32 / bytes).max(1);
        (self.voxels.channels / WIDE).next_power_of_two().min(1 << most.ilog2())
    }

    fn is_empty(&self) -> bool {
        self.voxels.count() == 0
    }
}

/// Scores (N, K, V) of y read with `terms` (4, N, C) and the slope beside them: of the type of weights (K, C) and bias
/// (K), which is what kernels for `T` compute with.
pub(crate) fn forward<T: CudaNumber>(
    y: &CudaStorage,
    voxels: &Voxels,
    read: Option<(Stored<'_>, f64)>,
    weights: Stored<'_>,
    bias: Stored<'_>,
) -> Result<CudaStorage> {
    let head = Head::<T>::new(y, voxels, read.map(|(terms, _)| terms), weights)?;
    let device = &head.device;
    if bias.1.dims() != [head.classes] {
        bail!("head: a bias {:?} for {} classes", bias.1.dims(), head.classes);
    }
    // The kernel writes all of it.
    let mut out = room::<T::Wide>(device, voxels.count() * head.classes)?;
    if !head.is_empty() {
        let (together, lanes) = (head.together(), head.lanes());
        let width = voxels.channels.next_multiple_of(together * lanes);
        let config = LaunchConfig {
            grid_dim: (
                voxels.volume().div_ceil(THREADS as usize).min(MOST_BLOCKS) as u32,
                voxels.batch as u32,
                1,
            ),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: ((head.classes + 2) * width * size_of::<T::Wide>()) as u32,
        };
        let none;
        let (terms, slope) = match read {
            Some((terms, slope)) => (values::<f64>(terms)?, slope),
            None => {
                none = room::<f64>(device, 1)?;
                (none.slice(..), 1.0)
            }
        };
        let y = T::as_cuda_slice(y)?.slice(voxels.start..);
        let (weights, bias) = (values::<T::Wide>(weights)?, values::<T::Wide>(bias)?);
        let (step, volume, channels) = (voxels.step as i64, voxels.volume() as i64, voxels.channels as i64);
        let read = i32::from(read.is_some());
        let kernel = head.kernel(&format!("head_forward_{together}_{lanes}"))?;
        // SAFETY: `Voxels` has checked that the voxels lie within y; terms, weights and bias have the shapes checked
        // above, and shared memory has a row of `width` for each class and two for the terms, which are not read if
        // `read` is 0; the arguments are those of the kernel, in its order.
        unsafe {
            launch!(
                kernel,
                config,
                [&y, &step, &terms, &read, &slope, &weights, &bias, &mut out, &volume, &channels]
            )?;
        }
    }
    Ok(CudaStorage::wrap_cuda_slice(out, device.clone()))
}

/// From the gradient (N, K, V) of the scores to that of the values as they are read, (N, V, C) of type `T`, and those of
/// weights (K, C) and bias (K).
pub(crate) fn backward<T: CudaNumber>(
    gradient: Stored<'_>,
    y: &CudaStorage,
    voxels: &Voxels,
    read: Option<(Stored<'_>, f64)>,
    weights: Stored<'_>,
) -> Result<[CudaStorage; 3]> {
    let head = Head::<T>::new(y, voxels, read.map(|(terms, _)| terms), weights)?;
    let (device, classes, channels) = (&head.device, head.classes, voxels.channels);
    let for_weights = classes * channels;
    let gradient = values::<T::Wide>(gradient)?;
    if gradient.len() != classes * voxels.count() {
        bail!("head: a gradient of {} numbers for {classes} classes of {voxels:?}", gradient.len());
    }
    // The kernel writes all of it.
    let mut dx = room::<T>(device, voxels.count() * channels)?;
    if head.is_empty() {
        let none = |count| -> Result<CudaStorage> {
            Ok(CudaStorage::wrap_cuda_slice(zeros::<T::Wide>(device, count)?, device.clone()))
        };
        return Ok([T::wrap_cuda_slice(dx, device.clone()), none(for_weights)?, none(classes)?]);
    }
    let together = head.together();
    let across = (channels / together).min(MOST_ACROSS);
    let down = THREADS as usize / across;
    let most = (MOST_PIECES / voxels.batch).max(1);
    let blocks = voxels.volume().div_ceil(down * 4).min(most);
    let config = LaunchConfig {
        grid_dim: (blocks as u32, voxels.batch as u32, 1),
        block_dim: (across as u32, down as u32, 1),
        shared_mem_bytes: (classes * across * together * size_of::<T::Wide>()) as u32,
    };
    let mut pieces = Pieces::new(device, blocks * voxels.batch, for_weights + classes)?;
    let none;
    let (terms, slope) = match read {
        Some((terms, slope)) => (values::<f64>(terms)?, slope),
        None => {
            none = room::<f64>(device, 1)?;
            (none.slice(..), 1.0)
        }
    };
    let y = T::as_cuda_slice(y)?.slice(voxels.start..);
    let weights = values::<T::Wide>(weights)?;
    let (step, volume, many) = (voxels.step as i64, voxels.volume() as i64, channels as i64);
    let read = i32::from(read.is_some());
    let kernel = head.kernel(&format!("head_backward_{together}"))?;
    // `AT_ONCE` of the kernel.
    let at_once = if size_of::<T::Wide>() == 8 { 4 } else { 8 };
    for from in (0..classes).step_by(at_once) {
        let (sums, from) = (&mut pieces.sums, from as i32);
        // SAFETY: as forward; the gradient has a number for each class and voxel, shared memory one for each class and
        // channel of a round, each block its own piece of the sums, and dx a number for each value.
        unsafe {
            launch!(
                &kernel,
                config,
                [&gradient, &y, &step, &terms, &read, &slope, &weights, &mut dx, sums, &volume, &many, &from]
            )?;
        }
    }
    let join = head.kernel("ends_join")?;
    Ok([
        T::wrap_cuda_slice(dx, device.clone()),
        pieces.join::<T::Wide>(device, &join, 0, for_weights)?,
        pieces.join::<T::Wide>(device, &join, for_weights, classes)?,
    ])
}

/// The line that specialises the kernels.
fn header(classes: usize) -> String {
    format!("#define CLASSES {classes}")
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::kernels::tests::compile_with;
    use super::*;

    #[test]
    fn the_kernels_compile_for_any_number_of_classes() {
        for classes in [1, 3, MOST_CLASSES] {
            let (header, source) = (header(classes), [SOURCE, include_str!("kernels/head.cu")]);
            compile_with::<f32>(&header, &source);
            compile_with::<f64>(&header, &source);
            compile_with::<f16>(&header, &source);
            compile_with::<bf16>(&header, &source);
        }
    }
}
