//! Convolution of (N, D, H, W, C) with weights (C_out, kD, kH, kW, C), and its gradients.

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::conv3d::{InputGradient, WeightGradient, conv3d};
use crate::params::{Conv3dParams, ConvShape};
use crate::storage::{by_type, result, values};

/// w ∗ x: (N, D', H', W', C_out).
///
/// # Errors
/// If shapes do not fit each other; what a device gives.
pub fn convolve(x: &Tensor, weights: &Tensor, params: &Conv3dParams) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&weights.contiguous()?, &Convolve { sum: Sum::Forward, params: *params })
}

/// From the gradient (N, D', H', W', C_out) of a convolution's result to that of its input of `size`; and a transposed
/// convolution.
///
/// # Errors
/// As [`convolve`].
pub fn convolve_input_gradient(
    gradient: &Tensor,
    weights: &Tensor,
    size: [usize; 3],
    params: &Conv3dParams,
) -> Result<Tensor> {
    let op = Convolve { sum: Sum::InputGradient(size), params: *params };
    gradient.contiguous()?.apply_op2_no_bwd(&weights.contiguous()?, &op)
}

/// From the input of a convolution with a `kernel` and the gradient of its result to the gradient
/// (C_out, kD, kH, kW, C) of its weights.
///
/// # Errors
/// As [`convolve`].
pub fn convolve_weight_gradient(
    x: &Tensor,
    gradient: &Tensor,
    kernel: [usize; 3],
    params: &Conv3dParams,
) -> Result<Tensor> {
    let op = Convolve { sum: Sum::WeightGradient(kernel), params: *params };
    x.contiguous()?.apply_op2_no_bwd(&gradient.contiguous()?, &op)
}

/// Which of the three sums: with the size of the input, or the kernel, that the arguments do not tell.
#[derive(Clone, Copy)]
enum Sum {
    Forward,
    InputGradient([usize; 3]),
    WeightGradient([usize; 3]),
}

struct Convolve {
    sum: Sum,
    params: Conv3dParams,
}

/// (N, D, H, W, C) as (N, C, D, H, W), and (C_out, kD, kH, kW, C) as (C_out, C, kD, kH, kW).
fn channels_first([n, d, h, w, c]: [usize; 5]) -> [usize; 5] {
    [n, c, d, h, w]
}

impl Convolve {
    /// The sizes of the convolution with arguments of these layouts, and the shape of what comes out.
    fn shape(&self, a: &Layout, b: &Layout) -> Result<(ConvShape, [usize; 5])> {
        let five = |layout: &Layout| -> Result<[usize; 5]> {
            match layout.dims().try_into() {
                Ok(dims) => Ok(channels_first(dims)),
                Err(_) => {
                    bail!("convolve: found shape {:?}, expected five axes, channels last", layout.dims())
                }
            }
        };
        let (a, b) = (five(a)?, five(b)?);
        let (input, weights) = match self.sum {
            Sum::Forward => (a, b),
            Sum::InputGradient([d, h, w]) => ([a[0], b[1], d, h, w], b),
            Sum::WeightGradient([d, h, w]) => (a, [b[1], a[1], d, h, w]),
        };
        let shape = ConvShape::new(&input, &weights, &self.params)?;
        let [d, h, w] = shape.output;
        let result = [shape.batch, d, h, w, shape.outputs];
        let (gradient, out) = match self.sum {
            Sum::Forward => (result, result),
            Sum::InputGradient([d, h, w]) => (channels_last(a), [shape.batch, d, h, w, shape.inputs]),
            Sum::WeightGradient([d, h, w]) => (channels_last(b), [shape.outputs, d, h, w, shape.inputs]),
        };
        if gradient != result {
            bail!("convolve: the gradient has shape {gradient:?}, the convolution gives {result:?}");
        }
        Ok((shape, out))
    }
}

fn channels_last([n, c, d, h, w]: [usize; 5]) -> [usize; 5] {
    [n, d, h, w, c]
}

impl CustomOp2 for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        la: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.shape(la, lb)?;
        by_type!("convolve", a, on_cpu(self, (a, la), (b, lb)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        a: &candle_core::CudaStorage,
        la: &Layout,
        b: &candle_core::CudaStorage,
        lb: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{Order, by_cuda_type, forward, input_gradient, weight_gradient};
        let (shape, out) = self.shape(la, lb)?;
        let (a, b) = ((a, la), (b, lb));
        let result = match self.sum {
            Sum::Forward => by_cuda_type!("convolve", a.0, forward(&shape, Order::ChannelsLast, a, b))?,
            Sum::InputGradient(_) => {
                by_cuda_type!("convolve", a.0, input_gradient(&shape, Order::ChannelsLast, a, b))?
            }
            Sum::WeightGradient(_) => {
                by_cuda_type!("convolve", a.0, weight_gradient(&shape, Order::ChannelsLast, a, b))?
            }
        };
        Ok((result, Shape::from_dims(&out)))
    }
}

/// By way of (N, C, D, H, W).
fn on_cpu<T: WithDType>(
    op: &Convolve,
    a: (&CpuStorage, &Layout),
    b: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let first = |(storage, layout): (&CpuStorage, &Layout)| -> Result<Tensor> {
        let tensor = Tensor::from_slice(values::<T>(storage, layout)?, layout.shape(), &Device::Cpu)?;
        tensor.permute((0, 4, 1, 2, 3))?.contiguous()
    };
    let (a, b, params) = (first(a)?, first(b)?, op.params);
    let out = match op.sum {
        Sum::Forward => conv3d(&a, &b, None, &params)?,
        Sum::InputGradient(size) => a.apply_op2_no_bwd(&b, &InputGradient { params, size })?,
        Sum::WeightGradient(kernel) => a.apply_op2_no_bwd(&b, &WeightGradient { params, kernel })?,
    };
    let last = out.permute((0, 2, 3, 4, 1))?;
    result(last.flatten_all()?.to_vec1::<T>()?, last.shape().clone())
}
