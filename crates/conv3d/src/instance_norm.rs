//! Instance norm with the activation behind it, as one candle operation.
//!
//! Each channel of each sample: x̂ = (x − mean) / √(variance + ε), y = act(γ x̂ + β), with the variance of
//! all voxels (divided by their number). Backward, with g′ = g · act′, per channel:
//! dx = γ / √(variance + ε) · (g′ − mean(g′) − x̂ · mean(g′ x̂)), dγ = Σ g′ x̂, dβ = Σ g′. x̂ is computed again
//! instead of kept.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use crate::kernels::sums::{sums, sums_of_pairs};
use crate::storage::{by_type, five, result, values};

/// What is done to a value after the norm.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// max(v, 0).
    Relu,
    /// v where it is positive, slope · v elsewhere.
    LeakyRelu {
        /// Slope below zero.
        slope: f64,
    },
}

impl Activation {
    /// The factor for values that are not positive.
    fn slope(self) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Relu => 0.0,
            Self::LeakyRelu { slope } => slope,
        }
    }
}

/// Instance norm of `x` (N, C, D, H, W) with scale `gamma` (C) and shift `beta` (C), `eps` added to the
/// variance, then `activation`; as PyTorch's `instance_norm` and its activations.
///
/// # Errors
/// If a shape does not fit, naming it; for devices and numbers that this [crate] does not know.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_conv3d::{Activation, instance_norm};
/// let x = Tensor::new(&[1f64, 3.0], &Device::Cpu)?.reshape((1, 1, 1, 1, 2))?;
/// let (gamma, beta) = (Tensor::new(&[2f64], &Device::Cpu)?, Tensor::new(&[0.5f64], &Device::Cpu)?);
/// let y = instance_norm(&x, &gamma, &beta, 0.0, Activation::LeakyRelu { slope: 0.1 })?;
/// // x̂ = ∓1, γ x̂ + β = −1.5 and 2.5.
/// assert_eq!(y.flatten_all()?.to_vec1::<f64>()?, [-0.15000000000000002, 2.5]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn instance_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    eps: f64,
    activation: Activation,
) -> Result<Tensor> {
    let (_, c, ..) = x.dims5()?;
    for (name, tensor) in [("gamma", gamma), ("beta", beta)] {
        if tensor.dims() != [c] {
            bail!("instance_norm: {name} has shape {:?}, expected [{c}]", tensor.dims());
        }
    }
    let op = InstanceNorm { eps, slope: activation.slope() };
    x.contiguous()?.apply_op3(&gamma.contiguous()?, &beta.contiguous()?, op)
}

#[derive(Clone, Copy)]
struct InstanceNorm {
    eps: f64,
    slope: f64,
}

#[cfg(feature = "cuda")]
impl InstanceNorm {
    /// What is normalised on a GPU.
    fn on_gpu(self, layout: &Layout) -> Result<crate::cuda::Norm> {
        let [n, c, d, h, w] = five(layout, "instance_norm", "the input")?;
        let Self { eps, slope } = self;
        Ok(crate::cuda::Norm { channels: n * c, voxels: d * h * w, per_sample: c, eps, slope })
    }
}

