//! From the image to the scores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use organseg_conv3d::blocked::{
    Buffer, Channels, Input, InputPart, Output, OutputPart, Weights, max_pool, to_blocks, upsample,
};

use super::plan::{After, Heads, Id, Plan, Step, reads};
use super::pointwise::{add, gate, sigmoid};
use super::shared::{BatchStatistics, Statistics, statistics};
use super::value::{NormParameters, Read, Value, lines};

/// What becomes of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All are kept, for gradients.
    All,
    /// Each is dropped after its last reader.
    UntilRead,
}

/// What a run is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) keep: Keep,
    pub(crate) heads: Heads,
    pub(crate) statistics: Statistics,
}

/// What a run gave.
pub(crate) struct Outcome {
    /// Scores (N, K, D, H, W) of each head.
    pub(crate) scores: Vec<Vec<f32>>,
    /// The values that are left.
    pub(crate) values: Vec<Option<Value>>,
    /// Of each batch norm that took its statistics from the batch.
    pub(crate) statistics: Vec<BatchStatistics>,
}

/// Prepared weights of steps, for networks whose weights do not change.
#[derive(Debug, Default)]
pub(crate) struct WeightCache(Mutex<HashMap<CacheKey, Arc<Weights<'static>>>>);

/// Number of the step, and whether it goes by Winograd's algorithm: all that prepared weights depend on.
type CacheKey = (usize, bool);

impl WeightCache {
    /// Drops all of them.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The weights of `key`. Not made under the lock: making them shares work out to other threads, which
    /// may take up another prediction meanwhile and ask for the same.
    fn get(&self, key: CacheKey, make: impl FnOnce() -> Weights<'static>) -> Arc<Weights<'static>> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().get(&key).cloned();
        known.unwrap_or_else(|| {
            let made = Arc::new(make());
            lock().entry(key).or_insert(made).clone()
        })
    }
}

/// Runs `plan` on an image (N, C, D, H, W) of `size`, whose axes the network's halvings divide.
pub(crate) fn run(
    plan: &Plan,
    parameters: &[&[f32]],
    image: &[f32],
    batch: usize,
    size: [usize; 3],
    run: Run,
    cache: Option<&WeightCache>,
) -> Outcome {
    let last = plan.last_readers(run.heads);
    let mut forward = Forward { plan, parameters, image, batch, size, run, cache, out: Outcome::new() };
    for (index, step) in plan.steps(run.heads).iter().enumerate() {
        if let Step::Head { .. } = step {
            let scores = forward.scores(index, step);
            forward.out.scores.push(scores);
        } else {
            let value = forward.value(index, step);
            forward.out.values.push(Some(value));
        }
        if run.keep == Keep::UntilRead {
            for id in reads(step) {
                if last[id] == index {
                    forward.out.values[id] = None;
                }
            }
        }
    }
    forward.out
}

impl Outcome {
    fn new() -> Self {
        Self { scores: Vec::new(), values: Vec::new(), statistics: Vec::new() }
    }
}

/// A run on its way.
struct Forward<'a> {
    plan: &'a Plan,
    parameters: &'a [&'a [f32]],
    image: &'a [f32],
    batch: usize,
    size: [usize; 3],
    run: Run,
    cache: Option<&'a WeightCache>,
    out: Outcome,
}

