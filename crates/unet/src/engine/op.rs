//! The network as one operation of candle, with its gradient.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{CpuStorage, CustomOp2, Device, Layout, Result, Shape, Storage, Tensor, bail};

use super::backward::gradients;
use super::forward::{Keep, run};
use super::plan::Plan;
use super::value::Value;

/// Scores of `image` (N, C, D, H, W) by the network of `plan` with all `parameters` one after the other, in
/// candle's graph: backward gives their gradients.
pub(crate) fn with_gradients(plan: &Arc<Plan>, image: &Tensor, parameters: &Tensor) -> Result<Tensor> {
    let op = Network { plan: plan.clone(), tape: Mutex::new(None) };
    image.contiguous()?.apply_op2(&parameters.contiguous()?, op)
}

struct Network {
    plan: Arc<Plan>,
    /// The values of the last forward pass, until its backward pass takes them.
    tape: Mutex<Option<Vec<Option<Value>>>>,
}

impl Network {
    /// The parameter tensors, one after the other in `flat`.
    fn split<'a>(&self, flat: &'a [f32]) -> Vec<&'a [f32]> {
        let mut from = 0;
        let of = |&numbers: &usize| {
            from += numbers;
            &flat[from - numbers..from]
        };
        self.plan.parameters.iter().map(of).collect()
    }
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice::<f32>()?[from..to]),
        None => bail!("a tensor that is not contiguous came to the network"),
    }
}

/// Calls `with` with the values of a tensor on the CPU.
fn values<R>(tensor: &Tensor, with: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(with(slice(storage, layout)?)),
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
        image_layout: &Layout,
        flat: &CpuStorage,
        flat_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (batch, _, d, h, w) = image_layout.shape().dims5()?;
        let parameters = self.split(slice(flat, flat_layout)?);
        let image = slice(image, image_layout)?;
        let (scores, values) = run(&self.plan, &parameters, image, batch, [d, h, w], Keep::All, None);
        *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = Some(values);
        Ok((CpuStorage::F32(scores), (batch, self.plan.classes, d, h, w).into()))
    }

    fn bwd(
        &self,
        image: &Tensor,
        flat: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (batch, _, d, h, w) = image.dims5()?;
        let Some(tape) = self.tape.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            bail!(
                "the network's backward pass ran twice for one forward pass; run the network again for each"
            )
        };
        let gradient = gradient.contiguous()?;
        let all = values(image, |image| {
            values(flat, |flat| {
                let parameters = self.split(flat);
                values(&gradient, |gradient| {
                    gradients(&self.plan, &parameters, image, batch, [d, h, w], tape, gradient).concat()
                })
            })
        })???;
        let count = all.len();
        Ok((None, Some(Tensor::from_vec(all, count, &Device::Cpu)?)))
    }
}
