//! Upsampling to a size, nearest or trilinear, as a candle operation.
//!
//! Output i of an axis of m looks at (i + ½) n / m − ½ of an axis of n, not before the first voxel: PyTorch's
//! `align_corners=False`. Nearest takes voxel ⌊i n / m⌋. The gradient is the exact adjoint.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use crate::storage::{by_type, five, result, values};

/// `x` (N, C, D, H, W) brought to `size` (D', H', W'), each voxel the value of the nearest.
///
/// # Errors
/// If a size is zero; for devices and numbers that this [crate] does not know.
pub fn upsample_nearest3d(x: &Tensor, size: [usize; 3]) -> Result<Tensor> {
    upsample(x, size, false)
}

/// `x` (N, C, D, H, W) brought to `size` (D', H', W'), linear between voxels along each axis.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_conv3d::upsample_trilinear3d;
/// let x = Tensor::new(&[0f32, 4.0], &Device::Cpu)?.reshape((1, 1, 1, 1, 2))?;
/// let y = upsample_trilinear3d(&x, [1, 1, 4])?;
/// assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0, 3.0, 4.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// As [`upsample_nearest3d`].
pub fn upsample_trilinear3d(x: &Tensor, size: [usize; 3]) -> Result<Tensor> {
    upsample(x, size, true)
}

fn upsample(x: &Tensor, size: [usize; 3], linear: bool) -> Result<Tensor> {
    let (_, _, d, h, w) = x.dims5()?;
    if [d, h, w].contains(&0) || size.contains(&0) {
        bail!("upsample: from {:?} to {size:?}, expected at least 1 along each axis", [d, h, w]);
    }
    x.contiguous()?.apply_op1(Upsample { size, linear })
}

#[derive(Clone, Copy)]
struct Upsample {
    size: [usize; 3],
    linear: bool,
}

/// The two voxels that make an output, and the share of the second.
#[derive(Clone, Copy)]
struct Tap<T> {
    near: usize,
    far: usize,
    share: T,
}

impl Upsample {
    /// Taps of each output of an axis of `n` voxels.
    fn taps<T: WithDType>(&self, axis: usize, n: usize) -> Vec<Tap<T>> {
        let m = self.size[axis];
        (0..m)
            .map(|i| {
                if !self.linear {
                    let near = (i * n / m).min(n - 1);
                    return Tap { near, far: near, share: T::zero() };
                }
                let at = ((i as f64 + 0.5) * n as f64 / m as f64 - 0.5).max(0.0);
                let near = (at.floor() as usize).min(n - 1);
                Tap { near, far: (near + 1).min(n - 1), share: T::from_f64(at - near as f64) }
            })
            .collect()
    }
}

impl CustomOp1 for Upsample {
    fn name(&self) -> &'static str {
        "upsample3d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!("upsample3d", x, gather(self, x, layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{Upsampling, by_cuda_type, upsample};
        let [n, c, d, h, w] = five(layout, "upsample3d", "the input")?;
        let sizes = Upsampling::new(n * c, [d, h, w], self.size, self.linear);
        let y = by_cuda_type!("upsample3d", x, upsample(&sizes, (x, layout)))?;
        let [d, h, w] = self.size;
        Ok((y, (n, c, d, h, w).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, d, h, w) = x.dims5()?;
        gradient.contiguous()?.apply_op1_no_bwd(&UpsampleGradient { op: *self, from: [d, h, w] }).map(Some)
    }
}

/// Visits every output with the eight inputs that make it and their weights.
fn for_each_output<T: WithDType>(
    op: &Upsample,
    [d, h, w]: [usize; 3],
    mut visit: impl FnMut(usize, [(usize, T); 8]),
) {
    let (zs, ys, xs) = (op.taps::<T>(0, d), op.taps::<T>(1, h), op.taps::<T>(2, w));
    let mut output = 0;
    for z in &zs {
        for y in &ys {
            let rows = [(z.near, y.near), (z.near, y.far), (z.far, y.near), (z.far, y.far)];
            let rows = rows.map(|(z, y)| (z * h + y) * w);
            let (one, zs, ys) = (T::one(), z.share, y.share);
            let shares = [(one - zs) * (one - ys), (one - zs) * ys, zs * (one - ys), zs * ys];
            for x in &xs {
                let inputs = std::array::from_fn(|i| {
                    let (row, share) = (rows[i / 2], shares[i / 2]);
                    if i % 2 == 0 {
                        (row + x.near, share * (one - x.share))
                    } else {
                        (row + x.far, share * x.share)
                    }
                });
                visit(output, inputs);
                output += 1;
            }
        }
    }
}

fn gather<T: WithDType>(op: &Upsample, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = five(layout, "upsample3d", "the input")?;
    let [od, oh, ow] = op.size;
    let mut y = vec![T::zero(); n * c * od * oh * ow];
    let channels = values::<T>(x, layout)?.par_chunks(d * h * w);
    y.par_chunks_mut(od * oh * ow).zip(channels).for_each(|(y, x)| {
        for_each_output::<T>(op, [d, h, w], |output, inputs| {
            let mut sum = T::zero();
            for (at, weight) in inputs {
                // What has no share does not count, were it infinite.
                if weight != T::zero() {
                    sum += weight * x[at];
                }
            }
            y[output] = sum;
        });
    });
    result(y, (n, c, od, oh, ow))
}

/// Maps the gradient of the output to that of an input of size `from`.
struct UpsampleGradient {
    op: Upsample,
    from: [usize; 3],
}

impl CustomOp1 for UpsampleGradient {
    fn name(&self) -> &'static str {
        "upsample3d gradient"
    }

    fn cpu_fwd(&self, g: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!("upsample3d", g, scatter(self, g, layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        g: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{Upsampling, by_cuda_type, upsample_gradient};
        let [n, c, ..] = five(layout, "upsample3d", "the gradient")?;
        let sizes = Upsampling::new(n * c, self.from, self.op.size, self.op.linear);
        let x = by_cuda_type!("upsample3d", g, upsample_gradient(&sizes, (g, layout)))?;
        let [d, h, w] = self.from;
        Ok((x, (n, c, d, h, w).into()))
    }
}

fn scatter<T: WithDType>(
    op: &UpsampleGradient,
    g: &CpuStorage,
    layout: &Layout,
) -> Result<(CpuStorage, Shape)> {
    let [n, c, od, oh, ow] = five(layout, "upsample3d", "the gradient")?;
    let [d, h, w] = op.from;
    let mut x = vec![T::zero(); n * c * d * h * w];
    let channels = values::<T>(g, layout)?.par_chunks(od * oh * ow);
    x.par_chunks_mut(d * h * w).zip(channels).for_each(|(x, g)| {
        for_each_output::<T>(&op.op, op.from, |output, inputs| {
            for (at, weight) in inputs {
                if weight != T::zero() {
                    x[at] += weight * g[output];
                }
            }
        });
    });
    result(x, (n, c, d, h, w))
}
