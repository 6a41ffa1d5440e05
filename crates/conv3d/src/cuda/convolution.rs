//! Convolution and both its gradients.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, DeviceRepr};
use candle_core::{CudaStorage, Result, bail};

use super::kernels::{THREADS, for_each, kernel, launch};
use super::number::CudaNumber;
use super::{Stored, room, values, zeros};
use crate::params::ConvShape;

/// How tensors lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Order {
    /// (N, C, D, H, W), and weights (C_out, C, kD, kH, kW).
    ChannelsFirst,
    /// (N, D, H, W, C), and weights (C_out, kD, kH, kW, C).
    ChannelsLast,
}

impl Order {
    /// From one number to the next along (N, C, D, H, W) of a dense tensor.
    pub(super) fn steps(self, channels: usize, [d, h, w]: [usize; 3]) -> [usize; 5] {
        match self {
            Self::ChannelsFirst => [channels * d * h * w, d * h * w, h * w, w, 1],
            Self::ChannelsLast => [channels * d * h * w, 1, h * w * channels, w * channels, channels],
        }
    }
}

/// `Convolution` of kernels/convolution.cu.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes {
    batch: i64,
    inputs: i64,
    outputs: i64,
    input: [i64; 3],
    kernel: [i64; 3],
    output: [i64; 3],
    stride: [i64; 3],
    padding: [i64; 3],
    x: [i64; 5],
    weights: [i64; 5],
    y: [i64; 5],
}

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Sizes {}

impl Sizes {
    fn of(shape: &ConvShape, order: Order) -> Self {
        let wide = |sizes: [usize; 3]| sizes.map(|n| n as i64);
        let steps = |channels, size| order.steps(channels, size).map(|n| n as i64);
        Self {
            batch: shape.batch as i64,
            inputs: shape.inputs as i64,
            outputs: shape.outputs as i64,
            input: wide(shape.input),
            kernel: wide(shape.kernel),
            output: wide(shape.output),
            stride: wide(shape.stride),
            padding: wide(shape.padding),
            x: steps(shape.inputs, shape.input),
            weights: steps(shape.inputs, shape.kernel),
            y: steps(shape.outputs, shape.output),
        }
    }
}

/// Blocks of a launch that takes one for each weight.
const MOST_WEIGHT_BLOCKS: usize = 1 << 16;

/// What a convolution works on.
pub(super) struct Operands<'a, T> {
    /// Numbers of the result.
    pub(super) count: usize,
    pub(super) a: CudaView<'a, T>,
    pub(super) b: CudaView<'a, T>,
}

/// y = w ∗ x, without bias.
pub(crate) fn forward<T: CudaNumber>(
    shape: &ConvShape,
    order: Order,
    x: Stored<'_>,
    weights: Stored<'_>,
) -> Result<CudaStorage> {
    run::<T>(Direction::Forward, shape, order, [x, weights])
}

/// The gradient for the input, from that of the output and the weights.
pub(crate) fn input_gradient<T: CudaNumber>(
    shape: &ConvShape,
    order: Order,
    gradient: Stored<'_>,
    weights: Stored<'_>,
) -> Result<CudaStorage> {
    run::<T>(Direction::InputGradient, shape, order, [gradient, weights])
}

/// The gradient for the weights, from the input and the gradient of the output.
pub(crate) fn weight_gradient<T: CudaNumber>(
    shape: &ConvShape,
    order: Order,
    x: Stored<'_>,
    gradient: Stored<'_>,
) -> Result<CudaStorage> {
    run::<T>(Direction::WeightGradient, shape, order, [x, gradient])
}

/// Which of the three sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Direction {
    Forward,
    InputGradient,
    WeightGradient,
}

fn run<T: CudaNumber>(
    direction: Direction,
    shape: &ConvShape,
    order: Order,
    [a, b]: [Stored<'_>; 2],
) -> Result<CudaStorage> {
    let device = a.0.device.clone();
    let x = shape.batch * shape.inputs * shape.input_voxels();
    let y = shape.batch * shape.outputs * shape.output_voxels();
    let weights = shape.outputs * shape.products();
    let (expected, count) = match direction {
        Direction::Forward => ([x, weights], y),
        Direction::InputGradient => ([y, weights], x),
        Direction::WeightGradient => ([x, y], weights),
    };
    let operands = Operands { count, a: values::<T>(a)?, b: values::<T>(b)? };
    if [operands.a.len(), operands.b.len()] != expected {
        bail!(
            "a convolution of {} and {} numbers, expected {expected:?}",
            operands.a.len(),
            operands.b.len()
        );
    }
    if count == 0 || expected.contains(&0) {
        return Ok(T::wrap_cuda_slice(zeros::<T>(&device, count)?, device));
    }
    // Written by whoever comes next: a kernel or cuDNN writes all of it.
    let mut out = room::<T>(&device, count)?;
    #[cfg(feature = "cudnn")]
    if super::cudnn::run(direction, shape, order, &operands, &mut out, &device)? {
        return Ok(T::wrap_cuda_slice(out, device));
    }
    by_sums(direction, &Sizes::of(shape, order), &operands, &mut out, &device)?;
    Ok(T::wrap_cuda_slice(out, device))
}

/// Sets `out` by the plain kernels.
fn by_sums<T: CudaNumber>(
    direction: Direction,
    sizes: &Sizes,
    operands: &Operands<'_, T>,
    out: &mut CudaSlice<T>,
    device: &CudaDevice,
) -> Result<()> {
    let Operands { count, a, b } = operands;
    match direction {
        Direction::Forward => {
            let kernel = kernel::<T>(device, "convolution_forward")?;
            // SAFETY: operands and result have the elements of `sizes`, as `run` has seen to; the arguments are those
            // of the kernel, in its order.
            unsafe { launch!(kernel, for_each(*count), [a, b, out, sizes]) }
        }
        Direction::InputGradient => {
            let kernel = kernel::<T>(device, "convolution_input_gradient")?;
            // SAFETY: as above.
            unsafe { launch!(kernel, for_each(*count), [a, b, out, sizes]) }
        }
        Direction::WeightGradient => {
            let kernel = kernel::<T>(device, "convolution_weight_gradient")?;
            let mut config = for_each(0);
            config.grid_dim.0 = (*count).min(MOST_WEIGHT_BLOCKS) as u32;
            debug_assert_eq!(config.block_dim.0, THREADS);
            // SAFETY: as above.
            unsafe { launch!(kernel, config, [a, b, out, sizes]) }
        }
    }
}
