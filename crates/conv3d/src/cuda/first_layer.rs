//! A 3×3×3 convolution of one channel (N, 1, D, H, W) to a few (N, D, H, W, O), and the gradient of its weights.

use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig};
use candle_core::{CudaStorage, Layout, Result, bail};

use super::ends::{Pieces, SOURCE};
use super::kernels::{Kernel, MOST_BLOCKS_DOWN, kernel_with, launch};
use super::last::Partials;
use super::number::CudaNumber;
use super::{Stored, room, values};

/// Outputs are multiples of this…
const OUTPUTS_TOGETHER: usize = 8;

/// … and not more than this.
const MOST_OUTPUTS: usize = 64;

/// Blocks of a sample, at most. The same on every card, as sums are joined by blocks.
const MOST_PIECES: usize = 256;

/// Blocks that sum for the weights, at most: three for each multiprocessor of a large card.
const MOST_BLOCKS: usize = 396;

/// Voxels that a tile has along w.
const ACROSS: usize = 16;

/// Whether the kernels are made for so many outputs.
pub(crate) fn takes(outputs: usize) -> bool {
    outputs > 0 && outputs.is_multiple_of(OUTPUTS_TOGETHER) && outputs <= MOST_OUTPUTS
}

/// `Size` of the kernels: (D, H, W).
#[repr(C)]
#[derive(Clone, Copy)]
struct Size([i32; 3]);

// SAFETY: plain numbers in the layout of C, as the kernels declare them.
unsafe impl DeviceRepr for Size {}

struct Layer {
    batch: usize,
    size: [usize; 3],
    outputs: usize,
}

/// How a kernel cuts samples into tiles (D, H, W), and the threads that share one.
struct Tiles {
    size: [usize; 3],
    threads: usize,
}

impl Tiles {
    /// `places` of the kernels: the largest power of two of places for which `lanes` threads each are not more than `most`.
    fn new(most: usize, lanes: usize, run: usize) -> Self {
        let places = 1 << (most / lanes).ilog2();
        let across = places.min(ACROSS);
        Self { size: [places / across, run, across], threads: lanes * places }
    }

    /// Of a sample.
    fn count(&self, size: [usize; 3]) -> usize {
        size.iter().zip(self.size).map(|(n, tile)| n.div_ceil(tile)).product()
    }
}

impl Layer {
    /// # Errors
    /// If the image has not five axes, or more than one channel, or [`takes`] says no.
    fn new(image: &Layout, outputs: usize) -> Result<Self> {
        let &[batch, 1, d, h, w] = image.dims() else {
            bail!("first layer: an image {:?}, expected (N, 1, D, H, W)", image.dims())
        };
        let layer = Self { batch, size: [d, h, w], outputs };
        // Tiles are counted in 32 bits.
        if !takes(outputs) || batch > MOST_BLOCKS_DOWN || d * h * w > i32::MAX as usize {
            bail!("first layer: an image {:?} to {outputs} channels on a GPU", image.dims());
        }
        Ok(layer)
    }

    fn volume(&self) -> usize {
        self.size.iter().product()
    }

    fn kernel<T: CudaNumber>(&self, device: &CudaDevice, name: &str) -> Result<Kernel> {
        let header = header(self.outputs);
        kernel_with::<T>(
            device,
            "first layer",
            &header,
            &[SOURCE, include_str!("kernels/first_layer.cu")],
            name,
            0,
        )
    }

    /// For the kernels.
    fn sizes(&self) -> Size {
        Size(self.size.map(|n| n as i32))
    }
}

