//! From the gradient of the scores to those of the parameters.

use organseg_conv3d::blocked::{
    Buffer, Channels, Input, InputPart, LANES, Line, Output, OutputPart, Source, gradient_sums,
    max_pool_gradient, norm_sums, upsample_gradient,
};

use super::forward::part;
use super::plan::{After, Id, Plan, Step};
use super::pointwise::{add_gradient, gate_gradient, sigmoid_gradient};
use super::shared::places;
use super::value::{Read, Value};

/// The gradient of each parameter, from the gradients (N, K, D, H, W) of each head's scores, one after the
/// other, and the values that [`run`](super::run) kept, which are dropped one by one.
pub(crate) fn gradients(
    plan: &Plan,
    parameters: &[&[f32]],
    image: &[f32],
    batch: usize,
    size: [usize; 3],
    mut values: Vec<Option<Value>>,
    scores: &[f32],
) -> Vec<Vec<f32>> {
    let mut result: Vec<Vec<f32>> = vec![Vec::new(); plan.parameters.iter().len()];
    let mut gradients = Gradients { plan, batch, size, values: (0..values.len()).map(|_| None).collect() };
    let mut others = scores;
    // Every step but the heads gave the value of its own number.
    for (index, step) in plan.steps.iter().enumerate().rev() {
        match step {
            Step::Image => {}
            Step::Head { convolution, turned, input, weight, bias } => {
                let at = values[*input].as_ref().expect("values are kept");
                let size = plan.size(*input, size);
                let voxels = size.iter().product::<usize>();
                // The last head's are at the end.
                let (rest, scores) = others.split_at(others.len() - batch * plan.classes * voxels);
                others = rest;
                result[*bias] = planar_sums(scores, plan.classes, voxels);
                let by_input = turned.weight_gradient(batch, size, Input::Planar(scores), at.source());
                let channels = plan.channels[*input].count();
                result[*weight] = (0..plan.classes * channels)
                    .map(|i| by_input[i % channels * plan.classes + i / channels])
                    .collect();
                let weights = convolution.adjoint_weights(parameters[*weight], size);
                gradients.write(&[*input], |parts| {
                    convolution.adjoint(
                        &weights,
                        batch,
                        size,
                        Input::Planar(scores),
                        Output::Blocks(parts),
                        None,
                    );
                });
            }
            Step::Convolve { convolution, inputs, weight, after, .. } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                let value = values[index].take().expect("values are kept");
                let terms = value
                    .read
                    .as_ref()
                    .map(|read| Terms::new(&gradient, &value, read, &plan.channels[index], batch));
                let source = match (&value.read, &terms) {
                    (Some(read), Some(terms)) => Source::Gradient {
                        gradient: &gradient,
                        values: &value.lines,
                        map: read.map(),
                        linear: &terms.linear,
                        constant: &terms.constant,
                    },
                    _ => Source::Plain(&gradient),
                };
                let from = inputs.first().map_or(size, |&id| plan.size(id, size));
                let parts: Vec<_> = inputs
                    .iter()
                    .map(|&id| part(plan, id, values[id].as_ref().expect("values are kept")))
                    .collect();
                let input = if parts.is_empty() { Input::Planar(image) } else { Input::Blocks(&parts) };
                result[*weight] = convolution.weight_gradient(batch, from, input, source);
                let wanted = inputs.first().is_some_and(|&id| !matches!(plan.steps[id], Step::Image));
                if wanted {
                    let weights = convolution.adjoint_weights(parameters[*weight], from);
                    let read = [InputPart { source, blocks: plan.channels[index].blocks() }];
                    gradients.write(inputs, |parts| {
                        convolution.adjoint(
                            &weights,
                            batch,
                            from,
                            Input::Blocks(&read),
                            Output::Blocks(parts),
                            None,
                        );
                    });
                }
                if let Some(terms) = terms {
                    match after {
                        After::Norm(norm) => {
                            result[norm.scale] = terms.for_scale;
                            result[norm.shift] = terms.for_shift;
                            if let Some(bias) = norm.bias {
                                result[bias] = terms.for_bias;
                            }
                        }
                        After::Bias(bias) => result[*bias] = terms.for_shift,
                        After::Nothing => {}
                    }
                }
            }
            Step::Add { inputs, slope } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                let sum = values[index].take().expect("values are kept");
                let gradient = add_gradient(gradient, &sum.lines, *slope as f32);
                gradients.add(inputs[0], gradient.clone());
                gradients.add(inputs[1], gradient);
            }
            Step::Sigmoid { input } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                let sigmoid = values[index].take().expect("values are kept");
                gradients.add(*input, sigmoid_gradient(gradient, &sigmoid.lines));
            }
            Step::Gate { input, gate } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                values[index] = None;
                let at = |id: Id| values[id].as_ref().expect("values are kept");
                let (blocks, voxels) =
                    (plan.channels[index].blocks(), plan.size(index, size).iter().product());
                let (for_input, for_gate) = gate_gradient(&gradient, at(*input), at(*gate), blocks, voxels);
                gradients.add(*input, for_input);
                gradients.add(*gate, for_gate);
            }
            Step::Pool { input, factors } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                values[index] = None;
                let at = values[*input].as_ref().expect("values are kept");
                let sum = gradients.sum(*input);
                max_pool_gradient(&at.source(), plan.size(*input, size), *factors, &gradient, sum);
            }
            Step::Transpose { convolution, input, weight, bias, .. } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                values[index] = None;
                let to = plan.size(index, size);
                let channels = &plan.channels[index];
                result[*bias] = channel_totals(&gradient, channels, to.iter().product());
                let read = [InputPart { source: Source::Plain(&gradient), blocks: channels.blocks() }];
                let at = values[*input].as_ref().expect("values are kept");
                result[*weight] = convolution.weight_gradient(batch, to, Input::Blocks(&read), at.source());
                let weights = convolution.weights(parameters[*weight], to);
                gradients.write(&[*input], |parts| {
                    convolution.forward(
                        &weights,
                        batch,
                        to,
                        Input::Blocks(&read),
                        Output::Blocks(parts),
                        None,
                    );
                });
            }
            Step::Upsample { input, factors } => {
                let Some(gradient) = gradients.values[index].take() else {
                    unreachable!("every value is read")
                };
                values[index] = None;
                let below = upsample_gradient(&gradient, plan.size(*input, size), *factors);
                gradients.add(*input, below);
            }
        }
    }
    result
}

