//! Every switch of the network and every loss trains: a few steps lower the loss on a small problem.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use organseg_unet::{
    Blocks, Downsampling, LossConfig, Norm, Skips, Unet3d, UnetConfig, Upsampling, batch_loss, initialize,
};

const STEPS: usize = 12;

/// Two bright balls in noise, and where they are.
fn problem() -> (Tensor, Vec<u8>) {
    let (size, mut state) = (12usize, 1u32);
    let (mut image, mut labels) = (Vec::new(), Vec::new());
    for centre in [[4.0, 5.0, 6.0], [7.0, 6.0, 4.0]] {
        for i in 0..size * size * size {
            let at = [i / (size * size), i / size % size, i % size];
            let squared: f64 = at.iter().zip(centre).map(|(&a, c)| (a as f64 - c).powi(2)).sum();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = f64::from(state >> 8) / f64::from(1 << 24) - 0.5;
            let inside = squared < 10.0;
            image.push((f64::from(u8::from(inside)) + 0.5 * noise) as f32);
            labels.push(u8::from(inside));
        }
    }
    (Tensor::from_vec(image, (2, 1, size, size, size), &Device::Cpu).unwrap(), labels)
}

/// The loss before the first step and after the last.
fn train(config: &UnetConfig, loss: &LossConfig) -> (f64, f64, Unet3d) {
    let variables = VarMap::new();
    let net = Unet3d::new(config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu)).unwrap();
    initialize(&variables, 3).unwrap();
    let params = ParamsAdamW { lr: 1e-2, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(variables.all_vars(), params).unwrap();
    let (image, labels) = problem();
    let of = |net: &Unet3d| batch_loss(&net.forward_levels(&image).unwrap(), loss, &labels, 0).unwrap().total;
    let scalar = |loss: &Tensor| f64::from(loss.to_scalar::<f32>().unwrap());
    let before = scalar(&of(&net));
    for _ in 0..STEPS {
        optimizer.step(&of(&net).backward().unwrap()).unwrap();
    }
    (before, scalar(&of(&net)), net)
}

fn base() -> UnetConfig {
    UnetConfig::new(1, 2).with_channels(vec![4, 8, 8])
}

#[test]
fn every_switch_of_the_network_trains() {
    for config in [
        base(),
        UnetConfig { groups: 2, ..base().with_norm(Norm::Group) },
        base().with_norm(Norm::Batch),
        base().with_norm(Norm::None),
        UnetConfig { bias: true, ..base() },
        base().with_downsampling(Downsampling::Strided),
        base().with_upsampling(Upsampling::Trilinear),
        base().with_strides(vec![[2, 2, 1], [2, 1, 2]]),
        base().with_blocks(Blocks::Residual),
        base().with_blocks(Blocks::Residual).with_skips(Skips::Summed),
        base().with_skips(Skips::RaisedFirst),
        base().with_attention(),
        base().with_deep_supervision(1),
    ] {
        let loss = LossConfig { cross_entropy: 1.0, ..LossConfig::default() };
        let (before, after, _) = train(&config, &loss);
        assert!(after < 0.9 * before, "{config:?}: from {before} to {after}");
    }
}

#[test]
fn every_loss_trains() {
    let none = || LossConfig { dice: 0.0, center: 0.0, ..LossConfig::default() };
    for loss in [
        LossConfig { dice: 1.0, ..none() },
        LossConfig { cross_entropy: 1.0, ..none() },
        LossConfig { cross_entropy: 1.0, boundary: 10.0, ..none() },
        LossConfig { cross_entropy: 1.0, class_weights: vec![1.0, 5.0], ..none() },
        LossConfig { focal: 1.0, ..none() },
        LossConfig { tversky: 1.0, ..none() },
    ] {
        let (before, after, _) = train(&base(), &loss);
        assert!(after < 0.9 * before, "{loss:?}: from {before} to {after}");
    }
}

/// After training on one batch alone, the running mean and variance come near the batch's: a prediction with
/// them is near to one with the batch's own.
#[test]
fn a_batch_norm_predicts_with_running_statistics_that_follow_the_batches() {
    let config = base().with_norm(Norm::Batch);
    let (_, _, net) = train(&config, &LossConfig { cross_entropy: 1.0, ..LossConfig::default() });
    let (image, _) = problem();
    let apart = |net: &Unet3d| {
        let (batch, running) = (net.forward(&image).unwrap(), net.predict(&image).unwrap());
        let rms = |t: &Tensor| t.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
        rms(&(&batch - running).unwrap()) / rms(&batch)
    };
    let first = apart(&net);
    // Each forward pass in training's way takes the batch in.
    for _ in 0..40 {
        net.forward(&image).unwrap();
    }
    let then = apart(&net);
    assert!(then < 0.02 && then < 0.5 * first, "{first}, then {then}");
}
