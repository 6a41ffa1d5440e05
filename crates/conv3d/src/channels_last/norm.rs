//! Norms as affine maps, and their gradients.
//!
//! Terms are a tensor (4, N, C) in `f64`: mean μ, 1/σ, scale and shift of each channel of each sample, with
//! scale = γ/σ and shift = β − μ γ/σ for a norm; a bias alone has 0, 1, 1 and b. The gradient through a norm over sets of
//! channels (one channel of one sample for an instance norm) is
//! dy = 1/σ (γ g′ − A − x̂ B), x̂ = (y − μ)/σ, with A and B the means of γ g′ and γ g′ x̂ over the set, and g′ the gradient
//! that has come through the activation.

#[cfg(feature = "cuda")]
mod on_gpu;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use super::activate::Read;
use super::layout::{Voxels, readable};
use crate::storage::{by_type, result};

/// An instance norm and the activation behind it.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Scale (C).
    pub gamma: &'a Tensor,
    /// Shift (C).
    pub beta: &'a Tensor,
    /// What is added to the variance.
    pub epsilon: f64,
    /// Factor of the result where it is not positive; 1 is no activation.
    pub slope: f64,
}

/// y (N, D, H, W, C) as a norm reads it. `sums` are Σ y and Σ y² of each channel of each sample in pieces,
/// (N, pieces, C, 2) in `f64`, if what made y has them.
///
/// # Errors
/// If y has no voxels or shapes do not fit each other; what a device gives.
pub fn norm_read(y: &Tensor, sums: Option<&Tensor>, norm: &Norm<'_>) -> Result<Read> {
    let Norm { gamma, beta, epsilon, slope } = *norm;
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return Ok(Read { terms: on_gpu::norm_terms(y, sums, norm)?, slope });
    }
    if sums.is_some() {
        bail!("norm_read: sums of a tensor on the CPU");
    }
    let moments = readable(y)?.apply_op1_no_bwd(&Moments)?;
    let (_, n, c) = moments.dims3()?;
    let all = |t: &Tensor| t.to_dtype(DType::F64)?.reshape((1, c))?.broadcast_as((n, c));
    let (mean, variance) = (moments.get(0)?, moments.get(1)?);
    let inverse = (variance + epsilon)?.sqrt()?.recip()?;
    let scale = (all(gamma)? * &inverse)?;
    let shift = (all(beta)? - (&mean * &scale)?)?;
    Ok(Read { terms: Tensor::stack(&[mean, inverse, scale, shift], 0)?, slope })
}

/// Values of `number`s in a batch of `batch` as a bias (C) and an activation read them.
///
/// # Errors
/// If the bias has not one axis.
pub fn bias_read(bias: &Tensor, batch: usize, number: DType, slope: f64) -> Result<Read> {
    let c = bias.dims1()?;
    #[cfg(feature = "cuda")]
    if bias.device().is_cuda() {
        return Ok(Read { terms: on_gpu::bias_terms(bias, batch, number)?, slope });
    }
    let _ = number;
    let shift = bias.to_dtype(DType::F64)?.reshape((1, c))?.broadcast_as((batch, c))?.contiguous()?;
    let (zeros, ones) = (shift.zeros_like()?, shift.ones_like()?);
    Ok(Read { terms: Tensor::stack(&[&zeros, &ones, &ones, &shift], 0)?, slope })
}

/// What comes out of the backward pass of a norm or a bias.
#[derive(Clone, Debug)]
pub struct Through {
    /// dy (N, D, H, W, C), dense, of the type of y.
    pub y: Tensor,
    /// The gradient (C) of a norm's scale; `f32` for numbers of fewer than 64 bits on a GPU, else `f64`.
    pub gamma: Option<Tensor>,
    /// The gradient (C) of the shift, or of the bias; as `gamma`.
    pub beta: Tensor,
}

/// The backward pass of a norm with scale `gamma` (C), from the gradient for what is read of y.
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn through_norm(gradient: &Tensor, y: &Tensor, read: &Read, gamma: &Tensor) -> Result<Through> {
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return on_gpu::through_norm(gradient, y, read, gamma);
    }
    let (sums, gamma) = (norm_sums(gradient, y, read)?, gamma.to_dtype(DType::F64)?);
    let (_, d, h, w, c) = y.dims5()?;
    let means = sums.broadcast_mul(&gamma.reshape((1, 1, c))?)?.affine(1.0 / (d * h * w) as f64, 0.0)?;
    let y = norm_gradient(gradient, y, read, &means, &gamma)?;
    Ok(Through { y, gamma: Some(sums.get(1)?.sum(0)?), beta: sums.get(0)?.sum(0)? })
}