/// The gradient of each value, as far as its readers have been met.
struct Gradients<'a> {
    plan: &'a Plan,
    batch: usize,
    size: [usize; 3],
    values: Vec<Option<Buffer>>,
}

impl Gradients<'_> {
    fn lines(&self, id: Id) -> usize {
        self.batch * self.plan.channels[id].blocks() * self.plan.size(id, self.size).iter().product::<usize>()
    }

    /// Has `write` write the gradients of values side by side, or add to what other readers gave.
    fn write(&mut self, ids: &[Id], write: impl FnOnce(Vec<OutputPart<'_>>)) {
        let mut taken: Vec<(Id, Buffer, bool)> = ids
            .iter()
            .map(|&id| match self.values[id].take() {
                Some(sum) => (id, sum, true),
                None => (id, Buffer::new(self.lines(id)), false),
            })
            .collect();
        let channels = &self.plan.channels;
        write(
            taken
                .iter_mut()
                .map(|(id, values, add)| OutputPart { values, blocks: channels[*id].blocks(), add: *add })
                .collect(),
        );
        for (id, values, _) in taken {
            self.values[id] = Some(values);
        }
    }

    /// The gradient of a value, to add to.
    fn sum(&mut self, id: Id) -> &mut Buffer {
        let lines = self.lines(id);
        self.values[id].get_or_insert_with(|| Buffer::zeros(lines))
    }

    /// Adds to the gradient of a value.
    fn add(&mut self, id: Id, gradient: Buffer) {
        match &mut self.values[id] {
            None => self.values[id] = Some(gradient),
            Some(sum) => {
                for (sum, line) in sum.iter_mut().zip(gradient.iter()) {
                    for (sum, value) in sum.0.iter_mut().zip(line.0) {
                        *sum += value;
                    }
                }
            }
        }
    }
}

/// What the gradient through a norm adds to scale · g′, and the gradients of its parameters:
/// dy = 1/σ (γ g′ − mean(γ g′) − x̂ mean(γ g′ x̂)) with x̂ = (y − mean) / σ and the means those over a set.
struct Terms {
    linear: Vec<Line>,
    constant: Vec<Line>,
    for_scale: Vec<f32>,
    for_shift: Vec<f32>,
    /// Of a bias before the norm.
    for_bias: Vec<f32>,
}

