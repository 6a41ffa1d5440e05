//! Errors of `f32` convolution on N(0, 1) data against the same in `f64`, relative to the rms of the result.
//!
//! `cargo test --release -p organseg-conv3d --test accuracy -- --nocapture` prints them.

use candle_core::{DType, Device, Result, Tensor, Var};
use organseg_conv3d::{Algorithm, Conv3dParams, conv3d};

/// Largest and rms error of the convolution and of the gradient for its input.
const FORWARD: [f64; 2] = [3e-5, 5e-6];
/// As [`FORWARD`], of the gradient for the weights.
const WEIGHTS: [f64; 2] = [1e-4, 3e-5];

/// Channels in and out, (D, H, W): powers of two and ragged, few tiles and many.
const SHAPES: [[usize; 5]; 9] = [
    [16, 16, 16, 24, 24],
    [32, 32, 12, 16, 20],
    [64, 64, 8, 12, 12],
    [128, 128, 8, 8, 8],
    [256, 256, 4, 8, 8],
    [20, 9, 7, 13, 10],
    [33, 48, 1, 5, 31],
    [128, 64, 5, 7, 5],
    [8, 24, 10, 3, 2],
];

/// Result and gradients for input and weights where the gradient of the result is `g`.
fn run(x: &Tensor, w: &Tensor, g: &Tensor, stride: usize, algorithm: Algorithm) -> Result<[Vec<f64>; 3]> {
    let params = Conv3dParams { algorithm, stride: [stride; 3], ..Conv3dParams::same([3; 3]) };
    let (x, w) = (Var::from_tensor(x)?, Var::from_tensor(w)?);
    let y = conv3d(&x, &w, None, &params)?;
    let gradients = (&y * g)?.sum_all()?.backward()?;
    let of = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    let gradient = |of: &Var| gradients.get(of.as_tensor()).expect("it is a variable").clone();
    Ok([of(&y)?, of(&gradient(&x))?, of(&gradient(&w))?])
}

/// Largest and rms difference, relative to the rms of `expected`.
fn errors(found: &[f64], expected: &[f64]) -> [f64; 2] {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let n = expected.len() as f64;
    let rms = (squares(&mut expected.iter().copied()) / n).sqrt();
    let differences: Vec<f64> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
    let largest = differences.iter().fold(0f64, |most, d| most.max(d.abs()));
    [largest / rms, (squares(&mut differences.into_iter()) / n).sqrt() / rms]
}

#[test]
fn errors_against_doubles_stay_within_their_bounds() -> Result<()> {
    for ([c, o, d, h, w], stride) in SHAPES.into_iter().flat_map(|shape| [(shape, 1), (shape, 2)]) {
        let normal = |shape: &[usize]| Tensor::randn(0f64, 1.0, shape, &Device::Cpu)?.to_dtype(DType::F32);
        let x = normal(&[1, c, d, h, w])?;
        let weight = normal(&[o, c, 3, 3, 3])?;
        let g = normal(&[1, o, d.div_ceil(stride), h.div_ceil(stride), w.div_ceil(stride)])?;
        let wide = |tensor: &Tensor| tensor.to_dtype(DType::F64);
        let expected = run(&wide(&x)?, &wide(&weight)?, &wide(&g)?, stride, Algorithm::Auto)?;
        for algorithm in [Algorithm::Winograd, Algorithm::Direct] {
            let found = run(&x, &weight, &g, stride, algorithm)?;
            let all: Vec<[f64; 2]> = found.iter().zip(&expected).map(|(a, b)| errors(a, b)).collect();
            let text: Vec<String> = all.iter().map(|[most, rms]| format!("{most:.1e} ({rms:.1e})")).collect();
            println!(
                "{c:>3}→{o:<3} {d}×{h}×{w}, stride {stride}, {algorithm:?}: forward {}, input {}, weights {}",
                text[0], text[1], text[2]
            );
            for (i, (errors, bounds)) in all.iter().zip([FORWARD, FORWARD, WEIGHTS]).enumerate() {
                assert!(
                    errors[0] <= bounds[0] && errors[1] <= bounds[1],
                    "{c}→{o}, stride {stride}, {algorithm:?} {i}: {errors:?}"
                );
            }
        }
    }
    Ok(())
}
