//! Max pooling of 2×2×2 voxels, of values as they are read.

use candle_core::{CpuStorage, CustomOp2, InplaceOp3, Layout, Result, Shape, Tensor, WithDType, bail};

use super::activate::{Read, read_of};
use super::layout::{Voxels, readable};
use crate::storage::{InPlace, by_type, result};

/// The largest act(scale · y + shift) of each 2×2×2 voxels of y (N, D, H, W, C): (N, D/2, H/2, W/2, C), odd last ones left
/// out. NaN counts as largest.
///
/// # Errors
/// If a side is shorter than 2; what a device gives.
pub fn pool(y: &Tensor, read: &Read) -> Result<Tensor> {
    readable(y)?.apply_op2_no_bwd(&read.terms.contiguous()?, &Pool { slope: read.slope })
}

/// Adds the gradient (N, D/2, H/2, W/2, C) of [`pool`]'s result to `sum`, (N, D, H, W, C) or some of the channels of such:
/// each to the voxel that was largest, the first of several.
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn pool_gradient_into(sum: &Tensor, y: &Tensor, read: &Read, gradient: &Tensor) -> Result<()> {
    let op = Unpool { slope: read.slope, terms: read.terms.contiguous()? };
    sum.inplace_op3(&readable(y)?, &readable(gradient)?, &op)
}

fn windows(voxels: &Voxels) -> Result<[usize; 3]> {
    let windows = voxels.size.map(|n| n / 2);
    if windows.contains(&0) {
        bail!("pool: windows of 2×2×2 do not fit an input of {:?}", voxels.size);
    }
    Ok(windows)
}

/// Calls `visit` with the number of each window, its channel, and the largest value's number among the voxels of `y` with
/// the value itself.
fn for_each_window<T: WithDType>(
    y: &[T],
    terms: &[f64],
    slope: f64,
    v: &Voxels,
    windows: [usize; 3],
    mut visit: impl FnMut(usize, usize, usize, f64),
) {
    let row = v.batch * v.channels;
    let [pd, ph, pw] = windows;
    for window in 0..v.batch * pd * ph * pw {
        let (n, z, h, w) = (window / (pd * ph * pw), window / (ph * pw) % pd, window / pw % ph, window % pw);
        for c in 0..v.channels {
            let term = |k: usize| terms[k * row + n * v.channels + c];
            let mut best: Option<(usize, f64)> = None;
            for corner in 0..8 {
                let [d, e, f] = [corner / 4, corner / 2 % 2, corner % 2];
                let voxel = ((n * v.size[0] + 2 * z + d) * v.size[1] + 2 * h + e) * v.size[2] + 2 * w + f;
                let x = term(2) * y[v.start + voxel * v.step + c].to_f64() + term(3);
                let value = if x > 0.0 { x } else { x * slope };
                if best.is_none_or(|(_, most)| value > most || value.is_nan()) {
                    best = Some((voxel, value));
                }
            }
            let (voxel, value) = best.expect("a window has eight voxels");
            visit(window, c, voxel, value);
        }
    }
}

struct Pool {
    slope: f64,
}

impl CustomOp2 for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        ly: &Layout,
        terms: &CpuStorage,
        lt: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let voxels = Voxels::of("pool", ly)?;
        let [start, _] = read_of("pool", &voxels, lt)?;
        let terms = &terms.as_slice::<f64>()?[start..];
        by_type!("pool", y, pooled(self.slope, y, terms, &voxels))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        y: &candle_core::CudaStorage,
        ly: &Layout,
        terms: &candle_core::CudaStorage,
        lt: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{by_cuda_type, last};
        let voxels = Voxels::of("pool", ly)?;
        read_of("pool", &voxels, lt)?;
        let [d, h, w] = windows(&voxels)?;
        let pooled = by_cuda_type!("pool", y, last::pool(self.slope, y, (terms, lt), &voxels))?;
        Ok((pooled, (voxels.batch, d, h, w, voxels.channels).into()))
    }
}

fn pooled<T: WithDType>(
    slope: f64,
    y: &CpuStorage,
    terms: &[f64],
    v: &Voxels,
) -> Result<(CpuStorage, Shape)> {
    let [d, h, w] = windows(v)?;
    let mut out = vec![T::zero(); v.batch * d * h * w * v.channels];
    for_each_window(y.as_slice::<T>()?, terms, slope, v, [d, h, w], |window, c, _, value| {
        out[window * v.channels + c] = T::from_f64(value);
    });
    result(out, (v.batch, d, h, w, v.channels))
}

struct Unpool {
    slope: f64,
    terms: Tensor,
}

/// The voxels of sum, y and gradient, which fit each other.
fn fitting([sum, y, gradient]: [&Layout; 3]) -> Result<[Voxels; 3]> {
    let all = [Voxels::of("pool", sum)?, Voxels::of("pool", y)?, Voxels::of("pool", gradient)?];
    let windows = windows(&all[1])?;
    if sum.dims() != y.dims()
        || (all[2].batch, all[2].size, all[2].channels) != (all[1].batch, windows, all[1].channels)
    {
        bail!("pool: sum {:?}, values {:?}, gradient {:?} do not fit", sum.dims(), y.dims(), gradient.dims());
    }
    Ok(all)
}

impl InplaceOp3 for Unpool {
    fn name(&self) -> &'static str {
        "pool gradient"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        ls: &Layout,
        y: &CpuStorage,
        ly: &Layout,
        gradient: &CpuStorage,
        lg: &Layout,
    ) -> Result<()> {
        let voxels = fitting([ls, ly, lg])?;
        read_of("pool", &voxels[1], self.terms.layout())?;
        let terms = self.terms.flatten_all()?.to_vec1::<f64>()?;
        by_type!("pool", y, unpooled(self.slope, sum, y, gradient, &terms, &voxels))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        sum: &mut candle_core::CudaStorage,
        ls: &Layout,
        y: &candle_core::CudaStorage,
        ly: &Layout,
        gradient: &candle_core::CudaStorage,
        lg: &Layout,
    ) -> Result<()> {
        use crate::cuda::{by_cuda_type, last};
        let voxels = fitting([ls, ly, lg])?;
        let (terms, lt) = self.terms.storage_and_layout();
        read_of("pool", &voxels[1], lt)?;
        let candle_core::Storage::Cuda(terms) = &*terms else { bail!("pool: terms on another device") };
        by_cuda_type!("pool", y, last::unpool(self.slope, sum, y, gradient, (terms, lt), &voxels))
    }
}

fn unpooled<T: InPlace>(
    slope: f64,
    sum: &mut CpuStorage,
    y: &CpuStorage,
    gradient: &CpuStorage,
    terms: &[f64],
    [vs, vy, vg]: &[Voxels; 3],
) -> Result<()> {
    let gradient = gradient.as_slice::<T>()?;
    let sum = T::all(sum)?;
    for_each_window(y.as_slice::<T>()?, terms, slope, vy, vg.size, |window, c, voxel, _| {
        sum[vs.start + voxel * vs.step + c] += gradient[vg.start + window * vg.step + c];
    });
    Ok(())
}
