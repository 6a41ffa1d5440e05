//! A whole network on a device against the same in `f64` on the CPU.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{VarBuilder, VarMap};
use organseg_conv3d::self_test::{Difference, distance, random};

use crate::{Downsampling, Unet3d, UnetConfig, UnetError, initialize};

/// Channels and image (N, C, D, H, W) of the network that is tried: ragged, no multiple of what it is halved by.
const CHANNELS: [usize; 3] = [16, 32, 64];
const IMAGE: [usize; 5] = [2, 1, 22, 27, 19];
const CLASSES: usize = 3;

/// Runs a network with the weights of `seed` on `device`, with numbers of type `number` between its layers, forward and
/// backward, on a random image, and says how far its scores, and the gradients of all its weights together, are from those
/// in `f64` on the CPU.
///
/// In `f64` it is the planned network, with pooling and leaky ReLU. With fewer bits it is one without kinks, which halves
/// by strides and whose activation has the slope 1: where a rounding error turns a sign or the winner of a window,
/// gradients jump, and by more than the error.
///
/// ```
/// use candle_core::{DType, Device};
/// use organseg_unet::self_test;
/// let [scores, gradients] = self_test::network(&Device::Cpu, DType::F32, 1)?;
/// assert!(scores.relative < 1e-5 && gradients.relative < 1e-4);
/// # Ok::<(), organseg_unet::UnetError>(())
/// ```
///
/// # Errors
/// What an operation gives.
pub fn network(device: &Device, number: DType, seed: u64) -> std::result::Result<[Difference; 2], UnetError> {
    let mut config = UnetConfig::new(IMAGE[1], CLASSES).with_channels(CHANNELS.to_vec());
    if number != DType::F64 {
        config.negative_slope = 1.0;
        config.downsampling = Downsampling::Strided;
    }
    // Weights are no shorter than this, whatever lies between the layers.
    let of_weights = if number == DType::F64 { DType::F64 } else { DType::F32 };
    let reference = VarMap::new();
    let exact = Unet3d::new(&config, VarBuilder::from_varmap(&reference, DType::F64, &Device::Cpu))?;
    initialize(&reference, seed)?;
    let tried = VarMap::new();
    let other = Unet3d::new(&config, VarBuilder::from_varmap(&tried, of_weights, device))?
        .with_numbers_between_layers(number)?;
    let names = {
        let (reference, tried) = (locked(&reference), locked(&tried));
        let mut names: Vec<String> = reference.keys().cloned().collect();
        names.sort_unstable();
        for name in &names {
            let mut value = reference[name].as_detached_tensor();
            if value.rank() == 1 {
                // Scales, shifts and biases that matter.
                value = (&value + (random(value.dims(), DType::F64)? * 0.3)?)?;
            }
            // Both have numbers that `number` has; a copy, as a variable cannot be set to what is its own memory.
            let rounded = value.copy()?.to_dtype(number)?;
            reference[name].set(&rounded.to_dtype(DType::F64)?)?;
            tried[name].set(&rounded.to_dtype(of_weights)?.to_device(device)?)?;
        }
        names
    };
    let image = random(&IMAGE, number)?;
    let expected = exact.forward(&image)?;
    let weights = random(expected.dims(), number)?;
    let found = other.forward(&image.to_dtype(of_weights)?.to_device(device)?)?;
    let gradients = |scores: &Tensor, weights: &Tensor, variables: &VarMap| -> Result<Tensor> {
        let store = (scores * weights)?.sum_all()?.backward()?;
        let variables = locked(variables);
        let one = |name: &String| -> Result<Tensor> {
            match store.get(variables[name].as_tensor()) {
                Some(gradient) => gradient.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all(),
                None => candle_core::bail!("{name} has no gradient"),
            }
        };
        Tensor::cat(&names.iter().map(one).collect::<Result<Vec<_>>>()?, 0)
    };
    let expected_gradients = gradients(&expected, &weights, &reference)?;
    let found_gradients = gradients(&found, &weights.to_dtype(of_weights)?.to_device(device)?, &tried)?;
    let difference = |what: &str, found: &Tensor, expected: &Tensor| -> Result<Difference> {
        Ok(Difference { what: what.into(), relative: distance(found, expected)? })
    };
    Ok([
        difference("network, scores", &found, &expected)?,
        difference("network, gradients of its weights", &found_gradients, &expected_gradients)?,
    ])
}

fn locked(
    variables: &VarMap,
) -> std::sync::MutexGuard<'_, std::collections::HashMap<String, candle_core::Var>> {
    variables.data().lock().expect("no thread panicked while holding the variables")
}
