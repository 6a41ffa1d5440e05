//! Times a few layers, forward and both gradients, in effective GF/s.

use std::time::Instant;

use candle_core::{Device, Result, Tensor, Var};
use organseg_conv3d::{Conv3dParams, conv3d};

fn main() -> Result<()> {
    let same = Conv3dParams::same([3; 3]);
    for [inputs, outputs, d, h, w] in [
        [1, 16, 64, 96, 96],
        [16, 16, 64, 96, 96],
        [32, 32, 32, 48, 48],
        [64, 64, 16, 24, 24],
        [128, 128, 8, 12, 12],
        [16, 16, 36, 56, 40],
    ] {
        let x = Var::randn(0f32, 1.0, (1, inputs, d, h, w), &Device::Cpu)?;
        let weight = Var::randn(0f32, 1.0, (outputs, inputs, 3, 3, 3), &Device::Cpu)?;
        let operations = 2.0 * 27.0 * (inputs * outputs * d * h * w) as f64;
        let rate = |seconds: f64| operations / seconds / 1e9;
        let (mut forward, mut backward) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..5 {
            let started = Instant::now();
            let y = conv3d(&x, &weight, None, &same)?;
            forward = forward.min(started.elapsed().as_secs_f64());
            let g = Tensor::ones_like(&y)?;
            let loss = (y * g)?.sum_all()?;
            let started = Instant::now();
            loss.backward()?;
            backward = backward.min(started.elapsed().as_secs_f64());
        }
        println!(
            "{inputs:>3}→{outputs:<3} {d}×{h}×{w}: forward {:>6.1} GF/s ({:.1} ms), backward {:>6.1} GF/s ({:.1} ms)",
            rate(forward),
            1e3 * forward,
            2.0 * rate(backward),
            1e3 * backward
        );
    }
    Ok(())
}
