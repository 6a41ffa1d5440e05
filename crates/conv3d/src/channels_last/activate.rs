//! Values as they are read: act(scale · y + shift), written where they are wanted.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};

use super::layout::{Voxels, readable};
use crate::storage::{InPlace, by_type};

/// How a value is read.
#[derive(Clone, Debug)]
pub struct Read {
    /// Mean, 1/σ, scale and shift of each channel of each sample: (4, N, C) in `f64`.
    pub terms: Tensor,
    /// Factor of the result where it is not positive; 1 is no activation.
    pub slope: f64,
}

impl Read {
    /// As it is: of tensors (N, D, H, W, C) of the batch, channels and device of `y`.
    ///
    /// # Errors
    /// If y has not five axes; what a device gives.
    pub fn identity(y: &Tensor) -> Result<Self> {
        let (n, .., c) = y.dims5()?;
        let row = |value: f64| Tensor::full(value, (1, n, c), y.device());
        let (zeros, ones) = (row(0.0)?, row(1.0)?);
        Ok(Self { terms: Tensor::cat(&[&zeros, &ones, &ones, &zeros], 0)?, slope: 1.0 })
    }
}

/// Tensors (N, D, H, W, C₁), (N, D, H, W, C₂)… as they are read, side by side: (N, D, H, W, C₁ + C₂ + …).
///
/// # Errors
/// If there are none, or shapes do not fit each other; what a device gives.
pub fn activated(parts: &[(&Tensor, Option<&Read>)]) -> Result<Tensor> {
    let Some(&(y, _)) = parts.first() else { bail!("activated: there is nothing to put side by side") };
    let (n, d, h, w, _) = y.dims5()?;
    let channels = parts.iter().map(|(y, _)| y.dim(4)).sum::<Result<usize>>()?;
    let out = to_fill((n, d, h, w, channels), y)?;
    let mut start = 0;
    for &(y, read) in parts {
        let count = y.dim(4)?;
        let part = out.narrow(4, start, count)?;
        match read {
            Some(read) => activate_into(&part, y, read)?,
            None => part.inplace_op2(&readable(y)?, &Together { add: false })?,
        }
        start += count;
    }
    Ok(out)
}

/// A tensor of the type and device of `like` that holds anything on a GPU, and zeros elsewhere. All of it is to be
/// written before it is read.
fn to_fill(shape: (usize, usize, usize, usize, usize), like: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let candle_core::Device::Cuda(device) = like.device() {
        let storage = crate::cuda::uninitialized(
            device,
            like.dtype(),
            shape.0 * shape.1 * shape.2 * shape.3 * shape.4,
        )?;
        let op = candle_core::op::BackpropOp::none();
        return Ok(Tensor::from_storage(candle_core::Storage::Cuda(storage), shape, op, false));
    }
    Tensor::zeros(shape, like.dtype(), like.device())
}

/// act(scale · y + shift) of y (N, D, H, W, C), written to `out` of the same shape: a tensor or some of its channels.
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn activate_into(out: &Tensor, y: &Tensor, read: &Read) -> Result<()> {
    out.inplace_op3(&readable(y)?, &read.terms.contiguous()?, &Activate { slope: read.slope })
}

/// Adds `more` to `sum`, both (N, D, H, W, C) or some of the channels of such.
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn accumulate(sum: &Tensor, more: &Tensor) -> Result<()> {
    sum.inplace_op2(&readable(more)?, &Together { add: true })
}

/// The voxels of two tensors of one shape.
fn alike(op: &str, a: &Layout, b: &Layout) -> Result<[Voxels; 2]> {
    if a.dims() != b.dims() {
        bail!("{op}: {:?} and {:?} are not of one shape", a.dims(), b.dims());
    }
    Ok([Voxels::of(op, a)?, Voxels::of(op, b)?])
}

/// Scale and shift among terms (4, N, C): their start, and how many numbers a row has.
pub(super) fn read_of(op: &str, voxels: &Voxels, terms: &Layout) -> Result<[usize; 2]> {
    if terms.dims() != [4, voxels.batch, voxels.channels] || !terms.is_contiguous() {
        bail!("{op}: terms {:?}, expected [4, {}, {}]", terms.dims(), voxels.batch, voxels.channels);
    }
    Ok([terms.start_offset(), voxels.batch * voxels.channels])
}

struct Activate {
    slope: f64,
}

impl InplaceOp3 for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        lo: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        terms: &CpuStorage,
        lt: &Layout,
    ) -> Result<()> {
        let voxels = alike("activate", lo, ly)?;
        let [start, _] = read_of("activate", &voxels[1], lt)?;
        let terms = &terms.as_slice::<f64>()?[start..];
        by_type!("activate", y, activate(self.slope, out, y, terms, &voxels))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        out: &mut candle_core::CudaStorage,
        lo: &Layout,
        y: &candle_core::CudaStorage,
        ly: &Layout,
        terms: &candle_core::CudaStorage,
        lt: &Layout,
    ) -> Result<()> {
        use crate::cuda::{by_cuda_type, last};
        let voxels = alike("activate", lo, ly)?;
        read_of("activate", &voxels[1], lt)?;
        by_cuda_type!("activate", y, last::activate(self.slope, out, y, (terms, lt), &voxels))
    }
}

fn activate<T: InPlace>(
    slope: f64,
    out: &mut CpuStorage,
    y: &CpuStorage,
    terms: &[f64],
    [vo, vy]: &[Voxels; 2],
) -> Result<()> {
    let y = &y.as_slice::<T>()?[vy.start..];
    let out = &mut T::all(out)?[vo.start..];
    let row = vy.batch * vy.channels;
    for i in 0..vy.count() {
        for c in 0..vy.channels {
            let at = i / vy.volume() * vy.channels + c;
            let z = terms[2 * row + at] * y[i * vy.step + c].to_f64() + terms[3 * row + at];
            out[i * vo.step + c] = T::from_f64(if z > 0.0 { z } else { z * slope });
        }
    }
    Ok(())
}

/// Writes one tensor to another, or adds it.
struct Together {
    add: bool,
}

impl InplaceOp2 for Together {
    fn name(&self) -> &'static str {
        if self.add { "accumulate" } else { "activated" }
    }

    fn cpu_fwd(&self, to: &mut CpuStorage, lt: &Layout, more: &CpuStorage, lm: &Layout) -> Result<()> {
        let voxels = alike(self.name(), lt, lm)?;
        by_type!("accumulate", more, together(self.add, to, more, &voxels))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        to: &mut candle_core::CudaStorage,
        lt: &Layout,
        more: &candle_core::CudaStorage,
        lm: &Layout,
    ) -> Result<()> {
        use crate::cuda::{by_cuda_type, last};
        let voxels = alike(self.name(), lt, lm)?;
        let kernel = if self.add { "accumulate" } else { "copy" };
        by_cuda_type!("accumulate", more, last::together(kernel, to, more, &voxels))
    }
}

fn together<T: InPlace>(
    add: bool,
    to: &mut CpuStorage,
    more: &CpuStorage,
    [vt, vm]: &[Voxels; 2],
) -> Result<()> {
    let more = &more.as_slice::<T>()?[vm.start..];
    let to = &mut T::all(to)?[vt.start..];
    for i in 0..vm.count() {
        for c in 0..vm.channels {
            let (to, more) = (&mut to[i * vt.step + c], more[i * vm.step + c]);
            if add {
                *to += more;
            } else {
                *to = more;
            }
        }
    }
    Ok(())
}
