//! Times a whole U-Net on a GPU: one training step (forward, Dice + cross-entropy, backward, clipping, AdamW) and one
//! prediction, and tells the peaks of memory.
//!
//! `cargo run --release -p organseg-benches --features cudnn --bin gpu_step -- --channels 32,64,128,256,320
//! --patch 128,128,128 --batch 2`
//!
//! `benches/peers/gpu_step.py` times the same network in PyTorch with the same options, and `benches/peers/compare_gpu.py`
//! runs both by turns.
//!
//! Steps are timed in rounds of some, and nothing waits for the card within a round but what a step itself waits for.
//! The phases are those of other steps, with a wait after each phase, so that their sum is more than a step. Peaks are
//! the most bytes in use since the start: the prediction comes first, and a step needs more than it. Warm-up counts with
//! the rest, for it needs no more: algorithms are taken from cuDNN's list and not raced against each other.

use std::error::Error;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use clap::{Parser, ValueEnum};
use organseg::conv3d::cuda::{allow_tf32, cards, device, peak_memory_bytes, without_cudnn};
use organseg::train::{Optimizer, OptimizerConfig};
use organseg::unet::loss::one_hot;
use organseg::unet::{Downsampling, LossConfig, Unet3d, UnetConfig, initialize};
use organseg_benches::{median, random};
use serde_json::{Map, Value, json};

/// Times a training step and a prediction of a U-Net on a GPU.
#[derive(Parser)]
struct Options {
    /// Number of the GPU.
    #[arg(long, default_value_t = 0)]
    gpu: usize,
    /// Channels of each level.
    #[arg(long, value_delimiter = ',', default_value = "32,64,128,256,320")]
    channels: Vec<usize>,
    /// How the encoder halves the resolution.
    #[arg(long, value_enum, default_value_t = Halving::Strided)]
    downsampling: Halving,
    /// Patch as D,H,W.
    #[arg(long, value_delimiter = ',', default_value = "128,128,128")]
    patch: Vec<usize>,
    /// Patches at a time.
    #[arg(long, default_value_t = 2)]
    batch: usize,
    /// Classes, background included.
    #[arg(long, default_value_t = 3)]
    classes: usize,
    /// Rounds of five runs each; times are medians of the rounds.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Numbers between the layers.
    #[arg(long, value_enum, default_value_t = Numbers::Bf16)]
    numbers: Numbers,
    /// Let convolutions of f32 round their factors to TF32.
    #[arg(long)]
    tf32: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Halving {
    Pooled,
    Strided,
}

#[derive(Clone, Copy, ValueEnum)]
enum Numbers {
    F32,
    Bf16,
    F16,
}

impl Numbers {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}

/// Runs before those that count: kernels are compiled and algorithms chosen.
const WARM_UP: usize = 5;

/// Runs of a round, one after the other. `gpu_step.py` has the same.
const RUNS_A_ROUND: usize = 5;

/// What a step consists of.
const PHASES: [&str; 4] = ["forward", "loss", "backward", "optimizer"];

const LEARNING_RATE: f64 = 1e-3;
const CLIP_NORM: f64 = 12.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let options = Options::parse();
    let card = name_of_card(options.gpu)?;
    let device = device(options.gpu)?;
    allow_tf32(options.tf32);
    let config = options.network();
    let image = random_image(&options, &device)?;
    let variables = VarMap::new();
    let net = network(&options, &config, VarBuilder::from_varmap(&variables, DType::F32, &device))?;
    initialize(&variables, 1)?;

    let fixed = network(&options, &config, fixed_weights(&variables, &device))?;
    let inference = timed(&device, options.rounds, || {
        fixed.predict(&image)?;
        Ok(())
    })?;
    let inference_peak_bytes = peak_memory_bytes(&device)?;
    drop(fixed);

    let mut training = Training {
        truth: random_truth(&options, &device)?,
        image,
        net,
        loss: LossConfig { center: 0.0, cross_entropy: 1.0, ..LossConfig::default() },
        optimizer: Optimizer::new(OptimizerConfig::default(), &variables),
    };
    let step = timed(&device, options.rounds, || training.step(|| Ok(())))?;
    let step_peak_bytes = peak_memory_bytes(&device)?;
    let phases_ms = training.phases_ms(&device, options.rounds)?;

    let report = json!({
        "program": "organseg", "card": card, "numbers": options.numbers.dtype().as_str(), "tf32": options.tf32,
        "channels": config.channels, "downsampling": config.downsampling, "classes": config.classes,
        "patch": options.patch, "batch": options.batch,
        "step": { "ms": median(&step), "rounds_ms": step, "peak_bytes": step_peak_bytes },
        "inference": { "ms": median(&inference), "rounds_ms": inference, "peak_bytes": inference_peak_bytes },
        "phases_ms": phases_ms, "without_cudnn": without_cudnn(),
    });
    if options.json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
    Ok(())
}

