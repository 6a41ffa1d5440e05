//! Convolutions of values as they are read, side by side.

#[cfg(feature = "cuda")]
mod on_gpu;

use candle_core::{Result, Tensor};

use super::activate::{Read, activated};
use super::convolution::{convolve, convolve_input_gradient, convolve_weight_gradient};
use super::layout::{first_from_last, last_from_first};
use crate::params::Conv3dParams;

/// Values (N, D, H, W, Cᵢ), each with how it is read; as it is if nothing is said.
pub type Parts<'a> = [(&'a Tensor, Option<&'a Read>)];

/// w ∗ x with parameters w (C_out, C₁ + C₂ + …, kD, kH, kW), rounded to the type of x, which are `parts` as they are read,
/// side by side: (N, D', H', W', C_out). And, where they are had on the way and `sums` are asked for, those that
/// [`norm_read`](super::norm_read) takes.
///
/// # Errors
/// If there are no parts, or shapes do not fit each other; what a device gives.
pub fn convolve_as_read(
    parts: &Parts<'_>,
    weights: &Tensor,
    params: &Conv3dParams,
    sums: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    #[cfg(feature = "cuda")]
    if let Some(found) = on_gpu::convolve_as_read(parts, weights, params, sums)? {
        return Ok(found);
    }
    let _ = sums;
    let x = side_by_side(parts)?;
    Ok((convolve(&x, &last_from_first(weights, x.dtype())?, params)?, None))
}

/// From the gradient of [`convolve_as_read`]'s result and the parameters to the gradient (N, D, H, W, C) for what was read, of
/// `size`.
///
/// # Errors
/// As [`convolve_as_read`].
pub fn gradient_as_read(
    gradient: &Tensor,
    weights: &Tensor,
    size: [usize; 3],
    params: &Conv3dParams,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(found) = on_gpu::gradient_as_read(gradient, weights, size, params)? {
        return Ok(found);
    }
    convolve_input_gradient(gradient, &last_from_first(weights, gradient.dtype())?, size, params)
}

/// From what [`convolve_as_read`] read and the gradient of its result to the gradient (C_out, C, kD, kH, kW) of its weights,
/// in what parameters are.
///
/// # Errors
/// As [`convolve_as_read`].
pub fn weight_gradient_as_read(
    parts: &Parts<'_>,
    gradient: &Tensor,
    kernel: [usize; 3],
    params: &Conv3dParams,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(found) = on_gpu::weight_gradient_as_read(parts, gradient, kernel, params)? {
        return Ok(found);
    }
    first_from_last(&convolve_weight_gradient(&side_by_side(parts)?, gradient, kernel, params)?)
}

/// `parts` as they are read, side by side: a single one that is read as it is is not copied.
///
/// # Errors
/// As [`activated`].
pub fn side_by_side(parts: &Parts<'_>) -> Result<Tensor> {
    match *parts {
        [(y, None)] => Ok(y.clone()),
        _ => activated(parts),
    }
}
