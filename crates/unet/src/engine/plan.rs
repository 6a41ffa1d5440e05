//! What is computed from what: the network as a list of steps over numbered values.

use organseg_conv3d::Conv3dParams;
use organseg_conv3d::blocked::{Channels, Convolution};

use crate::{Downsampling, Norm, UnetConfig, Upsampling};

/// Number of a value: what a step gives and others read.
pub(super) type Id = usize;

/// Number of a parameter tensor, in the order of [`Plan::parameters`].
pub(super) type Parameter = usize;

/// A step. Each gives one value but the last, which gives the scores.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// The image in blocks, where it has many channels.
    Image,
    /// Convolution with what follows it. No inputs: the image, channel by channel.
    Convolve { convolution: Convolution, inputs: Vec<Id>, weight: Parameter, after: After },
    /// Max pooling by two.
    Pool { input: Id },
    /// Transposed convolution by two; `convolution` is what it is the adjoint of.
    Transpose { convolution: Convolution, input: Id, weight: Parameter, bias: Parameter },
    /// Trilinear upsampling by two.
    Upsample { input: Id },
    /// 1×1×1 convolution to the scores. `turned` is it with the scores as input.
    Head { convolution: Convolution, turned: Convolution, input: Id, weight: Parameter, bias: Parameter },
}

/// What follows a convolution, before the activation.
#[derive(Clone, Copy, Debug)]
pub(super) enum After {
    /// Instance norm.
    Norm { scale: Parameter, shift: Parameter },
    /// A bias.
    Bias(Parameter),
}

/// A network, ready to run on images of any size.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) steps: Vec<Step>,
    /// Channels of each value.
    pub(super) channels: Vec<Channels>,
    /// How often each image axis has been halved for each value.
    pub(super) halvings: Vec<u32>,
    pub(super) classes: usize,
    pub(super) slope: f32,
    /// How many parameter tensors there are.
    pub(crate) parameters: usize,
}

/// Channels of an image from which on it is put into blocks.
const BLOCKED_IMAGE: usize = 5;

impl Plan {
    /// The network of `config`. Parameters are numbered level by level on the way down, then on the way up
    /// from the deepest, then the head; in each convolution weight before scale and shift or bias.
    pub(crate) fn new(config: &UnetConfig) -> Self {
        let algorithm = config.algorithm;
        let mut plan = Self {
            steps: Vec::new(),
            channels: Vec::new(),
            halvings: Vec::new(),
            classes: config.classes,
            slope: config.negative_slope as f32,
            parameters: 0,
        };
        let mut x: Vec<Id> = Vec::new();
        if config.in_channels >= BLOCKED_IMAGE {
            x.push(plan.push(Step::Image, Channels::new(&[config.in_channels]), 0));
        }
        let mut across = Vec::new();
        for (level, &outputs) in config.channels.iter().enumerate() {
            let halvings = level as u32;
            let strided = level > 0 && config.downsampling == Downsampling::Strided;
            if level > 0 {
                across.push(x[0]);
                if !strided {
                    let channels = plan.channels[x[0]].clone();
                    x = vec![plan.push(Step::Pool { input: x[0] }, channels, halvings)];
                }
            }
            x = plan.stack(config, x, outputs, halvings, strided);
        }
        for (level, pair) in config.channels.windows(2).enumerate().rev() {
            let (here, below, halvings) = (pair[0], pair[1], level as u32);
            let raised = match config.upsampling {
                Upsampling::Transposed => {
                    let params = Conv3dParams { stride: [2; 3], algorithm, ..Conv3dParams::default() };
                    let channels = Channels::new(&[here]);
                    let convolution =
                        Convolution::new([2; 3], params, channels.clone(), Channels::new(&[below]));
                    let (weight, bias) = (plan.parameter(), plan.parameter());
                    plan.push(Step::Transpose { convolution, input: x[0], weight, bias }, channels, halvings)
                }
                Upsampling::Trilinear => {
                    plan.push(Step::Upsample { input: x[0] }, Channels::new(&[below]), halvings)
                }
            };
            let skip = across.pop().expect("each level but the deepest has handed its value across");
            x = plan.stack(config, vec![skip, raised], here, halvings, false);
        }
        let (inputs, classes) = (plan.channels[x[0]].clone(), Channels::new(&[config.classes]));
        let params = Conv3dParams { algorithm, ..Conv3dParams::default() };
        let (weight, bias) = (plan.parameter(), plan.parameter());
        plan.steps.push(Step::Head {
            convolution: Convolution::new([1; 3], params, inputs.clone(), classes.clone())
                .with_planar_output(),
            turned: Convolution::new([1; 3], params, classes, inputs).with_planar_input(),
            input: x[0],
            weight,
            bias,
        });
        plan
    }

    /// The convolutions of a level.
    fn stack(
        &mut self,
        config: &UnetConfig,
        mut inputs: Vec<Id>,
        outputs: usize,
        halvings: u32,
        strided: bool,
    ) -> Vec<Id> {
        for i in 0..config.convolutions_per_level {
            let stride = if strided && i == 0 { [2; 3] } else { [1; 3] };
            let params = Conv3dParams { stride, padding: [1; 3], algorithm: config.algorithm };
            let planar = inputs.is_empty();
            let parts: Vec<usize> = inputs.iter().map(|&id| self.channels[id].count()).collect();
            let from = if planar { Channels::new(&[config.in_channels]) } else { Channels::new(&parts) };
            let weight = self.parameter();
            let after = match config.norm {
                Norm::Instance => After::Norm { scale: self.parameter(), shift: self.parameter() },
                Norm::None => After::Bias(self.parameter()),
            };
            let channels = Channels::new(&[outputs]);
            let mut convolution = Convolution::new([3; 3], params, from, channels.clone());
            if planar {
                convolution = convolution.with_planar_input();
            }
            inputs =
                vec![self.push(Step::Convolve { convolution, inputs, weight, after }, channels, halvings)];
        }
        inputs
    }

    /// Adds a step that gives a value.
    fn push(&mut self, step: Step, channels: Channels, halvings: u32) -> Id {
        self.steps.push(step);
        self.channels.push(channels);
        self.halvings.push(halvings);
        self.channels.len() - 1
    }

    fn parameter(&mut self) -> Parameter {
        self.parameters += 1;
        self.parameters - 1
    }

    /// (D, H, W) of value `id` for an image of `size`.
    pub(super) fn size(&self, id: Id, size: [usize; 3]) -> [usize; 3] {
        size.map(|n| n >> self.halvings[id])
    }

    /// The values that each step reads.
    pub(super) fn reads(&self, step: usize) -> Vec<Id> {
        match &self.steps[step] {
            Step::Image => Vec::new(),
            Step::Convolve { inputs, .. } => inputs.clone(),
            Step::Pool { input }
            | Step::Transpose { input, .. }
            | Step::Upsample { input }
            | Step::Head { input, .. } => {
                vec![*input]
            }
        }
    }
}
