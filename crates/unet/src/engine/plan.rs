//! What is computed from what: the network as a list of steps over numbered values.
//!
//! The one description of a network. It is carried out in blocks ([`run`](super::run)) or by candle's
//! operations ([`by_operations`](super::by_operations)).

use organseg_conv3d::Conv3dParams;
use organseg_conv3d::blocked::{Channels, Convolution};

use super::parameters::{Parameter, Parameters};
use super::shared::Shared;
use crate::{Blocks, Downsampling, Norm, Skips, UnetConfig, Upsampling};

/// By how much a resolution is lowered or raised along (D, H, W): 1 or 2.
pub(super) type Factors = [usize; 3];

/// How often each of (D, H, W) is halved.
pub(super) type Halvings = [u32; 3];

/// Number of a value: what a step gives and others read.
pub(super) type Id = usize;

/// A step. Each gives the value of its own number, but for the heads at the end, which give scores.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The image in blocks, where it has many channels.
    Image,
    /// Convolution with what follows it. No inputs: the image, channel by channel.
    Convolve {
        convolution: Convolution,
        params: Conv3dParams,
        inputs: Vec<Id>,
        weight: Parameter,
        after: After,
        /// Slope of the activation below zero; 1 is none.
        slope: f64,
    },
    /// Max pooling by 1 or 2 along (D, H, W).
    Pool { input: Id, factors: Factors },
    /// Transposed convolution by that; `convolution` is what it is the adjoint of.
    Transpose { convolution: Convolution, input: Id, weight: Parameter, bias: Parameter, factors: Factors },
    /// Trilinear upsampling by that.
    Upsample { input: Id, factors: Factors },
    /// act(a + b), with an activation of this slope below zero.
    Add { inputs: [Id; 2], slope: f64 },
    /// 1 / (1 + e^−x).
    Sigmoid { input: Id },
    /// Every channel of `input` times the one of `gate`.
    Gate { input: Id, gate: Id },
    /// 1×1×1 convolution to scores. `turned` is it with the scores as input.
    Head { convolution: Convolution, turned: Convolution, input: Id, weight: Parameter, bias: Parameter },
}

/// What follows a convolution, before the activation.
#[derive(Clone, Debug)]
pub(super) enum After {
    /// A norm.
    Norm(NormStep),
    /// A bias.
    Bias(Parameter),
    /// Nothing, and no activation.
    Nothing,
}

/// scale (y + bias − mean) / √(variance + ε) + shift.
#[derive(Clone, Debug)]
pub(super) struct NormStep {
    pub(super) shared: Shared,
    pub(super) bias: Option<Parameter>,
    pub(super) scale: Parameter,
    pub(super) shift: Parameter,
    /// Mean and variance for predictions, of a batch norm.
    pub(super) running: Option<[Parameter; 2]>,
}

/// A network, ready to run on images of any size.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Channels of each value.
    pub(super) channels: Vec<Channels>,
    /// How often each image axis has been halved for each value.
    pub(super) halvings: Vec<Halvings>,
    pub(super) classes: usize,
    /// The tensors that it has.
    pub(crate) parameters: Parameters,
}

/// Channels of an image from which on it is put into blocks.
const BLOCKED_IMAGE: usize = 5;

