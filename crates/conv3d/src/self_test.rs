//! Every operation on a device against the same in `f64` on the CPU, to be run where a program is to be trusted.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::{
    Activation, Conv3dParams, conv_transpose3d, conv3d, instance_norm, max_pool3d, upsample_nearest3d,
    upsample_trilinear3d,
};

/// How far something is from what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What was computed, such as `conv3d 3×3×3, gradient 1`: of the second argument.
    pub what: String,
    /// ‖found − expected‖ / ‖expected‖ over all its numbers.
    pub relative: f64,
}

/// Computes with the arguments it is given.
type Operation = fn(&[Tensor]) -> Result<Tensor>;

/// Name, shapes of the arguments, what is done with them.
const OPERATIONS: [(&str, &[&[usize]], Operation); 12] = [
    ("conv3d 3×3×3", &[&[2, 24, 9, 14, 11], &[20, 24, 3, 3, 3], &[20]], |a| {
        conv3d(&a[0], &a[1], Some(&a[2]), &Conv3dParams::same([3; 3]))
    }),
    ("conv3d 3×3×3 of one channel", &[&[2, 1, 9, 14, 11], &[16, 1, 3, 3, 3]], |a| {
        conv3d(&a[0], &a[1], None, &Conv3dParams::same([3; 3]))
    }),
    ("conv3d 3×3×3 of many channels", &[&[1, 128, 5, 6, 7], &[96, 128, 3, 3, 3]], |a| {
        conv3d(&a[0], &a[1], None, &Conv3dParams::same([3; 3]))
    }),
    ("conv3d 3×3×3, stride 2", &[&[2, 16, 9, 14, 11], &[32, 16, 3, 3, 3]], |a| {
        conv3d(&a[0], &a[1], None, &Conv3dParams { stride: [2; 3], ..Conv3dParams::same([3; 3]) })
    }),
    ("conv3d 1×1×1", &[&[2, 20, 5, 7, 6], &[3, 20, 1, 1, 1], &[3]], |a| {
        conv3d(&a[0], &a[1], Some(&a[2]), &Conv3dParams::default())
    }),
    ("conv3d 3×1×5", &[&[1, 5, 7, 6, 9], &[7, 5, 3, 1, 5]], |a| {
        conv3d(&a[0], &a[1], None, &Conv3dParams::same([3, 1, 5]))
    }),
    ("conv_transpose3d 2×2×2", &[&[2, 32, 3, 5, 4], &[32, 16, 2, 2, 2], &[16]], |a| {
        conv_transpose3d(&a[0], &a[1], Some(&a[2]), [2; 3])
    }),
    ("max_pool3d", &[&[2, 5, 6, 7, 8]], |a| max_pool3d(&a[0], [2; 3], [2; 3])),
    ("instance_norm", &[&[2, 20, 6, 17, 9], &[20], &[20]], |a| {
        instance_norm(&a[0], &a[1], &a[2], 1e-5, Activation::LeakyRelu { slope: 0.01 })
    }),
    ("instance_norm of a large image", &[&[1, 2, 32, 40, 33], &[2], &[2]], |a| {
        instance_norm(&a[0], &a[1], &a[2], 1e-5, Activation::None)
    }),
    ("upsample_trilinear3d", &[&[2, 3, 4, 5, 3]], |a| upsample_trilinear3d(&a[0], [8, 10, 6])),
    ("upsample_nearest3d", &[&[2, 3, 4, 5, 3]], |a| upsample_nearest3d(&a[0], [8, 7, 6])),
];

