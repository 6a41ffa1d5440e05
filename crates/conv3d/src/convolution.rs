//! A convolution on blocks: forward, gradient for the input, gradient for the weights.

use std::marker::PhantomData;

use crate::channels::Channels;
use crate::direct::{
    Axis, DirectForward, DirectGradient, DirectInput, DirectOutput, DirectWeights, adjoint_axes, forward_axes,
};
use crate::kernels::disjoint::Disjoint;
use crate::line::Line;
use crate::moments::{Moments, Piece, join};
use crate::params::{Algorithm, Conv3dParams, ConvShape};
use crate::parts::{InputPart, OutputPart, SharedOutput};
use crate::simd::Isa;
use crate::source::Source;
use crate::winograd::{self, Direction, Epilogue, Filter, Halving, RawWeights, Strided, WinogradWeights};

/// Fewest channels on either side for which Winograd's transforms pay.
const LEAST_WINOGRAD: usize = 8;

/// With stride 1, fewest voxels a tile of 64 must have on average for Winograd to save multiplications: 216 products a
/// tile against 27 a voxel, and the transforms.
const LEAST_VOXELS: usize = 10;

/// With stride 2: fewest tiles of a sample, since fewer leave threads without work, and fewest outputs that a tile must
/// have on average, for 729 products a tile against 27 an output, and the transforms. Measured with weights that are kept:
/// whole tiles take 0.55 to 0.95 of the time of direct sums from eight tiles on, 8 tiles of 22 outputs 1.7 times as long.
const LEAST_STRIDED_TILES: usize = 8;
const LEAST_STRIDED_VOXELS: usize = 48;

/// With at most so many tiles a sample and at least so many pairs of channel blocks, the transform of the
/// weights costs as much as the convolution or more, and they are transformed a pair at a time.
const FEW_TILES: usize = 40;
const FEW_TILES_PAIRS: usize = 16;

/// A convolution of kernel, stride and padding between tensors of known channels.
///
/// ```
/// use organseg_conv3d::Conv3dParams;
/// use organseg_conv3d::blocked::{Channels, Convolution, Input, InputPart, Output, OutputPart, Source, from_blocks, to_blocks};
/// // The mean of each voxel and its neighbours along W, in the blocked layout.
/// let one = Channels::new(&[1]);
/// let params = Conv3dParams { padding: [0, 0, 1], ..Conv3dParams::default() };
/// let mean = Convolution::new([1, 1, 3], params, one.clone(), one.clone());
/// let (size, image) = ([1, 1, 4], to_blocks(&[0.0, 3.0, 6.0, 0.0], &one, 4));
/// let mut smooth = to_blocks(&[0.0; 4], &one, 4);
/// let weights = mean.weights(&[1.0 / 3.0; 3], size);
/// let input = [InputPart { source: Source::Plain(&image), blocks: 1 }];
/// let output = vec![OutputPart { values: &mut smooth, blocks: 1, add: false }];
/// mean.forward(&weights, 1, size, Input::Blocks(&input), Output::Blocks(output), None);
/// assert_eq!(from_blocks(&smooth, &one, 4), [1.0, 3.0, 3.0, 2.0]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    kernel: [usize; 3],
    params: Conv3dParams,
    inputs: Channels,
    outputs: Channels,
    /// Whether input and output are (N, C, D, H, W) instead of in blocks.
    planar: [bool; 2],
    isa: Isa,
}

/// Weights as one direction of a [`Convolution`] wants them, for inputs of one size. Worth keeping as long
/// as the weights do not change.
#[derive(Debug)]
pub struct Weights<'a> {
    prepared: Prepared<'a>,
    direction: Direction,
    of: Convolution,
}

#[derive(Debug)]
enum Prepared<'a> {
    Winograd(WinogradWeights),
    /// As they came.
    FewTiles(&'a [f32], Direction),
    /// One for each set of axes: one forward, one for each phase of the adjoint.
    Direct(Vec<DirectWeights>),
}

impl<'a> Weights<'a> {
    /// The prepared numbers, if they are those of this direction of `convolution`: their channels, and so
    /// what is read and written, are taken from them.
    fn of(&self, convolution: &Convolution, direction: Direction) -> &Prepared<'a> {
        assert_eq!(self.direction, direction, "the weights were made for this direction");
        assert_eq!(self.of, *convolution, "the weights were made for this convolution");
        &self.prepared
    }
}

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Tensors in blocks, side by side.
    Blocks(&'a [InputPart<'a>]),
    /// (N, C, D, H, W): a convolution made with [`Convolution::with_planar_input`], or an adjoint of one made
    /// with [`Convolution::with_planar_output`].
    Planar(&'a [f32]),
}

