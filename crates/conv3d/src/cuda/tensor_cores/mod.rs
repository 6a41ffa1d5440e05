//! 3×3×3 convolutions of 16-bit numbers with few channels, channels last, on tensor cores, and both their gradients.
//!
//! cuDNN's kernels are made for many channels; with 16 to 64 they leave most of the card idle, and read their input as
//! it is. Those here read act(scale · y + shift) of one or two tensors side by side, and give sums for a norm of the
//! result besides, so that neither needs a pass of its own. `kernels/tensor_*.cu` say how they work.
//!
//! They take stride 1, padding 1, and channels that are multiples of 16 on cards of compute capability 8.0 on. Everything
//! else is not taken, and the answer is nothing.

mod forward;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use forward::{forward, input_gradient};
pub(crate) use weights::weight_gradient;

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use candle_core::cuda_backend::cudarc::driver::{CudaView, DeviceRepr, LaunchArgs, PushKernelArg};
use candle_core::{CudaStorage, DType, Error, Result, bail};

use super::kernels::MOST_BLOCKS_DOWN;
use super::number::CudaNumber;
use super::{Stored, values};
use crate::channels_last::Voxels;
use crate::params::ConvShape;

/// Input channels that the kernels work on at a time.
const CHUNK: usize = 16;

/// Taps of a kernel of 3×3×3.
const TAPS: usize = 27;

/// Bytes of shared memory that a multiprocessor keeps for each block.
const KEPT_BYTES: usize = 1 << 10;

/// What a convolution reads: some of the channels of its input.
pub(crate) struct Source<'a> {
    pub(crate) storage: &'a CudaStorage,
    pub(crate) voxels: Voxels,
    /// Terms (4, N, C) and the slope of the activation; if there are none, values are taken as they are.
    pub(crate) terms: Option<(Stored<'a>, f64)>,
}

/// Whether convolutions of this shape, of sources with so many channels each, are done here on a card that can.
pub(crate) fn takes<T: CudaNumber>(shape: &ConvShape, sources: &[usize]) -> bool {
    let channels = |n: usize| n > 0 && n.is_multiple_of(CHUNK);
    matches!(T::DTYPE, DType::F16 | DType::BF16)
        && (shape.kernel, shape.stride, shape.padding) == ([3; 3], [1; 3], [1; 3])
        && matches!(sources.len(), 1 | 2)
        && sources.iter().all(|&n| channels(n))
        && sources.iter().sum::<usize>() == shape.inputs
        && channels(shape.outputs)
        && (1..=MOST_BLOCKS_DOWN).contains(&shape.batch)
        && shape.inputs / CHUNK * (shape.outputs / CHUNK) <= MOST_BLOCKS_DOWN
        && shape.input_voxels() > 0
        && within(shape.input_voxels(), shape.outputs.max(shape.inputs))
}

/// Whether these kernels are the faster ones, by what `tests::how_long` printed on an H100. Against cuDNN's in front of which
/// a pass maps the input, and behind which one sums for a norm; it is better with many channels.
pub(crate) mod is_faster {
    use crate::params::ConvShape;

    /// At the convolution itself.
    pub(crate) fn forward(shape: &ConvShape) -> bool {
        (shape.outputs <= 32 && shape.inputs <= 128) || shape.outputs.max(shape.inputs) <= 64
    }

    /// At the gradient for the input.
    pub(crate) fn input_gradient(shape: &ConvShape) -> bool {
        shape.inputs <= 32 && shape.outputs <= 128
    }

    /// At that for the weights.
    pub(crate) fn weight_gradient(shape: &ConvShape) -> bool {
        shape.inputs.min(shape.outputs) <= 32 && shape.inputs.max(shape.outputs) <= 64
    }
}

/// Whether the kernels can count the numbers of a sample.
fn within(voxels: usize, step: usize) -> bool {
    voxels.saturating_mul(step) <= i32::MAX as usize
}

/// `Sources` of kernels/tensor_cores.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sizes {
    size: [i32; 3],
    step: [i32; 2],
    channels: [i32; 2],
    mapped: [i32; 2],
    slope: [f32; 2],
}

/// A source as the kernels see it.
struct Operand<'a, T> {
    values: CudaView<'a, T>,
    step: usize,
    channels: usize,
    terms: Option<(CudaView<'a, f64>, f64)>,
}

impl<'a, T: CudaNumber> Operand<'a, T> {
    /// Nothing if it is not one that the kernels can read: units of 8 channels, each of 16 bytes.
    ///
    /// # Errors
    /// If its numbers are not of type `T`, or its terms are not in `f64`, contiguous and as many as there should be.
    fn new(source: &Source<'a>) -> Result<Option<Self>> {
        let v = &source.voxels;
        if !(v.start.is_multiple_of(8) && v.step.is_multiple_of(8) && within(v.volume(), v.step)) {
            return Ok(None);
        }
        let terms = match source.terms {
            Some((terms, slope)) => {
                let terms = values::<f64>(terms)?;
                if terms.len() != 4 * v.batch * v.channels {
                    bail!("{} terms for {} samples of {} channels", terms.len(), v.batch, v.channels);
                }
                Some((terms, slope))
            }
            None => None,
        };
        let values = T::as_cuda_slice(source.storage)?.slice(v.start..);
        Ok(Some(Self { values, step: v.step, channels: v.channels, terms }))
    }

