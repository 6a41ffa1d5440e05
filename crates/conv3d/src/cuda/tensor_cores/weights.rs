//! The gradient for the weights.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DeviceRepr, LaunchConfig};
use candle_core::{Error, Result};

use super::super::kernels::{Kernel, kernel_with, launch};
use super::super::number::CudaNumber;
use super::super::{Stored, room};
use super::{
    CHUNK, Limits, Operand, Sizes, Source, TAPS, Tile, blocks_of_sample, channels_of_block, defines,
    gradient_of, push, sizes, takes,
};
use crate::params::ConvShape;

/// Threads of a block, of which a multiprocessor has registers for one.
const THREADS: u32 = 384;

/// A block's tile.
const TILE: Tile = Tile::new(8);

const SOURCE: [&str; 2] =
    [include_str!("../kernels/tensor_cores.cuh"), include_str!("../kernels/tensor_weights.cu")];

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
    let Some(plan) = Plan::new(shape, &limits) else { return Ok(None) };
    let parts = shape.inputs / plan.inputs * (shape.outputs / plan.outputs);
    let blocks = blocks_of_sample(TILE.count(shape.input), limits.multiprocessors, shape.batch * parts);
    let config = LaunchConfig {
        grid_dim: (blocks as u32, shape.batch as u32, parts as u32),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: plan.shared_bytes as u32,
    };
    let arguments = Arguments { from: sizes(shape, &operands), outputs: shape.outputs as i32 };
    let pieces = blocks * shape.batch * plan.pieces_of_block();
    let count = TAPS * shape.outputs * shape.inputs;
    // The kernels write all of both.
    let mut sums = room::<f32>(device, pieces * count)?;
    let mut out = room::<f32>(device, count)?;
    // SAFETY: `Voxels` has checked that the voxels of sources lie within them, `Operand` that units of 8 channels are
    // aligned and that terms are as many as there should be; the gradient is as long as its shape says; sums and result
    // have the sizes above; the arguments are those of the kernels, in their order.
    unsafe {
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let sum = plan.kernel::<T>(device, "tensor_weights", limits.of_block)?;
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
            plan.kernel::<T>(device, "tensor_weights_join", 0)?,
            config,
            [&sums, &mut out, &sizes[0], &sizes[1], &sizes[2]]
        )?;
    }
    Ok(Some(out))
}

/// Which specialisation of the kernel, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    outputs: usize,
    inputs: usize,
    /// Tiles that a block has in shared memory: with two, it reads one while it works on the other.
    stages: usize,
    shared_bytes: usize,
}

impl Plan {
    /// Nothing if the card has not enough shared memory.
    fn new(shape: &ConvShape, limits: &Limits) -> Option<Self> {
        let outputs = channels_of_block(shape.outputs);
        let tried = [(32, 2), (16, 2), (32, 1), (16, 1)].into_iter();
        tried.filter(|(inputs, _)| shape.inputs.is_multiple_of(*inputs)).find_map(|(inputs, stages)| {
            // Planes of units of 8 channels, all of them together 8 units longer than they need be.
            let planes = |channels: usize, voxels: usize| channels / 8 * voxels + 8;
            let stage = 16 * (planes(inputs, TILE.halo_voxels()) + planes(outputs, TILE.voxels()));
            let shared_bytes = stages * stage;
            (limits.blocks(shared_bytes) > 0).then_some(Self { outputs, inputs, stages, shared_bytes })
        })
    }

    /// Sums that a block leaves: of each of 16×16 channels a block has four.
    fn pieces_of_block(&self) -> usize {
        4 / (self.inputs / CHUNK * (self.outputs / CHUNK))
    }

    /// A kernel that may be given `shared_bytes` of shared memory.
    fn kernel<T: CudaNumber>(&self, device: &CudaDevice, name: &str, shared_bytes: usize) -> Result<Kernel> {
        kernel_with::<T>(device, "tensor_weights", &self.defines::<T>(), &SOURCE, name, shared_bytes)
    }

    fn defines<T: CudaNumber>(&self) -> String {
        format!(
            "{}\n#define INPUTS {}\n#define STAGES {}",
            defines::<T>(self.outputs, TILE),
            self.inputs,
            self.stages
        )
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::super::kernels::tests::compile_with;
    use super::*;
    use crate::params::Conv3dParams;

    #[test]
    fn the_kernels_compile_for_every_plan() {
        for (inputs, outputs, stages) in
            [(16, 16, 1), (16, 16, 2), (16, 32, 2), (32, 16, 1), (32, 32, 1), (32, 32, 2)]
        {
            let plan = Plan { outputs, inputs, stages, shared_bytes: 0 };
            compile_with::<bf16>(&plan.defines::<bf16>(), &SOURCE);
            compile_with::<f16>(&plan.defines::<f16>(), &SOURCE);
        }
    }

    #[test]
    fn a_plan_fits_the_card() {
        let plan = |inputs: usize, outputs: usize, of_block: usize| {
            let weights = [outputs, inputs, 3, 3, 3];
            let shape = ConvShape::new(&[2, inputs, 8, 8, 8], &weights, &Conv3dParams::same([3; 3])).unwrap();
            let limits = Limits { multiprocessors: 100, of_block, of_multiprocessor: of_block + 1024 };
            Plan::new(&shape, &limits).map(|plan| (plan.inputs, plan.stages, plan.pieces_of_block()))
        };
        // Compute capability 9.0, 8.0 and 8.6, and what none has.
        assert_eq!(plan(32, 32, 227 << 10), Some((32, 2, 1)));
        assert_eq!(plan(48, 16, 227 << 10), Some((16, 2, 4)));
        assert_eq!(plan(32, 32, 163 << 10), Some((16, 2, 2)));
        assert_eq!(plan(32, 32, 99 << 10), Some((32, 1, 1)));
        assert_eq!(plan(32, 32, 32 << 10), None);
    }
}
