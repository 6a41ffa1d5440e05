//! The network as one operation of candle, with its gradient.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Storage, Tensor, Var, bail};

use super::backward::gradients;
use super::forward::{Keep, Run, run};
use super::on_the_pool::on_the_pool;
use super::parameters::Spec;
use super::plan::{Halvings, Heads, Plan};
use super::shared::{BatchStatistics, Statistics};
use super::value::Value;

/// Where candle's graph of a network ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// At the parameters: candle's backward pass finds their gradients.
    AtParameters,
    /// At the network, whose backward pass leaves them in [`Gradients`].
    AtNetwork,
}

/// Scores of `image` (N, C, D, H, W) by each head of the network of `plan` with `parameters`, in candle's
/// graph: backward gives the gradients of those that are variables. What batch norms saw, and where gradients are left.
///
/// An operation of candle has three arguments at most, a network has some sixty. So the parameters go in
/// one by one, each by an operation that hands on a number without meaning ([`Handed`]); the network is the
/// last of the chain, and its backward pass leaves each gradient where that parameter's operation finds it.
/// Joining the parameters into one tensor instead costs six passes over them and their gradients.
pub(crate) fn with_gradients(
    plan: &Arc<Plan>,
    image: &Tensor,
    parameters: &[Tensor],
    ends: Ends,
) -> Result<(Vec<Tensor>, Vec<BatchStatistics>, Gradients)> {
    let parameters = parameters.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    let gradients = Gradients::default();
    let chain = chained(plan, &parameters, &Device::Cpu, &gradients, ends)?;
    let parameters = parameters.iter().map(Tensor::detach).collect();
    let statistics = Arc::<Mutex<Vec<BatchStatistics>>>::default();
    let network = Network {
        plan: plan.clone(),
        parameters,
        tape: Mutex::new(None),
        gradients: gradients.clone(),
        statistics: statistics.clone(),
    };
    let scores = image.contiguous()?.apply_op2(&chain, network)?;
    let statistics = std::mem::take(&mut *locked(&statistics));
    Ok((by_head(plan, &scores, image)?, statistics, gradients))
}

/// What the network's operation has beside the image: the parameters handed on one after the other, each to leave with its
/// gradient, or a variable of its own.
pub(super) fn chained(
    plan: &Plan,
    parameters: &[Tensor],
    device: &Device,
    gradients: &Gradients,
    ends: Ends,
) -> Result<Tensor> {
    if ends == Ends::AtNetwork {
        return Ok(Var::zeros((), DType::F32, device)?.into_inner());
    }
    let mut chain = Tensor::zeros((), DType::F32, device)?;
    for (index, (parameter, spec)) in parameters.iter().zip(plan.parameters.iter()).enumerate() {
        if spec.trained {
            chain = chain.apply_op2(parameter, Handed { index, gradients: gradients.clone() })?;
        }
    }
    Ok(chain)
}

/// The scores of each head, from those of all of them one after the other.
pub(super) fn by_head(plan: &Plan, scores: &Tensor, image: &Tensor) -> Result<Vec<Tensor>> {
    let (batch, _, d, h, w) = image.dims5()?;
    let mut start = 0;
    let of = |[z, y, x]: Halvings| {
        let [d, h, w] = [d >> z, h >> y, w >> x];
        let count = batch * plan.classes * d * h * w;
        start += count;
        scores.narrow(0, start - count, count)?.reshape((batch, plan.classes, d, h, w))
    };
    match *plan.heads() {
        [_] => Ok(vec![scores.clone()]),
        ref heads => heads.iter().copied().map(of).collect(),
    }
}

/// The gradient for the chain, which leads on to the parameters; none if there is no chain.
pub(super) fn for_chain(chain: &Tensor) -> Result<Option<Tensor>> {
    if chain.is_variable() { Ok(None) } else { chain.zeros_like().map(Some) }
}

/// The gradient of each parameter, from the network's backward pass until its own.
pub(crate) type Gradients = Arc<Mutex<Vec<Option<Tensor>>>>;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A parameter's place in the graph.
struct Handed {
    index: usize,
    gradients: Gradients,
}