/// Where to try things: the CPU and, in a build with `cuda`, the first GPU. Where there is none, says so on stderr, in the
/// name of the thread, which in tests is that of the test, and past what keeps the words of tests that pass.
#[must_use]
pub fn devices() -> Vec<Device> {
    #[cfg(feature = "cuda")]
    thread_local! {
        static GPU: std::cell::OnceCell<std::result::Result<Device, String>> = const { std::cell::OnceCell::new() };
    }
    #[cfg_attr(not(feature = "cuda"), expect(unused_mut, reason = "there are no GPUs"))]
    let mut all = vec![Device::Cpu];
    #[cfg(feature = "cuda")]
    match GPU.with(|gpu| gpu.get_or_init(|| crate::cuda::device(0).map_err(|e| e.to_string())).clone()) {
        Ok(gpu) => all.push(gpu),
        Err(error) => {
            use std::io::Write;
            let who = std::thread::current().name().unwrap_or("a thread").to_string();
            // If stderr takes nothing there is nobody to hear it.
            let _ = writeln!(std::io::stderr(), "SKIPPED on a GPU: {who}: there is none: {error}");
        }
    }
    all
}

/// Runs every operation on `device` with numbers of type `number`, forward and backward, and says how far results and
/// gradients are from those in `f64` on the CPU. Arguments are fresh random numbers, N(0, 1), rounded to `number`.
///
/// ```
/// use candle_core::{DType, Device};
/// use organseg_conv3d::self_test;
/// for difference in self_test::operations(&Device::Cpu, DType::F32)? {
///     assert!(difference.relative < 1e-5, "{difference:?}");
/// }
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// What an operation gives.
pub fn operations(device: &Device, number: DType) -> Result<Vec<Difference>> {
    let mut all = Vec::new();
    for (name, shapes, operation) in OPERATIONS {
        let arguments = shapes.iter().map(|&shape| random(shape, number)).collect::<Result<Vec<_>>>()?;
        let (expected, weights) = run(operation, &arguments, None, (&Device::Cpu, DType::F64), number)?;
        let (found, _) = run(operation, &arguments, Some(&weights), (device, number), number)?;
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let what = if i == 0 { name.to_string() } else { format!("{name}, gradient {}", i - 1) };
            all.push(Difference { what, relative: distance(found, expected)? });
        }
    }
    Ok(all)
}

/// N(0, 1) on the CPU, rounded to `number`, in `f64`.
///
/// # Errors
/// What candle gives.
pub fn random(shape: &[usize], number: DType) -> Result<Tensor> {
    Tensor::randn(0f64, 1.0, shape, &Device::Cpu)?.to_dtype(number)?.to_dtype(DType::F64)
}

/// ‖found − expected‖ / ‖expected‖, computed in `f64` on the CPU; NaN where something is NaN.
///
/// # Errors
/// If shapes differ.
pub fn distance(found: &Tensor, expected: &Tensor) -> Result<f64> {
    let wide = |t: &Tensor| t.detach().to_device(&Device::Cpu)?.to_dtype(DType::F64);
    let (found, expected) = (wide(found)?, wide(expected)?);
    let norm = |t: &Tensor| t.sqr()?.sum_all()?.to_scalar::<f64>().map(f64::sqrt);
    Ok(norm(&(found - &expected)?)? / norm(&expected)?)
}

/// Result and gradients of Σ weights · operation(arguments), and the weights: random ones if none are given.
fn run(
    operation: Operation,
    arguments: &[Tensor],
    weights: Option<&Tensor>,
    (device, number): (&Device, DType),
    rounded: DType,
) -> Result<(Vec<Tensor>, Tensor)> {
    let there = |t: &Tensor| t.to_dtype(number)?.to_device(device);
    let variables = arguments.iter().map(|a| Var::from_tensor(&there(a)?)).collect::<Result<Vec<_>>>()?;
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let result = operation(&tensors)?;
    let weights = weights.map_or_else(|| random(result.dims(), rounded), |w| Ok(w.clone()))?;
    // The sum of rounded numbers has the gradients that are wanted, whatever its own value.
    let gradients = (&result * there(&weights)?)?.sum_all()?.backward()?;
    let mut all = vec![result];
    for tensor in &tensors {
        match gradients.get(tensor) {
            Some(gradient) => all.push(gradient.clone()),
            None => candle_core::bail!("an argument of an operation has no gradient"),
        }
    }
    Ok((all, weights))
}
