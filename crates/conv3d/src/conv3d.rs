//! Convolution as a candle operation.
//!
//! y[n, o, z, y, x] = b[o] + Σ_c Σ_ijl w[o, c, i, j, l] · x[n, c, z s + i − p, y s + j − p, x s + l − p]
//! (a correlation, as everywhere in deep learning). The gradient for the input is the adjoint map, the
//! gradient for the weights the correlation of the input with the gradient.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, WithDType, bail};

use crate::bias::{add_bias, gradient_for_bias};
use crate::kernels::adjoint::adjoint;
use crate::kernels::forward::forward;
use crate::kernels::weight_gradient::weight_gradient;
use crate::params::{Conv3dParams, ConvShape};
use crate::storage::{by_type, result, values};

/// Convolution of `x` (N, C, D, H, W) with `weight` (C_out, C, kD, kH, kW), plus `bias` (C_out):
/// (N, C_out, D', H', W') with D' = (D + 2 p − kD) / s + 1, rounded down.
///
/// The same numbers as PyTorch's `conv3d` to rounding.
///
/// # Errors
/// If shapes do not fit each other, naming them; for devices and numbers that this [crate] does not know; what a
/// GPU gives.
pub fn conv3d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, params: &Conv3dParams) -> Result<Tensor> {
    let shape = ConvShape::new(x.dims(), weight.dims(), params)?;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        None => x.apply_op2(&weight, Conv3d(*params)),
        // On a GPU a bias is an addition of its own: those of a network with norms have none.
        Some(bias) if bias.dims() == [shape.outputs] && x.device().is_cuda() => {
            add_bias(&x.apply_op2(&weight, Conv3d(*params))?, bias)
        }
        Some(bias) if bias.dims() == [shape.outputs] => {
            x.apply_op3(&weight, &bias.contiguous()?, Conv3d(*params))
        }
        Some(bias) => bail!("conv3d: bias has shape {:?}, expected [{}]", bias.dims(), shape.outputs),
    }
}

/// Convolution without or with bias.
struct Conv3d(Conv3dParams);

impl Conv3d {
    fn run<T: WithDType>(
        &self,
        x: (&CpuStorage, &Layout),
        weight: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = ConvShape::new(x.1.dims(), weight.1.dims(), &self.0)?;
        let bias = bias.map(|(storage, layout)| values::<T>(storage, layout)).transpose()?;
        let y = forward(&shape, values(x.0, x.1)?, values(weight.0, weight.1)?, bias);
        let [d, h, w] = shape.output;
        result(y, (shape.batch, shape.outputs, d, h, w))
    }
}

impl CustomOp2 for Conv3d {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let run = (self, (x, lx), (w, lw));
        by_type!("conv3d", x, without_bias(run.0, run.1, run.2))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        w: &candle_core::CudaStorage,
        lw: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{Order, by_cuda_type, forward};
        let shape = ConvShape::new(lx.dims(), lw.dims(), &self.0)?;
        let y = by_cuda_type!("conv3d", x, forward(&shape, Order::ChannelsFirst, (x, lx), (w, lw)))?;
        let [d, h, k] = shape.output;
        Ok((y, (shape.batch, shape.outputs, d, h, k).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        Ok((gradient_for_input(x, w, &gradient, &self.0)?, gradient_for_weight(x, w, &gradient, &self.0)?))
    }
}

impl CustomOp3 for Conv3d {
    fn name(&self) -> &'static str {
        "conv3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("conv3d", x, with_bias(self, (x, lx), (w, lw), (b, lb)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        Ok((
            gradient_for_input(x, w, &gradient, &self.0)?,
            gradient_for_weight(x, w, &gradient, &self.0)?,
            Some(gradient_for_bias(&gradient)?),
        ))
    }
}

fn without_bias<T: WithDType>(
    op: &Conv3d,
    x: (&CpuStorage, &Layout),
    w: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    op.run::<T>(x, w, None)
}

fn with_bias<T: WithDType>(
    op: &Conv3d,
    x: (&CpuStorage, &Layout),
    w: (&CpuStorage, &Layout),
    b: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    op.run::<T>(x, w, Some(b))
}