impl CustomOp2 for Handed {
    fn name(&self) -> &'static str {
        "parameter of unet3d"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![0.0]), Shape::from(())))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        chain: &candle_core::CudaStorage,
        layout: &Layout,
        _: &candle_core::CudaStorage,
        _: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        Ok((chain.try_clone(layout)?, Shape::from(())))
    }

    fn bwd(
        &self,
        chain: &Tensor,
        parameter: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = locked(&self.gradients)[self.index].take();
        Ok((Some(chain.zeros_like()?), gradient.filter(|_| parameter.track_op())))
    }
}

struct Network {
    plan: Arc<Plan>,
    parameters: Vec<Tensor>,
    /// The values of the last forward pass, until its backward pass takes them.
    tape: Mutex<Option<Vec<Option<Value>>>>,
    gradients: Gradients,
    statistics: Arc<Mutex<Vec<BatchStatistics>>>,
}

impl Network {
    /// Calls `with` with the numbers of all parameters.
    fn with_parameters<R>(&self, with: impl FnOnce(&[&[f32]]) -> R) -> Result<R> {
        let parameters = without_shared_statistics(&self.plan, &self.parameters)?;
        let storages: Vec<_> = parameters.iter().map(Tensor::storage_and_layout).collect();
        let slices =
            storages.iter().map(|(storage, layout)| values(storage, layout)).collect::<Result<Vec<_>>>()?;
        Ok(with(&slices))
    }
}

/// `parameters` with copies of those that are gathered. A pass holds a lock on every tensor while it waits for other
/// threads' parts, and may take up another pass meanwhile, which at its end writes its statistics to these.
pub(crate) fn without_shared_statistics(plan: &Plan, parameters: &[Tensor]) -> Result<Vec<Tensor>> {
    let own = |(tensor, spec): (&Tensor, &Spec)| {
        if spec.trained { Ok(tensor.clone()) } else { tensor.detach().copy() }
    };
    parameters.iter().zip(plan.parameters.iter()).map(own).collect()
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a tensor that is not contiguous came to the network"),
    }
}

/// The values of a tensor on the CPU.
fn values<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(storage) => slice(storage, layout),
        _ => bail!("a tensor on another device came to the network on the CPU"),
    }
}

impl CustomOp2 for Network {
    fn name(&self) -> &'static str {
        "unet3d"
    }

    fn cpu_fwd(
        &self,
        image: &CpuStorage,
        layout: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, _, d, h, w) = layout.shape().dims5()?;
        let image = slice(image, layout)?;
        let settings = Run { keep: Keep::All, heads: Heads::All, statistics: Statistics::Batch };
        let mut outcome = self.with_parameters(|parameters| {
            on_the_pool(|| run(&self.plan, parameters, image, batch, [d, h, w], settings, None))
        })?;
        *locked(&self.tape) = Some(outcome.values);
        *locked(&self.statistics) = outcome.statistics;
        if outcome.scores.len() == 1 {
            let scores = outcome.scores.swap_remove(0);
            return Ok((CpuStorage::F32(scores), (batch, self.plan.classes, d, h, w).into()));
        }
        let scores = outcome.scores.concat();
        let count = scores.len();
        Ok((CpuStorage::F32(scores), Shape::from(count)))
    }

    fn bwd(
        &self,
        image: &Tensor,
        chain: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (batch, _, d, h, w) = image.dims5()?;
        let Some(tape) = locked(&self.tape).take() else {
            bail!(
                "the network's backward pass ran twice for one forward pass; run the network again for each"
            )
        };
        let gradient = gradient.contiguous()?;
        let ((image, image_layout), (gradient, gradient_layout)) =
            (image.storage_and_layout(), gradient.storage_and_layout());
        let (image, gradient) = (values(&image, image_layout)?, values(&gradient, gradient_layout)?);
        let all = self.with_parameters(|parameters| {
            on_the_pool(|| gradients(&self.plan, parameters, image, batch, [d, h, w], tape, gradient))
        })?;
        let tensor = |(gradient, parameter): (Vec<f32>, &Tensor)| {
            // Statistics that are gathered have no gradient.
            let there = !gradient.is_empty() || parameter.elem_count() == 0;
            there.then(|| Tensor::from_vec(gradient, parameter.shape(), &Device::Cpu)).transpose()
        };
        *locked(&self.gradients) =
            all.into_iter().zip(&self.parameters).map(tensor).collect::<Result<_>>()?;
        Ok((None, for_chain(chain)?))
    }
}