impl Options {
    fn network(&self) -> UnetConfig {
        let downsampling = match self.downsampling {
            Halving::Pooled => Downsampling::Pooled,
            Halving::Strided => Downsampling::Strided,
        };
        UnetConfig::new(1, self.classes).with_channels(self.channels.clone()).with_downsampling(downsampling)
    }

    /// (N, D, H, W).
    fn size(&self) -> Outcome<(usize, usize, usize, usize)> {
        match self.patch[..] {
            [d, h, w] => Ok((self.batch, d, h, w)),
            _ => Err(format!("--patch has {} numbers, expected D,H,W", self.patch.len()).into()),
        }
    }
}

fn name_of_card(number: usize) -> Outcome<String> {
    let card = cards()?.into_iter().nth(number).ok_or_else(|| format!("no GPU has the number {number}"))?;
    Ok(card?.name)
}

fn random_image(options: &Options, device: &Device) -> Outcome<Tensor> {
    let (n, d, h, w) = options.size()?;
    Ok(Tensor::from_vec(random(n * d * h * w, 1), (n, 1, d, h, w), device)?)
}

/// One-hot labels that have nothing to do with the image.
fn random_truth(options: &Options, device: &Device) -> Outcome<Tensor> {
    let (n, d, h, w) = options.size()?;
    let label = |value: f32| ((value + 1.0) / 2.0 * options.classes as f32) as u8;
    let labels: Vec<u8> = random(n * d * h * w, 2).into_iter().map(label).collect();
    Ok(one_hot(&labels, (n, d, h, w), options.classes, None, device)?)
}

fn network(options: &Options, config: &UnetConfig, weights: VarBuilder) -> Outcome<Unet3d> {
    Ok(Unet3d::new(config, weights)?.with_numbers_between_layers(options.numbers.dtype())?)
}

/// The weights of `variables` as loaded from a file: they do not change.
fn fixed_weights(variables: &VarMap, device: &Device) -> VarBuilder<'static> {
    let data = variables.data().lock().expect("no thread panicked with the variables");
    let fixed = data.iter().map(|(name, variable)| (name.clone(), variable.as_detached_tensor())).collect();
    VarBuilder::from_tensors(fixed, DType::F32, device)
}

/// Milliseconds of one run of `work` in each of `rounds` rounds.
fn timed(device: &Device, rounds: usize, mut work: impl FnMut() -> Outcome<()>) -> Outcome<Vec<f64>> {
    for _ in 0..WARM_UP {
        work()?;
    }
    let mut times = Vec::new();
    for _ in 0..rounds {
        device.synchronize()?;
        let started = Instant::now();
        for _ in 0..RUNS_A_ROUND {
            work()?;
        }
        device.synchronize()?;
        times.push(started.elapsed().as_secs_f64() * 1e3 / RUNS_A_ROUND as f64);
    }
    Ok(times)
}

/// A network in training on one batch.
struct Training {
    net: Unet3d,
    loss: LossConfig,
    optimizer: Optimizer,
    image: Tensor,
    truth: Tensor,
}

impl Training {
    /// One step. `after_phase` is called after each of [`PHASES`].
    fn step(&mut self, mut after_phase: impl FnMut() -> candle_core::Result<()>) -> Outcome<()> {
        let pass = self.net.training_pass(&self.image)?;
        after_phase()?;
        let total = self.loss.compute(&pass.scores[0], &self.truth, 0)?.total;
        after_phase()?;
        let gradients = pass.backward(&total)?;
        after_phase()?;
        let norm = self.optimizer.step(&gradients, LEARNING_RATE, Some(CLIP_NORM))?;
        if !norm.is_finite() {
            return Err(format!("the gradient's norm is {norm}, and such a step changes nothing").into());
        }
        after_phase()?;
        Ok(())
    }

    /// Milliseconds of each phase, the median of `rounds` steps.
    fn phases_ms(&mut self, device: &Device, rounds: usize) -> Outcome<Map<String, Value>> {
        let mut times = vec![Vec::new(); PHASES.len()];
        for _ in 0..rounds {
            device.synchronize()?;
            let mut marks = vec![Instant::now()];
            self.step(|| {
                device.synchronize()?;
                marks.push(Instant::now());
                Ok(())
            })?;
            for (times, pair) in times.iter_mut().zip(marks.windows(2)) {
                times.push((pair[1] - pair[0]).as_secs_f64() * 1e3);
            }
        }
        Ok(PHASES.iter().zip(&times).map(|(name, times)| ((*name).into(), median(times).into())).collect())
    }
}