impl Plan {
    /// The network of `config`. Parameters are numbered level by level on the way down, then on the way up
    /// from the deepest, then the heads.
    pub(crate) fn new(config: &UnetConfig) -> Self {
        let mut plan = Self {
            steps: Vec::new(),
            channels: Vec::new(),
            halvings: Vec::new(),
            classes: config.classes,
            parameters: Parameters::default(),
        };
        let mut x: Vec<Id> = Vec::new();
        if config.in_channels >= BLOCKED_IMAGE {
            x.push(plan.push(Step::Image, Channels::new(&[config.in_channels]), [0; 3]));
        }
        let mut across = Vec::new();
        for (level, &outputs) in config.channels.iter().enumerate() {
            let mut stride = [1; 3];
            if level > 0 {
                across.push(x[0]);
                let factors = factors(config, level);
                if config.downsampling == Downsampling::Strided {
                    stride = factors;
                } else {
                    let channels = plan.channels[x[0]].clone();
                    let halvings = halved(plan.halvings[x[0]], factors);
                    x = vec![plan.push(Step::Pool { input: x[0], factors }, channels, halvings)];
                }
            }
            x = vec![plan.block(config, &format!("down{level}"), &x, outputs, stride)];
        }
        let mut decoded = vec![(String::new(), x[0])];
        for (level, pair) in config.channels.windows(2).enumerate().rev() {
            let name = format!("up{level}");
            let factors = factors(config, level + 1);
            let (below, skip) = (x[0], across.pop().expect("each level but the deepest went across"));
            // The gate first: what it reads is gone before what comes from below takes room at this level.
            let skip = if config.attention { plan.gate(config, &name, skip, below, factors) } else { skip };
            let raised = plan.raise(config, &name, below, pair[0], factors);
            let inputs = match config.skips {
                Skips::Concatenated => vec![skip, raised],
                Skips::RaisedFirst => vec![raised, skip],
                Skips::Summed => {
                    let (channels, halvings) = (plan.channels[skip].clone(), plan.halvings[skip]);
                    let sum = Step::Add { inputs: [skip, raised], slope: 1.0 };
                    vec![plan.push(sum, channels, halvings)]
                }
            };
            x = vec![plan.block(config, &name, &inputs, pair[0], [1; 3])];
            decoded.push((format!("{name}."), x[0]));
        }
        plan.head(config, "", x[0]);
        for (name, input) in decoded.iter().rev().skip(1).take(config.deep_supervision) {
            plan.head(config, name, *input);
        }
        plan
    }

    /// The convolutions of a level, the first of `stride`.
    fn block(
        &mut self,
        config: &UnetConfig,
        name: &str,
        inputs: &[Id],
        outputs: usize,
        stride: Factors,
    ) -> Id {
        let slope = config.negative_slope;
        let residual = config.blocks == Blocks::Residual;
        let mut x = inputs.to_vec();
        for i in 0..config.convolutions_per_level {
            let last = i + 1 == config.convolutions_per_level;
            let kernel = Kernel { size: [3; 3], stride: if i == 0 { stride } else { [1; 3] } };
            let slope = if residual && last { 1.0 } else { slope };
            x = vec![self.convolve(config, &format!("{name}.conv{i}"), &x, outputs, kernel, slope)];
        }
        if !residual {
            return x[0];
        }
        let shortcut = match *inputs {
            [input] if stride == [1; 3] && self.channels[input].count() == outputs => input,
            _ => {
                let kernel = Kernel { size: [1; 3], stride };
                self.convolve(config, &format!("{name}.shortcut"), inputs, outputs, kernel, 1.0)
            }
        };
        let (channels, halvings) = (self.channels[x[0]].clone(), self.halvings[x[0]]);
        self.push(Step::Add { inputs: [x[0], shortcut], slope }, channels, halvings)
    }

    /// A convolution with the network's norm or a bias.
    fn convolve(
        &mut self,
        config: &UnetConfig,
        name: &str,
        inputs: &[Id],
        outputs: usize,
        kernel: Kernel,
        slope: f64,
    ) -> Id {
        let channels = self.count(config, inputs);
        let weight = self.parameters.weight(&format!("{name}.weight"), [outputs, channels], kernel.size);
        let parameters = &mut self.parameters;
        let after = match config.norm {
            Norm::None => After::Bias(parameters.vector(&format!("{name}.bias"), outputs, 0.0)),
            norm => {
                let bias = config.bias.then(|| parameters.vector(&format!("{name}.bias"), outputs, 0.0));
                let scale = parameters.vector(&format!("{name}.norm.scale"), outputs, 1.0);
                let shift = parameters.vector(&format!("{name}.norm.shift"), outputs, 0.0);
                let running = (norm == Norm::Batch).then(|| {
                    let mean = parameters.statistic(&format!("{name}.norm.mean"), outputs, 0.0);
                    [mean, parameters.statistic(&format!("{name}.norm.variance"), outputs, 1.0)]
                });
                let shared = match norm {
                    Norm::Group => Shared::Group(config.groups),
                    Norm::Batch => Shared::Batch,
                    Norm::Instance | Norm::None => Shared::Instance,
                };
                After::Norm(NormStep { shared, bias, scale, shift, running })
            }
        };
        self.push_convolution(config, inputs, outputs, kernel, weight, after, slope)
    }

