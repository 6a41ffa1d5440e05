//! The gradient for the weights.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, LaunchConfig};
use candle_core::{Error, Result};

use super::super::kernels::{kernel_with, launch};
use super::super::number::CudaNumber;
use super::super::{Stored, room};
use super::{
    CHUNK, Limits, Operand, Sizes, Source, TAPS, Tile, blocks_of_sample, defines, gradient_of,
    outputs_of_block, push, sizes, takes,
};
use crate::params::ConvShape;

/// Threads of a block.
const THREADS: u32 = 192;

/// Blocks that a multiprocessor has registers for.
const BLOCKS: usize = 3;

/// `WeightGradient` of kernels/tensor_weights.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    from: Sizes,
    outputs: i32,
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Arguments {}

/// The gradient (O, C, 3, 3, 3) for the weights, in `f32`, from the sources of the convolution and the gradient
/// (N, D, H, W, O) for its result, which is contiguous; nothing if it is not taken.
///
/// # Errors
/// If sources or gradient are not as many numbers as the shape says; what a device gives.
pub(crate) fn weight_gradient<T: CudaNumber>(
    device: &CudaDevice,
    shape: &ConvShape,
    sources: &[Source<'_>],
    gradient: Stored<'_>,
) -> Result<Option<CudaSlice<f32>>> {
    let channels: Vec<usize> = sources.iter().map(|source| source.voxels.channels).collect();
    if !takes::<T>(shape, &channels) {
        return Ok(None);
    }
    let (operands, gradient) = (Operand::<T>::all(shape, sources)?, gradient_of::<T>(shape, gradient)?);
    let (Some(operands), Some(gradient), Some(limits)) = (operands, gradient, Limits::of(device)?) else {
        return Ok(None);
    };
    let (outputs, tile) = (outputs_of_block(shape.outputs), Tile::new(8));
    let tile_voxels: usize = tile.size.iter().product();
    // Planes of units of 8 outputs, each some voxels longer than a tile, and the terms of a chunk.
    let shared_bytes =
        tile.halo_bytes() + (outputs / 8 * tile_voxels + 8) * 16 + 2 * CHUNK * size_of::<f32>();
    let at_once = limits.blocks(shared_bytes).min(BLOCKS);
    if at_once == 0 {
        return Ok(None);
    }
    let parts = shape.inputs / CHUNK * (shape.outputs / outputs);
    let slots = limits.multiprocessors * at_once;
    let blocks = blocks_of_sample(tile.count(shape.input), slots, shape.batch * parts);
    let config = LaunchConfig {
        grid_dim: (blocks as u32, shape.batch as u32, parts as u32),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: shared_bytes as u32,
    };
    let arguments = Arguments { from: sizes(shape, &operands), outputs: shape.outputs as i32 };
    // With 16 outputs, a block leaves two.
    let pieces = blocks * shape.batch * (32 / outputs);
    let count = TAPS * shape.outputs * shape.inputs;
    // The kernels write all of both.
    let mut sums = room::<f32>(device, pieces * count)?;
    let mut out = room::<f32>(device, count)?;
    let kernel = |name, shared_bytes| {
        let source =
            [include_str!("../kernels/tensor_cores.cuh"), include_str!("../kernels/tensor_weights.cu")];
        let defines = defines::<T>(outputs, tile);
        kernel_with::<T>(device, "tensor_weights", &defines, &source, name, shared_bytes)
    };
    // SAFETY: `Voxels` has checked that the voxels of sources lie within them, `Operand` that units of 8 channels are
    // aligned and that terms are as many as there should be; the gradient is as long as its shape says; sums and result
    // have the sizes above; the arguments are those of the kernels, in their order.
    unsafe {
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let sum = kernel("tensor_weights", limits.of_block)?;
        let mut launch = sum.builder();
        push(&mut launch, &operands);
        launch.arg(&gradient).arg(&mut sums).arg(&arguments);
        launch.launch(config).map_err(Error::wrap)?;
        let config = LaunchConfig {
            grid_dim: (count.div_ceil(32) as u32, 1, 1),
            block_dim: (32, 8, 1),
            shared_mem_bytes: 0,
        };
        let sizes = [shape.outputs as i32, shape.inputs as i32, pieces as i32];
        launch!(
            kernel("tensor_weights_join", 0)?,
            config,
            [&sums, &mut out, &sizes[0], &sizes[1], &sizes[2]]
        )?;
    }
    Ok(Some(out))
}