impl CustomOp3 for InstanceNorm {
    fn name(&self) -> &'static str {
        "instance_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gamma: &CpuStorage,
        lg: &Layout,
        beta: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("instance_norm", x, normalize(self, (x, lx), (gamma, lg), (beta, lb)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        gamma: &candle_core::CudaStorage,
        lg: &Layout,
        beta: &candle_core::CudaStorage,
        lb: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{by_cuda_type, norm};
        let all = self.on_gpu(lx)?;
        let y = by_cuda_type!("instance_norm", x, norm(&all, (x, lx), (gamma, lg), (beta, lb)))?;
        Ok((y, lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, c, d, h, w) = x.dims5()?;
        let both = Tensor::cat(&[gamma, beta], 0)?;
        let all = x.apply_op3_no_bwd(&gradient.contiguous()?, &both, &InstanceNormGradient(*self))?;
        let voxels = n * c * d * h * w;
        let for_x = all.narrow(0, 0, voxels)?.reshape(x.shape())?;
        let rest = all.narrow(0, voxels, 2 * n * c)?.reshape((2, n, c))?.sum(1)?;
        Ok((Some(for_x), Some(rest.get(0)?), Some(rest.get(1)?)))
    }
}

/// Mean and 1 / √(variance + ε).
fn statistics<T: WithDType>(channel: &[T], eps: f64) -> [f64; 2] {
    let count = channel.len() as f64;
    let [sum] = sums(channel, |v| [v]);
    let mean = sum / count;
    let shift = T::from_f64(mean);
    // About the rounded mean, then corrected for the rounding.
    let [first, second] = sums(channel, |v| [v - shift, (v - shift) * (v - shift)]);
    let off = first / count;
    [shift.to_f64() + off, 1.0 / ((second / count - off * off).max(0.0) + eps).sqrt()]
}

fn normalize<T: WithDType>(
    op: &InstanceNorm,
    (x, lx): (&CpuStorage, &Layout),
    (gamma, lg): (&CpuStorage, &Layout),
    (beta, lb): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = five(lx, "instance_norm", "the input")?;
    let (gamma, beta) = (values::<T>(gamma, lg)?, values::<T>(beta, lb)?);
    let voxels = (d * h * w).max(1);
    let mut y = vec![T::zero(); n * c * d * h * w];
    let channels = values::<T>(x, lx)?.par_chunks(voxels);
    y.par_chunks_mut(voxels).zip(channels).enumerate().for_each(|(i, (y, x))| {
        let [mean, inverse] = statistics(x, op.eps);
        let scale = gamma[i % c].to_f64() * inverse;
        let shift = T::from_f64(beta[i % c].to_f64() - mean * scale);
        let (scale, slope) = (T::from_f64(scale), T::from_f64(op.slope));
        for (y, &x) in y.iter_mut().zip(x) {
            let v = x * scale + shift;
            *y = if v > T::zero() { v } else { v * slope };
        }
    });
    result(y, (n, c, d, h, w))
}

/// Maps input, gradient of the output, and γ and β one after the other, to the gradients of the input,
/// of γ for each sample, and of β for each sample, one after the other.
struct InstanceNormGradient(InstanceNorm);

impl CustomOp3 for InstanceNormGradient {
    fn name(&self) -> &'static str {
        "instance_norm gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
        both: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("instance_norm", x, gradients(&self.0, (x, lx), (g, lg), (both, lb)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        g: &candle_core::CudaStorage,
        lg: &Layout,
        both: &candle_core::CudaStorage,
        lb: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{by_cuda_type, norm_gradient};
        let all = self.0.on_gpu(lx)?;
        let out = by_cuda_type!("instance_norm", x, norm_gradient(&all, (x, lx), (g, lg), (both, lb)))?;
        Ok((out, (all.channels * (all.voxels + 2)).into()))
    }
}

fn gradients<T: WithDType>(
    op: &InstanceNorm,
    (x, lx): (&CpuStorage, &Layout),
    (g, lg): (&CpuStorage, &Layout),
    (both, lb): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = five(lx, "instance_norm", "the input")?;
    let (gamma, beta) = values::<T>(both, lb)?.split_at(c);
    let voxels = (d * h * w).max(1);
    let mut out = vec![T::zero(); n * c * (d * h * w + 2)];
    let (for_x, rest) = out.split_at_mut(n * c * d * h * w);
    let (channels, incoming) =
        (values::<T>(x, lx)?.par_chunks(voxels), values::<T>(g, lg)?.par_chunks(voxels));
    let work = for_x.par_chunks_mut(voxels).zip(channels).zip(incoming).enumerate();
    let totals: Vec<[f64; 2]> = work
        .map(|(i, ((for_x, x), g))| {
            let [mean, inverse] = statistics(x, op.eps);
            let (scale, slope) = (gamma[i % c].to_f64() * inverse, T::from_f64(op.slope));
            let (gamma, beta) = (gamma[i % c], beta[i % c]);
            let (inverse, offset) = (T::from_f64(inverse), T::from_f64(-mean * inverse));
            let normal = |x: T| x * inverse + offset;
            let through = |normal: T, g: T| if normal * gamma + beta > T::zero() { g } else { g * slope };
            let [for_beta, for_gamma] = sums_of_pairs(x, g, |x, g| {
                let normal = normal(x);
                let g = through(normal, g);
                [g, g * normal]
            });
            let count = x.len() as f64;
            let (mean_g, mean_gx) = (T::from_f64(for_beta / count), T::from_f64(for_gamma / count));
            let scale = T::from_f64(scale);
            for ((out, &x), &g) in for_x.iter_mut().zip(x).zip(g) {
                let normal = normal(x);
                *out = scale * (through(normal, g) - mean_g - normal * mean_gx);
            }
            [for_gamma, for_beta]
        })
        .collect();
    for (i, [for_gamma, for_beta]) in totals.into_iter().enumerate() {
        rest[i] = T::from_f64(for_gamma);
        rest[n * c + i] = T::from_f64(for_beta);
    }
    let length = out.len();
    result(out, length)
}