    /// Adds a convolution whose parameters there are.
    #[expect(clippy::too_many_arguments, reason = "what a convolution is made of")]
    fn push_convolution(
        &mut self,
        config: &UnetConfig,
        inputs: &[Id],
        outputs: usize,
        kernel: Kernel,
        weight: Parameter,
        after: After,
        slope: f64,
    ) -> Id {
        let params = Conv3dParams {
            stride: kernel.stride,
            padding: kernel.size.map(|n| usize::from(n == 3)),
            algorithm: config.algorithm,
        };
        let parts: Vec<usize> = match inputs {
            [] => vec![config.in_channels],
            _ => inputs.iter().map(|&id| self.channels[id].count()).collect(),
        };
        let channels = Channels::new(&[outputs]);
        let mut convolution = Convolution::new(kernel.size, params, Channels::new(&parts), channels.clone());
        if inputs.is_empty() {
            convolution = convolution.with_planar_input();
        }
        let halvings = halved(inputs.first().map_or([0; 3], |&id| self.halvings[id]), kernel.stride);
        let inputs = inputs.to_vec();
        self.push(Step::Convolve { convolution, params, inputs, weight, after, slope }, channels, halvings)
    }

    /// What comes from below at `factors` times the resolution.
    fn raise(&mut self, config: &UnetConfig, name: &str, below: Id, outputs: usize, factors: Factors) -> Id {
        let halvings = raised(self.halvings[below], factors);
        let from = self.channels[below].clone();
        match config.upsampling {
            Upsampling::Transposed => {
                let params =
                    Conv3dParams { stride: factors, algorithm: config.algorithm, ..Conv3dParams::default() };
                let channels = Channels::new(&[outputs]);
                let weight = format!("{name}.transposed.weight");
                let weight = self.parameters.weight(&weight, [from.count(), outputs], factors);
                let bias = self.parameters.vector(&format!("{name}.transposed.bias"), outputs, 0.0);
                let convolution = Convolution::new(factors, params, channels.clone(), from);
                let step = Step::Transpose { convolution, input: below, weight, bias, factors };
                self.push(step, channels, halvings)
            }
            Upsampling::Trilinear => self.push(Step::Upsample { input: below, factors }, from, halvings),
        }
    }

    /// The skip times its attention (Oktay et al. 2018): α = σ(ψ max(W_x x + W_g g + b, 0) + b_ψ) at the
    /// resolution of what comes from below, g, and from there linear between voxels.
    fn gate(&mut self, config: &UnetConfig, name: &str, skip: Id, below: Id, factors: Factors) -> Id {
        let inner = (self.channels[skip].count() / 2).max(1);
        let (lower, one) =
            (Kernel { size: factors, stride: factors }, Kernel { size: [1; 3], stride: [1; 3] });
        let of_skip = self.linear(config, &format!("{name}.gate.skip"), skip, inner, lower, Bias::None);
        let of_below = self.linear(config, &format!("{name}.gate.signal"), below, inner, one, Bias::Learnt);
        let (channels, halvings) = (Channels::new(&[inner]), self.halvings[below]);
        let sum = self.push(Step::Add { inputs: [of_skip, of_below], slope: 0.0 }, channels, halvings);
        let score = self.linear(config, &format!("{name}.gate.score"), sum, 1, one, Bias::Learnt);
        let single = Channels::new(&[1]);
        let alpha = self.push(Step::Sigmoid { input: score }, single.clone(), halvings);
        let halvings = self.halvings[skip];
        let gate = self.push(Step::Upsample { input: alpha, factors }, single, halvings);
        let channels = self.channels[skip].clone();
        self.push(Step::Gate { input: skip, gate }, channels, halvings)
    }

    /// A convolution without norm and activation.
    fn linear(
        &mut self,
        config: &UnetConfig,
        name: &str,
        input: Id,
        outputs: usize,
        kernel: Kernel,
        bias: Bias,
    ) -> Id {
        let channels = [outputs, self.channels[input].count()];
        let weight = self.parameters.weight(&format!("{name}.weight"), channels, kernel.size);
        let after = match bias {
            Bias::Learnt => After::Bias(self.parameters.vector(&format!("{name}.bias"), outputs, 0.0)),
            Bias::None => After::Nothing,
        };
        self.push_convolution(config, &[input], outputs, kernel, weight, after, 1.0)
    }

