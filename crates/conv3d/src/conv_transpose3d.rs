//! Transposed convolution as a candle operation: the adjoint of a strided convolution.
//!
//! y[n, o, z s + i, y s + j, x s + l] = b[o] + Σ x[n, c, z, y, x] · w[c, o, i, j, l], summed over c and all
//! (z, i), (y, j), (x, l) that lead to the same place.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use crate::bias::add_bias;
use crate::conv3d::{InputGradient, WeightGradient, conv3d, input_gradient};
use crate::params::Conv3dParams;
use crate::storage::by_type;

/// Transposed convolution, without padding, of `x` (N, C, D, H, W) with `weight` (C, C_out, kD, kH, kW),
/// plus `bias` (C_out): (N, C_out, D', H', W') with D' = (D − 1) s + kD. With kernel and stride 2 it
/// doubles the resolution.
///
/// The same numbers as PyTorch's `conv_transpose3d` to rounding.
///
/// # Errors
/// As [`conv3d`](crate::conv3d()).
pub fn conv_transpose3d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: [usize; 3],
) -> Result<Tensor> {
    let (&[_, c, d, h, w], &[wc, outputs, kd, kh, kw]) = (x.dims(), weight.dims()) else {
        bail!(
            "conv_transpose3d: input {:?} and weight {:?}, expected (N, C, D, H, W) and (C, C_out, kD, kH, kW)",
            x.dims(),
            weight.dims()
        )
    };
    if c != wc {
        bail!("conv_transpose3d: the input has {c} channels, the weight expects {wc}");
    }
    if [kd, kh, kw, d, h, w].contains(&0) || stride.contains(&0) {
        bail!(
            "conv_transpose3d: input {:?}, kernel {:?}, stride {stride:?}: expected at least 1 along each axis",
            [d, h, w],
            [kd, kh, kw]
        );
    }
    let op = Transposed { stride };
    op.output_size([d, h, w], [kd, kh, kw])?;
    let y = x.contiguous()?.apply_op2(&weight.contiguous()?, op)?;
    match bias {
        None => Ok(y),
        Some(bias) if bias.dims() == [outputs] => add_bias(&y, bias),
        Some(bias) => bail!("conv_transpose3d: bias has shape {:?}, expected [{outputs}]", bias.dims()),
    }
}

struct Transposed {
    stride: [usize; 3],
}

impl Transposed {
    /// The convolution that this is the adjoint of.
    fn params(&self) -> Conv3dParams {
        Conv3dParams { stride: self.stride, ..Conv3dParams::default() }
    }

    /// (D', H', W').
    fn output_size(&self, input: [usize; 3], kernel: [usize; 3]) -> Result<[usize; 3]> {
        let size = |a: usize| (input[a] - 1).checked_mul(self.stride[a])?.checked_add(kernel[a]);
        match [0, 1, 2].map(size) {
            [Some(d), Some(h), Some(w)] => Ok([d, h, w]),
            _ => {
                bail!("conv_transpose3d: stride {:?} of an input of {input:?}: too many voxels", self.stride)
            }
        }
    }

    /// The adjoint of the convolution, for an input and a kernel of these layouts.
    fn adjoint(&self, x: &Layout, w: &Layout) -> Result<InputGradient> {
        let (_, _, d, h, k) = x.shape().dims5()?;
        let (_, _, kd, kh, kw) = w.shape().dims5()?;
        Ok(InputGradient { params: self.params(), size: self.output_size([d, h, k], [kd, kh, kw])? })
    }
}

impl CustomOp2 for Transposed {
    fn name(&self) -> &'static str {
        "conv_transpose3d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        w: &CpuStorage,
        lw: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let op = self.adjoint(lx, lw)?;
        by_type!("conv_transpose3d", x, input_gradient(&op, (x, lx), (w, lw)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        lx: &Layout,
        w: &candle_core::CudaStorage,
        lw: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        self.adjoint(lx, lw)?.cuda_fwd(x, lx, w, lw)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?.detach();
        let for_x = x.track_op().then(|| conv3d(&gradient, &w.detach(), None, &self.params())).transpose()?;
        let (_, _, d, h, k) = w.dims5()?;
        let op = WeightGradient { params: self.params(), kernel: [d, h, k] };
        let for_w = w.track_op().then(|| gradient.apply_op2_no_bwd(x, &op)).transpose()?;
        Ok((for_x, for_w))
    }
}
