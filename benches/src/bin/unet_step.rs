//! Times a whole U-Net: one training step (forward, Dice + cross-entropy, backward, AdamW) and one
//! prediction, and tells the peak of memory.
//!
//! `cargo run --release -p organseg-benches --bin unet_step -- --patch 64,96,96 --rounds 10`
//!
//! `benches/peers/unet_step.py` times MONAI's `DynUNet` of the same channels with the same options.

use std::error::Error;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use clap::Parser;
use organseg::train::{Optimizer, OptimizerConfig};
use organseg::unet::loss::one_hot;
use organseg::unet::{Algorithm, Downsampling, LossConfig, Unet3d, UnetConfig, initialize};
use organseg_benches::memory::peak_bytes;
use organseg_benches::{median, random};
use serde_json::json;

/// Times a training step and a prediction of a U-Net on the CPU.
#[derive(Parser)]
struct Options {
    /// Channels of each level.
    #[arg(long, value_delimiter = ',', default_value = "16,32,64,128")]
    channels: Vec<usize>,
    /// Patch as D,H,W.
    #[arg(long, value_delimiter = ',', default_value = "64,96,96")]
    patch: Vec<usize>,
    /// Patches at a time.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Classes, background included.
    #[arg(long, default_value_t = 3)]
    classes: usize,
    /// How often each is run; times are medians.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// What is timed: step, inference or both. Memory is that of all that ran.
    #[arg(long, default_value = "both")]
    what: String,
    /// Direct sums instead of the fastest.
    #[arg(long)]
    direct: bool,
    /// Print JSON with all times in milliseconds.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let &[d, h, w] = &options.patch[..] else {
        return Err(format!("--patch has {} numbers, expected D,H,W", options.patch.len()).into());
    };
    organseg::conv3d::keep_freed_memory();
    let algorithm = if options.direct { Algorithm::Direct } else { Algorithm::Auto };
    let config = UnetConfig::new(1, options.classes)
        .with_channels(options.channels.clone())
        .with_downsampling(Downsampling::Strided)
        .with_algorithm(algorithm);
    let (n, voxels) = (options.batch, options.batch * d * h * w);
    let image = Tensor::from_vec(random(voxels, 1), (n, 1, d, h, w), &Device::Cpu)?;
    let labels: Vec<u8> =
        random(voxels, 2).iter().map(|v| ((v + 1.0) / 2.0 * options.classes as f32) as u8).collect();
    let truth = one_hot(&labels, (n, d, h, w), options.classes, None, &Device::Cpu)?;
    let loss = LossConfig { center: 0.0, cross_entropy: 1.0, ..LossConfig::default() };

    let variables = VarMap::new();
    let net = Unet3d::new(&config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
    initialize(&variables, 1)?;
    let mut optimizer = Optimizer::new(OptimizerConfig::default(), &variables);
    let mut step = Vec::new();
    let mut phases = vec![Vec::new(); 4];
    let mut faults = Vec::new();
    if options.what != "inference" {
        for round in 0..=options.rounds {
            let faults_before = page_faults();
            let started = Instant::now();
            let mut marks = vec![started];
            let pass = net.training_pass(&image)?;
            marks.push(Instant::now());
            let total = loss.compute(&pass.scores[0], &truth, 0)?.total;
            marks.push(Instant::now());
            let gradients = pass.backward(&total)?;
            marks.push(Instant::now());
            optimizer.step(&gradients, 1e-3, Some(1.0))?;
            marks.push(Instant::now());
            faults.extend(page_faults().zip(faults_before).map(|(after, before)| after - before));
            if round > 0 {
                step.push(started.elapsed().as_secs_f64() * 1e3);
                for (phase, pair) in phases.iter_mut().zip(marks.windows(2)) {
                    phase.push((pair[1] - pair[0]).as_secs_f64() * 1e3);
                }
            }
        }
    }
    let mut inference = Vec::new();
    if options.what != "step" {
        // As loaded from a file: weights that do not change.
        let fixed: std::collections::HashMap<String, Tensor> = {
            let data = variables.data().lock().expect("no thread panicked with the variables");
            data.iter().map(|(name, variable)| (name.clone(), variable.as_detached_tensor())).collect()
        };
        let net = Unet3d::new(&config, VarBuilder::from_tensors(fixed, DType::F32, &Device::Cpu))?;
        for round in 0..=options.rounds {
            let started = Instant::now();
            net.predict(&image)?;
            if round > 0 {
                inference.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let peak = peak_bytes().map(|bytes| bytes / 1024.0 / 1024.0);
    if options.json {
        let threads = rayon::current_num_threads();
        println!(
            "{}",
            json!({ "step": step, "inference": inference, "peak_mb": peak, "threads": threads,
                "forward": phases[0], "loss": phases[1], "backward": phases[2], "optimizer": phases[3],
                "page_faults": faults })
        );
        return Ok(());
    }
    let size = format!("{:?} at {n}×{d}×{h}×{w}", options.channels);
    if !step.is_empty() {
        println!("{size}: step {:.1} ms", median(&step));
        for (name, times) in ["forward", "loss", "backward", "optimizer"].iter().zip(&phases) {
            println!("  {name} {:.1} ms", median(times));
        }
        println!("  page faults of each step, the first one included: {faults:?}");
    }
    if !inference.is_empty() {
        println!("{size}: inference {:.1} ms", median(&inference));
    }
    if let Some(peak) = peak {
        println!("peak memory {peak:.0} MB");
    }
    Ok(())
}

/// Pages that this process has touched for the first time, where the system tells.
fn page_faults() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name, in brackets, may hold spaces; minor faults are the eighth field after it.
    status.rsplit(')').next()?.split_whitespace().nth(7)?.parse().ok()
}
