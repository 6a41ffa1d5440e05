//! What is done by kernels that have several results, or results for several tensors.

use candle_core::cuda_backend::CudaDevice;
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, DType, Result, Shape, Storage, Tensor, bail};

use super::activate::Read;
use super::as_read::Parts;
use super::layout::{Voxels, readable};
use super::norm::{Norm, Through, three, with_voxels};
use crate::cuda::{CudaNumber, Stored, by_cuda_type, last, layout, tensor_cores};
use crate::params::{Conv3dParams, ConvShape};

/// Calls `with` with the memory of `tensor` on the card.
pub(super) fn on_card<R>(tensor: &Tensor, with: impl FnOnce(Stored<'_>) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cuda(storage) => with((storage, layout)),
        _ => bail!("a tensor on another device came to an operation on a GPU"),
    }
}

/// A tensor of what a kernel made.
pub(super) fn tensor(storage: CudaStorage, shape: impl Into<Shape>) -> Tensor {
    Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false)
}

/// What parameters are beside numbers of type `number`.
fn wide(number: DType) -> DType {
    if number == DType::F64 { DType::F64 } else { DType::F32 }
}

/// A parameter as kernels for numbers of type `number` take it.
fn parameter(tensor: &Tensor, number: DType) -> Result<Tensor> {
    tensor.detach().to_dtype(wide(number))?.contiguous()
}

pub(super) fn norm_terms(y: &Tensor, sums: Option<&Tensor>, norm: &Norm<'_>) -> Result<Tensor> {
    let (y, number) = (readable(y)?, y.dtype());
    let [gamma, beta] = [parameter(norm.gamma, number)?, parameter(norm.beta, number)?];
    let sums = sums.map(Tensor::contiguous).transpose()?;
    on_card(&y, |(storage, layout)| {
        let v = with_voxels("norm_read", layout)?;
        if [gamma.dims(), beta.dims()] != [[v.channels]; 2] {
            bail!(
                "norm_read: scale {:?} and shift {:?} for {} channels",
                gamma.dims(),
                beta.dims(),
                v.channels
            );
        }
        if let Some(sums) = &sums
            && (sums.rank() != 4 || [sums.dim(0)?, sums.dim(2)?, sums.dim(3)?] != [v.batch, v.channels, 2])
        {
            bail!("norm_read: sums {:?} for {} samples of {} channels", sums.dims(), v.batch, v.channels);
        }
        let terms = on_card(&gamma, |gamma| {
            on_card(&beta, |beta| {
                let all = last::Norm { gamma, beta, epsilon: norm.epsilon };
                match &sums {
                    Some(sums) => on_card(sums, |sums| {
                        by_cuda_type!("norm_read", storage, last::norm_terms_of(storage, &v, sums, &all))
                    }),
                    None => by_cuda_type!("norm_read", storage, last::norm_terms(storage, &v, &all)),
                }
            })
        })?;
        Ok(tensor(terms, (4, v.batch, v.channels)))
    })
}

pub(super) fn bias_terms(bias: &Tensor, batch: usize, number: DType) -> Result<Tensor> {
    let (bias, channels) = (parameter(bias, number)?, bias.elem_count());
    let terms = on_card(&bias, |bias| match wide(number) {
        DType::F64 => last::bias_terms::<f64>(bias, batch),
        _ => last::bias_terms::<f32>(bias, batch),
    })?;
    Ok(tensor(terms, (4, batch, channels)))
}

pub(super) fn through_norm(gradient: &Tensor, y: &Tensor, read: &Read, gamma: &Tensor) -> Result<Through> {
    let (g, y) = (readable(gradient)?, readable(y)?);
    let (terms, gamma) = (read.terms.contiguous()?, parameter(gamma, y.dtype())?);
    let [dy, for_gamma, for_beta] = on_card(&g, |g| {
        on_card(&y, |y| {
            on_card(&terms, |terms| {
                let voxels = three("through_norm", [g.1, y.1, terms.1], 4)?;
                if gamma.dims() != [voxels[1].channels] {
                    bail!("through_norm: scale {:?} for {} channels", gamma.dims(), voxels[1].channels);
                }
                on_card(&gamma, |gamma| {
                    let all = [terms, gamma];
                    by_cuda_type!("through_norm", y.0, last::through_norm(read.slope, g.0, y.0, all, &voxels))
                })
            })
        })
    })?;
    let channels = gamma.elem_count();
    Ok(Through {
        y: tensor(dy, y.shape()),
        gamma: Some(tensor(for_gamma, channels)),
        beta: tensor(for_beta, channels),
    })
}

