//! The 3D U-Net (Çiçek et al., MICCAI 2016) and its relatives.
//!
//! Going down, each level convolves and hands its result both across and, max-pooled to half the
//! resolution, further down. Going up, each level doubles the resolution of what comes from below,
//! sets it beside what came across, and convolves. A 1×1×1 convolution gives the class scores.
//!
//! What is computed from what is a plan ([`Plan`]). On the CPU in `f32` the whole of it is one operation on
//! blocks of channels; for other number types and devices, and for gradients for the image, it is made of
//! candle's and organseg-conv3d's.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, Var};
use candle_nn::{Init, VarBuilder};

use crate::engine::{
    self, BatchStatistics, Ends, Gradients, Heads, Keep, MOMENTUM, Plan, Run, Statistics, WeightCache,
    by_operations, channels_last,
};
use crate::padding::{cut_back, pad_to_multiple};
use crate::{TrainingPass, UnetConfig, UnetError};

/// 3D U-Net from an image (N, C, D, H, W) to class scores (N, K, D, H, W).
///
/// The scores are logits: softmax over axis 1 makes them probabilities.
#[derive(Clone, Debug)]
pub struct Unet3d {
    config: UnetConfig,
    /// In the order of the plan.
    parameters: Vec<Tensor>,
    plan: Arc<Plan>,
    prepared: Arc<WeightCache>,
    /// Type of the numbers between layers on a GPU, if not that of the parameters.
    between: Option<DType>,
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
        let plan = Plan::new(config);
        let parameters = plan
            .parameters
            .iter()
            .map(|spec| vb.get_with_hints(spec.shape.as_slice(), &spec.name, Init::Const(spec.start)))
            .collect::<Result<_>>()?;
        Ok(Self {
            config: config.clone(),
            parameters,
            plan: Arc::new(plan),
            prepared: Arc::default(),
            between: None,
        })
    }

    /// On a GPU with numbers of type `number` between the layers, `BF16` or `F16`: half the memory, and units for
    /// products of such. Weights, statistics and scores stay of the parameters' type; f16 needs losses scaled up, for
    /// small gradients vanish in it. On a CPU it changes nothing.
    ///
    /// # Errors
    /// [`UnetError::Config`] on a GPU, for fewer bits in a network whose steps know only those of the parameters:
    /// residual levels, summed skips, attention gates, trilinear up-sampling, strides that differ by axis, group or
    /// batch norm.
    pub fn with_numbers_between_layers(mut self, number: DType) -> std::result::Result<Self, UnetError> {
        let of_parameters = |tensor: &Tensor| tensor.dtype() == number || tensor.device().is_cpu();
        if !self.parameters.iter().all(of_parameters) && !channels_last::supports(&self.plan) {
            return Err(UnetError::Config {
                field: "the type of the numbers between layers",
                found: number.as_str().into(),
                expected: "that of the weights, as it is a network with residual levels, summed skips, attention \
                           gates, trilinear up-sampling, strides that differ by axis, or group or batch norm",
            });
        }
        self.between = Some(number);
        Ok(self)
    }

    /// What the network was built from.
    #[must_use]
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Class scores (N, K, D, H, W) of an image (N, C, D, H, W) of any size, in candle's graph: a backward
    /// pass gives the gradients of the network's variables. One backward pass for each call.
    ///
    /// This is training's way: a batch norm takes mean and variance from the batch, and if its running ones
    /// are variables, they are brought up to date.
    ///
    /// # Errors
    /// If the image has not five axes or not the network's number of channels.
    pub fn forward(&self, image: &Tensor) -> Result<Tensor> {
        Ok(self.forward_levels(image)?.swap_remove(0))
    }

    /// As [`Unet3d::forward`], the scores of every head: first the network's own at the image's resolution,
    /// then those of deep supervision, each at the resolution of the next level:
    /// (N, K, ⌈D / 2ⁱ⌉, ⌈H / 2ⁱ⌉, ⌈W / 2ⁱ⌉) unless [`UnetConfig::strides`] say otherwise. One backward pass for all of
    /// them together.
    ///
    /// # Errors
    /// As [`Unet3d::forward`].
    pub fn forward_levels(&self, image: &Tensor) -> Result<Vec<Tensor>> {
        Ok(self.levels(image, Ends::AtParameters)?.0)
    }

    /// As [`Unet3d::forward_levels`], with a backward pass of its own: what a trainer calls, for it is faster.
    ///
    /// # Errors
    /// As [`Unet3d::forward`].
    pub fn training_pass(&self, image: &Tensor) -> Result<TrainingPass> {
        // A gradient that is to go on from a parameter has to come there by candle's graph.
        let leaves = self.parameters.iter().all(|p| !p.track_op() || p.is_variable());
        let (scores, gradients) =
            self.levels(image, if leaves { Ends::AtNetwork } else { Ends::AtParameters })?;
        Ok(TrainingPass {
            scores,
            parameters: self.parameters.clone(),
            gradients: gradients.filter(|_| leaves),
        })
    }

    /// The scores of every head, and where a backward pass leaves gradients, if it does not hand them to candle.
    fn levels(&self, image: &Tensor, ends: Ends) -> Result<(Vec<Tensor>, Option<Gradients>)> {
        let (padded, size) = self.padded(image)?;
        let trained = self.parameters.iter().any(Tensor::track_op);
        let (scores, seen, gradients) = if self.runs_channels_last(image) && !image.track_op() {
            if trained {
                let (plan, number) = (&self.plan, self.number(image));
                let (scores, gradients) =
                    channels_last::with_gradients(plan, &padded, &self.parameters, number, ends)?;
                (scores, Vec::new(), Some(gradients))
            } else {
                let outcome = channels_last::run(&self.job(&padded), Heads::All, Keep::UntilRead)?;
                (outcome.scores, Vec::new(), None)
            }
        } else if !self.runs_in_blocks(image) || image.track_op() {
            let (scores, seen) =
                by_operations(&self.plan, &self.parameters, &padded, Heads::All, Statistics::Batch)?;
            (scores, seen, None)
        } else if trained {
            let (scores, seen, gradients) =
                engine::with_gradients(&self.plan, &padded, &self.parameters, ends)?;
            (scores, seen, Some(gradients))
        } else {
            let (scores, seen) = self.in_blocks(&padded, Heads::All, Statistics::Batch)?;
            (scores, seen, None)
        };
        self.remember(&seen)?;
        let cut = |(scores, halvings): (Tensor, [u32; 3])| {
            cut_back(&scores, [0, 1, 2].map(|a| size[a].div_ceil(1 << halvings[a])))
        };
        let scores = scores.into_iter().zip(self.plan.heads()).map(cut).collect::<Result<_>>()?;
        Ok((scores, gradients))
    }

    /// As [`Unet3d::forward`] for one who wants no gradients: faster, and in a fraction of the memory. A batch
    /// norm takes its running mean and variance.
    ///
    /// Weights that are no variables are prepared by the first call and kept: a tensor that shares its memory
    /// with a variable, as [`Var::as_detached_tensor`](candle_core::Var::as_detached_tensor) gives, must not
    /// change from then on.
    ///
    /// # Errors
    /// As [`Unet3d::forward`].
    pub fn predict(&self, image: &Tensor) -> Result<Tensor> {
        let (padded, size) = self.padded(&image.detach())?;
        let (mut scores, _) = if self.runs_channels_last(image) {
            let job = self.job(&padded);
            (channels_last::run(&job, Heads::Own, Keep::UntilRead)?.scores, Vec::new())
        } else if self.runs_in_blocks(image) {
            self.in_blocks(&padded, Heads::Own, Statistics::Running)?
        } else {
            by_operations(&self.plan, &self.parameters, &padded, Heads::Own, Statistics::Running)?
        };
        cut_back(&scores.swap_remove(0).detach(), size)
    }

    /// Gives back the memory of what predictions have prepared of the weights, some eight times that of the weights; the
    /// next one prepares them again.
    pub fn forget_prepared(&self) {
        self.prepared.clear();
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
        let [x, y, z] = self.config.size_multiple();
        Ok((pad_to_multiple(image, [z, y, x])?, [d, h, w]))
    }

    fn runs_channels_last(&self, image: &Tensor) -> bool {
        image.device().is_cuda() && channels_last::supports(&self.plan)
    }

    fn job<'a>(&'a self, image: &'a Tensor) -> channels_last::Job<'a> {
        channels_last::Job {
            plan: &self.plan,
            parameters: &self.parameters,
            image,
            number: self.number(image),
        }
    }

    /// Type of the numbers between layers.
    fn number(&self, image: &Tensor) -> DType {
        self.between.unwrap_or(image.dtype())
    }

    fn runs_in_blocks(&self, image: &Tensor) -> bool {
        let fits = |tensor: &Tensor| tensor.dtype() == DType::F32 && matches!(tensor.device(), Device::Cpu);
        fits(image) && self.parameters.iter().all(fits)
    }

    /// The network in blocks, without gradients.
    fn in_blocks(
        &self,
        image: &Tensor,
        heads: Heads,
        statistics: Statistics,
    ) -> Result<(Vec<Tensor>, Vec<BatchStatistics>)> {
        let (batch, _, d, h, w) = image.dims5()?;
        let image = image.contiguous()?;
        let fixed = !self.parameters.iter().any(Tensor::is_variable);
        let parameters = engine::without_shared_statistics(&self.plan, &self.parameters)?;
        let parameters = parameters.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        let storages: Vec<_> = parameters.iter().map(Tensor::storage_and_layout).collect();
        let slices = storages
            .iter()
            .map(|(storage, layout)| values(storage, layout.start_offset(), layout.shape().elem_count()))
            .collect::<Result<Vec<_>>>()?;
        let (storage, layout) = image.storage_and_layout();
        let pixels = values(&storage, layout.start_offset(), layout.shape().elem_count())?;
        let cache = fixed.then_some(&*self.prepared);
        let run = Run { keep: Keep::UntilRead, heads, statistics };
        let pass = || engine::run(&self.plan, &slices, pixels, batch, [d, h, w], run, cache);
        let outcome = engine::on_the_pool(pass);
        let tensor = |(scores, [z, y, x]): (Vec<f32>, [u32; 3])| {
            let [d, h, w] = [d >> z, h >> y, w >> x];
            Tensor::from_vec(scores, (batch, self.config.classes, d, h, w), &Device::Cpu)
        };
        let scores = outcome.scores.into_iter().zip(self.plan.heads()).map(tensor).collect::<Result<_>>()?;
        Ok((scores, outcome.statistics))
    }

    /// Takes a batch into the running statistics that are variables: r ← (1 − m) r + m b. Passes on several threads take
    /// turns; what is not finite would stay for ever, and is left out.
    fn remember(&self, seen: &[BatchStatistics]) -> Result<()> {
        static TURNS: Mutex<()> = Mutex::new(());
        let finite = |seen: &&BatchStatistics| seen.batch.iter().flatten().all(|value| value.is_finite());
        let _turn = engine::locked(&TURNS);
        for BatchStatistics { running, batch } in seen.iter().filter(finite) {
            for (&running, batch) in running.iter().zip(batch) {
                let running = &self.parameters[running];
                if running.is_variable() {
                    let before: Vec<f64> = running.detach().to_dtype(DType::F64)?.to_vec1()?;
                    let after: Vec<f64> =
                        before.iter().zip(batch).map(|(r, b)| (1.0 - MOMENTUM) * r + MOMENTUM * b).collect();
                    let after = Tensor::new(after, running.device())?.to_dtype(running.dtype())?;
                    Var::from_tensor(running)?.set(&after)?;
                }
            }
        }
        Ok(())
    }
}

