//! From the image to the scores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use organseg_conv3d::blocked::{
    Buffer, Input, InputPart, Output, OutputPart, Weights, max_pool, to_blocks, upsample,
};

use super::plan::{After, Id, Plan, Step};
use super::value::{Read, Value, lines};

/// What becomes of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All are kept, for gradients.
    All,
    /// Each is dropped after its last reader.
    UntilRead,
}

/// Prepared weights of steps, for networks whose weights do not change.
#[derive(Debug, Default)]
pub(crate) struct WeightCache(Mutex<HashMap<CacheKey, Arc<Weights<'static>>>>);

/// Number of the step, and whether it goes by Winograd's algorithm: all that prepared weights depend on.
type CacheKey = (usize, bool);

impl WeightCache {
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

/// Scores (N, K, D, H, W) of `image` (N, C, D, H, W) of `size`, whose axes the network's halvings divide,
/// and the values that are left.
pub(crate) fn run(
    plan: &Plan,
    parameters: &[&[f32]],
    image: &[f32],
    batch: usize,
    size: [usize; 3],
    keep: Keep,
    cache: Option<&WeightCache>,
) -> (Vec<f32>, Vec<Option<Value>>) {
    let mut values: Vec<Option<Value>> = Vec::new();
    let mut last = vec![0; plan.channels.len()];
    for step in 0..plan.steps.len() {
        for id in plan.reads(step) {
            last[id] = step;
        }
    }
    let mut scores = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let voxels = |id: Id| plan.size(id, size).iter().product::<usize>();
        let at = |id: Id| values[id].as_ref().expect("a value is there until its last reader");
        let id = values.len();
        match step {
            Step::Image => {
                let lines = to_blocks(image, &plan.channels[id], voxels(id));
                values.push(Some(Value::plain(lines)));
            }
            Step::Convolve { convolution, inputs, weight, after } => {
                let from = inputs.first().map_or(size, |&id| plan.size(id, size));
                let weight = parameters[*weight];
                let (to_keep, for_once) =
                    (|| convolution.weights_to_keep(weight, from), || convolution.weights(weight, from));
                let weights = prepare(cache, (index, convolution.uses_winograd(from)), to_keep, for_once);
                let parts: Vec<InputPart<'_>> = inputs.iter().map(|&id| part(plan, id, at(id))).collect();
                let input = if parts.is_empty() { Input::Planar(image) } else { Input::Blocks(&parts) };
                let channels = &plan.channels[id];
                let mut y = Buffer::new(batch * channels.blocks() * voxels(id));
                let read = match *after {
                    After::Norm { scale, shift } => {
                        let moments = convolution.forward_with_moments(&weights, batch, from, input, &mut y);
                        Read::norm(&moments, parameters[scale], parameters[shift], channels, plan.slope)
                    }
                    After::Bias(bias) => {
                        let output = OutputPart { values: &mut y, blocks: channels.blocks(), add: false };
                        convolution.forward(&weights, batch, from, input, Output::Blocks(vec![output]), None);
                        Read::bias(parameters[bias], channels, batch, plan.slope)
                    }
                };
                values.push(Some(Value { lines: y, read: Some(read) }));
            }
            Step::Pool { input } => {
                let lines = max_pool(&at(*input).source(), plan.size(*input, size));
                values.push(Some(Value::plain(lines)));
            }
            Step::Transpose { convolution, input, weight, bias } => {
                let to = plan.size(id, size);
                let weight = parameters[*weight];
                let to_keep = || convolution.adjoint_weights_to_keep(weight, to);
                let key = (index, convolution.uses_winograd(to));
                let weights = prepare(cache, key, to_keep, || convolution.adjoint_weights(weight, to));
                let channels = &plan.channels[id];
                let mut y = Buffer::new(batch * channels.blocks() * voxels(id));
                let output = OutputPart { values: &mut y, blocks: channels.blocks(), add: false };
                let input = [part(plan, *input, at(*input))];
                let bias = lines(parameters[*bias], channels);
                let output = Output::Blocks(vec![output]);
                convolution.adjoint(&weights, batch, to, Input::Blocks(&input), output, Some(&bias));
                values.push(Some(Value::plain(y)));
            }
            Step::Upsample { input } => {
                let lines = upsample(&at(*input).source(), plan.size(*input, size));
                values.push(Some(Value::plain(lines)));
            }
            Step::Head { convolution, input, weight, bias, .. } => {
                let weight = parameters[*weight];
                let to_keep = || convolution.weights_to_keep(weight, size);
                let weights = prepare(cache, (index, convolution.uses_winograd(size)), to_keep, || {
                    convolution.weights(weight, size)
                });
                let bias = to_blocks(
                    parameters[*bias],
                    &organseg_conv3d::blocked::Channels::new(&[plan.classes]),
                    1,
                );
                scores = vec![0.0; batch * plan.classes * size.iter().product::<usize>()];
                let input = [part(plan, *input, at(*input))];
                let output = Output::Planar(&mut scores);
                convolution.forward(&weights, batch, size, Input::Blocks(&input), output, Some(&bias));
            }
        }
        if keep == Keep::UntilRead {
            for id in plan.reads(index) {
                if last[id] == index {
                    values[id] = None;
                }
            }
        }
    }
    (scores, values)
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
