//! By the kernels for few channels, where they take it and are the faster ones.

use candle_core::cuda_backend::CudaDevice;
use candle_core::{CudaStorage, DType, Result, Tensor};

use super::Parts;
use crate::channels_last::Read;
use crate::channels_last::layout::{Voxels, readable};
use crate::channels_last::on_gpu::{cuda, held, on_card, sums, tensor};
use crate::channels_last::widened;
use crate::cuda::{CudaNumber, Stored, tensor_cores};
use crate::params::{Conv3dParams, ConvShape};

/// The shape of a convolution of `parts`; nothing if it is for others to say what is wrong with them.
fn shape_of(
    parts: &Parts<'_>,
    outputs: usize,
    kernel: [usize; 3],
    params: &Conv3dParams,
) -> Result<Option<ConvShape>> {
    let Some((first, _)) = parts.first() else { return Ok(None) };
    let &[n, d, h, w, _] = first.dims() else { return Ok(None) };
    let channels = parts.iter().map(|(y, _)| y.dim(y.rank() - 1)).sum::<Result<usize>>()?;
    let [kd, kh, kw] = kernel;
    ConvShape::new(&[n, channels, d, h, w], &[outputs, channels, kd, kh, kw], params).map(Some)
}

/// Calls `with` with `parts` as sources of a convolution on tensor cores, and `other`, which is contiguous.
fn with_sources<R>(
    parts: &Parts<'_>,
    other: &Tensor,
    with: impl FnOnce(&CudaDevice, &[tensor_cores::Source<'_>], Stored<'_>) -> Result<R>,
) -> Result<R> {
    let mut kept = Vec::with_capacity(parts.len());
    for (y, read) in parts {
        let read = match read {
            Some(Read { terms, slope }) => Some(Read { terms: terms.contiguous()?, slope: *slope }),
            None => None,
        };
        kept.push((readable(y)?, read));
    }
    let memory: Vec<_> =
        kept.iter().map(|(y, read)| (y.storage_and_layout(), read.as_ref().map(held))).collect();
    let mut sources = Vec::with_capacity(parts.len());
    for ((storage, layout), read) in memory.iter().map(|(y, read)| ((&y.0, y.1), read)) {
        let voxels = Voxels::of("convolve_as_read", layout)?;
        let terms = read.as_ref().map(|read| read.stored()).transpose()?;
        sources.push(tensor_cores::Source { storage: cuda(storage)?, voxels, terms });
    }
    on_card(other, |other| with(&other.0.device, &sources, other))
}

pub(super) fn convolve_as_read(
    parts: &Parts<'_>,
    weights: &Tensor,
    params: &Conv3dParams,
    sums: bool,
) -> Result<Option<(Tensor, Option<Tensor>)>> {
    let &[outputs, _, kd, kh, kw] = weights.dims() else { return Ok(None) };
    let Some(shape) = shape_of(parts, outputs, [kd, kh, kw], params)? else { return Ok(None) };
    if !weights.device().is_cuda() || !tensor_cores::is_faster::forward(&shape) {
        return Ok(None);
    }
    let number = parts[0].0.dtype();
    with_sources(parts, &widened(weights, number)?, |device, sources, weights| match number {
        DType::F16 => by_tensor_cores::<half::f16>(device, &shape, sources, weights, sums),
        DType::BF16 => by_tensor_cores::<half::bf16>(device, &shape, sources, weights, sums),
        _ => Ok(None),
    })
}

fn by_tensor_cores<T: CudaNumber>(
    device: &CudaDevice,
    shape: &ConvShape,
    sources: &[tensor_cores::Source<'_>],
    weights: Stored<'_>,
    with_sums: bool,
) -> Result<Option<(Tensor, Option<Tensor>)>> {
    let found = tensor_cores::forward::<T>(device, shape, sources, weights, with_sums)?;
    let [d, h, w] = shape.output;
    Ok(found.map(|found| {
        let y = T::wrap_cuda_slice(found.y, device.clone());
        let sums = found.sums.map(|partials| sums(partials, [shape.batch, shape.outputs], device));
        (tensor(y, (shape.batch, d, h, w, shape.outputs)), sums)
    }))
}

pub(super) fn weight_gradient_as_read(
    parts: &Parts<'_>,
    gradient: &Tensor,
    kernel: [usize; 3],
    params: &Conv3dParams,
) -> Result<Option<Tensor>> {
    let &[.., outputs] = gradient.dims() else { return Ok(None) };
    let Some(shape) = shape_of(parts, outputs, kernel, params)? else { return Ok(None) };
    if !gradient.device().is_cuda() || !tensor_cores::is_faster::weight_gradient(&shape) {
        return Ok(None);
    }
    let gradient = gradient.contiguous()?;
    let sums = with_sources(parts, &gradient, |device, sources, stored| {
        let sums = match gradient.dtype() {
            DType::F16 => tensor_cores::weight_gradient::<half::f16>(device, &shape, sources, stored)?,
            DType::BF16 => tensor_cores::weight_gradient::<half::bf16>(device, &shape, sources, stored)?,
            _ => None,
        };
        Ok(sums.map(|sums| CudaStorage::wrap_cuda_slice(sums, device.clone())))
    })?;
    Ok(sums.map(|sums| tensor(sums, (outputs, shape.inputs, 3, 3, 3))))
}

pub(super) fn gradient_as_read(
    gradient: &Tensor,
    weights: &Tensor,
    size: [usize; 3],
    params: &Conv3dParams,
) -> Result<Option<Tensor>> {
    fn of<T: CudaNumber>(
        shape: &ConvShape,
        gradient: Stored<'_>,
        weights: Stored<'_>,
    ) -> Result<Option<CudaStorage>> {
        let device = &gradient.0.device;
        let found = tensor_cores::input_gradient::<T>(device, shape, gradient, weights)?;
        Ok(found.map(|found| T::wrap_cuda_slice(found, device.clone())))
    }
    let (&[n, .., outputs], &[_, inputs, ..]) = (gradient.dims(), weights.dims()) else { return Ok(None) };
    let [d, h, w] = size;
    let Ok(weights_dims) = <[usize; 5]>::try_from(weights.dims()) else { return Ok(None) };
    let shape = ConvShape::new(&[n, inputs, d, h, w], &weights_dims, params)?;
    let fits = outputs == shape.outputs && gradient.device().is_cuda();
    if !fits || !tensor_cores::is_faster::input_gradient(&shape) {
        return Ok(None);
    }
    let (gradient, weights) = (gradient.contiguous()?, widened(weights, gradient.dtype())?);
    let found = on_card(&gradient, |stored| {
        on_card(&weights, |weights| match gradient.dtype() {
            DType::F16 => of::<half::f16>(&shape, stored, weights),
            DType::BF16 => of::<half::bf16>(&shape, stored, weights),
            _ => Ok(None),
        })
    })?;
    Ok(found.map(|found| tensor(found, (n, d, h, w, inputs))))
}