impl Terms {
    fn new(gradient: &Buffer, value: &Value, read: &Read, channels: &Channels, batch: usize) -> Self {
        let (blocks, count) = (batch * channels.blocks(), channels.count());
        let voxels = value.lines.len() / blocks.max(1);
        let zeros = vec![Line::ZERO; blocks];
        let norm = read.norm.as_ref();
        let (means, inverses) = norm.map_or((&zeros, &zeros), |norm| (&norm.means, &norm.inverses));
        let sums = norm_sums(gradient, &value.lines, read.map(), means, voxels);
        let (mut scale, mut shift, mut bias) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
        let (mut linear, mut constant) = (zeros.clone(), zeros.clone());
        let at = |lines: &[Line], block: usize, lane: usize| f64::from(lines[block].0[lane]);
        let mut sets = vec![[0.0; 2]; norm.map_or(0, |norm| norm.shared.sets(batch, count))];
        for place in places(batch, channels) {
            let (sums, inverse) = (&sums[place.block], at(inverses, place.block, place.lane));
            let for_scale = sums.product[place.lane] * inverse;
            scale[place.c] += for_scale;
            shift[place.c] += sums.gradient[place.lane];
            if let Some(norm) = norm {
                let factor = at(&read.scale, place.block, place.lane) / voxels as f64;
                let set = &mut sets[norm.shared.set(place.n, place.c, count)];
                set[0] -= factor * inverse * for_scale;
                set[1] -= factor * sums.gradient[place.lane];
            }
        }
        for place in places(batch, channels) {
            let Some(norm) = norm else { continue };
            let (block, lane) = (place.block, place.lane);
            let members = norm.shared.members(batch, count) as f64;
            let set = sets[norm.shared.set(place.n, place.c, count)].map(|sum| sum / members);
            let shifted = set[1] - set[0] * at(means, block, lane);
            linear[block].0[lane] = set[0] as f32;
            constant[block].0[lane] = shifted as f32;
            if !norm.own.is_empty() {
                let through = at(&read.scale, block, lane) * sums[block].gradient[lane];
                bias[place.c] += through + voxels as f64 * (set[0] * at(&norm.own, block, lane) + shifted);
            }
        }
        let [for_scale, for_shift, for_bias] =
            [scale, shift, bias].map(|values: Vec<f64>| values.into_iter().map(|v| v as f32).collect());
        Self { linear, constant, for_scale, for_shift, for_bias }
    }
}

/// Σ over samples and voxels of each channel.
fn channel_totals(gradient: &Buffer, channels: &Channels, voxels: usize) -> Vec<f32> {
    let mut totals = vec![[0.0; LANES]; channels.blocks()];
    for (i, sums) in gradient_sums(gradient, voxels).into_iter().enumerate() {
        for (total, sum) in totals[i % channels.blocks()].iter_mut().zip(sums) {
            *total += sum;
        }
    }
    by_channel(&totals, channels)
}

/// The lanes that are channels.
fn by_channel(blocks: &[[f64; LANES]], channels: &Channels) -> Vec<f32> {
    let mut left = channels.count();
    let mut values = Vec::with_capacity(left);
    for block in blocks {
        let count = left.min(LANES);
        values.extend(block[..count].iter().map(|&v| v as f32));
        left -= count;
    }
    values
}

/// Σ over samples and voxels of each channel of (N, C, voxels).
fn planar_sums(values: &[f32], channels: usize, voxels: usize) -> Vec<f32> {
    let mut sums = vec![0.0; channels];
    for (i, values) in values.chunks(voxels.max(1)).enumerate() {
        // Pieces in `f32`, which vectorise, joined in doubles.
        for piece in values.chunks(4096) {
            let mut lanes = [0f32; LANES];
            for row in piece.chunks(LANES) {
                for (lane, value) in lanes.iter_mut().zip(row) {
                    *lane += value;
                }
            }
            sums[i % channels] += lanes.iter().map(|&v| f64::from(v)).sum::<f64>();
        }
    }
    sums.into_iter().map(|v| v as f32).collect()
}
