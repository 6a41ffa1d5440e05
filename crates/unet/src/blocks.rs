//! What a U-Net is made of: convolution, norm and activation, several times over.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};
use organseg_conv3d::{Activation, Algorithm, Conv3dParams, conv3d, instance_norm};

use crate::{Norm, UnetConfig};

/// Added to the variance before its root is taken, as in PyTorch.
pub(crate) const NORM_EPSILON: f64 = 1e-5;

/// 3×3×3 convolution, norm, leaky ReLU.
#[derive(Clone, Debug)]
struct ConvNormAct {
    /// (C_out, C_in, 3, 3, 3)
    weight: Tensor,
    stride: [usize; 3],
    after: After,
    activation: Activation,
}

/// What follows the convolution; all tensors are (C_out).
#[derive(Clone, Debug)]
enum After {
    InstanceNorm { scale: Tensor, shift: Tensor },
    Bias(Tensor),
}

impl ConvNormAct {
    fn new(
        config: &UnetConfig,
        inputs: usize,
        outputs: usize,
        stride: usize,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let weight = vb.get_with_hints((outputs, inputs, 3, 3, 3), "weight", Init::Const(0.0))?;
        let after = match config.norm {
            Norm::Instance => After::InstanceNorm {
                scale: vb.get_with_hints(outputs, "norm.scale", Init::Const(1.0))?,
                shift: vb.get_with_hints(outputs, "norm.shift", Init::Const(0.0))?,
            },
            Norm::None => After::Bias(vb.get_with_hints(outputs, "bias", Init::Const(0.0))?),
        };
        let activation = Activation::LeakyRelu { slope: config.negative_slope };
        Ok(Self { weight, stride: [stride; 3], after, activation })
    }

    fn forward(&self, x: &Tensor, algorithm: Algorithm) -> Result<Tensor> {
        let same = Conv3dParams { stride: self.stride, padding: [1; 3], algorithm };
        match &self.after {
            After::InstanceNorm { scale, shift } => {
                let y = conv3d(x, &self.weight, None, &same)?;
                instance_norm(&y, scale, shift, NORM_EPSILON, self.activation)
            }
            After::Bias(bias) => {
                let y = conv3d(x, &self.weight, Some(bias), &same)?;
                match self.activation {
                    Activation::LeakyRelu { slope } if slope != 0.0 => candle_nn::ops::leaky_relu(&y, slope),
                    _ => y.relu(),
                }
            }
        }
    }
}

/// The convolutions of one level, one after the other: `inputs` channels in, `outputs` channels out.
#[derive(Clone, Debug)]
pub(crate) struct ConvStack {
    layers: Vec<ConvNormAct>,
}

impl ConvStack {
    /// The first convolution has `stride`, the others 1.
    pub(crate) fn new(
        config: &UnetConfig,
        inputs: usize,
        outputs: usize,
        stride: usize,
        vb: &VarBuilder,
    ) -> Result<Self> {
        let layers = (0..config.convolutions_per_level)
            .map(|i| {
                let (inputs, stride) = if i == 0 { (inputs, stride) } else { (outputs, 1) };
                ConvNormAct::new(config, inputs, outputs, stride, &vb.pp(format!("conv{i}")))
            })
            .collect::<Result<_>>()?;
        Ok(Self { layers })
    }

    pub(crate) fn forward(&self, x: &Tensor, algorithm: Algorithm) -> Result<Tensor> {
        let mut y = x.clone();
        for layer in &self.layers {
            y = layer.forward(&y, algorithm)?;
        }
        Ok(y)
    }

    /// The parameters, layer by layer: weight, then scale and shift or bias.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        self.layers.iter().flat_map(|layer| match &layer.after {
            After::InstanceNorm { scale, shift } => vec![&layer.weight, scale, shift],
            After::Bias(bias) => vec![&layer.weight, bias],
        })
    }
}
