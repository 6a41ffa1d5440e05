//! Where training starts from: weights drawn from a seed.

use candle_core::{Device, Result, Tensor};
use candle_nn::VarMap;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Draws every convolution weight of `variables` from `seed`; biases, scales and shifts stay as made.
///
/// He initialisation (He et al., ICCV 2015) for a leaky ReLU of small slope: uniform in ±√(6 / fan-in),
/// where the fan-in is the number of inputs that make one output. Tensors are visited in the order of
/// their names, so the same seed gives the same bytes.
///
/// # Errors
/// If a variable cannot be set.
pub fn initialize(variables: &VarMap, seed: u64) -> Result<()> {
    let data = variables.data().lock().expect("no thread panicked while holding the variables");
    let mut names: Vec<_> = data.keys().collect();
    names.sort();
    for (index, name) in names.into_iter().enumerate() {
        let variable = &data[name];
        let &[first, second, kd, kh, kw] = variable.dims() else { continue };
        // A transposed convolution of stride 2 and kernel 2 makes each output from one kernel position.
        let fan_in = if name.ends_with("transposed.weight") { first } else { second * kd * kh * kw };
        let bound = (6.0 / fan_in as f64).sqrt() as f32;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        let count = first * second * kd * kh * kw;
        let values: Vec<f32> = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
        let drawn = Tensor::from_vec(values, variable.shape(), &Device::Cpu)?;
        variable.set(&drawn.to_dtype(variable.dtype())?.to_device(variable.device())?)?;
    }
    Ok(())
}
