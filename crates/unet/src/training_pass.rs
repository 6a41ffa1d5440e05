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
                store.insert(parameter, gradient);
            }
        }
        Ok(store)
    }
}
