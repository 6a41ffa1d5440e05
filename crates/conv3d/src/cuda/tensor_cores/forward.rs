//! The convolution itself, and the gradient for its input, which is one too.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr, LaunchConfig};
use candle_core::{Error, Result, bail};

use super::super::kernels::{Kernel, for_each, kernel_with, launch};
use super::super::last::Partials;
use super::super::number::CudaNumber;
use super::super::{Stored, room, values};
use super::{
    CHUNK, Limits, Operand, Sizes, Source, TAPS, Tile, blocks_of_sample, channels_of_block, defines,
    gradient_of, push, sizes, takes,
};
use crate::params::ConvShape;

/// Threads of a block.
const THREADS: u32 = 256;

/// Blocks that a multiprocessor has registers for.
const BLOCKS: usize = 2;

const SOURCE: [&str; 2] =
    [include_str!("../kernels/tensor_cores.cuh"), include_str!("../kernels/tensor_forward.cu")];

/// What [`forward`] gives.
pub(crate) struct Forward<T> {
    /// (N, D, H, W, O).
    pub(crate) y: CudaSlice<T>,
    /// Of y and y², if they were asked for.
    pub(crate) sums: Option<Partials>,
}

/// `Forward` of kernels/tensor_forward.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Arguments {
    from: Sizes,
    outputs: i32,
    resident: i32,
    sums: i32,
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Arguments {}

/// y = w ∗ x of sources side by side with parameters (O, C, 3, 3, 3), which are contiguous and wide, and sums of
/// y and y² if they are wanted; nothing if it is not taken.
///
/// # Errors
/// If weights or sources are not as many as the shape says, what a device gives.
pub(crate) fn forward<T: CudaNumber>(
    device: &CudaDevice,
    shape: &ConvShape,
    sources: &[Source<'_>],
    weights: Stored<'_>,
    with_sums: bool,
) -> Result<Option<Forward<T>>> {
    let channels: Vec<usize> = sources.iter().map(|source| source.voxels.channels).collect();
    if !takes::<T>(shape, &channels) {
        return Ok(None);
    }
    let Some(operands) = Operand::all(shape, sources)? else { return Ok(None) };
    convolve(device, shape, &operands, &values(weights)?, Order::AsTheyAre, with_sums)
}

/// The gradient (N, D, H, W, C) for the input, from that of the result (N, D, H, W, O) and the parameters (O, C, 3, 3, 3),
/// both contiguous; nothing if it is not taken.
///
/// # Errors
/// As [`forward`].
pub(crate) fn input_gradient<T: CudaNumber>(
    device: &CudaDevice,
    shape: &ConvShape,
    gradient: Stored<'_>,
    weights: Stored<'_>,
) -> Result<Option<CudaSlice<T>>> {
    if !takes::<T>(shape, &[shape.inputs]) {
        return Ok(None);
    }
    let Some(gradient) = gradient_of(shape, gradient)? else { return Ok(None) };
    let turned = ConvShape { inputs: shape.outputs, outputs: shape.inputs, ..*shape };
    let operands = [Operand { values: gradient, step: shape.outputs, channels: shape.outputs, terms: None }];
    let result = convolve(device, &turned, &operands, &values(weights)?, Order::Turned, false)?;
    Ok(result.map(|result| result.y))
}

/// How parameters come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// (O, C, 3, 3, 3).
    AsTheyAre,
    /// (C, O, 3, 3, 3), taps in reverse.
    Turned,
}

/// Which specialisation of the kernel, and what it needs.
#[derive(Clone, Copy)]
struct Plan {
    outputs: usize,
    tile: Tile,
    /// Chunks of input in shared memory: with two, a block reads one while it works on the other.
    stages: usize,
    /// Whether the weights of all chunks stay in shared memory: otherwise they are read again when the chunk changes.
    resident: bool,
    shared_bytes: usize,
    /// Blocks that run at once on a multiprocessor.
    at_once: usize,
}

/// Stages and whether weights stay, best first, as far as is known.
const WAYS: [(usize, bool); 4] = [(2, true), (2, false), (1, true), (1, false)];

impl Plan {
    /// Nothing if the card has not enough shared memory. Two blocks at once, one of which computes while the other waits,
    /// are worth more than anything else.
    fn new(shape: &ConvShape, limits: &Limits) -> Option<Self> {
        let outputs = channels_of_block(shape.outputs);
        let tile = Tile::new(if outputs == 32 { 8 } else { 16 });
        let chunks = shape.inputs / CHUNK;
        let plan = |(stages, resident)| {
            // Two planes of units of 8 channels, both together 8 units longer than they need be.
            let input = stages * 16 * (2 * tile.halo_voxels() + 8);
            let weights = if resident { chunks } else { 1 } * TAPS * CHUNK * outputs * 2;
            let terms = shape.inputs * 2 * size_of::<f32>();
            let totals = THREADS as usize / 32 * outputs * 2 * size_of::<f64>();
            let shared_bytes = input + weights + terms + totals;
            let at_once = limits.blocks(shared_bytes).min(BLOCKS);
            Self { outputs, tile, stages, resident, shared_bytes, at_once }
        };
        let plans = WAYS.map(plan);
        (1..=BLOCKS).rev().find_map(|blocks| plans.into_iter().find(|plan| plan.at_once == blocks))
    }

