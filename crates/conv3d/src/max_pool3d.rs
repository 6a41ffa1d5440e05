//! Max pooling as a candle operation.
//!
//! Where several voxels of a window are largest, the first in memory gets the gradient, as in PyTorch. NaN
//! counts as largest, so that it is not hidden.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, WithDType, bail};
use rayon::prelude::*;

use crate::storage::{by_type, five, result, values};

/// The largest value of each window of `kernel` voxels, windows `stride` apart, of `x` (N, C, D, H, W):
/// (N, C, D', H', W') with D' = (D − kD) / sD + 1, rounded down.
///
/// # Errors
/// If a window does not fit; for devices and numbers that this [crate] does not know.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use organseg_conv3d::max_pool3d;
/// let x = Tensor::new(&[1f32, 5.0, 2.0, 3.0], &Device::Cpu)?.reshape((1, 1, 1, 1, 4))?;
/// let pooled = max_pool3d(&x, [1, 1, 2], [1, 1, 2])?;
/// assert_eq!(pooled.flatten_all()?.to_vec1::<f32>()?, [5.0, 3.0]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn max_pool3d(x: &Tensor, kernel: [usize; 3], stride: [usize; 3]) -> Result<Tensor> {
    let op = MaxPool { kernel, stride };
    op.windows(&x.dims5().map(|(_, _, d, h, w)| [d, h, w])?)?;
    x.contiguous()?.apply_op1(op)
}

#[derive(Clone, Copy)]
struct MaxPool {
    kernel: [usize; 3],
    stride: [usize; 3],
}

impl MaxPool {
    /// Windows along each axis of an input of `size`.
    fn windows(&self, size: &[usize; 3]) -> Result<[usize; 3]> {
        let (kernel, stride) = (self.kernel, self.stride);
        if kernel.contains(&0) || stride.contains(&0) || (0..3).any(|a| size[a] < kernel[a]) {
            bail!("max_pool3d: windows of {kernel:?}, {stride:?} apart, do not fit an input of {size:?}");
        }
        Ok([0, 1, 2].map(|a| (size[a] - kernel[a]) / stride[a] + 1))
    }

    /// Samples and channels of an input, and all its windows.
    #[cfg(feature = "cuda")]
    fn on_gpu(&self, layout: &Layout) -> Result<([usize; 2], crate::cuda::Windows)> {
        let [n, c, d, h, w] = five(layout, "max_pool3d", "the input")?;
        let (input, output) = ([d, h, w], self.windows(&[d, h, w])?);
        let (kernel, stride) = (self.kernel, self.stride);
        Ok(([n, c], crate::cuda::Windows { channels: n * c, input, output, kernel, stride }))
    }

    /// Where the largest value of window (z, y, x) of a channel lies.
    fn largest<T: WithDType>(&self, channel: &[T], [_, h, w]: [usize; 3], window: [usize; 3]) -> usize {
        let start = [0, 1, 2].map(|a| window[a] * self.stride[a]);
        let mut best = (start[0] * h + start[1]) * w + start[2];
        for z in start[0]..start[0] + self.kernel[0] {
            for y in start[1]..start[1] + self.kernel[1] {
                let row = (z * h + y) * w;
                for at in row + start[2]..row + start[2] + self.kernel[2] {
                    // `x != x` is true of NaN alone.
                    #[expect(clippy::eq_op, reason = "a test for NaN that works for any number type")]
                    if channel[at] > channel[best] || channel[at] != channel[at] {
                        best = at;
                    }
                }
            }
        }
        best
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool3d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        by_type!("max_pool3d", x, pool(self, x, layout))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{by_cuda_type, pool};
        let ([n, c], windows) = self.on_gpu(layout)?;
        let y = by_cuda_type!("max_pool3d", x, pool(&windows, (x, layout)))?;
        let [d, h, w] = windows.output;
        Ok((y, (n, c, d, h, w).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        x.apply_op2_no_bwd(&gradient.contiguous()?, &MaxPoolGradient(*self)).map(Some)
    }
}

fn pool<T: WithDType>(op: &MaxPool, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = five(layout, "max_pool3d", "the input")?;
    let size = [d, h, w];
    let [od, oh, ow] = op.windows(&size)?;
    let mut y = vec![T::zero(); n * c * od * oh * ow];
    let channels = values::<T>(x, layout)?.par_chunks(d * h * w);
    y.par_chunks_mut(od * oh * ow).zip(channels).for_each(|(y, x)| {
        for (i, y) in y.iter_mut().enumerate() {
            *y = x[op.largest(x, size, [i / (oh * ow), i / ow % oh, i % ow])];
        }
    });
    result(y, (n, c, od, oh, ow))
}

/// Maps the input and the gradient of the output to the gradient of the input.
struct MaxPoolGradient(MaxPool);

impl CustomOp2 for MaxPoolGradient {
    fn name(&self) -> &'static str {
        "max_pool3d gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("max_pool3d", x, unpool(&self.0, (x, lx), (g, lg)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        g: &candle_core::CudaStorage,
        lg: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{by_cuda_type, pool_gradient};
        let (_, windows) = self.0.on_gpu(lx)?;
        let out = by_cuda_type!("max_pool3d", x, pool_gradient(&windows, (x, lx), (g, lg)))?;
        Ok((out, lx.shape().clone()))
    }
}

fn unpool<T: WithDType>(
    op: &MaxPool,
    (x, lx): (&CpuStorage, &Layout),
    (g, lg): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let [n, c, d, h, w] = five(lx, "max_pool3d", "the input")?;
    let size = [d, h, w];
    let [od, oh, ow] = op.windows(&size)?;
    let mut out = vec![T::zero(); n * c * d * h * w];
    let channels = values::<T>(x, lx)?.par_chunks(d * h * w);
    let gradients = values::<T>(g, lg)?.par_chunks(od * oh * ow);
    out.par_chunks_mut(d * h * w).zip(channels).zip(gradients).for_each(|((out, x), g)| {
        for (i, &g) in g.iter().enumerate() {
            out[op.largest(x, size, [i / (oh * ow), i / ow % oh, i % ow])] += g;
        }
    });
    result(out, (n, c, d, h, w))
}