    /// Those of `sources`, in their order; nothing if one of them cannot be read.
    ///
    /// # Errors
    /// As [`Operand::new`]; if one is not of the shape's batch and size.
    fn all(shape: &ConvShape, sources: &[Source<'a>]) -> Result<Option<Vec<Self>>> {
        for v in sources.iter().map(|source| &source.voxels) {
            if (v.batch, v.size) != (shape.batch, shape.input) {
                bail!("a source of {}×{:?} for a convolution of {shape:?}", v.batch, v.size);
            }
        }
        sources.iter().map(Self::new).collect()
    }
}

/// The gradient (N, D, H, W, O) for the result of a convolution, contiguous; nothing if its units are not aligned.
///
/// # Errors
/// If it is not as many numbers of type `T` as the shape says.
fn gradient_of<'a, T: CudaNumber>(
    shape: &ConvShape,
    gradient: Stored<'a>,
) -> Result<Option<CudaView<'a, T>>> {
    let start = gradient.1.start_offset();
    let gradient = values::<T>(gradient)?;
    if gradient.len() != shape.batch * shape.outputs * shape.output_voxels() {
        bail!("a gradient of {} numbers for the result of {shape:?}", gradient.len());
    }
    Ok(start.is_multiple_of(8).then_some(gradient))
}

/// What the kernels are told of `operands`, one or two.
fn sizes<T>(shape: &ConvShape, operands: &[Operand<'_, T>]) -> Sizes {
    let of = |k: usize, number: fn(&Operand<'_, T>) -> usize| operands.get(k).map_or(0, number) as i32;
    let both = |number: fn(&Operand<'_, T>) -> usize| [of(0, number), of(1, number)];
    let slope = |k: usize| operands.get(k).and_then(|o| o.terms.as_ref()).map_or(1.0, |t| t.1 as f32);
    Sizes {
        size: shape.input.map(|n| n as i32),
        step: both(|o| o.step),
        channels: both(|o| o.channels),
        mapped: both(|o| usize::from(o.terms.is_some())),
        slope: [slope(0), slope(1)],
    }
}

/// Where there is nothing, and the kernels do not look.
static NOWHERE: u64 = 0;

/// The first arguments of the kernels: two sources, and the terms of each.
fn push<'a, T: DeviceRepr>(launch: &mut LaunchArgs<'a>, operands: &'a [Operand<'a, T>]) {
    for k in 0..2 {
        match operands.get(k) {
            Some(operand) => launch.arg(&operand.values),
            None => launch.arg(&NOWHERE),
        };
    }
    for k in 0..2 {
        match operands.get(k).and_then(|operand| operand.terms.as_ref()) {
            Some((terms, _)) => launch.arg(terms),
            None => launch.arg(&NOWHERE),
        };
    }
}

/// What a card has for the kernels.
struct Limits {
    multiprocessors: usize,
    /// Bytes of shared memory of a block, if it asks for them.
    of_block: usize,
    /// Bytes of shared memory of a multiprocessor.
    of_multiprocessor: usize,
}

impl Limits {
    /// Nothing for a card whose tensor cores cannot do it.
    fn of(device: &CudaDevice) -> Result<Option<Self>> {
        let stream = device.cuda_stream();
        let context = stream.context();
        if context.compute_capability().map_err(Error::wrap)? < (8, 0) {
            return Ok(None);
        }
        let ask = |what| context.attribute(what).map(|n| n.max(0) as usize).map_err(Error::wrap);
        Ok(Some(Self {
            multiprocessors: ask(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
            of_block: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
            of_multiprocessor: ask(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?,
        }))
    }

    /// How many blocks with `shared_bytes` a multiprocessor takes at once, as far as shared memory goes.
    fn blocks(&self, shared_bytes: usize) -> usize {
        if shared_bytes > self.of_block { 0 } else { self.of_multiprocessor / (shared_bytes + KEPT_BYTES) }
    }
}

/// A tile of output voxels, as kernels/tensor_cores.cuh has it.
#[derive(Clone, Copy)]
struct Tile {
    size: [usize; 3],
}

impl Tile {
    /// Tiles that are `down` voxels long along H.
    const fn new(down: usize) -> Self {
        Self { size: [8, down, 8] }
    }

    fn voxels(self) -> usize {
        self.size.iter().product()
    }

    /// Voxels of its input.
    fn halo_voxels(self) -> usize {
        self.size.iter().map(|n| n + 2).product()
    }

    /// How many of them cover `size`.
    fn count(self, size: [usize; 3]) -> usize {
        size.iter().zip(self.size).map(|(n, tile)| n.div_ceil(tile)).product()
    }
}

/// Blocks for the tiles of a sample, when `slots` run at once over all samples: as many tiles for each as for any other, as
/// far as it goes.
fn blocks_of_sample(tiles: usize, slots: usize, samples: usize) -> usize {
    let most = (slots / samples).clamp(1, tiles);
    tiles.div_ceil(tiles.div_ceil(most))
}

/// The lines that specialise a kernel.
fn defines<T: CudaNumber>(outputs: usize, tile: Tile) -> String {
    let half = if T::DTYPE == DType::F16 { "#define HALF\n" } else { "" };
    format!("{half}#define OUTPUTS {outputs}\n#define TILE_H {}", tile.size[1])
}

/// Of so many channels, how many a block works on.
fn channels_of_block(channels: usize) -> usize {
    if channels.is_multiple_of(32) { 32 } else { 16 }
}
