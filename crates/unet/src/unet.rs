//! The 3D U-Net (Çiçek et al., MICCAI 2016).
//!
//! Going down, each level convolves and hands its result both across and, max-pooled to half the
//! resolution, further down. Going up, each level doubles the resolution of what comes from below,
//! sets it beside what came across, and convolves. A 1×1×1 convolution gives the class scores.
//!
//! On the CPU in `f32` the whole of it is one operation on blocks of channels; for other number
//! types and devices, and for gradients for the image, it is made of candle's and organseg-conv3d's.

use std::sync::Arc;

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};
use candle_nn::{Init, VarBuilder};
use organseg_conv3d::{Conv3dParams, conv_transpose3d, conv3d, max_pool3d, upsample_trilinear3d};

use crate::blocks::ConvStack;
use crate::engine::{self, Keep, Plan, WeightCache};
use crate::padding::{cut_back, pad_to_multiple};
use crate::{Downsampling, UnetConfig, UnetError, Upsampling};

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
    plan: Arc<Plan>,
    prepared: Arc<WeightCache>,
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
            let strided = level > 0 && config.downsampling == Downsampling::Strided;
            let stride = if strided { 2 } else { 1 };
            down.push(ConvStack::new(config, inputs, outputs, stride, &vb.pp(format!("down{level}")))?);
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
            let convolve = ConvStack::new(config, here + from_below, here, 1, &vb)?;
            up.push(UpLevel { transposed, convolve });
        }
        let head = vb.pp("head");
        let head_weight =
            head.get_with_hints((config.classes, channels[0], 1, 1, 1), "weight", Init::Const(0.0))?;
        let head_bias = head.get_with_hints(config.classes, "bias", Init::Const(0.0))?;
        Ok(Self {
            config: config.clone(),
            down,
            up,
            head_weight,
            head_bias,
            plan: Arc::new(Plan::new(config)),
            prepared: Arc::default(),
        })
    }

    /// What the network was built from.
    #[must_use]
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Class scores (N, K, D, H, W) of an image (N, C, D, H, W) of any size, in candle's graph: a backward
    /// pass gives the gradients of the network's variables. One backward pass for each call.
    ///
    /// # Errors
    /// If the image has not five axes or not the network's number of channels.
    pub fn forward(&self, image: &Tensor) -> Result<Tensor> {
        let (padded, size) = self.padded(image)?;
        let parameters = self.parameters();
        let scores = if !self.runs_in_blocks(image, &parameters) || image.track_op() {
            self.by_operations(&padded)?
        } else if parameters.iter().any(|parameter| parameter.track_op()) {
            engine::with_gradients(&self.plan, &padded, &parameters)?
        } else {
            self.in_blocks(&padded, &parameters)?
        };
        cut_back(&scores, size)
    }

    /// As [`Unet3d::forward`] for one who wants no gradients: faster, and in a fraction of the memory.
    ///
    /// Weights that are no variables are prepared by the first call and kept: a tensor that shares its memory
    /// with a variable, as [`Var::as_detached_tensor`](candle_core::Var::as_detached_tensor) gives, must not
    /// change from then on.
    ///
    /// # Errors
    /// As [`Unet3d::forward`].
    pub fn predict(&self, image: &Tensor) -> Result<Tensor> {
        let (padded, size) = self.padded(&image.detach())?;
        let parameters = self.parameters();
        let scores = if self.runs_in_blocks(image, &parameters) {
            self.in_blocks(&padded, &parameters)?
        } else {
            self.by_operations(&padded)?.detach()
        };
        cut_back(&scores, size)
    }

    /// The image, enlarged to a size that can be halved as often as need be, and its own size.
    fn padded(&self, image: &Tensor) -> Result<(Tensor, [usize; 3])> {
        let (_, channels, d, h, w) = image.dims5()?;
        if channels != self.config.in_channels {
            candle_core::bail!("the image has {channels} channels, expected {}", self.config.in_channels);
        }
        if [d, h, w].contains(&0) {
            candle_core::bail!("the image has {d}×{h}×{w} voxels, expected at least one along each axis");
        }
        Ok((pad_to_multiple(image, self.config.size_multiple())?, [d, h, w]))
    }

    /// All parameters, in the order of [`Plan`].
    fn parameters(&self) -> Vec<&Tensor> {
        let down = self.down.iter().flat_map(ConvStack::parameters);
        let up = self.up.iter().rev().flat_map(|level| {
            let transposed = level.transposed.iter().flat_map(|(weight, bias)| [weight, bias]);
            transposed.chain(level.convolve.parameters())
        });
        down.chain(up).chain([&self.head_weight, &self.head_bias]).collect()
    }

    fn runs_in_blocks(&self, image: &Tensor, parameters: &[&Tensor]) -> bool {
        let fits = |tensor: &Tensor| tensor.dtype() == DType::F32 && matches!(tensor.device(), Device::Cpu);
        fits(image) && parameters.iter().all(|parameter| fits(parameter))
    }

    /// The network in blocks, without gradients.
    fn in_blocks(&self, image: &Tensor, parameters: &[&Tensor]) -> Result<Tensor> {
        let (batch, _, d, h, w) = image.dims5()?;
        let image = image.contiguous()?;
        let parameters =
            parameters.iter().map(|parameter| parameter.contiguous()).collect::<Result<Vec<_>>>()?;
        let fixed = !parameters.iter().any(Tensor::is_variable);
        let storages: Vec<_> = parameters.iter().map(Tensor::storage_and_layout).collect();
        let slices = storages
            .iter()
            .map(|(storage, layout)| values(storage, layout.start_offset(), layout.shape().elem_count()))
            .collect::<Result<Vec<_>>>()?;
        let (storage, layout) = image.storage_and_layout();
        let pixels = values(&storage, layout.start_offset(), layout.shape().elem_count())?;
        let cache = fixed.then_some(&*self.prepared);
        let (scores, _) = engine::run(&self.plan, &slices, pixels, batch, [d, h, w], Keep::UntilRead, cache);
        Tensor::from_vec(scores, (batch, self.config.classes, d, h, w), &Device::Cpu)
    }

    /// The network by one operation after the other: any number type, any device, any gradient.
    fn by_operations(&self, image: &Tensor) -> Result<Tensor> {
        let mut x = image.clone();
        let mut across = Vec::with_capacity(self.up.len());
        for (level, stack) in self.down.iter().enumerate() {
            if level > 0 && self.config.downsampling == Downsampling::Pooled {
                x = max_pool3d(&x, [2; 3], [2; 3])?;
            }
            x = stack.forward(&x, self.config.algorithm)?;
            if level < self.up.len() {
                across.push(x.clone());
            }
        }
        for (level, skip) in self.up.iter().zip(across).rev() {
            let raised = level.raise(&x, &skip)?;
            x = level.convolve.forward(&Tensor::cat(&[&skip, &raised], 1)?, self.config.algorithm)?;
        }
        conv3d(&x, &self.head_weight, Some(&self.head_bias), &Conv3dParams::default())
    }
}

