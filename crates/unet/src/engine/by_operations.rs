//! The network by one operation of candle's after the other: any number type, any device, any gradient.

use candle_core::{Result, Tensor};
use organseg_conv3d::{
    Activation, Conv3dParams, conv_transpose3d, conv3d, instance_norm, max_pool3d, upsample_trilinear3d,
};

use super::plan::{After, Heads, Id, NormStep, Plan, Step, reads};
use super::shared::{BatchStatistics, NORM_EPSILON, Shared, Statistics};

/// Scores (N, K, D, H, W) of `image` by each of `heads`, and what batch norms saw if they look at the batch.
pub(crate) fn by_operations(
    plan: &Plan,
    parameters: &[Tensor],
    image: &Tensor,
    heads: Heads,
    statistics: Statistics,
) -> Result<(Vec<Tensor>, Vec<BatchStatistics>)> {
    let last = plan.last_readers(heads);
    let mut run = Operations { parameters, image, statistics, values: Vec::new(), seen: Vec::new() };
    let mut scores = Vec::new();
    for (index, step) in plan.steps(heads).iter().enumerate() {
        let result = run.step(step)?;
        if let Step::Head { .. } = step {
            scores.push(result);
        } else {
            run.values.push(Some(result));
        }
        for id in reads(step) {
            if last[id] == index {
                run.values[id] = None;
            }
        }
    }
    Ok((scores, run.seen))
}

struct Operations<'a> {
    parameters: &'a [Tensor],
    image: &'a Tensor,
    statistics: Statistics,
    values: Vec<Option<Tensor>>,
    seen: Vec<BatchStatistics>,
}

impl Operations<'_> {
    fn at(&self, id: Id) -> &Tensor {
        self.values[id].as_ref().expect("a value is there until its last reader")
    }

    fn step(&mut self, step: &Step) -> Result<Tensor> {
        let parameters = self.parameters;
        match step {
            Step::Image => Ok(self.image.clone()),
            Step::Convolve { params, inputs, weight, after, slope, .. } => {
                let x = match inputs.as_slice() {
                    [] => self.image.clone(),
                    [input] => self.at(*input).clone(),
                    several => Tensor::cat(&several.iter().map(|&id| self.at(id)).collect::<Vec<_>>(), 1)?,
                };
                let bias = match after {
                    After::Norm(norm) => norm.bias,
                    After::Bias(bias) => Some(*bias),
                    After::Nothing => None,
                };
                let y = conv3d(&x, &parameters[*weight], bias.map(|id| &parameters[id]), params)?;
                match after {
                    After::Norm(norm) => self.normalize(&y, norm, *slope),
                    After::Bias(_) => activate(&y, *slope),
                    After::Nothing => Ok(y),
                }
            }
            Step::Pool { input, factors } => max_pool3d(self.at(*input), *factors, *factors),
            Step::Transpose { input, weight, bias, factors, .. } => {
                conv_transpose3d(self.at(*input), &parameters[*weight], Some(&parameters[*bias]), *factors)
            }
            Step::Upsample { input, factors: [z, y, x] } => {
                let (_, _, d, h, w) = self.at(*input).dims5()?;
                upsample_trilinear3d(self.at(*input), [z * d, y * h, x * w])
            }
            Step::Add { inputs: [a, b], slope } => activate(&(self.at(*a) + self.at(*b))?, *slope),
            Step::Sigmoid { input } => candle_nn::ops::sigmoid(self.at(*input)),
            Step::Gate { input, gate } => self.at(*input).broadcast_mul(self.at(*gate)),
            Step::Head { input, weight, bias, .. } => {
                let params = Conv3dParams::default();
                conv3d(self.at(*input), &parameters[*weight], Some(&parameters[*bias]), &params)
            }
        }
    }

    /// Norm and activation of `y` (N, C, D, H, W).
    fn normalize(&mut self, y: &Tensor, norm: &NormStep, slope: f64) -> Result<Tensor> {
        let (n, c, d, h, w) = y.dims5()?;
        let (scale, shift) = (&self.parameters[norm.scale], &self.parameters[norm.shift]);
        let activation = Activation::LeakyRelu { slope };
        let by_channel = |v: &Tensor| v.reshape((1, c, 1, 1, 1));
        match norm.shared {
            Shared::Instance => instance_norm(y, scale, shift, NORM_EPSILON, activation),
            // The channels of a group as one channel of more voxels.
            Shared::Group(groups) => {
                let one = Tensor::ones(groups, y.dtype(), y.device())?;
                let joined = y.reshape((n, groups, c / groups * d, h, w))?;
                let normal =
                    instance_norm(&joined, &one, &one.zeros_like()?, NORM_EPSILON, Activation::None)?;
                let normal = normal.reshape((n, c, d, h, w))?;
                let scaled = normal.broadcast_mul(&by_channel(scale)?)?.broadcast_add(&by_channel(shift)?)?;
                activate(&scaled, slope)
            }
            Shared::Batch => {
                let running = norm.running.expect("a batch norm has running statistics");
                if self.statistics == Statistics::Running {
                    let [mean, variance] = running.map(|id| &self.parameters[id]);
                    let factor = (scale / (variance + NORM_EPSILON)?.sqrt()?)?;
                    let offset = (shift - (mean * &factor)?)?;
                    let scaled =
                        y.broadcast_mul(&by_channel(&factor)?)?.broadcast_add(&by_channel(&offset)?)?;
                    return activate(&scaled, slope);
                }
                // All samples as one sample of more voxels.
                let joined = y.transpose(0, 1)?.reshape((1, c, n * d, h, w))?;
                self.seen.push(seen(&joined.detach(), running)?);
                let normal = instance_norm(&joined, scale, shift, NORM_EPSILON, activation)?;
                normal.reshape((c, n, d, h, w))?.transpose(0, 1)?.contiguous()
            }
        }
    }
}

/// Mean and variance of each channel of `y` (1, C, D, H, W).
fn seen(y: &Tensor, running: [usize; 2]) -> Result<BatchStatistics> {
    let y = y.flatten_from(2)?.squeeze(0)?.to_dtype(candle_core::DType::F64)?;
    let mean = y.mean_keepdim(1)?;
    let variance = y.broadcast_sub(&mean)?.sqr()?.mean(1)?.to_vec1::<f64>()?;
    let sets: Vec<[f64; 2]> =
        mean.squeeze(1)?.to_vec1::<f64>()?.into_iter().zip(variance).map(|(m, v)| [m, v]).collect();
    Ok(BatchStatistics::new(running, &sets, y.dim(1)?))
}

/// Leaky ReLU of `slope` below zero; 1 is none.
fn activate(x: &Tensor, slope: f64) -> Result<Tensor> {
    match slope {
        1.0 => Ok(x.clone()),
        0.0 => x.relu(),
        _ => candle_nn::ops::leaky_relu(x, slope),
    }
}
