//! A network's forward pass whose backward pass goes straight to its variables.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor};

use crate::engine::{Gradients, locked};

/// The scores of a network, to be made a loss of, and the way back.
///
/// candle adds what comes to a variable to zeros, one variable after the other: two more operations for each of some sixty.
/// Here a whole network's gradients come at once, and are put down as they are.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use candle_nn::{VarBuilder, VarMap};
/// use organseg_unet::{Unet3d, UnetConfig, initialize};
///
/// let variables = VarMap::new();
/// let config = UnetConfig::new(1, 2).with_channels(vec![4, 8]);
/// let net = Unet3d::new(&config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
/// initialize(&variables, 42)?;
/// let image = Tensor::ones((1, 1, 4, 4, 4), DType::F32, &Device::Cpu)?;
/// let pass = net.training_pass(&image)?;
/// let loss = pass.scores[0].sqr()?.mean_all()?;
/// let gradients = pass.backward(&loss)?;
/// assert!(variables.all_vars().iter().all(|variable| gradients.get(variable.as_tensor()).is_some()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TrainingPass {
    /// As [`Unet3d::forward_levels`](crate::Unet3d::forward_levels) gives them. Their graph ends at the network: a backward
    /// pass of candle's own finds no variable of it.
    pub scores: Vec<Tensor>,
    pub(crate) parameters: Vec<Tensor>,
    /// Where the network's backward pass leaves the gradients; nothing where candle's graph goes on to the variables.
    pub(crate) gradients: Option<Gradients>,
}

impl TrainingPass {
    /// The gradients of `loss`, which was made of the scores, for the network's variables and whatever else is in its graph.
    ///
    /// # Errors
    /// What candle and the network's backward pass give.
    pub fn backward(self, loss: &Tensor) -> Result<GradStore> {
        let mut store = loss.backward()?;
        let Some(cell) = self.gradients else { return Ok(store) };
        let gradients = std::mem::take(&mut *locked(&cell));
        for (parameter, gradient) in self.parameters.iter().zip(gradients) {
            if let (true, Some(gradient)) = (parameter.track_op(), gradient) {
                // What the loss has of the parameter itself, such as a penalty on its size, came by candle's graph.
                let gradient = match store.remove(parameter) {
                    Some(own) => (own + gradient)?,
                    None => gradient,
                };
                store.insert(parameter, gradient);
            }
        }
        Ok(store)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};
    use candle_nn::{VarBuilder, VarMap};
    use organseg_conv3d::self_test::{devices, distance};

    use crate::{Unet3d, UnetConfig, initialize};

    use super::*;

    type Loss = fn(&[Tensor], &Tensor) -> Result<Tensor>;

    /// Of all heads, of the second alone, of a parameter besides, and of the parameter alone.
    const LOSSES: [Loss; 4] = [
        |scores, _| scores[0].sqr()?.mean_all()? + (scores[1].sqr()?.mean_all()? * 0.5)?,
        |scores, _| scores[1].sqr()?.sum_all(),
        |scores, w| scores[0].sqr()?.mean_all()? + (w.sqr()?.sum_all()? * 0.1)?,
        |_, w| w.sqr()?.sum_all(),
    ];

    fn network(device: &Device) -> (VarMap, Unet3d, Tensor) {
        let variables = VarMap::new();
        let config = UnetConfig::new(1, 3).with_channels(vec![4, 8, 8]).with_deep_supervision(1);
        let net = Unet3d::new(&config, VarBuilder::from_varmap(&variables, DType::F32, device)).unwrap();
        initialize(&variables, 2).unwrap();
        let image = Tensor::randn(0f32, 1.0, (2, 1, 8, 4, 8), &Device::Cpu).unwrap();
        (variables, net, image.to_device(device).unwrap())
    }

    #[test]
    fn gradients_are_those_of_candle_s_graph() {
        for device in devices() {
            let (variables, net, image) = network(&device);
            let all = variables.all_vars();
            let first = all.iter().find(|variable| variable.rank() == 5).unwrap().as_tensor();
            for (i, loss) in LOSSES.into_iter().enumerate() {
                let expected = loss(&net.forward_levels(&image).unwrap(), first).unwrap().backward().unwrap();
                let pass = net.training_pass(&image).unwrap();
                let total = loss(&pass.scores, first).unwrap();
                let found = pass.backward(&total).unwrap();
                for variable in &all {
                    let of = |store: &GradStore| store.get(variable.as_tensor()).map(Tensor::detach);
                    match (of(&found), of(&expected)) {
                        (Some(found), Some(expected)) => {
                            let size = expected.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                            assert!(size == 0.0 || distance(&found, &expected).unwrap() < 1e-5, "loss {i}");
                        }
                        (found, expected) => assert_eq!(found.is_some(), expected.is_some(), "loss {i}"),
                    }
                }
            }
        }
    }

    #[test]
    fn a_gradient_goes_on_from_parameters_that_are_made_of_others() {
        let (variables, _, image) = network(&Device::Cpu);
        let factor = Var::from_tensor(&Tensor::new(1f32, &Device::Cpu).unwrap()).unwrap();
        let scaled: std::collections::HashMap<String, Tensor> = {
            let data = variables.data().lock().unwrap();
            let scale = |v: &Var| v.as_detached_tensor().broadcast_mul(factor.as_tensor()).unwrap();
            data.iter().map(|(name, variable)| (name.clone(), scale(variable))).collect()
        };
        let config = UnetConfig::new(1, 3).with_channels(vec![4, 8, 8]).with_deep_supervision(1);
        let net = Unet3d::new(&config, VarBuilder::from_tensors(scaled, DType::F32, &Device::Cpu)).unwrap();
        let pass = net.training_pass(&image).unwrap();
        let total = pass.scores[0].sqr().unwrap().sum_all().unwrap();
        assert!(pass.backward(&total).unwrap().get(factor.as_tensor()).is_some());
    }
}