/// The backward pass of a bias, from the gradient for what is read of y.
///
/// # Errors
/// As [`through_norm`].
pub fn through_bias(gradient: &Tensor, y: &Tensor, read: &Read) -> Result<Through> {
    let (_, n, c) = read.terms.dims3()?;
    // A bias takes nothing off.
    let (means, gamma) =
        (Tensor::zeros((2, n, c), DType::F64, y.device())?, Tensor::ones(c, DType::F64, y.device())?);
    let dy = norm_gradient(gradient, y, read, &means, &gamma)?;
    #[cfg(feature = "cuda")]
    if y.device().is_cuda() {
        return Ok(Through { y: dy, gamma: None, beta: on_gpu::through_sums(gradient, y, read)? });
    }
    Ok(Through { y: dy, gamma: None, beta: norm_sums(gradient, y, read)?.get(0)?.sum(0)? })
}

/// Σ over samples and voxels of each channel of (N, D, H, W, C): (C), the gradient of a bias that is read as it is; `f32` for
/// numbers of fewer than 64 bits on a GPU, else `f64`.
///
/// # Errors
/// What a device gives.
pub fn totals(gradient: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if gradient.device().is_cuda() {
        return on_gpu::totals(gradient);
    }
    gradient.to_dtype(DType::F64)?.sum((0, 1, 2, 3))
}

/// Σ g′ and Σ g′ x̂ of each channel of each sample: (2, N, C) in `f64`.
fn norm_sums(gradient: &Tensor, y: &Tensor, read: &Read) -> Result<Tensor> {
    let terms = read.terms.contiguous()?;
    readable(gradient)?.apply_op3_no_bwd(&readable(y)?, &terms, &Sums { slope: read.slope })
}

/// dy, from A and B (2, N, C) and γ (C) in `f64`.
fn norm_gradient(
    gradient: &Tensor,
    y: &Tensor,
    read: &Read,
    means: &Tensor,
    gamma: &Tensor,
) -> Result<Tensor> {
    // 4 + 2 rows of (N, C), then one of (C) as often as there are samples.
    let (_, n, c) = read.terms.dims3()?;
    let gamma = gamma.reshape((1, 1, c))?.broadcast_as((1, n, c))?;
    let all = Tensor::cat(&[&read.terms, means, &gamma.contiguous()?], 0)?;
    readable(gradient)?.apply_op3_no_bwd(&readable(y)?, &all, &Gradient { slope: read.slope })
}

struct Moments;

impl CustomOp1 for Moments {
    fn name(&self) -> &'static str {
        "moments"
    }

    fn cpu_fwd(&self, y: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let voxels = with_voxels("moments", layout)?;
        by_type!("moments", y, moments_of(y, &voxels))
    }
}

fn with_voxels(op: &str, layout: &Layout) -> Result<Voxels> {
    let voxels = Voxels::of(op, layout)?;
    if voxels.volume() == 0 {
        bail!("{op}: {:?} has no voxels", layout.dims());
    }
    Ok(voxels)
}

fn moments_of<T: WithDType>(y: &CpuStorage, v: &Voxels) -> Result<(CpuStorage, Shape)> {
    let y = &y.as_slice::<T>()?[v.start..];
    let mut out = vec![0.0; 2 * v.batch * v.channels];
    let (means, variances) = out.split_at_mut(v.batch * v.channels);
    for n in 0..v.batch {
        for c in 0..v.channels {
            let value = |i: usize| y[(n * v.volume() + i) * v.step + c].to_f64();
            let mean = (0..v.volume()).map(value).sum::<f64>() / v.volume() as f64;
            let variance =
                (0..v.volume()).map(|i| (value(i) - mean).powi(2)).sum::<f64>() / v.volume() as f64;
            means[n * v.channels + c] = mean;
            variances[n * v.channels + c] = variance;
        }
    }
    result(out, (2, v.batch, v.channels))
}

