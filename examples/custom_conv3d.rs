//! A network of one's own from the 3D operations: two layers that learn to take noise out of a scan.

use std::path::PathBuf;

use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use clap::Parser;
use organseg::conv3d::{Conv3dParams, conv3d};
use organseg::phantom::{PhantomConfig, generate};
use organseg::pipeline::Montage;
use organseg::train::{from_tensor, to_tensor};
use organseg::volume::{Volume, window_to_unit};

/// Learns to denoise.
#[derive(Parser)]
struct Arguments {
    /// Steps of gradient descent.
    #[arg(long, default_value_t = 60)]
    steps: usize,
    /// Where the picture goes.
    #[arg(long, default_value = "out/custom_conv3d")]
    out: PathBuf,
}

/// Channels between the two layers.
const HIDDEN: usize = 8;

/// Darkest and brightest density that the network sees, in HU.
const LOW: f32 = -200.0;
const HIGH: f32 = 300.0;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir_all(&arguments.out)?;
    // The same body twice: without noise, and with a lot of it.
    let small = PhantomConfig::default().with_size([64, 56, 40]);
    let clean = generate(&small.with_noise_hu(0.0), 1)?.image;
    let noisy = generate(&small.with_noise_hu(60.0), 1)?.image;
    let (x, y) = (tensor(&noisy)?, tensor(&clean)?);

    // y = x + second(relu(first(x))): only what is to be taken away has to be learnt.
    let first = Var::randn(0f32, 0.2, (HIDDEN, 1, 3, 3, 3), &Device::Cpu)?;
    let bias = Var::zeros(HIDDEN, candle_core::DType::F32, &Device::Cpu)?;
    let second = Var::zeros((1, HIDDEN, 3, 3, 3), candle_core::DType::F32, &Device::Cpu)?;
    let same = Conv3dParams::same([3; 3]);
    let denoise = |x: &Tensor| -> candle_core::Result<Tensor> {
        let hidden = conv3d(x, &first, Some(&bias), &same)?.relu()?;
        x + conv3d(&hidden, &second, None, &same)?
    };
    for step in 0..=arguments.steps {
        let loss = (denoise(&x)? - &y)?.sqr()?.mean_all()?;
        if step % 10 == 0 {
            println!("step {step:>3}  mean squared error {:.6}", loss.to_scalar::<f32>()?);
        }
        let gradients = loss.backward()?;
        for variable in [&first, &bias, &second] {
            if let Some(gradient) = gradients.get(variable) {
                variable.set(&(variable.as_detached_tensor() - (gradient * 0.5)?)?)?;
            }
        }
    }

    let denoised = from_tensor(&denoise(&x)?, *noisy.grid())?.map(|v| v * (HIGH - LOW) + LOW);
    let mut montage = Montage::default();
    for volume in [&noisy, &denoised, &clean] {
        montage.add_row(volume, &[], 4);
    }
    let picture = arguments.out.join("noisy_denoised_clean.png");
    montage.save(&picture)?;
    println!("{} (rows: with noise, denoised, without)", picture.display());
    Ok(())
}

/// A volume as a tensor (1, 1, D, H, W), 0 to 1.
fn tensor(volume: &Volume<f32>) -> Result<Tensor> {
    Ok(to_tensor(&window_to_unit(volume, LOW, HIGH)?, &Device::Cpu)?)
}
