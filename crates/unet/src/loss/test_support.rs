//! What the tests of the losses share: random cases and finite differences, in f64.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::one_hot;

/// Finite differences of f64 with this step are good to some 1e-9.
const STEP: f64 = 1e-5;

/// Agreement asked of each derivative, relative to the largest.
const TOLERANCE: f64 = 1e-6;

/// Values in (0.05, 0.95) and a random one-hot truth, both (n, classes, D, H, W) in f64.
pub(super) fn random_case(n: usize, classes: usize, [d, h, w]: [usize; 3], seed: u64) -> (Tensor, Tensor) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..n * classes * d * h * w).map(|_| rng.random_range(0.05..0.95)).collect();
    let labels: Vec<u8> = (0..n * d * h * w).map(|_| rng.random_range(0..classes as u8)).collect();
    let truth = one_hot(&labels, (n, d, h, w), classes, None, &Device::Cpu).unwrap();
    let values = Tensor::from_vec(values, (n, classes, d, h, w), &Device::Cpu).unwrap();
    (values, truth.to_dtype(DType::F64).unwrap())
}

pub(super) fn scalar(t: &Tensor) -> f64 {
    t.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// Every derivative of `loss` at `at` agrees with its central difference.
pub(super) fn assert_gradient(at: &Tensor, loss: impl Fn(&Tensor) -> Result<Tensor>) {
    let variable = Var::from_tensor(at).unwrap();
    let gradients = loss(variable.as_tensor()).unwrap().backward().unwrap();
    let gradient = gradients.get(variable.as_tensor()).expect("the loss depends on its argument");
    let gradient: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
    let values: Vec<f64> = at.flatten_all().unwrap().to_vec1().unwrap();
    let moved = |i: usize, by: f64| {
        let mut values = values.clone();
        values[i] += by;
        scalar(&loss(&Tensor::from_vec(values, at.shape(), &Device::Cpu).unwrap()).unwrap())
    };
    let scale = gradient.iter().fold(1e-3f64, |m, g| m.max(g.abs()));
    for (i, &found) in gradient.iter().enumerate() {
        let expected = (moved(i, STEP) - moved(i, -STEP)) / (2.0 * STEP);
        assert!(
            (found - expected).abs() <= TOLERANCE * scale,
            "derivative {i}: {found}, expected {expected}"
        );
    }
}
