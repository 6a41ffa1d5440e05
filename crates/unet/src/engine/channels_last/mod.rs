//! The whole network on tensors (N, D, H, W, C): the way of GPUs.
//!
//! Like the network in blocks ([`run`](super::run)): each convolution's result is kept as it is, with its norm and
//! activation as an affine map beside it; what reads it computes them, and computes them again for the gradients. So of
//! each layer one tensor is kept. A concatenation is written in place, each part activated on its way.
//!
//! Numbers are those of the image's type or, in mixed precision, 16 bits wide between layers; weights, statistics and
//! gradients of weights stay what the parameters are.

mod backward;
mod forward;
mod op;
#[cfg(test)]
mod tests;

use candle_core::{DType, Result, Tensor};
use organseg_conv3d::Conv3dParams;
use organseg_conv3d::channels_last::{Read, last_from_first, side_by_side};

use super::plan::{After, Id, Plan, Step};
use super::shared::Shared;

pub(crate) use backward::gradients;
pub(crate) use forward::run;
pub(crate) use op::with_gradients;

/// What a step gave, and how it is read; as it is if nothing is said.
pub(crate) struct Value {
    y: Tensor,
    read: Option<Read>,
}

/// Whether the steps of `plan` are all known here.
pub(crate) fn supports(plan: &Plan) -> bool {
    let even = |stride: &[usize; 3]| *stride == [2; 3];
    plan.steps.iter().all(|step| match step {
        Step::Convolve { params, .. } if params.stride != [1; 3] && !even(&params.stride) => false,
        Step::Convolve { after: After::Norm(norm), .. } => norm.shared == Shared::Instance,
        Step::Pool { factors, .. } | Step::Transpose { factors, .. } => even(factors),
        Step::Image | Step::Convolve { .. } | Step::Head { .. } => true,
        Step::Upsample { .. } | Step::Add { .. } | Step::Sigmoid { .. } | Step::Gate { .. } => false,
    })
}

/// What a network runs on.
pub(crate) struct Job<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) parameters: &'a [Tensor],
    /// (N, C, D, H, W).
    pub(crate) image: &'a Tensor,
    /// The type of the numbers between layers.
    pub(crate) number: DType,
}

impl Job<'_> {
    /// The image, as values are.
    fn image(&self) -> Result<Tensor> {
        last_from_first(self.image, self.number)
    }

    /// The image, if a convolution of `inputs` reads it.
    fn image_for(&self, inputs: &[Id]) -> Result<Option<Tensor>> {
        if inputs.is_empty() { self.image().map(Some) } else { Ok(None) }
    }

    /// Values with how they are read; `image` if there are none.
    fn parts<'v>(
        inputs: &[Id],
        values: &'v [Option<Value>],
        image: &'v Option<Tensor>,
    ) -> Vec<(&'v Tensor, Option<&'v Read>)> {
        if inputs.is_empty() {
            return image.iter().map(|image| (image, None)).collect();
        }
        let value = |&id: &Id| values[id].as_ref().expect("a value is there until its last reader");
        inputs.iter().map(value).map(|value| (&value.y, value.read.as_ref())).collect()
    }

    /// A value as it is read.
    fn as_read(input: Id, values: &[Option<Value>]) -> Result<Tensor> {
        side_by_side(&Self::parts(&[input], values, &None))
    }

    /// The weights (C_out, C, kD, kH, kW) of a convolution as (C_out, kD, kH, kW, C).
    fn weights(&self, parameter: usize) -> Result<Tensor> {
        last_from_first(&self.parameters[parameter], self.number)
    }

    /// The weights (K, C) of a head.
    fn of_head(&self, parameter: usize) -> Result<Tensor> {
        let weights = &self.parameters[parameter];
        weights.detach().reshape((weights.dim(0)?, weights.dim(1)?))
    }

    /// Whether `step` is a 3×3×3 convolution of an image of one channel.
    fn is_first_layer(&self, step: &Step) -> bool {
        let Step::Convolve { params, inputs, weight, .. } = step else { return false };
        let of_image = inputs.iter().all(|&id| matches!(self.plan.steps[id], Step::Image));
        let same = Conv3dParams::same([3; 3]);
        of_image && self.parameters[*weight].dims()[1..] == [1, 3, 3, 3] && *params == same
    }
}
