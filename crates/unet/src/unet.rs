//! The 3D U-Net (Çiçek et al., MICCAI 2016).
//!
//! Going down, each level convolves and hands its result both across and, max-pooled to half the
//! resolution, further down. Going up, each level doubles the resolution of what comes from below,
//! sets it beside what came across, and convolves. A 1×1×1 convolution gives the class scores.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};
use organseg_conv3d::{Conv3dParams, conv_transpose3d, conv3d, max_pool3d, upsample_trilinear3d};

use crate::blocks::ConvStack;
use crate::padding::{cut_back, pad_to_multiple};
use crate::{UnetConfig, UnetError, Upsampling};

/// 3D U-Net from an image (N, C, D, H, W) to class scores (N, K, D, H, W).
///
/// The scores are logits: softmax over axis 1 makes them probabilities.
#[derive(Clone, Debug)]
pub struct Unet3d {
    config: UnetConfig,
    /// One a level, full resolution first.
    down: Vec<ConvStack>,
    /// One a level but the deepest, full resolution first.
    up: Vec<UpLevel>,
    /// (K, C, 1, 1, 1)
    head_weight: Tensor,
    /// (K)
    head_bias: Tensor,
}

#[derive(Clone, Debug)]
struct UpLevel {
    /// (C below, C, 2, 2, 2) and (C); none for trilinear upsampling.
    transposed: Option<(Tensor, Tensor)>,
    convolve: ConvStack,
}

impl Unet3d {
    /// The network whose tensors `vb` gives. New variables of a `VarMap` come out constant:
    /// [`initialize`](crate::initialize) them.
    ///
    /// # Errors
    /// [`UnetError::Config`] for a configuration without a network; [`UnetError::Candle`] for a tensor
    /// that is missing or misshapen.
    #[expect(clippy::needless_pass_by_value, reason = "candle's modules take their builder by value")]
    pub fn new(config: &UnetConfig, vb: VarBuilder) -> std::result::Result<Self, UnetError> {
        config.check()?;
        let channels = &config.channels;
        let mut down = Vec::new();
        for (level, &outputs) in channels.iter().enumerate() {
            let inputs = if level == 0 { config.in_channels } else { channels[level - 1] };
            down.push(ConvStack::new(config, inputs, outputs, &vb.pp(format!("down{level}")))?);
        }
        let mut up = Vec::new();
        for (level, pair) in channels.windows(2).enumerate() {
            let (here, below) = (pair[0], pair[1]);
            let vb = vb.pp(format!("up{level}"));
            let (transposed, from_below) = match config.upsampling {
                Upsampling::Transposed => {
                    let weight =
                        vb.get_with_hints((below, here, 2, 2, 2), "transposed.weight", Init::Const(0.0))?;
                    let bias = vb.get_with_hints(here, "transposed.bias", Init::Const(0.0))?;
                    (Some((weight, bias)), here)
                }
                Upsampling::Trilinear => (None, below),
            };
            let convolve = ConvStack::new(config, here + from_below, here, &vb)?;
            up.push(UpLevel { transposed, convolve });
        }
        let head = vb.pp("head");
        let head_weight =
            head.get_with_hints((config.classes, channels[0], 1, 1, 1), "weight", Init::Const(0.0))?;
        let head_bias = head.get_with_hints(config.classes, "bias", Init::Const(0.0))?;
        Ok(Self { config: config.clone(), down, up, head_weight, head_bias })
    }

    /// What the network was built from.
    #[must_use]
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Class scores (N, K, D, H, W) of an image (N, C, D, H, W) of any size.
    ///
    /// # Errors
    /// If the image has not five axes or not the network's number of channels.
    pub fn forward(&self, image: &Tensor) -> Result<Tensor> {
        let (_, channels, d, h, w) = image.dims5()?;
        if channels != self.config.in_channels {
            candle_core::bail!("the image has {channels} channels, expected {}", self.config.in_channels);
        }
        let mut x = pad_to_multiple(image, self.config.size_multiple())?;
        let mut across = Vec::with_capacity(self.up.len());
        for (level, stack) in self.down.iter().enumerate() {
            if level > 0 {
                x = max_pool3d(&x, [2; 3], [2; 3])?;
            }
            x = stack.forward(&x)?;
            if level < self.up.len() {
                across.push(x.clone());
            }
        }
        for (level, skip) in self.up.iter().zip(across).rev() {
            let raised = level.raise(&x, &skip)?;
            x = level.convolve.forward(&Tensor::cat(&[&skip, &raised], 1)?)?;
        }
        let scores = conv3d(&x, &self.head_weight, Some(&self.head_bias), &Conv3dParams::default())?;
        cut_back(&scores, [d, h, w])
    }
}

impl UpLevel {
    /// `x` at the resolution of `skip`.
    fn raise(&self, x: &Tensor, skip: &Tensor) -> Result<Tensor> {
        match &self.transposed {
            Some((weight, bias)) => conv_transpose3d(x, weight, Some(bias), [2; 3]),
            None => {
                let (_, _, d, h, w) = skip.dims5()?;
                upsample_trilinear3d(x, [d, h, w])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Norm, initialize};
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    fn net(config: &UnetConfig, seed: u64) -> (Unet3d, VarMap) {
        let variables = VarMap::new();
        let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
        let net = Unet3d::new(config, vb).unwrap();
        initialize(&variables, seed).unwrap();
        (net, variables)
    }

    #[test]
    fn scores_have_the_size_of_the_image_whatever_it_is() {
        for config in [
            UnetConfig::new(1, 3).with_channels(vec![2, 3, 4]),
            UnetConfig::new(2, 2).with_channels(vec![3]).with_norm(Norm::None),
            UnetConfig::new(1, 2).with_channels(vec![2, 4]).with_upsampling(Upsampling::Trilinear),
        ] {
            let (net, _) = net(&config, 1);
            for size in [(1, 1, 1), (8, 4, 12), (5, 9, 3)] {
                let shape = (2, config.in_channels, size.0, size.1, size.2);
                let image = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
                let scores = net.forward(&image).unwrap();
                assert_eq!(scores.dims(), [2, config.classes, size.0, size.1, size.2]);
            }
        }
    }

    #[test]
    fn the_wrong_number_of_channels_is_named() {
        let (net, _) = net(&UnetConfig::new(1, 2).with_channels(vec![2]), 1);
        let image = Tensor::ones((1, 3, 2, 2, 2), DType::F32, &Device::Cpu).unwrap();
        let message = net.forward(&image).unwrap_err().to_string();
        assert!(message.contains("3 channels, expected 1"), "{message}");
    }

    /// Every weight moves the loss: no layer is left out of the graph.
    #[test]
    fn every_variable_gets_a_gradient() {
        let (net, variables) = net(&UnetConfig::new(1, 2).with_channels(vec![2, 3, 4]), 3);
        let values: Vec<f32> = (0..8 * 8 * 8).map(|i| ((i * 37 % 101) as f32) / 101.0).collect();
        let image = Tensor::from_vec(values, (1, 1, 8, 8, 8), &Device::Cpu).unwrap();
        let gradients = net.forward(&image).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for (name, variable) in variables.data().lock().unwrap().iter() {
            let gradient = gradients.get(variable.as_tensor()).unwrap_or_else(|| panic!("{name} has none"));
            let largest = gradient.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
            assert!(largest.to_scalar::<f32>().unwrap() > 0.0, "gradient of {name} is zero");
        }
    }
}
