//! The two ends of a network: the head, which gives scores with the channels first, and the first layer, which takes an
//! image of one channel.
//!
//! Both move many numbers and compute little, so that on a GPU each is one pass over memory: norm, activation, cast and
//! change of layout are part of it. Parameters, scores and the image are of a wide type, `f64` for values in `f64` and
//! `f32` for all others; an image and the weights of the first layer are rounded to the type of the values, as is what
//! a head reads.

#[cfg(any(feature = "cuda", test))]
mod by_convolution;
#[cfg(feature = "cuda")]
mod on_gpu;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor, bail};

use super::activate::Read;
use super::convolution::{convolve, convolve_weight_gradient};
use super::layout::readable;
use super::{wide, widened};
use crate::params::Conv3dParams;

/// Scores (N, K, D, H, W) of y (N, D, H, W, C) as it is read: weights (K, C) times its channels, plus the bias (K). Of
/// the wide type for y.
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn head(y: &Tensor, read: Option<&Read>, weights: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (y, read, weights) = head_arguments(y, read, weights)?;
    let (n, d, h, w, _) = y.dims5()?;
    let bias = widened(bias, y.dtype())?;
    let classes = bias.dims1()?;
    if weights.dim(0)? != classes {
        bail!("head: weights {:?} and a bias {:?}", weights.dims(), bias.dims());
    }
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return match on_gpu::head(&y, read.as_ref(), &weights, &bias)? {
            Some(scores) => Ok(scores),
            None => by_convolution::head(&y, read.as_ref(), &weights, &bias),
        };
    }
    let scores = as_read(&y, read.as_ref())?.broadcast_matmul(&weights.t()?)?.broadcast_add(&bias)?;
    scores.transpose(1, 2)?.contiguous()?.reshape((n, classes, d, h, w))
}

/// From the gradient (N, K, D, H, W) of [`head`]'s scores to those of y as it is read, (N, D, H, W, C) of the type of y,
/// of the weights and of the bias.
///
/// # Errors
/// As [`head`].
pub fn head_gradient(
    gradient: &Tensor,
    y: &Tensor,
    read: Option<&Read>,
    weights: &Tensor,
) -> Result<[Tensor; 3]> {
    let (y, read, weights) = head_arguments(y, read, weights)?;
    let (n, d, h, w, _) = y.dims5()?;
    let classes = weights.dim(0)?;
    let gradient = widened(gradient, y.dtype())?;
    if gradient.dims() != [n, classes, d, h, w] {
        bail!("head: a gradient {:?} for {classes} classes of {:?}", gradient.dims(), y.dims());
    }
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return match on_gpu::head_gradient(&gradient, &y, read.as_ref(), &weights)? {
            Some(gradients) => Ok(gradients),
            None => by_convolution::head_gradient(&gradient, &y, read.as_ref(), &weights),
        };
    }
    let gradient = gradient.reshape((n, classes, d * h * w))?;
    let for_y = gradient.transpose(1, 2)?.contiguous()?.broadcast_matmul(&weights)?;
    let for_weights = gradient.matmul(&as_read(&y, read.as_ref())?)?.sum(0)?;
    let for_bias = gradient.sum((0, 2))?;
    Ok([for_y.to_dtype(y.dtype())?.reshape(y.shape())?, for_weights, for_bias])
}

/// w ∗ image (N, D, H, W, O) of type `number`, from an image (N, 1, D, H, W) and weights (O, 1, 3, 3, 3), with a padding
/// of 1; and, where they are had on the way and `sums` are asked for, those that [`norm_read`](super::norm_read) takes.
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn first_layer(
    image: &Tensor,
    weights: &Tensor,
    number: DType,
    sums: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let (image, weights) = (widened(image, number)?, widened(weights, number)?);
    #[cfg(feature = "cuda")]
    if let Some(found) = on_gpu::first_layer(&image, &weights, number, sums)? {
        return Ok(found);
    }
    let _ = sums;
    let (image, weights) = (with_one_channel(&image, number)?, with_one_channel(&weights, number)?);
    let y = convolve(&image, &weights, &Conv3dParams::same([3; 3]))?.to_dtype(number)?;
    Ok((y, None))
}

/// From an image (N, 1, D, H, W) and the gradient (N, D, H, W, O) of [`first_layer`]'s result to that of its weights,
/// (O, 1, 3, 3, 3) of the wide type.
///
/// # Errors
/// As [`first_layer`].
pub fn first_layer_weight_gradient(image: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let number = gradient.dtype();
    let (image, gradient) = (widened(image, number)?, gradient.detach().contiguous()?);
    #[cfg(feature = "cuda")]
    if let Some(sums) = on_gpu::first_layer_weight_gradient(&image, &gradient)? {
        return Ok(sums);
    }
    let (image, params) = (with_one_channel(&image, number)?, Conv3dParams::same([3; 3]));
    let sums = convolve_weight_gradient(&image, &computed(&gradient)?, [3; 3], &params)?;
    sums.to_dtype(wide(number))?.reshape((gradient.dim(4)?, 1, 3, 3, 3))
}

/// As an operation takes it that the CPU has in `f32` and `f64` alone.
fn computed(tensor: &Tensor) -> Result<Tensor> {
    if tensor.device().is_cpu() { tensor.to_dtype(wide(tensor.dtype())) } else { Ok(tensor.clone()) }
}

/// (A, 1, D, H, W) rounded to `number`, as (A, D, H, W, 1).
fn with_one_channel(tensor: &Tensor, number: DType) -> Result<Tensor> {
    let (a, channels, d, h, w) = tensor.dims5()?;
    if channels != 1 {
        bail!("first layer: {:?} has {channels} channels, expected one", tensor.dims());
    }
    computed(&tensor.to_dtype(number)?.reshape((a, d, h, w, 1))?)
}

/// y with its channels side by side, terms and weights in one piece, if they fit each other.
fn head_arguments(
    y: &Tensor,
    read: Option<&Read>,
    weights: &Tensor,
) -> Result<(Tensor, Option<Read>, Tensor)> {
    let (n, .., c) = y.dims5()?;
    let weights = widened(weights, y.dtype())?;
    if weights.dims2()?.1 != c {
        bail!("head: weights {:?} for values {:?}", weights.dims(), y.dims());
    }
    let read = match read {
        Some(Read { terms, .. }) if terms.dims() != [4, n, c] => {
            bail!("head: terms {:?}, expected [4, {n}, {c}]", terms.dims())
        }
        Some(Read { terms, slope }) => Some(Read { terms: terms.detach().contiguous()?, slope: *slope }),
        None => None,
    };
    Ok((readable(&y.detach())?, read, weights))
}

/// The values of y as they are read: (N, D · H · W, C) of the wide type, rounded to the type of y.
fn as_read(y: &Tensor, read: Option<&Read>) -> Result<Tensor> {
    let (n, d, h, w, c) = y.dims5()?;
    let values = y.to_dtype(DType::F64)?.reshape((n, d * h * w, c))?;
    let x = match read {
        Some(Read { terms, slope }) => {
            let row = |k: usize| terms.get(k)?.reshape((n, 1, c));
            let z = values.broadcast_mul(&row(2)?)?.broadcast_add(&row(3)?)?;
            z.gt(0.0)?.where_cond(&z, &z.affine(*slope, 0.0)?)?
        }
        None => values,
    };
    x.to_dtype(y.dtype())?.to_dtype(wide(y.dtype()))
}