impl Forward<'_> {
    fn at(&self, id: Id) -> &Value {
        self.out.values[id].as_ref().expect("a value is there until its last reader")
    }

    fn voxels(&self, id: Id) -> usize {
        self.plan.size(id, self.size).iter().product()
    }

    /// What step `id` gives.
    fn value(&mut self, id: Id, step: &Step) -> Value {
        let (plan, batch, size) = (self.plan, self.batch, self.size);
        let channels = &plan.channels[id];
        let lines = match step {
            Step::Image => to_blocks(self.image, channels, self.voxels(id)),
            Step::Convolve { .. } => return self.convolve(id, step),
            Step::Pool { input, factors } => {
                max_pool(&self.at(*input).source(), plan.size(*input, size), *factors)
            }
            Step::Transpose { convolution, input, weight, bias, .. } => {
                let to = plan.size(id, size);
                let weight = self.parameters[*weight];
                let to_keep = || convolution.adjoint_weights_to_keep(weight, to);
                let key = (id, convolution.uses_winograd(to));
                let weights = prepare(self.cache, key, to_keep, || convolution.adjoint_weights(weight, to));
                let mut y = Buffer::new(batch * channels.blocks() * self.voxels(id));
                let output = OutputPart { values: &mut y, blocks: channels.blocks(), add: false };
                let input = [part(plan, *input, self.at(*input))];
                let bias = lines(self.parameters[*bias], channels);
                let output = Output::Blocks(vec![output]);
                convolution.adjoint(&weights, batch, to, Input::Blocks(&input), output, Some(&bias));
                y
            }
            Step::Upsample { input, factors } => {
                upsample(&self.at(*input).source(), plan.size(*input, size), *factors)
            }
            Step::Add { inputs, slope } => add(inputs.map(|id| self.at(id)), self.voxels(id), *slope as f32),
            Step::Sigmoid { input } => sigmoid(self.at(*input), self.voxels(id), channels.count()),
            Step::Gate { input, gate: by } => {
                gate(self.at(*input), self.at(*by), channels.blocks(), self.voxels(id))
            }
            Step::Head { .. } => unreachable!("a head gives scores"),
        };
        Value::plain(lines)
    }

    fn convolve(&mut self, id: Id, step: &Step) -> Value {
        let Step::Convolve { convolution, inputs, weight, after, slope, .. } = step else {
            unreachable!("the step is a convolution")
        };
        let (plan, batch, parameters) = (self.plan, self.batch, self.parameters);
        let from = inputs.first().map_or(self.size, |&id| plan.size(id, self.size));
        let weight = parameters[*weight];
        let (to_keep, for_once) =
            (|| convolution.weights_to_keep(weight, from), || convolution.weights(weight, from));
        let weights = prepare(self.cache, (id, convolution.uses_winograd(from)), to_keep, for_once);
        let parts: Vec<InputPart<'_>> = inputs.iter().map(|&id| part(plan, id, self.at(id))).collect();
        let input = if parts.is_empty() { Input::Planar(self.image) } else { Input::Blocks(&parts) };
        let (channels, slope) = (&plan.channels[id], *slope as f32);
        let mut y = Buffer::new(batch * channels.blocks() * self.voxels(id));
        let plain = |y: &mut Buffer| {
            let output = OutputPart { values: y, blocks: channels.blocks(), add: false };
            convolution.forward(&weights, batch, from, input, Output::Blocks(vec![output]), None);
        };
        let read = match after {
            After::Nothing => {
                plain(&mut y);
                None
            }
            After::Bias(bias) => {
                plain(&mut y);
                Some(Read::bias(parameters[*bias], channels, batch, slope))
            }
            After::Norm(norm) => {
                let of = NormParameters {
                    scale: parameters[norm.scale],
                    shift: parameters[norm.shift],
                    bias: norm.bias.map(|bias| parameters[bias]),
                };
                Some(match norm.running {
                    Some(running) if self.run.statistics == Statistics::Running => {
                        plain(&mut y);
                        Read::running(running.map(|id| parameters[id]), &of, channels, batch, slope)
                    }
                    running => {
                        let moments = convolution.forward_with_moments(&weights, batch, from, input, &mut y);
                        let sets = statistics(norm.shared, &moments, of.bias, batch, channels);
                        if let Some(running) = running {
                            let values = batch * self.voxels(id);
                            self.out.statistics.push(BatchStatistics::new(running, &sets, values));
                        }
                        Read::norm(norm.shared, &sets, &moments, &of, channels, slope)
                    }
                })
            }
        };
        Value { lines: y, read }
    }

    /// The scores of the head at `index`.
    fn scores(&self, index: usize, step: &Step) -> Vec<f32> {
        let Step::Head { convolution, input, weight, bias, .. } = step else {
            unreachable!("the step is a head")
        };
        let (plan, size) = (self.plan, self.plan.size(*input, self.size));
        let weight = self.parameters[*weight];
        let to_keep = || convolution.weights_to_keep(weight, size);
        let key = (index, convolution.uses_winograd(size));
        let weights = prepare(self.cache, key, to_keep, || convolution.weights(weight, size));
        let bias = to_blocks(self.parameters[*bias], &Channels::new(&[plan.classes]), 1);
        let mut scores = vec![0.0; self.batch * plan.classes * size.iter().product::<usize>()];
        let input = [part(plan, *input, self.at(*input))];
        let output = Output::Planar(&mut scores);
        convolution.forward(&weights, self.batch, size, Input::Blocks(&input), output, Some(&bias));
        scores
    }
}

/// Weights of a step: from the cache, or for this time only.
fn prepare<'a>(
    cache: Option<&WeightCache>,
    key: CacheKey,
    to_keep: impl FnOnce() -> Weights<'static>,
    for_once: impl FnOnce() -> Weights<'a>,
) -> Arc<Weights<'a>> {
    match cache {
        Some(cache) => cache.get(key, to_keep),
        None => Arc::new(for_once()),
    }
}

/// Value `id` as a convolution reads it.
pub(super) fn part<'a>(plan: &Plan, id: Id, value: &'a Value) -> InputPart<'a> {
    InputPart { source: value.source(), blocks: plan.channels[id].blocks() }
}