/// y (N, D, H, W, O) of type `T` from an image (N, 1, D, H, W) and weights (O, 1, 3, 3, 3) of the type that kernels for
/// `T` compute with, and, if there are `stats`, the sums of y and y²; no pieces if there are no voxels.
pub(crate) fn forward<T: CudaNumber>(
    image: Stored<'_>,
    weights: Stored<'_>,
    stats: bool,
) -> Result<(CudaStorage, Option<Partials>)> {
    let &[outputs, 1, 3, 3, 3] = weights.1.dims() else {
        bail!("first layer: weights {:?}, expected (O, 1, 3, 3, 3)", weights.1.dims())
    };
    let layer = Layer::new(image.1, outputs)?;
    let device = image.0.device.clone();
    let bytes = size_of::<T::Wide>();
    // As `forward` of the kernels has it.
    let tiles = Tiles::new(256, outputs / OUTPUTS_TOGETHER, if bytes == 8 { 4 } else { 8 });
    let pieces = tiles.count(layer.size).min(MOST_PIECES);
    // The kernel writes all of both.
    let mut y = room::<T>(&device, layer.batch * layer.volume() * outputs)?;
    let entries = if stats { layer.batch * pieces * outputs * 2 } else { 0 };
    let mut sums = room::<f64>(&device, entries)?;
    if layer.batch * pieces > 0 {
        let name = if stats { "first_layer_forward_and_sums" } else { "first_layer_forward" };
        let kernel = layer.kernel::<T>(&device, name)?;
        let config = LaunchConfig {
            grid_dim: (pieces as u32, layer.batch as u32, 1),
            block_dim: (tiles.threads as u32, 1, 1),
            shared_mem_bytes: 0,
        };
        let (image, weights) = (values::<T::Wide>(image)?, values::<T::Wide>(weights)?);
        let sizes = layer.sizes();
        // SAFETY: image and weights have the shapes checked above, and y and sums the sizes; without stats no sums are
        // written; the arguments are those of the kernels, in their order.
        unsafe {
            launch!(kernel, config, [&image, &weights, &mut y, &mut sums, &sizes])?;
        }
    }
    Ok((T::wrap_cuda_slice(y, device), stats.then_some(Partials { sums, pieces })))
}

/// dW (O, 1, 3, 3, 3) from the dense gradient (N, D, H, W, O) of y, of type `T`, and the image.
pub(crate) fn weight_gradient<T: CudaNumber>(gradient: Stored<'_>, image: Stored<'_>) -> Result<CudaStorage> {
    let &[batch, d, h, w, outputs] = gradient.1.dims() else {
        bail!("first layer: a gradient {:?}, expected (N, D, H, W, O)", gradient.1.dims())
    };
    let layer = Layer::new(image.1, outputs)?;
    if (batch, [d, h, w]) != (layer.batch, layer.size) {
        bail!("first layer: a gradient {:?} for an image {:?}", gradient.1.dims(), image.1.dims());
    }
    let device = image.0.device.clone();
    // As `gradient` of the kernels has it.
    let own = if size_of::<T::Wide>() == 8 { 2 } else { 4 };
    let tiles = Tiles::new(128, outputs / own, 33);
    // One that has nothing to add leaves zeros.
    let blocks = (batch * tiles.count(layer.size)).clamp(1, MOST_BLOCKS);
    let mut pieces = Pieces::new(&device, blocks, outputs * 27)?;
    let config = LaunchConfig {
        grid_dim: (blocks as u32, 1, 1),
        block_dim: (tiles.threads as u32, 1, 1),
        shared_mem_bytes: 0,
    };
    let kernel = layer.kernel::<T>(&device, "first_layer_weight_gradient")?;
    let (gradient, image) = (values::<T>(gradient)?, values::<T::Wide>(image)?);
    let (sums, sizes, samples) = (&mut pieces.sums, layer.sizes(), batch as i32);
    // SAFETY: as forward; each block has its own piece of the sums.
    unsafe {
        launch!(kernel, config, [&gradient, &image, sums, &sizes, &samples])?;
    }
    pieces.join::<T::Wide>(&device, &layer.kernel::<T>(&device, "ends_join")?, 0, outputs * 27)
}

/// The line that specialises the kernels.
fn header(outputs: usize) -> String {
    format!("#define OUTPUTS {outputs}")
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::super::kernels::tests::compile_with;
    use super::*;

    #[test]
    fn the_kernels_compile_for_any_number_of_outputs() {
        for outputs in [8, 24, 32, MOST_OUTPUTS] {
            let (header, source) = (header(outputs), [SOURCE, include_str!("kernels/first_layer.cu")]);
            compile_with::<f32>(&header, &source);
            compile_with::<f64>(&header, &source);
            compile_with::<f16>(&header, &source);
            compile_with::<bf16>(&header, &source);
        }
    }
}