    fn head(&mut self, config: &UnetConfig, name: &str, input: Id) {
        let (inputs, classes) = (self.channels[input].clone(), Channels::new(&[config.classes]));
        let params = Conv3dParams { algorithm: config.algorithm, ..Conv3dParams::default() };
        let shape = [config.classes, inputs.count()];
        let weight = self.parameters.weight(&format!("{name}head.weight"), shape, [1; 3]);
        let bias = self.parameters.vector(&format!("{name}head.bias"), config.classes, 0.0);
        self.steps.push(Step::Head {
            convolution: Convolution::new([1; 3], params, inputs.clone(), classes.clone())
                .with_planar_output(),
            turned: Convolution::new([1; 3], params, classes, inputs).with_planar_input(),
            input,
            weight,
            bias,
        });
    }

    /// Channels of `inputs` side by side; of the image if there are none.
    fn count(&self, config: &UnetConfig, inputs: &[Id]) -> usize {
        match inputs {
            [] => config.in_channels,
            _ => inputs.iter().map(|&id| self.channels[id].count()).sum(),
        }
    }

    /// Adds a step that gives a value.
    fn push(&mut self, step: Step, channels: Channels, halvings: Halvings) -> Id {
        self.steps.push(step);
        self.channels.push(channels);
        self.halvings.push(halvings);
        self.channels.len() - 1
    }

    /// (D, H, W) of value `id` for an image of `size`.
    pub(super) fn size(&self, id: Id, size: [usize; 3]) -> [usize; 3] {
        let halvings = self.halvings[id];
        [0, 1, 2].map(|a| size[a] >> halvings[a])
    }

    /// How often (D, H, W) of the image are halved for the scores of each head, the network's own first.
    pub(crate) fn heads(&self) -> Vec<Halvings> {
        let input = |step: &Step| match step {
            Step::Head { input, .. } => Some(self.halvings[*input]),
            _ => None,
        };
        self.steps.iter().filter_map(input).collect()
    }

    /// The steps up to the network's own head, or all.
    pub(super) fn steps(&self, heads: Heads) -> &[Step] {
        match heads {
            Heads::Own => &self.steps[..=self.channels.len()],
            Heads::All => &self.steps,
        }
    }

    /// The last of the steps that reads each value.
    pub(super) fn last_readers(&self, heads: Heads) -> Vec<usize> {
        let mut last = vec![0; self.channels.len()];
        for (index, step) in self.steps(heads).iter().enumerate() {
            for id in reads(step) {
                last[id] = index;
            }
        }
        last
    }
}

/// Which heads give scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heads {
    /// The network's own, at full resolution.
    Own,
    /// Those of deep supervision too.
    All,
}

/// Size and stride of a kernel along (D, H, W).
#[derive(Clone, Copy)]
struct Kernel {
    size: [usize; 3],
    stride: [usize; 3],
}

/// By how much level `level`, from 1, lowers the resolution.
fn factors(config: &UnetConfig, level: usize) -> Factors {
    let [x, y, z] = config.stride(level);
    [z, y, x]
}

/// Halvings after a resolution that was halved so often is lowered by `factors`.
fn halved(halvings: Halvings, factors: Factors) -> Halvings {
    [0, 1, 2].map(|a| halvings[a] + u32::from(factors[a] == 2))
}

/// Halvings after it is raised by `factors`.
fn raised(halvings: Halvings, factors: Factors) -> Halvings {
    [0, 1, 2].map(|a| halvings[a] - u32::from(factors[a] == 2))
}

/// Whether a linear map has a bias.
#[derive(Clone, Copy)]
enum Bias {
    Learnt,
    None,
}

/// The values that a step reads.
pub(super) fn reads(step: &Step) -> Vec<Id> {
    match step {
        Step::Image => Vec::new(),
        Step::Convolve { inputs, .. } => inputs.clone(),
        Step::Add { inputs, .. } => inputs.to_vec(),
        Step::Gate { input, gate } => vec![*input, *gate],
        Step::Pool { input, .. }
        | Step::Transpose { input, .. }
        | Step::Upsample { input, .. }
        | Step::Sigmoid { input }
        | Step::Head { input, .. } => vec![*input],
    }
}