    /// A kernel that may be given `shared_bytes` of shared memory.
    fn kernel<T: CudaNumber>(&self, device: &CudaDevice, name: &str, shared_bytes: usize) -> Result<Kernel> {
        kernel_with::<T>(device, "tensor_forward", &self.defines::<T>(), &SOURCE, name, shared_bytes)
    }

    fn defines<T: CudaNumber>(&self) -> String {
        format!("{}\n#define STAGES {}", defines::<T>(self.outputs, self.tile), self.stages)
    }
}

fn convolve<T: CudaNumber>(
    device: &CudaDevice,
    shape: &ConvShape,
    operands: &[Operand<'_, T>],
    weights: &CudaView<'_, T::Wide>,
    order: Order,
    with_sums: bool,
) -> Result<Option<Forward<T>>> {
    let Some(limits) = Limits::of(device)? else { return Ok(None) };
    let Some(plan) = Plan::new(shape, &limits) else { return Ok(None) };
    if weights.len() != shape.outputs * shape.products() {
        bail!("{} weights for {shape:?}", weights.len());
    }
    let (batch, groups) = (shape.batch, shape.outputs / plan.outputs);
    let slots = limits.multiprocessors * plan.at_once;
    let blocks = blocks_of_sample(plan.tile.count(shape.input), slots, batch * groups);
    let config = LaunchConfig {
        grid_dim: (blocks as u32, batch as u32, groups as u32),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: plan.shared_bytes as u32,
    };
    let arguments = Arguments {
        from: sizes(shape, operands),
        outputs: shape.outputs as i32,
        resident: i32::from(plan.resident),
        sums: i32::from(with_sums),
    };
    let arranged = arranged::<T>(device, shape, &plan, weights, order)?;
    // The kernels write all of both.
    let mut y = room::<T>(device, batch * shape.output_voxels() * shape.outputs)?;
    let mut sums = room::<f64>(device, if with_sums { 2 * batch * blocks * shape.outputs } else { 0 })?;
    // SAFETY: `Voxels` has checked that the voxels of sources lie within them, `Operand` that units of 8 channels are
    // aligned and that terms are as many as there should be; y and sums have the sizes above; shared memory is what the
    // plan counted; the arguments are those of the kernel, in their order.
    unsafe {
        use candle_core::cuda_backend::cudarc::driver::PushKernelArg;
        let kernel = plan.kernel::<T>(device, "tensor_forward", limits.of_block)?;
        let mut launch = kernel.builder();
        push(&mut launch, operands);
        launch.arg(&arranged).arg(&mut y).arg(&mut sums).arg(&arguments);
        launch.launch(config).map_err(Error::wrap)?;
    }
    Ok(Some(Forward { y, sums: with_sums.then_some(Partials { sums, pieces: blocks }) }))
}

/// The weights in the order in which the kernel reads them.
fn arranged<T: CudaNumber>(
    device: &CudaDevice,
    shape: &ConvShape,
    plan: &Plan,
    weights: &CudaView<'_, T::Wide>,
    order: Order,
) -> Result<CudaSlice<T>> {
    let count = shape.outputs * shape.products();
    let mut arranged = room::<T>(device, count)?;
    let (outputs, inputs) = (shape.outputs as i32, shape.inputs as i32);
    let turned = i32::from(order == Order::Turned);
    // SAFETY: there are `count` weights, as the caller checked, and as many places; the arguments are those of the
    // kernel, in their order.
    unsafe {
        let kernel = plan.kernel::<T>(device, "tensor_arrange", 0)?;
        launch!(kernel, for_each(count), [weights, &mut arranged, &outputs, &inputs, &turned])?;
    }
    Ok(arranged)
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::super::kernels::tests::compile_with;
    use super::*;
    use crate::params::Conv3dParams;

    #[test]
    fn the_kernels_compile_for_every_plan() {
        for (outputs, stages) in [(16, 1), (16, 2), (32, 1), (32, 2)] {
            let tile = Tile::new(if outputs == 32 { 8 } else { 16 });
            let plan = Plan { outputs, tile, stages, resident: true, shared_bytes: 0, at_once: 1 };
            compile_with::<bf16>(&plan.defines::<bf16>(), &SOURCE);
            compile_with::<f16>(&plan.defines::<f16>(), &SOURCE);
        }
    }

    #[test]
    fn two_blocks_fit_where_they_can() {
        let plan = |inputs: usize, outputs: usize, of_block: usize| {
            let weights = [outputs, inputs, 3, 3, 3];
            let shape = ConvShape::new(&[2, inputs, 8, 8, 8], &weights, &Conv3dParams::same([3; 3])).unwrap();
            let limits = Limits { multiprocessors: 100, of_block, of_multiprocessor: of_block + 1024 };
            Plan::new(&shape, &limits).map(|plan| (plan.stages, plan.resident, plan.at_once))
        };
        // Compute capability 9.0, 8.0 and 8.6, and what none has.
        assert_eq!(plan(16, 32, 227 << 10), Some((2, true, 2)));
        assert_eq!(plan(32, 32, 227 << 10), Some((2, false, 2)));
        assert_eq!(plan(64, 32, 227 << 10), Some((2, false, 2)));
        assert_eq!(plan(32, 16, 227 << 10), Some((1, true, 2)));
        assert_eq!(plan(32, 32, 163 << 10), Some((1, false, 2)));
        assert_eq!(plan(32, 32, 99 << 10), Some((2, false, 1)));
        assert_eq!(plan(32, 32, 32 << 10), None);
    }
}
