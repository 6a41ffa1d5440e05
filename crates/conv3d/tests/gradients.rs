//! The gradient of every operation against central differences, in f64, on every device there is.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use candle_core::{Device, Result, Tensor, Var};
use organseg_conv3d::{
    Activation, Conv3dParams, conv_transpose3d, conv3d, instance_norm, max_pool3d, self_test,
    upsample_nearest3d, upsample_trilinear3d,
};

/// Differences of f64 with this step are good to some 1e-9.
const STEP: f64 = 1e-5;

/// Agreement asked of each derivative, relative to the largest.
const TOLERANCE: f64 = 1e-6;

/// Numbers in −1‥1, all different, none close to another: max pooling has no ties to break.
fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let count: usize = shape.iter().product();
    let values: Vec<f64> =
        (0..count).map(|i| ((i * 7919 + seed * 31) % 10_007) as f64 / 5003.5 - 1.0).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Σ weights · f(arguments), so that every output counts differently.
fn scalar(y: &Tensor) -> Result<Tensor> {
    (y * numbers(y.dims(), 77).to_device(y.device())?)?.sum_all()
}

fn check(name: &str, arguments: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    for device in self_test::devices() {
        let there: Vec<Tensor> = arguments.iter().map(|a| a.to_device(&device).unwrap()).collect();
        check_there(&format!("{name} on {:?}", device.location()), &there, &f);
    }
}

fn check_there(name: &str, arguments: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let variables: Vec<Var> = arguments.iter().map(|a| Var::from_tensor(a).unwrap()).collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let gradients = scalar(&f(&tensors).unwrap()).unwrap().backward().unwrap();
    for (k, argument) in arguments.iter().enumerate() {
        let gradient = gradients.get(&tensors[k]).unwrap_or_else(|| panic!("{name}: argument {k} has none"));
        let gradient: Vec<f64> = gradient.flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f64> = argument.flatten_all().unwrap().to_vec1().unwrap();
        let scale = gradient.iter().fold(1e-3f64, |m, g| m.max(g.abs()));
        // Every number of small arguments, some of large ones.
        for i in (0..values.len()).step_by(1 + values.len() / 150) {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[i] += by;
                let mut arguments = arguments.to_vec();
                arguments[k] = Tensor::from_vec(values, argument.shape(), argument.device()).unwrap();
                scalar(&f(&arguments).unwrap()).unwrap().to_scalar::<f64>().unwrap()
            };
            let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let error = (gradient[i] - expected).abs();
            assert!(
                error <= TOLERANCE * scale,
                "{name}, argument {k}, {i}: {}, expected {expected}",
                gradient[i]
            );
        }
    }
}

#[test]
fn convolutions() {
    for (size, kernel, stride, padding) in [
        ([3, 4, 5], [3, 3, 3], [1, 1, 1], [1, 1, 1]),
        ([2, 3, 23], [3, 3, 3], [1, 1, 1], [1, 1, 1]),
        ([5, 4, 6], [3, 1, 5], [2, 1, 2], [1, 0, 2]),
        ([1, 4, 4], [1, 1, 1], [1, 1, 1], [0, 0, 0]),
        ([4, 4, 4], [2, 2, 2], [1, 1, 1], [2, 2, 2]),
    ] {
        let params = Conv3dParams { stride, padding, ..Conv3dParams::default() };
        let [d, h, w] = size;
        let [i, j, l] = kernel;
        let arguments = [numbers(&[2, 2, d, h, w], 1), numbers(&[3, 2, i, j, l], 2), numbers(&[3], 3)];
        check("conv3d", &arguments, |a| conv3d(&a[0], &a[1], Some(&a[2]), &params));
        check("conv3d without bias", &arguments[..2], |a| conv3d(&a[0], &a[1], None, &params));
    }
}

#[test]
fn transposed_convolutions() {
    for (kernel, stride) in [([2, 2, 2], [2, 2, 2]), ([3, 2, 1], [1, 2, 2]), ([1, 3, 3], [2, 2, 1])] {
        let [i, j, l] = kernel;
        let arguments = [numbers(&[2, 3, 2, 3, 2], 1), numbers(&[3, 2, i, j, l], 2), numbers(&[2], 3)];
        check("conv_transpose3d", &arguments, |a| conv_transpose3d(&a[0], &a[1], Some(&a[2]), stride));
    }
}

#[test]
fn pooling() {
    for (kernel, stride) in [([2, 2, 2], [2, 2, 2]), ([3, 2, 1], [1, 2, 2])] {
        check("max_pool3d", &[numbers(&[2, 2, 5, 4, 6], 1)], |a| max_pool3d(&a[0], kernel, stride));
    }
}

#[test]
fn norms() {
    let arguments = [numbers(&[2, 3, 3, 4, 3], 1), numbers(&[3], 2), numbers(&[3], 3)];
    for activation in [Activation::None, Activation::Relu, Activation::LeakyRelu { slope: 0.1 }] {
        check("instance_norm", &arguments, |a| instance_norm(&a[0], &a[1], &a[2], 1e-5, activation));
    }
}

#[test]
fn upsampling() {
    for size in [[4, 6, 8], [3, 5, 4], [1, 2, 9]] {
        check("nearest", &[numbers(&[2, 2, 2, 3, 4], 1)], |a| upsample_nearest3d(&a[0], size));
        check("trilinear", &[numbers(&[2, 2, 2, 3, 4], 1)], |a| upsample_trilinear3d(&a[0], size));
    }
}