/// What a convolution writes.
#[derive(Debug)]
pub enum Output<'a> {
    /// Tensors in blocks, side by side.
    Blocks(Vec<OutputPart<'a>>),
    /// (N, C, D, H, W); by direct sums.
    Planar(&'a mut [f32]),
}

impl Convolution {
    /// A convolution of `kernel` (D, H, W).
    #[must_use]
    pub fn new(kernel: [usize; 3], params: Conv3dParams, inputs: Channels, outputs: Channels) -> Self {
        Self { kernel, params, inputs, outputs, planar: [false; 2], isa: Isa::detect() }
    }

    /// For images of few channels: the input is (N, C, D, H, W). Sums are direct.
    #[must_use]
    pub fn with_planar_input(mut self) -> Self {
        self.planar[0] = true;
        self
    }

    /// For few classes: the gradient of the output is (N, C, D, H, W), and the output may be. Sums are direct.
    #[must_use]
    pub fn with_planar_output(mut self) -> Self {
        self.planar[1] = true;
        self
    }

    /// With other instructions than the best.
    #[cfg(test)]
    pub(crate) fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// (D, H, W) of the output for an input of `size`.
    ///
    /// # Panics
    /// If the kernel does not fit.
    #[must_use]
    pub fn output_size(&self, size: [usize; 3]) -> [usize; 3] {
        self.shape(1, size).output
    }

    /// Weights (C_out, C_in, kernel) for one [`Convolution::forward`] of inputs of `size`.
    #[must_use]
    pub fn weights<'a>(&self, weights: &'a [f32], size: [usize; 3]) -> Weights<'a> {
        self.prepare(weights, Direction::Forward, size)
    }

    /// As [`Convolution::weights`], for many: prepared as far as can be.
    #[must_use]
    pub fn weights_to_keep(&self, weights: &[f32], size: [usize; 3]) -> Weights<'static> {
        self.to_keep(weights, Direction::Forward, size)
    }

    /// Weights (C_out, C_in, kernel) for one [`Convolution::adjoint`] to inputs of `size`.
    #[must_use]
    pub fn adjoint_weights<'a>(&self, weights: &'a [f32], size: [usize; 3]) -> Weights<'a> {
        self.prepare(weights, Direction::Adjoint, size)
    }

    /// As [`Convolution::adjoint_weights`], for many.
    #[must_use]
    pub fn adjoint_weights_to_keep(&self, weights: &[f32], size: [usize; 3]) -> Weights<'static> {
        self.to_keep(weights, Direction::Adjoint, size)
    }

    /// Convolves `batch` samples of `size`. `bias` has a line for each output block, and direct sums alone
    /// have one.
    ///
    /// # Panics
    /// If a slice has not the lines of its shape, if the weights are another convolution's or the adjoint's, if
    /// there is a bias or a planar output and [`Convolution::uses_winograd`].
    pub fn forward(
        &self,
        weights: &Weights<'_>,
        batch: usize,
        size: [usize; 3],
        input: Input<'_>,
        output: Output<'_>,
        bias: Option<&[Line]>,
    ) {
        self.convolve(weights, batch, size, input, output, bias, false);
    }

    /// [`Convolution::forward`] to `output`, and the moments of each of its blocks of each sample.
    ///
    /// # Panics
    /// As [`Convolution::forward`].
    pub fn forward_with_moments(
        &self,
        weights: &Weights<'_>,
        batch: usize,
        size: [usize; 3],
        input: Input<'_>,
        output: &mut [Line],
    ) -> Vec<Moments> {
        let part = OutputPart { values: output, blocks: self.outputs.blocks(), add: false };
        self.convolve(weights, batch, size, input, Output::Blocks(vec![part]), None, true)
    }

    #[expect(clippy::too_many_arguments, reason = "those of `forward`, and whether moments are wanted")]
    fn convolve(
        &self,
        weights: &Weights<'_>,
        batch: usize,
        size: [usize; 3],
        input: Input<'_>,
        output: Output<'_>,
        bias: Option<&[Line]>,
        moments: bool,
    ) -> Vec<Moments> {
        let shape = self.shape(batch, size);
        let lines = self.direct_input(input, 0);
        match weights.of(self, Direction::Forward) {
            Prepared::Winograd(weights) => {
                let (Input::Blocks(inputs), Output::Blocks(parts)) = (input, output) else {
                    panic!("Winograd's convolution is in blocks")
                };
                assert!(bias.is_none(), "Winograd's convolution adds no bias");
                match self.filter() {
                    Filter::Unit => self.winograd(weights, batch, size, inputs, parts, moments),
                    Filter::Strided => {
                        let sizes = [size, shape.output];
                        self.strided(weights, batch, sizes, inputs, parts, moments)
                    }
                }
            }
            Prepared::FewTiles(weights, direction) => {
                assert!(bias.is_none(), "Winograd's convolution adds no bias");
                self.few_tiles(weights, *direction, batch, size, input, output, moments)
            }
            Prepared::Direct(weights) => self.direct(&shape, &weights[0], lines, output, bias, moments),
        }
    }

    /// The adjoint: from the gradient of the output to that of inputs of `size`, or a transposed
    /// convolution. `bias` has a line for each input block.
    ///
    /// # Panics
    /// As [`Convolution::forward`].
    pub fn adjoint(
        &self,
        weights: &Weights<'_>,
        batch: usize,
        size: [usize; 3],
        gradient: Input<'_>,
        output: Output<'_>,
        bias: Option<&[Line]>,
    ) {
        let shape = self.shape(batch, size);
        let lines = self.direct_input(gradient, 1);
        match weights.of(self, Direction::Adjoint) {
            Prepared::Winograd(weights) => {
                let (Input::Blocks(inputs), Output::Blocks(parts)) = (gradient, output) else {
                    panic!("Winograd's convolution is in blocks")
                };
                assert!(bias.is_none(), "Winograd's convolution adds no bias");
                self.winograd(weights, batch, size, inputs, parts, false);
            }
            Prepared::FewTiles(weights, direction) => {
                assert!(bias.is_none(), "Winograd's convolution adds no bias");
                self.few_tiles(weights, *direction, batch, size, gradient, output, false);
            }
            Prepared::Direct(weights) => {
                let volumes = batch * size.iter().product::<usize>();
                let axes = adjoint_axes(&shape);
                assert_eq!(axes.len(), weights.len(), "there are weights for each phase");
                let phases: Vec<_> = axes.into_iter().zip(weights).collect();
                let run = |output: DirectOutput<'_>| {
                    let (isa, phases, input, moments) = (self.isa, &phases[..], lines, None);
                    DirectForward { isa, batch, phases, size, input, bias, output, moments }.run();
                };
                match output {
                    Output::Blocks(parts) => run(DirectOutput::Blocks(&SharedOutput::new(parts, volumes))),
                    Output::Planar(values) => {
                        let channels = &self.inputs;
                        assert_eq!(values.len(), channels.count() * volumes, "the output has its values");
                        run(DirectOutput::Planar { values: &Disjoint::new(values), channels });
                    }
                }
            }
        }
    }

    /// The gradient (C_out, C_in, kernel) for the weights, from inputs of `size` and the gradient of the
    /// output in blocks.
    ///
    /// # Panics
    /// If a slice has not the lines of its shape.
    #[must_use]
    pub fn weight_gradient(
        &self,
        batch: usize,
        size: [usize; 3],
        input: Input<'_>,
        gradient: Source<'_>,
    ) -> Vec<f32> {
        let shape = self.shape(batch, size);
        let (input_channels, output_channels) = (&self.inputs, &self.outputs);
        match input {
            Input::Blocks(inputs) if self.filter() == Filter::Unit && self.uses_winograd(size) => {
                let isa = self.isa;
                winograd::WeightGradient {
                    isa,
                    batch,
                    size,
                    inputs,
                    gradient,
                    input_channels,
                    output_channels,
                }
                .run()
            }
            _ => DirectGradient {
                isa: self.isa,
                batch,
                axes: &forward_axes(&shape),
                kernel: self.kernel,
                input: self.direct_input(input, 0),
                gradient,
                input_channels,
                output_channels,
            }
            .run(),
        }
    }

    /// Whether inputs of `size` are convolved by Winograd's algorithm; if not, sums are direct. (With stride 2 the
    /// gradients are direct all the same, and so are few tiles of many channels whose weights are not to be kept.) Weights to keep are the
    /// same for all sizes of which this says the same.
    #[must_use]
    pub fn uses_winograd(&self, size: [usize; 3]) -> bool {
        let blocked = self.planar == [false; 2];
        let fits = blocked
            && self.kernel == [3; 3]
            && [[1; 3], [2; 3]].contains(&self.params.stride)
            && self.params.padding == [1; 3];
        let least = self.inputs.count().min(self.outputs.count());
        match self.params.algorithm {
            Algorithm::Direct => false,
            Algorithm::Winograd => fits,
            Algorithm::Auto => fits && least >= LEAST_WINOGRAD && self.worth_winograd(size),
        }
    }

    /// Whether inputs of `size` fill tiles well enough.
    fn worth_winograd(&self, size: [usize; 3]) -> bool {
        let outputs = size.iter().zip(self.params.stride).map(|(n, stride)| n.div_ceil(stride));
        let (tiles, voxels) = (self.tiles(size), outputs.product::<usize>());
        match self.filter() {
            Filter::Unit => voxels >= LEAST_VOXELS * tiles,
            Filter::Strided => tiles >= LEAST_STRIDED_TILES && voxels >= LEAST_STRIDED_VOXELS * tiles,
        }
    }

    /// Whether this direction is by Winograd's algorithm: the adjoint of stride 2 is direct, since by its halves the few
    /// largest errors of 64 channels and more pass what is promised.
    fn transforms_weights(&self, direction: Direction, size: [usize; 3]) -> bool {
        let forward = direction == Direction::Forward;
        (forward || self.filter() == Filter::Unit) && self.uses_winograd(size)
    }

    /// What Winograd's algorithm, if it is used, makes of the weights.
    fn filter(&self) -> Filter {
        if self.params.stride == [1; 3] { Filter::Unit } else { Filter::Strided }
    }

    /// Tiles of a sample of `size`.
    fn tiles(&self, size: [usize; 3]) -> usize {
        size.iter().zip(self.params.stride).map(|(n, stride)| n.div_ceil(4 * stride)).product()
    }

    fn shape(&self, batch: usize, [d, h, w]: [usize; 3]) -> ConvShape {
        let [kd, kh, kw] = self.kernel;
        let (inputs, outputs) = (self.inputs.count(), self.outputs.count());
        ConvShape::new(&[batch, inputs, d, h, w], &[outputs, inputs, kd, kh, kw], &self.params)
            .expect("the kernel fits the input")
    }

    /// Channels of what is read and of what is written.
    fn channels(&self, direction: Direction) -> [&Channels; 2] {
        match direction {
            Direction::Forward => [&self.inputs, &self.outputs],
            Direction::Adjoint => [&self.outputs, &self.inputs],
        }
    }

    fn prepare<'a>(&self, weights: &'a [f32], direction: Direction, size: [usize; 3]) -> Weights<'a> {
        let [inputs, outputs] = self.channels(direction);
        let pairs = inputs.blocks() * outputs.blocks();
        let few = self.tiles(size) <= FEW_TILES && pairs >= FEW_TILES_PAIRS;
        if few && self.transforms_weights(direction, size) {
            assert_eq!(
                weights.len(),
                27 * inputs.count() * outputs.count(),
                "there are weights for each channel"
            );
            match (self.filter(), self.params.algorithm) {
                (Filter::Unit, _) => return self.made(Prepared::FewTiles(weights, direction), direction),
                (Filter::Strided, Algorithm::Auto) => return self.direct_weights(weights, direction, size),
                (Filter::Strided, _) => {}
            }
        }
        self.to_keep(weights, direction, size)
    }

    fn to_keep(&self, weights: &[f32], direction: Direction, size: [usize; 3]) -> Weights<'static> {
        if self.transforms_weights(direction, size) {
            let [inputs, outputs] = self.channels(direction);
            let weights = WinogradWeights::new(self.isa, weights, direction, self.filter(), inputs, outputs);
            return self.made(Prepared::Winograd(weights), direction);
        }
        self.direct_weights(weights, direction, size)
    }

    fn direct_weights(&self, weights: &[f32], direction: Direction, size: [usize; 3]) -> Weights<'static> {
        let channels = self.channels(direction);
        let shape = self.shape(1, size);
        let phases = match direction {
            Direction::Forward => vec![forward_axes(&shape)],
            Direction::Adjoint => adjoint_axes(&shape),
        };
        let planar = self.planar[usize::from(direction == Direction::Adjoint)];
        let prepare = |axes: &[Axis; 3]| {
            DirectWeights::new(self.isa, weights, self.kernel, direction, channels, axes, planar)
        };
        self.made(Prepared::Direct(phases.iter().map(prepare).collect()), direction)
    }

    fn made<'a>(&self, prepared: Prepared<'a>, direction: Direction) -> Weights<'a> {
        Weights { prepared, direction, of: self.clone() }
    }

    /// `input` of side 0 (input) or 1 (output).
    fn direct_input<'a>(&self, input: Input<'a>, side: usize) -> DirectInput<'a> {
        assert_eq!(
            matches!(input, Input::Planar(_)),
            self.planar[side],
            "the layout is that of the convolution"
        );
        let channels = [&self.inputs, &self.outputs][side];
        match input {
            Input::Blocks(parts) => DirectInput::Blocks(parts),
            Input::Planar(values) => DirectInput::Planar { values, channels: channels.count() },
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what the job is made of")]
    fn few_tiles(
        &self,
        weights: &[f32],
        direction: Direction,
        batch: usize,
        size: [usize; 3],
        input: Input<'_>,
        output: Output<'_>,
        wanted: bool,
    ) -> Vec<Moments> {
        let (Input::Blocks(inputs), Output::Blocks(parts)) = (input, output) else {
            panic!("Winograd's convolution is in blocks")
        };
        let [input_channels, output_channels] = self.channels(direction);
        let counts = [input_channels.count(), output_channels.count()];
        let mut moments = vec![Piece::default(); if wanted { batch * output_channels.blocks() } else { 0 }];
        let shared = Disjoint::new(&mut moments);
        winograd::FewTiles {
            isa: self.isa,
            batch,
            size,
            inputs,
            weights: RawWeights { values: weights, direction, filter: Filter::Unit, counts },
            input_channels,
            output_channels,
            output: &SharedOutput::new(parts, batch * size.iter().product::<usize>()),
            moments: wanted.then_some(&shared),
        }
        .run();
        moments.iter().map(|piece| join(std::iter::once(piece))).collect()
    }

    fn winograd(
        &self,
        weights: &WinogradWeights,
        batch: usize,
        size: [usize; 3],
        inputs: &[InputPart<'_>],
        parts: Vec<OutputPart<'_>>,
        with_moments: bool,
    ) -> Vec<Moments> {
        let pieces = winograd::moment_pieces(size);
        let mut moments =
            vec![Piece::default(); if with_moments { batch * weights.outputs * pieces } else { 0 }];
        let shared = Disjoint::new(&mut moments);
        winograd::Forward {
            isa: self.isa,
            batch,
            size,
            inputs,
            weights,
            output: &SharedOutput::new(parts, batch * size.iter().product::<usize>()),
            epilogue: Epilogue { moments: with_moments.then_some(&shared) },
        }
        .run();
        moments.chunks(pieces.max(1)).map(|pieces| join(pieces.iter())).collect()
    }

    /// `sizes` are those of what is read and of what is written.
    fn strided(
        &self,
        weights: &WinogradWeights,
        batch: usize,
        [from, to]: [[usize; 3]; 2],
        inputs: &[InputPart<'_>],
        parts: Vec<OutputPart<'_>>,
        with_moments: bool,
    ) -> Vec<Moments> {
        let pieces = winograd::moment_pieces(to);
        let mut moments =
            vec![Piece::default(); if with_moments { batch * weights.outputs * pieces } else { 0 }];
        let shared = Disjoint::new(&mut moments);
        Strided::<Halving> {
            isa: self.isa,
            batch,
            from,
            to,
            inputs,
            weights,
            output: &SharedOutput::new(parts, batch * to.iter().product::<usize>()),
            epilogue: Epilogue { moments: with_moments.then_some(&shared) },
            way: PhantomData,
        }
        .run();
        moments.chunks(pieces.max(1)).map(|pieces| join(pieces.iter())).collect()
    }

    fn direct(
        &self,
        shape: &ConvShape,
        weights: &DirectWeights,
        input: DirectInput<'_>,
        output: Output<'_>,
        bias: Option<&[Line]>,
        wanted: bool,
    ) -> Vec<Moments> {
        let (isa, batch, size) = (self.isa, shape.batch, shape.output);
        let phases = [(forward_axes(shape), weights)];
        let run = |output: DirectOutput<'_>, moments: Option<&Disjoint<'_, Piece>>| {
            DirectForward { isa, batch, phases: &phases, size, input, bias, output, moments }.run();
        };
        let volumes = batch * shape.output_voxels();
        match output {
            Output::Blocks(parts) => {
                let pieces = size[0] * size[1];
                let mut moments =
                    vec![Piece::default(); if wanted { batch * weights.outputs * pieces } else { 0 }];
                let shared = Disjoint::new(&mut moments);
                run(DirectOutput::Blocks(&SharedOutput::new(parts, volumes)), wanted.then_some(&shared));
                moments.chunks(pieces.max(1)).map(|pieces| join(pieces.iter())).collect()
            }
            Output::Planar(values) => {
                let channels = &self.outputs;
                assert_eq!(values.len(), channels.count() * volumes, "the output has its values");
                run(DirectOutput::Planar { values: &Disjoint::new(values), channels }, None);
                Vec::new()
            }
        }
    }
}