/// Gradient for the input, if anything asks for it: the first layer's image has none.
fn gradient_for_input(
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
    params: &Conv3dParams,
) -> Result<Option<Tensor>> {
    if !x.track_op() {
        return Ok(None);
    }
    let (_, _, d, h, w) = x.dims5()?;
    gradient.apply_op2_no_bwd(weight, &InputGradient { params: *params, size: [d, h, w] }).map(Some)
}

fn gradient_for_weight(
    x: &Tensor,
    weight: &Tensor,
    gradient: &Tensor,
    params: &Conv3dParams,
) -> Result<Option<Tensor>> {
    if !weight.track_op() {
        return Ok(None);
    }
    let (_, _, d, h, w) = weight.dims5()?;
    x.apply_op2_no_bwd(gradient, &WeightGradient { params: *params, kernel: [d, h, w] }).map(Some)
}

/// Maps the gradient of a convolution's output and its weight to the gradient of its input of `size`.
pub(crate) struct InputGradient {
    pub(crate) params: Conv3dParams,
    pub(crate) size: [usize; 3],
}

impl CustomOp2 for InputGradient {
    fn name(&self) -> &'static str {
        "conv3d gradient for the input"
    }

    fn cpu_fwd(
        &self,
        g: &CpuStorage,
        lg: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("conv3d gradient", g, input_gradient(self, (g, lg), (w, lw)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        g: &candle_core::CudaStorage,
        lg: &Layout,
        w: &candle_core::CudaStorage,
        lw: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{Order, by_cuda_type, input_gradient};
        let [d, h, k] = self.size;
        let (n, c) = (lg.dims()[0], lw.dims()[1]);
        let shape = ConvShape::new(&[n, c, d, h, k], lw.dims(), &self.params)?;
        let x = by_cuda_type!(
            "conv3d gradient",
            g,
            input_gradient(&shape, Order::ChannelsFirst, (g, lg), (w, lw))
        )?;
        Ok((x, (n, c, d, h, k).into()))
    }
}

pub(crate) fn input_gradient<T: WithDType>(
    op: &InputGradient,
    gradient: (&CpuStorage, &Layout),
    weight: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let [d, h, w] = op.size;
    let (n, c) = (gradient.1.dims()[0], weight.1.dims()[1]);
    let shape = ConvShape::new(&[n, c, d, h, w], weight.1.dims(), &op.params)?;
    let x = adjoint::<T>(&shape, values(gradient.0, gradient.1)?, values(weight.0, weight.1)?);
    result(x, (n, c, d, h, w))
}

/// Maps the input of a convolution and the gradient of its output to the gradient of its weight.
pub(crate) struct WeightGradient {
    pub(crate) params: Conv3dParams,
    pub(crate) kernel: [usize; 3],
}

impl CustomOp2 for WeightGradient {
    fn name(&self) -> &'static str {
        "conv3d gradient for the weight"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        g: &CpuStorage,
        lg: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        by_type!("conv3d gradient", x, weight_gradient_of(self, (x, lx), (g, lg)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        g: &candle_core::CudaStorage,
        lg: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use crate::cuda::{Order, by_cuda_type, weight_gradient};
        let [d, h, k] = self.kernel;
        let (o, c) = (lg.dims()[1], lx.dims()[1]);
        let shape = ConvShape::new(lx.dims(), &[o, c, d, h, k], &self.params)?;
        let w = by_cuda_type!(
            "conv3d gradient",
            x,
            weight_gradient(&shape, Order::ChannelsFirst, (x, lx), (g, lg))
        )?;
        Ok((w, (o, c, d, h, k).into()))
    }
}

fn weight_gradient_of<T: WithDType>(
    op: &WeightGradient,
    x: (&CpuStorage, &Layout),
    gradient: (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let [d, h, w] = op.kernel;
    let (o, c) = (gradient.1.dims()[1], x.1.dims()[1]);
    let shape = ConvShape::new(x.1.dims(), &[o, c, d, h, w], &op.params)?;
    let gradient = weight_gradient::<T>(&shape, values(x.0, x.1)?, values(gradient.0, gradient.1)?);
    result(gradient, (o, c, d, h, w))
}
