//! Volumes as tensors and back: the same numbers in the same order.

use candle_core::{DType, Device, Tensor};
use organseg_volume::{Grid, Volume};

use crate::TrainError;

/// `image` as a tensor (1, 1, D, H, W): D along z, H along y, W along x. On the CPU it is one copy.
///
/// # Errors
/// [`TrainError::Candle`] if the device has no room for it.
///
/// ```
/// use candle_core::Device;
/// use organseg_train::{from_tensor, to_tensor};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([3, 2, 1], Spacing::isotropic(1.0)?)?;
/// let image = Volume::from_fn(grid, |[x, y, _]| (10 * y + x) as f32);
/// let tensor = to_tensor(&image, &Device::Cpu)?;
/// assert_eq!(tensor.dims(), [1, 1, 1, 2, 3]);
/// assert_eq!(tensor.squeeze(0)?.squeeze(0)?.squeeze(0)?.to_vec2::<f32>()?, [[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]);
/// assert_eq!(from_tensor(&tensor, grid)?, image);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_tensor(image: &Volume<f32>, device: &Device) -> Result<Tensor, TrainError> {
    let [x, y, z] = image.size();
    Ok(Tensor::from_slice(image.voxels(), (1, 1, z, y, x), device)?)
}

/// The numbers of `tensor`, of any shape and type, as a volume on `grid`.
///
/// # Errors
/// [`TrainError::Volume`] if the tensor has not as many numbers as the grid has voxels, [`TrainError::Candle`] if it
/// cannot be read.
pub fn from_tensor(tensor: &Tensor, grid: Grid) -> Result<Volume<f32>, TrainError> {
    let voxels = tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    Ok(Volume::from_vec(grid, voxels)?)
}
