//! The bias of a convolution, added by itself, and its gradient.
//!
//! The gradient of a bias is a sum over all voxels of a channel: in `f32`, one number after the other, it loses digits
//! from a million of them on. Here it is joined in doubles.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};
use rayon::prelude::*;

use crate::kernels::sums::sums;
use crate::storage::{by_type, five, result, values};

/// `y` (N, C, D, H, W) plus `bias` (C), whose gradient is summed up in more digits than the numbers of `y` have: the sum
/// of a hundred thousand voxels in eight or eleven bits is no sum.
pub(crate) fn add_bias(y: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if y.device().is_cpu() {
        return y.contiguous()?.apply_op2(&bias.contiguous()?, AddBias);
    }
    let bias = bias.reshape((1, bias.dims1()?, 1, 1, 1))?;
    match y.dtype() {
        // Backward goes the same way: each voxel's gradient becomes `f32`, and then they are added.
        number @ (DType::F16 | DType::BF16) if bias.dtype() == number => {
            y + bias.to_dtype(DType::F32)?.broadcast_as(y.shape())?.to_dtype(number)?
        }
        _ => y.broadcast_add(&bias),
    }
}

/// The sum of `gradient` (N, C, D, H, W) over samples and voxels, (C).
pub(crate) fn gradient_for_bias(gradient: &Tensor) -> Result<Tensor> {
    if gradient.device().is_cpu() {
        return gradient.contiguous()?.apply_op1_no_bwd(&ChannelSums);
    }
    gradient.flatten_from(2)?.sum(2)?.sum(0)
}

/// y + b.
struct AddBias;

impl CustomOp2 for AddBias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        ly: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("bias", y, added((y, ly), (b, lb)))
    }

    fn bwd(
        &self,
        _: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let for_bias = bias.track_op().then(|| gradient_for_bias(gradient)).transpose()?;
        Ok((Some(gradient.clone()), for_bias))
    }
}

fn added<T: WithDType>(
    y: (&CpuStorage, &Layout),
    bias: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let [_, channels, d, h, w] = five(y.1, "bias", "the input")?;
    let bias = values::<T>(bias.0, bias.1)?;
    let mut sum = values::<T>(y.0, y.1)?.to_vec();
    sum.par_chunks_mut((d * h * w).max(1)).enumerate().for_each(|(i, values)| {
        let bias = bias[i % channels];
        values.iter_mut().for_each(|value| *value += bias);
    });
    result(sum, y.1.shape())
}

/// Σ over samples and voxels of each channel.
struct ChannelSums;

impl CustomOp1 for ChannelSums {
    fn name(&self) -> &'static str {
        "gradient for the bias"
    }

    fn cpu_fwd(&self, gradient: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!("gradient for the bias", gradient, channel_sums(gradient, layout))
    }
}

fn channel_sums<T: WithDType>(gradient: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let [_, channels, d, h, w] = five(layout, "gradient for the bias", "the gradient")?;
    let mut totals = vec![0.0; channels];
    for (i, values) in values::<T>(gradient, layout)?.chunks((d * h * w).max(1)).enumerate() {
        let [sum] = sums(values, |value| [value]);
        totals[i % channels] += sum;
    }
    result(totals.into_iter().map(T::from_f64).collect(), channels)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    /// One number after the other in `f32`, a million tenths come to 100958; in blocks that are joined in doubles they are off
    /// by what rounding does to 256 of them.
    #[test]
    fn the_gradient_of_a_bias_keeps_its_digits_over_millions_of_voxels() {
        let bias = Var::new(&[1.0f32, 2.0], &Device::Cpu).unwrap();
        let y = Tensor::zeros((2, 2, 100, 100, 100), DType::F32, &Device::Cpu).unwrap();
        let sum = (add_bias(&y, &bias).unwrap() * 0.1).unwrap().sum_all().unwrap();
        let gradients = sum.backward().unwrap();
        let found = gradients.get(&bias).unwrap().to_vec1::<f32>().unwrap();
        for found in found {
            assert!((found / 2e5 - 1.0).abs() < 1e-5, "{found} for 200000");
        }
    }
}