/// Gradient, y and terms.
fn three(op: &str, [g, y, terms]: [&Layout; 3], rows: usize) -> Result<[Voxels; 2]> {
    let (g, y) = (Voxels::of(op, g)?, with_voxels(op, y)?);
    if (g.batch, g.size, g.channels) != (y.batch, y.size, y.channels) {
        bail!("{op}: a gradient {:?}×{} for values {:?}×{}", g.size, g.channels, y.size, y.channels);
    }
    if terms.dims() != [rows, y.batch, y.channels] || !terms.is_contiguous() {
        bail!("{op}: terms {:?}, expected [{rows}, {}, {}]", terms.dims(), y.batch, y.channels);
    }
    Ok([g, y])
}

struct Sums {
    slope: f64,
}

impl CustomOp3 for Sums {
    fn name(&self) -> &'static str {
        "norm_sums"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        lg: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        terms: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let voxels = three("norm_sums", [lg, ly, lt], 4)?;
        let terms = &terms.as_slice::<f64>()?[lt.start_offset()..];
        by_type!("norm_sums", y, sums_of(self.slope, g, y, terms, &voxels))
    }
}

fn sums_of<T: WithDType>(
    slope: f64,
    g: &CpuStorage,
    y: &CpuStorage,
    terms: &[f64],
    [vg, vy]: &[Voxels; 2],
) -> Result<(CpuStorage, Shape)> {
    let (g, y) = (&g.as_slice::<T>()?[vg.start..], &y.as_slice::<T>()?[vy.start..]);
    let row = vy.batch * vy.channels;
    let mut out = vec![0.0; 2 * row];
    for i in 0..vy.count() {
        for c in 0..vy.channels {
            let at = i / vy.volume() * vy.channels + c;
            let term = |k: usize| terms[k * row + at];
            let (y, g) = (y[i * vy.step + c].to_f64(), g[i * vg.step + c].to_f64());
            let through = if term(2) * y + term(3) > 0.0 { g } else { g * slope };
            out[at] += through;
            out[row + at] += through * (y - term(0)) * term(1);
        }
    }
    result(out, (2, vy.batch, vy.channels))
}

struct Gradient {
    slope: f64,
}

impl CustomOp3 for Gradient {
    fn name(&self) -> &'static str {
        "norm_gradient"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        lg: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        terms: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let voxels = three("norm_gradient", [lg, ly, lt], 7)?;
        let terms = &terms.as_slice::<f64>()?[lt.start_offset()..];
        by_type!("norm_gradient", y, gradient_of(self.slope, g, y, terms, &voxels))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        g: &candle_core::CudaStorage,
        lg: &Layout,
        y: &candle_core::CudaStorage,
        ly: &Layout,
        terms: &candle_core::CudaStorage,
        lt: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{by_cuda_type, last};
        let voxels = three("norm_gradient", [lg, ly, lt], 7)?;
        let dy = by_cuda_type!("norm_gradient", y, last::gradient(self.slope, g, y, (terms, lt), &voxels))?;
        Ok((dy, ly.shape().clone()))
    }
}

fn gradient_of<T: WithDType>(
    slope: f64,
    g: &CpuStorage,
    y: &CpuStorage,
    terms: &[f64],
    [vg, vy]: &[Voxels; 2],
) -> Result<(CpuStorage, Shape)> {
    let (g, y) = (&g.as_slice::<T>()?[vg.start..], &y.as_slice::<T>()?[vy.start..]);
    let row = vy.batch * vy.channels;
    let mut out = vec![T::zero(); vy.count() * vy.channels];
    for i in 0..vy.count() {
        for c in 0..vy.channels {
            let term = |k: usize| terms[k * row + i / vy.volume() * vy.channels + c];
            let (y, g) = (y[i * vy.step + c].to_f64(), g[i * vg.step + c].to_f64());
            let through = if term(2) * y + term(3) > 0.0 { g } else { g * slope };
            let normal = (y - term(0)) * term(1);
            out[i * vy.channels + c] =
                T::from_f64(term(1) * (term(6) * through - term(4) - normal * term(5)));
        }
    }
    let [d, h, w] = vy.size;
    result(out, (vy.batch, d, h, w, vy.channels))
}
