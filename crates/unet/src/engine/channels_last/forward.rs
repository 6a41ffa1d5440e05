//! From the image to the scores.

use candle_core::{Result, Tensor};
use organseg_conv3d::Conv3dParams;
use organseg_conv3d::channels_last::{
    Norm, Read, bias_read, convolve_as_read, convolve_input_gradient, first_layer, head, norm_read, pool,
};

use super::{Job, Value};
use crate::engine::forward::Keep;
use crate::engine::plan::{After, Heads, Step, reads};
use crate::engine::shared::NORM_EPSILON;

/// What a run gave.
pub(crate) struct Outcome {
    /// Scores (N, K, D, H, W) of each head, of the type of the parameters.
    pub(crate) scores: Vec<Tensor>,
    /// The values that are left.
    pub(crate) values: Vec<Option<Value>>,
}

/// Runs the network.
///
/// # Errors
/// What a device gives.
pub(crate) fn run(job: &Job<'_>, heads: Heads, keep: Keep) -> Result<Outcome> {
    let last = job.plan.last_readers(heads);
    let mut out = Outcome { scores: Vec::new(), values: Vec::new() };
    for (index, step) in job.plan.steps(heads).iter().enumerate() {
        if let Step::Head { input, weight, bias, .. } = step {
            let Value { y, read } =
                out.values[*input].as_ref().expect("a value is there until its last reader");
            let (weights, bias) = (job.of_head(*weight)?, &job.parameters[*bias]);
            out.scores.push(head(y, read.as_ref(), &weights, bias)?.to_dtype(bias.dtype())?);
        } else {
            let value = value(job, step, &out.values)?;
            out.values.push(Some(value));
        }
        if keep == Keep::UntilRead {
            for id in reads(step) {
                if last[id] == index {
                    out.values[id] = None;
                }
            }
        }
    }
    Ok(out)
}

/// What a step gives.
fn value(job: &Job<'_>, step: &Step, values: &[Option<Value>]) -> Result<Value> {
    let batch = job.image.dim(0)?;
    let parameter = |id: usize| job.parameters[id].detach();
    match step {
        Step::Image => Ok(Value { y: job.image()?, read: None }),
        Step::Convolve { params, inputs, weight, after, slope, .. } => {
            let with_norm = matches!(after, After::Norm(_));
            let (y, sums) = if job.is_first_layer(step) {
                first_layer(job.image, &job.parameters[*weight], job.number, with_norm)?
            } else {
                let image = job.image_for(inputs)?;
                let parts = Job::parts(inputs, values, &image);
                convolve_as_read(&parts, &job.parameters[*weight], params, with_norm)?
            };
            let read = match after {
                // A bias before an instance norm has no effect.
                After::Norm(norm) => {
                    let (gamma, beta) = (&parameter(norm.scale), &parameter(norm.shift));
                    let norm = Norm { gamma, beta, epsilon: NORM_EPSILON, slope: *slope };
                    Some(norm_read(&y, sums.as_ref(), &norm)?)
                }
                After::Bias(bias) => Some(bias_read(&parameter(*bias), batch, job.number, *slope)?),
                After::Nothing => None,
            };
            Ok(Value { y, read })
        }
        Step::Pool { input, .. } => {
            let below = values[*input].as_ref().expect("a value is there until its last reader");
            let identity;
            let read = match &below.read {
                Some(read) => read,
                None => {
                    identity = Read::identity(&below.y)?;
                    &identity
                }
            };
            Ok(Value { y: pool(&below.y, read)?, read: None })
        }
        Step::Transpose { input, weight, bias, .. } => {
            let below = Job::as_read(*input, values)?;
            let (_, d, h, w, _) = below.dims5()?;
            let y =
                convolve_input_gradient(&below, &job.weights(*weight)?, [2 * d, 2 * h, 2 * w], &by_two())?;
            let read = bias_read(&parameter(*bias), batch, job.number, 1.0)?;
            Ok(Value { y, read: Some(read) })
        }
        Step::Upsample { .. }
        | Step::Add { .. }
        | Step::Sigmoid { .. }
        | Step::Gate { .. }
        | Step::Head { .. } => {
            unreachable!("`supports` knows no such step, and a head gives scores")
        }
    }
}

/// The convolution that a transposed one by two is the adjoint of.
pub(super) fn by_two() -> Conv3dParams {
    Conv3dParams { stride: [2; 3], ..Conv3dParams::default() }
}