/// `count` values of a storage on the CPU, from `start` on.
fn values(storage: &Storage, start: usize, count: usize) -> Result<&[f32]> {
    match storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[start..start + count]),
        _ => candle_core::bail!("a tensor that is not f32 on the CPU came to the network in blocks"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocks, Downsampling, Norm, Skips, Upsampling, initialize};
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
            UnetConfig::new(1, 2).with_channels(vec![2, 3, 4]).with_strides(uneven()),
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
            // Winograd's errors through a dozen layers and norms; some gradients are next to nothing, such as
            // that of a factor before a norm, and errors are then those of the terms that cancel.
            assert!(
                (found - expected).abs() <= 2e-4 * rms.max(0.1),
                "{what}: {found}, expected {expected}, rms {rms}"
            );
        }
    }

    /// Of two halvings, one along some axes only, the other along the others too.
    fn uneven() -> Vec<[usize; 3]> {
        vec![[2, 1, 1], [2, 1, 2]]
    }

    /// Every switch at least once. The channels make groups of three and blocks that are not full.
    fn switches(base: &UnetConfig) -> Vec<UnetConfig> {
        let base = || UnetConfig { groups: 3, ..base.clone() };
        vec![
            base().with_norm(Norm::Group),
            UnetConfig { bias: true, ..base().with_norm(Norm::Group) },
            base().with_norm(Norm::Batch),
            base().with_blocks(Blocks::Residual),
            base().with_blocks(Blocks::Residual).with_downsampling(Downsampling::Strided),
            UnetConfig { convolutions_per_level: 1, ..base().with_blocks(Blocks::Residual) },
            base().with_skips(Skips::Summed).with_blocks(Blocks::Residual).with_norm(Norm::None),
            base().with_skips(Skips::RaisedFirst),
            UnetConfig { attention: true, ..base() },
            UnetConfig { deep_supervision: 1, ..base() },
            UnetConfig {
                attention: true,
                deep_supervision: 1,
                ..base()
                    .with_norm(Norm::Batch)
                    .with_skips(Skips::Summed)
                    .with_blocks(Blocks::Residual)
                    .with_downsampling(Downsampling::Strided)
            },
            UnetConfig { attention: true, ..base().with_upsampling(Upsampling::Trilinear) },
            base().with_strides(uneven()),
            base().with_strides(uneven()).with_upsampling(Upsampling::Trilinear),
            UnetConfig {
                attention: true,
                deep_supervision: 1,
                ..base()
                    .with_strides(uneven())
                    .with_blocks(Blocks::Residual)
                    .with_downsampling(Downsampling::Strided)
            },
        ]
    }

    /// Whether a variable is gathered and not learnt.
    fn is_statistic(name: &str) -> bool {
        name.ends_with("norm.mean") || name.ends_with("norm.variance")
    }

    /// Σ weight · scores over all heads, the weights drawn for each.
    fn weighted_sum(scores: &[Tensor]) -> Tensor {
        let mut total = Tensor::zeros((), scores[0].dtype(), &Device::Cpu).unwrap();
        for (i, scores) in scores.iter().enumerate() {
            let weight = random(scores.dims5().unwrap(), 2 + i as u64).to_dtype(scores.dtype()).unwrap();
            total = (total + (scores * weight).unwrap().sum_all().unwrap()).unwrap();
        }
        total
    }

    /// The network in blocks and the one by operations in doubles: scores of every head, the gradient of every
    /// variable, running statistics and predictions.
    #[test]
    fn the_network_in_blocks_agrees_with_the_one_by_operations() {
        let base = UnetConfig::new(1, 3).with_channels(vec![6, 20, 9]);
        let mut cases = vec![
            (base.clone(), Algorithm::Auto),
            (base.clone(), Algorithm::Direct),
            (base.clone().with_downsampling(Downsampling::Strided), Algorithm::Winograd),
            (base.clone().with_upsampling(Upsampling::Trilinear), Algorithm::Auto),
            (base.clone().with_norm(Norm::None), Algorithm::Auto),
            (UnetConfig { in_channels: 7, ..base.clone() }, Algorithm::Auto),
            (base.clone().with_channels(vec![8]), Algorithm::Auto),
        ];
        // Of one channel, a 1×1×1 convolution is a factor, and a norm behind it leaves it no gradient.
        let base = UnetConfig { in_channels: 2, ..base.with_channels(vec![6, 21, 9]) };
        cases.extend(switches(&base).into_iter().map(|config| (config, Algorithm::Auto)));
        let wide = UnetConfig { in_channels: 6, ..base.with_blocks(Blocks::Residual) };
        cases.push((wide, Algorithm::Auto));
        for (config, algorithm) in cases {
            let config = config.with_algorithm(algorithm);
            let (single, variables) = net(&config, 5);
            let image = random((2, config.in_channels, 8, 12, 10), 1);
            let data = variables.data().lock().unwrap();
            let wide = VarMap::new();
            for (name, variable) in data.iter() {
                let value = Var::from_tensor(&variable.to_dtype(DType::F64).unwrap()).unwrap();
                wide.data().lock().unwrap().insert(name.clone(), value);
            }
            let vb = VarBuilder::from_varmap(&wide, DType::F64, &Device::Cpu);
            let double = Unet3d::new(&config, vb).unwrap();
            let wide_image = image.to_dtype(DType::F64).unwrap();
            let found = single.forward_levels(&image).unwrap();
            let expected = double.forward_levels(&wide_image).unwrap();
            let what = format!("{config:?}");
            assert_eq!(found.len(), 1 + config.deep_supervision);
            for (found, expected) in found.iter().zip(&expected) {
                assert_near(found, expected, &what);
            }
            let predicted = single.predict(&image).unwrap();
            assert_near(&predicted, &double.predict(&wide_image).unwrap(), &what);
            if config.norm != Norm::Batch {
                assert_near(&predicted, &found[0], &what);
            }
            let (found, expected) =
                (weighted_sum(&found).backward().unwrap(), weighted_sum(&expected).backward().unwrap());
            for (name, variable) in data.iter() {
                let what = format!("{what}: {name}");
                let other = wide.data().lock().unwrap()[name].as_tensor().clone();
                if is_statistic(name) {
                    assert!(found.get(variable.as_tensor()).is_none(), "{what} has no gradient");
                    assert_near(variable.as_tensor(), &other, &what);
                    continue;
                }
                let found =
                    found.get(variable.as_tensor()).unwrap_or_else(|| panic!("{what} has a gradient"));
                assert_near(found, expected.get(&other).unwrap(), &what);
            }
        }
    }

    /// The gradient of every variable along a random direction, by operations with direct sums in doubles.
    #[test]
    fn the_gradients_of_the_whole_network_agree_with_finite_differences() {
        /// The first leaves 1e-9 of rounding and 1e-10 of curvature. A kink of an activation or a maximum
        /// between the two points spoils a quotient; a shorter step will seldom have one too.
        const STEPS: [f64; 3] = [1e-5, 1e-6, 1e-7];
        const TOLERANCE: f64 = 1e-6;
        let mut configs = switches(&UnetConfig::new(1, 2).with_channels(vec![3, 6, 3]));
        configs.extend([
            UnetConfig::new(1, 3).with_channels(vec![3, 5, 4]),
            UnetConfig::new(2, 2).with_channels(vec![3, 4]).with_downsampling(Downsampling::Strided),
            UnetConfig::new(1, 2).with_channels(vec![3, 4]).with_upsampling(Upsampling::Trilinear),
        ]);
        for config in configs {
            let what = format!("{config:?}");
            let config = config.with_algorithm(Algorithm::Direct);
            let variables = VarMap::new();
            let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
            let net = Unet3d::new(&config, vb).unwrap();
            initialize(&variables, 4).unwrap();
            let image = random((2, config.in_channels, 4, 8, 4), 1).to_dtype(DType::F64).unwrap();
            let loss = || weighted_sum(&net.forward_levels(&image).unwrap());
            let gradients = loss().backward().unwrap();
            let data = variables.data().lock().unwrap();
            let learnt = data.iter().filter(|(name, _)| !is_statistic(name));
            for (i, (name, variable)) in learnt.enumerate() {
                let count = variable.elem_count();
                let direction = random((1, 1, 1, 1, count), i as u64).to_dtype(DType::F64).unwrap();
                let direction = direction.reshape(variable.shape()).unwrap();
                let start = variable.as_detached_tensor().copy().unwrap();
                let at = |step: f64| {
                    variable.set(&(&start + (&direction * step).unwrap()).unwrap()).unwrap();
                    loss().to_scalar::<f64>().unwrap()
                };
                let gradient = gradients.get(variable.as_tensor()).unwrap();
                let found = (gradient * &direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap();
                let agrees = STEPS.into_iter().any(|step| {
                    let expected = (at(step) - at(-step)) / (2.0 * step);
                    (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0)
                });
                at(0.0);
                assert!(agrees, "{what}: {name}: {found} is not what finite differences give");
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

    /// Passes in training's way that take each other's parts up while they wait: their running statistics are written
    /// while others read the network.
    #[test]
    fn many_training_passes_at_once_do_not_wait_for_one_another() {
        use rayon::prelude::*;
        let config = UnetConfig::new(1, 2).with_channels(vec![8, 16]).with_norm(Norm::Batch);
        let (net, variables) = net(&config, 2);
        let images: Vec<Tensor> = (0..24).map(|i| random((1, 1, 16, 16, 16), i)).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let pass = |image: &Tensor| {
            net.forward(image).unwrap().sum_all().unwrap().backward().unwrap();
        };
        pool.install(|| images.par_iter().for_each(pass));
        let before = variables.data().lock().unwrap()["down0.conv0.norm.mean"].copy().unwrap();
        let broken = (&images[0] * f64::NAN).unwrap();
        net.forward(&broken).unwrap();
        let after = variables.data().lock().unwrap()["down0.conv0.norm.mean"].copy().unwrap();
        assert_eq!(numbers(&after), numbers(&before), "what is no number is not remembered");
    }

    #[test]
    fn prepared_weights_can_be_forgotten() {
        let (_, variables) = net(&UnetConfig::new(1, 2).with_channels(vec![8, 16]), 2);
        let fixed = crate::weights::tensors_of(&variables).unwrap();
        let vb = VarBuilder::from_tensors(fixed, DType::F32, &Device::Cpu);
        let net = Unet3d::new(&UnetConfig::new(1, 2).with_channels(vec![8, 16]), vb).unwrap();
        let image = random((1, 1, 8, 8, 8), 1);
        let before = numbers(&net.predict(&image).unwrap());
        assert!(!net.prepared.is_empty());
        net.forget_prepared();
        assert!(net.prepared.is_empty());
        assert_eq!(numbers(&net.predict(&image).unwrap()), before);
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
