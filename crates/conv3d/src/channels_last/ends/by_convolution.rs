//! A head of more classes than the kernels for it take, as a convolution: several passes, none of them in more bits than the
//! values have.

use candle_core::{Result, Tensor};

use crate::channels_last::{
    Read, convolve, convolve_input_gradient, convolve_weight_gradient, first_from_last, last_from_first,
    side_by_side, totals,
};
use crate::params::Conv3dParams;

/// As [`head`](super::head), with weights and bias of the wide type.
pub(super) fn head(y: &Tensor, read: Option<&Read>, weights: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let scores = convolve(&side_by_side(&[(y, read)])?, &kernel(weights, y)?, &Conv3dParams::default())?;
    first_from_last(&scores)?.broadcast_add(&bias.reshape((1, (), 1, 1, 1))?)
}

/// As [`head_gradient`](super::head_gradient), with gradient and weights of the wide type.
pub(super) fn head_gradient(
    gradient: &Tensor,
    y: &Tensor,
    read: Option<&Read>,
    weights: &Tensor,
) -> Result<[Tensor; 3]> {
    let (params, (_, d, h, w, _)) = (Conv3dParams::default(), y.dims5()?);
    let gradient = last_from_first(gradient, y.dtype())?;
    let for_weights = convolve_weight_gradient(&side_by_side(&[(y, read)])?, &gradient, [1; 3], &params)?;
    let for_weights = for_weights.to_dtype(weights.dtype())?.reshape(weights.shape())?;
    let for_bias = totals(&gradient)?.to_dtype(weights.dtype())?;
    let for_y = convolve_input_gradient(&gradient, &kernel(weights, y)?, [d, h, w], &params)?;
    Ok([for_y, for_weights, for_bias])
}

/// Weights (K, C) as (K, 1, 1, 1, C), in numbers of the type of y.
fn kernel(weights: &Tensor, y: &Tensor) -> Result<Tensor> {
    let (k, c) = weights.dims2()?;
    weights.to_dtype(y.dtype())?.reshape((k, 1, 1, 1, c))
}
