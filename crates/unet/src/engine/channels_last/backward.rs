//! From the gradients of the scores to those of the parameters.

use candle_core::{Result, Tensor};
use organseg_conv3d::channels_last::{
    Read, accumulate, activated, convolve, convolve_weight_gradient, first_from_last,
    first_layer_weight_gradient, gradient_as_read, head_gradient, pool_gradient_into, through_bias,
    through_norm, totals, weight_gradient_as_read,
};

use super::forward::by_two;
use super::{Job, Value};
use crate::engine::plan::{After, Id, Step};

/// The gradient of each parameter, from the gradients (N, K, D, H, W) of each head's scores and the values that
/// [`run`](super::run) kept, which are dropped one by one.
///
/// # Errors
/// What a device gives.
pub(crate) fn gradients(
    job: &Job<'_>,
    mut values: Vec<Option<Value>>,
    scores: &[Tensor],
) -> Result<Vec<Option<Tensor>>> {
    let mut result: Vec<Option<Tensor>> = vec![None; job.parameters.len()];
    let mut sums = Sums { job, values: vec![None; values.len()] };
    let mut heads = scores.iter().rev();
    for (index, step) in job.plan.steps.iter().enumerate().rev() {
        match step {
            Step::Image => {}
            Step::Head { input, weight, bias, .. } => {
                let scores = heads.next().expect("there is a gradient for each head").detach();
                let Value { y, read } = values[*input].as_ref().expect("values are kept");
                let [for_y, for_weights, for_bias] =
                    head_gradient(&scores, y, read.as_ref(), &job.of_head(*weight)?)?;
                result[*bias] = Some(job.of_type(*bias, &for_bias)?);
                let for_weights = for_weights.reshape(job.parameters[*weight].shape())?;
                result[*weight] = Some(job.of_type(*weight, &for_weights)?);
                sums.add(*input, for_y)?;
            }
            Step::Convolve { params, inputs, weight, after, .. } => {
                let gradient = sums.take(index);
                let value = values[index].take().expect("values are kept");
                let gradient = through(job, after, &gradient, &value, &mut result)?;
                drop(value);
                if job.is_first_layer(step) {
                    let for_weights = first_layer_weight_gradient(job.image, &gradient)?;
                    result[*weight] = Some(job.of_type(*weight, &for_weights)?);
                    continue;
                }
                let (_, _, kd, kh, kw) = job.parameters[*weight].dims5()?;
                let image = job.image_for(inputs)?;
                let parts = Job::parts(inputs, &values, &image);
                let (_, d, h, w, _) = parts[0].0.dims5()?;
                let for_weights = weight_gradient_as_read(&parts, &gradient, [kd, kh, kw], params)?;
                result[*weight] = Some(job.of_type(*weight, &for_weights)?);
                if inputs.first().is_some_and(|&id| !matches!(job.plan.steps[id], Step::Image)) {
                    let weights = &job.parameters[*weight];
                    sums.split(inputs, &gradient_as_read(&gradient, weights, [d, h, w], params)?)?;
                }
            }
            Step::Pool { input, .. } => {
                let gradient = sums.take(index);
                values[index] = None;
                let below = values[*input].as_ref().expect("values are kept");
                let sum = sums.of(*input, &below.y)?;
                let read = below.read.clone().map_or_else(|| Read::identity(&below.y), Ok)?;
                pool_gradient_into(&sum, &below.y, &read, &gradient)?;
            }
            Step::Transpose { input, weight, bias, .. } => {
                let gradient = dense(sums.take(index))?;
                values[index] = None;
                result[*bias] = Some(job.of_type(*bias, &totals(&gradient)?)?);
                let below = Job::as_read(*input, &values)?;
                let for_weights = convolve_weight_gradient(&gradient, &below, [2; 3], &by_two())?;
                result[*weight] = Some(job.of_type(*weight, &first_from_last(&for_weights)?)?);
                drop(below);
                sums.add(*input, convolve(&gradient, &job.weights(*weight)?, &by_two())?)?;
            }
            Step::Upsample { .. } | Step::Add { .. } | Step::Sigmoid { .. } | Step::Gate { .. } => {
                unreachable!("`supports` knows no such step")
            }
        }
    }
    Ok(result)
}

/// The gradient for a convolution's own result, dense, from that for the result as it is read; the gradients of what
/// follows it go to `result`.
fn through(
    job: &Job<'_>,
    after: &After,
    gradient: &Tensor,
    value: &Value,
    result: &mut [Option<Tensor>],
) -> Result<Tensor> {
    let Some(read) = &value.read else { return dense(gradient.clone()) };
    match after {
        After::Norm(norm) => {
            let through = through_norm(gradient, &value.y, read, &job.parameters[norm.scale])?;
            result[norm.shift] = Some(job.of_type(norm.shift, &through.beta)?);
            result[norm.scale] = through.gamma.map(|g| job.of_type(norm.scale, &g)).transpose()?;
            if let Some(bias) = norm.bias {
                result[bias] = Some(job.parameters[bias].detach().zeros_like()?);
            }
            Ok(through.y)
        }
        After::Bias(bias) => {
            let through = through_bias(gradient, &value.y, read)?;
            result[*bias] = Some(job.of_type(*bias, &through.beta)?);
            Ok(through.y)
        }
        After::Nothing => unreachable!("nothing follows, and so it is read as it is"),
    }
}

/// (N, D, H, W, C) without gaps.
fn dense(gradient: Tensor) -> Result<Tensor> {
    if gradient.is_contiguous() { Ok(gradient) } else { activated(&[(&gradient, None)]) }
}

impl Job<'_> {
    /// The gradient of a parameter, of its shape, in its own type.
    fn of_type(&self, parameter: usize, gradient: &Tensor) -> Result<Tensor> {
        gradient.to_dtype(self.parameters[parameter].dtype())
    }
}

/// The gradient of each value as it is read, as far as its readers have been met: a tensor, or some of the channels of
/// one.
struct Sums<'a> {
    job: &'a Job<'a>,
    values: Vec<Option<Tensor>>,
}

impl Sums<'_> {
    fn take(&mut self, id: Id) -> Tensor {
        self.values[id].take().expect("every value is read")
    }

    /// Adds to the gradient of a value.
    fn add(&mut self, id: Id, gradient: Tensor) -> Result<()> {
        match &self.values[id] {
            None => self.values[id] = Some(gradient),
            Some(sum) => accumulate(sum, &gradient)?,
        }
        Ok(())
    }

    /// Adds to the gradients of values side by side.
    fn split(&mut self, ids: &[Id], gradient: &Tensor) -> Result<()> {
        let mut start = 0;
        for &id in ids {
            let count = self.job.plan.channels[id].count();
            self.add(id, gradient.narrow(4, start, count)?)?;
            start += count;
        }
        Ok(())
    }

    /// The gradient of a value, to add to.
    fn of(&mut self, id: Id, like: &Tensor) -> Result<Tensor> {
        match &self.values[id] {
            Some(sum) => Ok(sum.clone()),
            None => {
                let zeros = like.zeros_like()?;
                self.values[id] = Some(zeros.clone());
                Ok(zeros)
            }
        }
    }
}
