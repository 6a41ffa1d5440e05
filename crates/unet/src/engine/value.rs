//! A value: what a step wrote, and how it is read.

use organseg_conv3d::blocked::{Affine, Buffer, Channels, LANES, Line, Moments, Source};

use super::shared::{NORM_EPSILON, Shared, places};

/// What a step gave.
pub(crate) struct Value {
    pub(super) lines: Buffer,
    /// Norm or bias and activation, for a convolution's result.
    pub(super) read: Option<Read>,
}

/// act(scale · y + shift) with a line for each block of each sample, and what its gradient needs.
pub(crate) struct Read {
    pub(super) scale: Vec<Line>,
    pub(super) shift: Vec<Line>,
    pub(super) slope: f32,
    /// None after a bias alone.
    pub(super) norm: Option<Normalized>,
}

/// What a norm subtracted and divided by.
pub(crate) struct Normalized {
    pub(super) shared: Shared,
    /// What is subtracted from y: the mean of its set, less the bias.
    pub(super) means: Vec<Line>,
    /// 1 / √(variance + ε).
    pub(super) inverses: Vec<Line>,
    /// The means of y itself, where a bias needs its gradient.
    pub(super) own: Vec<Line>,
}

/// The parameters of a norm.
pub(super) struct NormParameters<'a> {
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) bias: Option<&'a [f32]>,
}

impl Value {
    pub(super) fn plain(lines: Buffer) -> Self {
        Self { lines, read: None }
    }

    /// The values as others read them.
    pub(super) fn source(&self) -> Source<'_> {
        match &self.read {
            None => Source::Plain(&self.lines),
            Some(read) => Source::Activated { values: &self.lines, map: read.map() },
        }
    }
}

impl Read {
    /// γ (y + bias − mean) / √(variance + ε) + β with the mean and variance of each set.
    pub(super) fn norm(
        shared: Shared,
        sets: &[[f64; 2]],
        moments: &[Moments],
        parameters: &NormParameters<'_>,
        channels: &Channels,
        slope: f32,
    ) -> Self {
        let blocks = moments.len();
        let batch = blocks / channels.blocks();
        let zeros = || vec![Line::ZERO; blocks];
        let [mut scales, mut shifts, mut means, mut inverses] = [zeros(), zeros(), zeros(), zeros()];
        for place in places(batch, channels) {
            let [mean, variance] = sets[shared.set(place.n, place.c, channels.count())];
            let mean = mean - parameters.bias.map_or(0.0, |bias| f64::from(bias[place.c]));
            let inverse = 1.0 / (variance + NORM_EPSILON).sqrt();
            let scale = f64::from(parameters.scale[place.c]) * inverse;
            let shift = f64::from(parameters.shift[place.c]) - scale * mean;
            let lines = [&mut scales, &mut shifts, &mut means, &mut inverses];
            for (lines, value) in lines.into_iter().zip([scale, shift, mean, inverse]) {
                lines[place.block].0[place.lane] = value as f32;
            }
        }
        let own = match parameters.bias {
            Some(_) => moments.iter().map(|moments| Line(moments.mean.map(|mean| mean as f32))).collect(),
            None => Vec::new(),
        };
        let norm = Some(Normalized { shared, means, inverses, own });
        Self { scale: scales, shift: shifts, slope, norm }
    }

    /// A batch norm with running mean and variance: γ (y + bias − mean) / √(variance + ε) + β.
    pub(super) fn running(
        [mean, variance]: [&[f32]; 2],
        parameters: &NormParameters<'_>,
        channels: &Channels,
        batch: usize,
        slope: f32,
    ) -> Self {
        let (mut scales, mut shifts) = (Vec::new(), Vec::new());
        for c in 0..channels.count() {
            let inverse = 1.0 / (f64::from(variance[c]) + NORM_EPSILON).sqrt();
            let scale = f64::from(parameters.scale[c]) * inverse;
            let mean = f64::from(mean[c]) - parameters.bias.map_or(0.0, |bias| f64::from(bias[c]));
            scales.push(scale as f32);
            shifts.push((f64::from(parameters.shift[c]) - scale * mean) as f32);
        }
        let [scale, shift] = [scales, shifts].map(|values| lines(&values, channels).repeat(batch));
        Self { scale, shift, slope, norm: None }
    }

    /// A bias.
    pub(super) fn bias(bias: &[f32], channels: &Channels, batch: usize, slope: f32) -> Self {
        let shift = lines(bias, channels).repeat(batch);
        Self { scale: vec![Line([1.0; LANES]); shift.len()], shift, slope, norm: None }
    }

    pub(super) fn map(&self) -> Affine<'_> {
        Affine { scale: &self.scale, shift: &self.shift, slope: self.slope }
    }
}

/// A number for each channel as a line for each block.
pub(super) fn lines(values: &[f32], channels: &Channels) -> Vec<Line> {
    organseg_conv3d::blocked::to_blocks(values, channels, 1).to_vec()
}
