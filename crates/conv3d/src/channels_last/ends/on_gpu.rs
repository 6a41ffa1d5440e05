//! By the kernels for it, if the tensors are on a GPU and of sizes that the kernels are made for.

use candle_core::{CudaStorage, DType, Device, Layout, Result, Tensor, bail};

use crate::channels_last::Read;
use crate::channels_last::layout::Voxels;
use crate::channels_last::on_gpu::{cuda, held, sums, tensor};
use crate::cuda::last::Partials;
use crate::cuda::{by_cuda_type, first_layer as layer, head as kernels};

pub(super) fn head(
    y: &Tensor,
    read: Option<&Read>,
    weights: &Tensor,
    bias: &Tensor,
) -> Result<Option<Tensor>> {
    let (n, d, h, w, c) = y.dims5()?;
    let classes = weights.dim(0)?;
    if !y.device().is_cuda() || !kernels::takes(classes, c) {
        return Ok(None);
    }
    let voxels = Voxels::of("head", y.layout())?;
    let kept = read.map(held);
    let read = kept.as_ref().map(|read| read.stored()).transpose()?;
    let ((y, _), (weights, lw), (bias, lb)) =
        (y.storage_and_layout(), weights.storage_and_layout(), bias.storage_and_layout());
    let (y, weights, bias) = (cuda(&y)?, (cuda(&weights)?, lw), (cuda(&bias)?, lb));
    let scores = by_cuda_type!("head", y, kernels::forward(y, &voxels, read, weights, bias))?;
    Ok(Some(tensor(scores, (n, classes, d, h, w))))
}

pub(super) fn head_gradient(
    gradient: &Tensor,
    y: &Tensor,
    read: Option<&Read>,
    weights: &Tensor,
) -> Result<Option<[Tensor; 3]>> {
    let (shape, (classes, channels)) = (y.shape().clone(), weights.dims2()?);
    if !y.device().is_cuda() || !kernels::takes(classes, channels) {
        return Ok(None);
    }
    let voxels = Voxels::of("head", y.layout())?;
    let kept = read.map(held);
    let read = kept.as_ref().map(|read| read.stored()).transpose()?;
    let ((y, _), (weights, lw), (gradient, lg)) =
        (y.storage_and_layout(), weights.storage_and_layout(), gradient.storage_and_layout());
    let (y, weights, gradient) = (cuda(&y)?, (cuda(&weights)?, lw), (cuda(&gradient)?, lg));
    let [for_y, for_weights, for_bias] =
        by_cuda_type!("head", y, kernels::backward(gradient, y, &voxels, read, weights))?;
    Ok(Some([tensor(for_y, shape), tensor(for_weights, (classes, channels)), tensor(for_bias, classes)]))
}

/// y and, if asked for, the sums (N, pieces, O, 2) of y and y².
pub(super) fn first_layer(
    image: &Tensor,
    weights: &Tensor,
    number: DType,
    stats: bool,
) -> Result<Option<(Tensor, Option<Tensor>)>> {
    let Device::Cuda(device) = image.device() else { return Ok(None) };
    let (outputs, channels, kd, kh, kw) = weights.dims5()?;
    if !layer::takes(outputs) || [channels, kd, kh, kw] != [1, 3, 3, 3] {
        return Ok(None);
    }
    let (n, _, d, h, w) = image.dims5()?;
    let ((image, li), (weights, lw)) = (image.storage_and_layout(), weights.storage_and_layout());
    let (image, weights) = ((cuda(&image)?, li), (cuda(&weights)?, lw));
    let (y, partials) = by_number(number, image, weights, stats)?;
    let sums = partials.map(|partials| sums(partials, [n, outputs], device));
    Ok(Some((tensor(y, (n, d, h, w, outputs)), sums)))
}

/// Of the type that y is to have, which no argument tells.
fn by_number(
    number: DType,
    image: (&CudaStorage, &Layout),
    weights: (&CudaStorage, &Layout),
    stats: bool,
) -> Result<(CudaStorage, Option<Partials>)> {
    match number {
        DType::F32 => layer::forward::<f32>(image, weights, stats),
        DType::F64 => layer::forward::<f64>(image, weights, stats),
        DType::F16 => layer::forward::<half::f16>(image, weights, stats),
        DType::BF16 => layer::forward::<half::bf16>(image, weights, stats),
        other => bail!("first layer: numbers of type {other:?} on a GPU, expected F32, F64, F16 or BF16"),
    }
}

pub(super) fn first_layer_weight_gradient(image: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
    let (.., outputs) = gradient.dims5()?;
    if !image.device().is_cuda() || !layer::takes(outputs) {
        return Ok(None);
    }
    let ((image, li), (gradient, lg)) = (image.storage_and_layout(), gradient.storage_and_layout());
    let (image, gradient) = ((cuda(&image)?, li), (cuda(&gradient)?, lg));
    let sums = by_cuda_type!("first layer", gradient.0, layer::weight_gradient(gradient, image))?;
    Ok(Some(tensor(sums, (outputs, 1, 3, 3, 3))))
}
