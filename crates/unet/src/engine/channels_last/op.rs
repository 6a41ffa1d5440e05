//! The network as one operation of candle, with its gradient.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor, bail};

use super::{Job, Value, gradients, run};
use crate::engine::forward::Keep;
use crate::engine::op::{Ends, Gradients, by_head, chained, for_chain, locked};
use crate::engine::plan::{Heads, Plan};

/// Scores of `image` (N, C, D, H, W) by each head of the network of `plan` with `parameters`, in candle's graph: backward
/// gives the gradients of those that are variables, or leaves them. `number` is the type of the numbers between layers.
pub(crate) fn with_gradients(
    plan: &Arc<Plan>,
    image: &Tensor,
    parameters: &[Tensor],
    number: DType,
    ends: Ends,
) -> Result<(Vec<Tensor>, Gradients)> {
    let gradients = Gradients::default();
    let chain = chained(plan, parameters, image.device(), &gradients, ends)?;
    let network = Network {
        plan: plan.clone(),
        image: image.detach(),
        parameters: parameters.iter().map(Tensor::detach).collect(),
        number,
        tape: Mutex::new(None),
        gradients: gradients.clone(),
    };
    let scores = image.apply_op2(&chain, network)?;
    Ok((by_head(plan, &scores, image)?, gradients))
}

struct Network {
    plan: Arc<Plan>,
    image: Tensor,
    parameters: Vec<Tensor>,
    number: DType,
    /// The values of the last forward pass, until its backward pass takes them.
    tape: Mutex<Option<Vec<Option<Value>>>>,
    gradients: Gradients,
}

impl Network {
    fn job(&self) -> Job<'_> {
        Job { plan: &self.plan, parameters: &self.parameters, image: &self.image, number: self.number }
    }

    /// The scores of one head, or of several one after the other.
    fn scores(&self) -> Result<Tensor> {
        let mut outcome = run(&self.job(), Heads::All, Keep::All)?;
        *locked(&self.tape) = Some(outcome.values);
        match outcome.scores.len() {
            1 => Ok(outcome.scores.swap_remove(0)),
            _ => Tensor::cat(&outcome.scores.iter().map(Tensor::flatten_all).collect::<Result<Vec<_>>>()?, 0),
        }
    }
}

impl CustomOp2 for Network {
    fn name(&self) -> &'static str {
        "unet3d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        let scores = self.scores()?.contiguous()?;
        let (storage, _) = scores.storage_and_layout();
        match &*storage {
            Storage::Cpu(storage) => Ok((storage.clone(), scores.shape().clone())),
            _ => bail!("the image is on the CPU, and the network's scores are not"),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        _: &candle_core::CudaStorage,
        _: &Layout,
        _: &candle_core::CudaStorage,
        _: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        let scores = self.scores()?.contiguous()?;
        let (storage, layout) = scores.storage_and_layout();
        match &*storage {
            Storage::Cuda(storage) => Ok((storage.try_clone(layout)?, scores.shape().clone())),
            _ => bail!("the image is on a GPU, and the network's scores are not"),
        }
    }

    fn bwd(
        &self,
        image: &Tensor,
        chain: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some(tape) = locked(&self.tape).take() else {
            bail!(
                "the network's backward pass ran twice for one forward pass; run the network again for each"
            )
        };
        let scores = by_head(&self.plan, &gradient.detach(), image)?;
        *locked(&self.gradients) = gradients(&self.job(), tape, &scores)?;
        Ok((None, for_chain(chain)?))
    }
}