/// Σ g′ (C).
pub(super) fn through_sums(gradient: &Tensor, y: &Tensor, read: &Read) -> Result<Tensor> {
    let (g, y, terms) = (readable(gradient)?, readable(y)?, read.terms.contiguous()?);
    on_card(&g, |g| {
        on_card(&y, |y| {
            on_card(&terms, |terms| {
                let voxels = three("through_bias", [g.1, y.1, terms.1], 4)?;
                let sums =
                    by_cuda_type!("through_bias", y.0, last::sums(read.slope, g.0, y.0, terms, &voxels))?;
                Ok(tensor(sums, voxels[1].channels))
            })
        })
    })
}

pub(super) fn totals(gradient: &Tensor) -> Result<Tensor> {
    on_card(&readable(gradient)?, |(g, layout)| {
        let v = Voxels::of("totals", layout)?;
        Ok(tensor(by_cuda_type!("totals", g, last::totals(g, &v))?, v.channels))
    })
}

/// (O, C, …) as (O, …, C) in numbers of type `number`.
pub(super) fn last_from_first(from: &Tensor, number: DType) -> Result<Tensor> {
    let dims = from.dims();
    let [outer, channels, inner] = [dims[0], dims[1], dims[2..].iter().product()];
    let shape: Vec<usize> = [&dims[..1], &dims[2..], &dims[1..2]].concat();
    let from = parameter(from, number)?;
    let out = on_card(&from, |from| {
        let sizes = [outer, channels, inner];
        match number {
            DType::F32 => layout::last_from_first::<f32>(from, sizes),
            DType::F64 => layout::last_from_first::<f64>(from, sizes),
            DType::F16 => layout::last_from_first::<half::f16>(from, sizes),
            DType::BF16 => layout::last_from_first::<half::bf16>(from, sizes),
            other => bail!("numbers of type {other:?} on a GPU, expected F32, F64, F16 or BF16"),
        }
    })?;
    Ok(tensor(out, shape))
}

/// (O, …, C) as (O, C, …), in what parameters are.
pub(super) fn first_from_last(from: &Tensor) -> Result<Tensor> {
    let (dims, end) = (from.dims(), from.rank() - 1);
    let [outer, channels, inner] = [dims[0], dims[end], dims[1..end].iter().product()];
    let shape: Vec<usize> = [&dims[..1], &dims[end..], &dims[1..end]].concat();
    let out = on_card(&from.contiguous()?, |from| {
        let sizes = [outer, channels, inner];
        by_cuda_type!("first_from_last", from.0, layout::first_from_last(from, sizes))
    })?;
    Ok(tensor(out, shape))
}

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
        kept.push((readable(y)?, read.map(|read| read.terms.contiguous()).transpose()?));
    }
    let memory: Vec<_> = kept
        .iter()
        .map(|(y, terms)| (y.storage_and_layout(), terms.as_ref().map(Tensor::storage_and_layout)))
        .collect();
    fn cuda(storage: &Storage) -> Result<&CudaStorage> {
        match storage {
            Storage::Cuda(storage) => Ok(storage),
            _ => bail!("a tensor on another device came to an operation on a GPU"),
        }
    }
    let mut sources = Vec::with_capacity(parts.len());
    for ((y, terms), (_, read)) in memory.iter().zip(parts) {
        let terms = match (terms, read) {
            (Some((storage, layout)), Some(read)) => Some(((cuda(storage)?, *layout), read.slope)),
            _ => None,
        };
        let voxels = Voxels::of("convolve_as_read", y.1)?;
        sources.push(tensor_cores::Source { storage: cuda(&y.0)?, voxels, terms });
    }
    on_card(other, |other| with(&other.0.device, &sources, other))
}

/// By the kernels for few channels; nothing if they do not take it.
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
    with_sources(parts, &parameter(weights, number)?, |device, sources, weights| match number {
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
        let sums = found.sums.map(|(sums, pieces)| {
            let sums = CudaStorage::wrap_cuda_slice(sums, device.clone());
            tensor(sums, (shape.batch, pieces, shape.outputs, 2))
        });
        (tensor(y, (shape.batch, d, h, w, shape.outputs)), sums)
    }))
}

/// By the kernels for few channels; nothing if they do not take it.
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

/// By the kernels for few channels; nothing if they do not take it.
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
    let (gradient, weights) = (gradient.contiguous()?, parameter(weights, gradient.dtype())?);
    let found = on_card(&gradient, |stored| {
        on_card(&weights, |weights| match gradient.dtype() {
            DType::F16 => of::<half::f16>(&shape, stored, weights),
            DType::BF16 => of::<half::bf16>(&shape, stored, weights),
            _ => Ok(None),
        })
    })?;
    Ok(found.map(|found| tensor(found, (n, d, h, w, inputs))))
}