/// `count` values of a storage on the CPU, from `start` on.
fn values(storage: &Storage, start: usize, count: usize) -> Result<&[f32]> {
    match storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[start..start + count]),
        _ => candle_core::bail!("a tensor that is not f32 on the CPU came to the network in blocks"),
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
    use organseg_conv3d::Algorithm;

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

    fn random(shape: (usize, usize, usize, usize, usize), seed: u64) -> Tensor {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let count = shape.0 * shape.1 * shape.2 * shape.3 * shape.4;
        let values: Vec<f32> = (0..count).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_near(found: &Tensor, expected: &Tensor, what: &str) {
        let (found, expected) = (numbers(found), numbers(expected));
        let rms = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
        for (found, expected) in found.iter().zip(&expected) {
            // Winograd's errors through a dozen layers and norms.
            assert!(
                (found - expected).abs() <= 2e-4 * rms.max(1e-6),
                "{what}: {found}, expected {expected}, rms {rms}"
            );
        }
    }

    /// The network in blocks and the one by operations in doubles: scores, and the gradient of every
    /// variable.
    #[test]
    fn the_network_in_blocks_agrees_with_the_one_by_operations() {
        let base = UnetConfig::new(1, 3).with_channels(vec![6, 20, 9]);
        for (config, algorithm) in [
            (base.clone(), Algorithm::Auto),
            (base.clone(), Algorithm::Direct),
            (base.clone().with_downsampling(Downsampling::Strided), Algorithm::Winograd),
            (base.clone().with_upsampling(Upsampling::Trilinear), Algorithm::Auto),
            (base.clone().with_norm(Norm::None), Algorithm::Auto),
            (UnetConfig { in_channels: 7, ..base.clone() }, Algorithm::Auto),
            (base.with_channels(vec![8]), Algorithm::Auto),
        ] {
            let config = config.with_algorithm(algorithm);
            let (single, variables) = net(&config, 5);
            let image = random((2, config.in_channels, 8, 12, 10), 1);
            let weight = random((2, 3, 8, 12, 10), 2);
            let data = variables.data().lock().unwrap();
            let wide = VarMap::new();
            for (name, variable) in data.iter() {
                let value = candle_core::Var::from_tensor(&variable.to_dtype(DType::F64).unwrap()).unwrap();
                wide.data().lock().unwrap().insert(name.clone(), value);
            }
            let vb = VarBuilder::from_varmap(&wide, DType::F64, &Device::Cpu);
            let double = Unet3d::new(&config, vb).unwrap();
            let found = single.forward(&image).unwrap();
            let expected = double.forward(&image.to_dtype(DType::F64).unwrap()).unwrap();
            let what = format!("{config:?}");
            assert_near(&found, &expected, &what);
            assert_near(&single.predict(&image).unwrap(), &found, &what);
            let found = (found * &weight).unwrap().sum_all().unwrap().backward().unwrap();
            let weight = weight.to_dtype(DType::F64).unwrap();
            let expected = (expected * weight).unwrap().sum_all().unwrap().backward().unwrap();
            for (name, variable) in data.iter() {
                let found =
                    found.get(variable.as_tensor()).unwrap_or_else(|| panic!("{name} has a gradient"));
                let expected = expected.get(wide.data().lock().unwrap()[name].as_tensor()).unwrap().clone();
                assert_near(found, &expected, &format!("{what}: {name}"));
            }
        }
    }

    /// The gradient of every variable along a random direction, by operations with direct sums in doubles.
    #[test]
    fn the_gradients_of_the_whole_network_agree_with_finite_differences() {
        /// Steps of 1e-5 leave 1e-9 of rounding and 1e-10 of curvature.
        const STEP: f64 = 1e-5;
        const TOLERANCE: f64 = 1e-6;
        for config in [
            UnetConfig::new(1, 3).with_channels(vec![3, 5, 4]),
            UnetConfig::new(2, 2).with_channels(vec![3, 4]).with_downsampling(Downsampling::Strided),
            UnetConfig::new(1, 2).with_channels(vec![3, 4]).with_upsampling(Upsampling::Trilinear),
        ] {
            let config = config.with_algorithm(Algorithm::Direct);
            let variables = VarMap::new();
            let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
            let net = Unet3d::new(&config, vb).unwrap();
            initialize(&variables, 4).unwrap();
            let image = random((1, config.in_channels, 4, 8, 8), 1).to_dtype(DType::F64).unwrap();
            let weight = random((1, config.classes, 4, 8, 8), 2).to_dtype(DType::F64).unwrap();
            let loss = || (net.forward(&image).unwrap() * &weight).unwrap().sum_all().unwrap();
            let gradients = loss().backward().unwrap();
            for (i, (name, variable)) in variables.data().lock().unwrap().iter().enumerate() {
                let count = variable.elem_count();
                let direction = random((1, 1, 1, 1, count), i as u64).to_dtype(DType::F64).unwrap();
                let direction = direction.reshape(variable.shape()).unwrap();
                let start = variable.as_detached_tensor().copy().unwrap();
                let at = |step: f64| {
                    variable.set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
                    loss().to_scalar::<f64>().unwrap()
                };
                let expected = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                at(0.0);
                let gradient = gradients.get(variable.as_tensor()).unwrap();
                let found = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
                assert!(
                    (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0),
                    "{name}: {found}, expected {expected}"
                );
            }
        }
    }

    #[test]
    fn an_image_without_voxels_is_an_error_and_no_panic() {
        let (net, _) = net(&UnetConfig::new(1, 2).with_channels(vec![2, 3]), 1);
        for shape in [(1, 1, 0, 8, 8), (1, 1, 8, 0, 8), (1, 1, 8, 8, 0)] {
            let image = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            for scores in [net.forward(&image), net.predict(&image)] {
                assert!(scores.unwrap_err().to_string().contains("at least one"));
            }
        }
    }

    /// Threads that prepare weights for each other's predictions must not wait for one another.
    #[test]
    fn many_predictions_at_once_are_those_made_one_by_one() {
        use rayon::prelude::*;
        let config = UnetConfig::new(1, 2).with_channels(vec![16, 24]);
        let (_, variables) = net(&config, 2);
        let fixed = crate::weights::tensors_of(&variables).unwrap();
        let vb = VarBuilder::from_tensors(fixed, DType::F32, &Device::Cpu);
        let net = Unet3d::new(&config, vb).unwrap();
        let images: Vec<Tensor> = (0..12).map(|i| random((1, 1, 16, 12 + i % 3 * 8, 16), i as u64)).collect();
        let predict = |image: &Tensor| -> Vec<f32> {
            net.predict(image).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let together: Vec<Vec<f32>> = pool.install(|| images.par_iter().map(predict).collect());
        for (image, found) in images.iter().zip(&together) {
            assert_eq!(&predict(image), found);
        }
    }

    #[test]
    fn a_second_backward_pass_is_an_error_that_says_so() {
        let (net, _) = net(&UnetConfig::new(1, 2).with_channels(vec![2]), 1);
        let scores = net.forward(&random((1, 1, 4, 4, 4), 1)).unwrap().sum_all().unwrap();
        scores.backward().unwrap();
        assert!(scores.backward().unwrap_err().to_string().contains("ran twice"));
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
