//! What happens in a network: convolution forward and backward, norm, a whole U-Net.

use candle_core::{DType, Device, Result, Tensor, Var};
use divan::{Bencher, black_box};
use organseg::conv3d::{Activation, Conv3dParams, conv3d, instance_norm, max_pool3d};

fn main() {
    divan::main();
}

/// Channels in and out, and (D, H, W).
const LAYERS: [(usize, usize, [usize; 3]); 4] =
    [(1, 16, [64, 96, 96]), (16, 16, [64, 96, 96]), (32, 32, [32, 48, 48]), (64, 64, [16, 24, 24])];

fn layer((inputs, outputs, [d, h, w]): (usize, usize, [usize; 3])) -> Result<(Var, Var)> {
    let x = Var::randn(0f32, 1.0, (1, inputs, d, h, w), &Device::Cpu)?;
    Ok((x, Var::randn(0f32, 1.0, (outputs, inputs, 3, 3, 3), &Device::Cpu)?))
}

#[divan::bench(args = LAYERS)]
fn conv3d_forward(bencher: Bencher, shape: (usize, usize, [usize; 3])) {
    let (x, weight) = layer(shape).expect("the layer fits");
    let (x, weight) = (x.as_detached_tensor(), weight.as_detached_tensor());
    bencher.bench(|| conv3d(black_box(&x), &weight, None, &Conv3dParams::same([3; 3])));
}

#[divan::bench(args = LAYERS)]
fn conv3d_forward_and_backward(bencher: Bencher, shape: (usize, usize, [usize; 3])) {
    let (x, weight) = layer(shape).expect("the layer fits");
    bencher.bench(|| conv3d(black_box(&x), &weight, None, &Conv3dParams::same([3; 3]))?.backward());
}

#[divan::bench]
fn instance_norm_16(bencher: Bencher) {
    let (x, _) = layer(LAYERS[1]).expect("the layer fits");
    let x = x.as_detached_tensor();
    let ones = Tensor::ones(16, DType::F32, &Device::Cpu).expect("sixteen numbers fit");
    let activation = Activation::LeakyRelu { slope: 0.01 };
    bencher.bench(|| instance_norm(black_box(&x), &ones, &ones, 1e-5, activation));
}

#[divan::bench]
fn max_pool3d_16(bencher: Bencher) {
    let (x, _) = layer(LAYERS[1]).expect("the layer fits");
    let x = x.as_detached_tensor();
    bencher.bench(|| max_pool3d(black_box(&x), [2; 3], [2; 3]));
}
