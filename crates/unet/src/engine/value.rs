//! A value: what a step wrote, and how it is read.

use organseg_conv3d::blocked::{Affine, Buffer, Channels, LANES, Line, Moments, Source};

use crate::blocks::NORM_EPSILON;

/// What a step gave.
pub(crate) struct Value {
    pub(super) lines: Buffer,
    /// Norm and activation, for a convolution's result.
    pub(super) read: Option<Read>,
}

/// act(scale · y + shift) with a line for each block of each sample, and what its gradient needs.
pub(crate) struct Read {
    pub(super) scale: Vec<Line>,
    pub(super) shift: Vec<Line>,
    pub(super) slope: f32,
    /// Mean and 1 / √(variance + ε) of each channel; none after a bias.
    pub(super) norm: Option<(Vec<Line>, Vec<Line>)>,
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
    /// Instance norm of values with these moments: γ (y − mean) / √(variance + ε) + β.
    pub(super) fn norm(
        moments: &[Moments],
        gamma: &[f32],
        beta: &[f32],
        channels: &Channels,
        slope: f32,
    ) -> Self {
        let (gamma, beta) = (lines(gamma, channels), lines(beta, channels));
        let blocks = channels.blocks();
        let mut read =
            Self { scale: Vec::new(), shift: Vec::new(), slope, norm: Some((Vec::new(), Vec::new())) };
        let (means, inverses) = read.norm.as_mut().expect("just made");
        for (i, moments) in moments.iter().enumerate() {
            let (gamma, beta) = (gamma[i % blocks].0, beta[i % blocks].0);
            let mut out = [Line::ZERO; 4];
            for lane in 0..LANES {
                let inverse = 1.0 / (moments.variance[lane] + NORM_EPSILON).sqrt();
                let scale = f64::from(gamma[lane]) * inverse;
                let shift = f64::from(beta[lane]) - scale * moments.mean[lane];
                for (line, value) in out.iter_mut().zip([scale, shift, moments.mean[lane], inverse]) {
                    line.0[lane] = value as f32;
                }
            }
            read.scale.push(out[0]);
            read.shift.push(out[1]);
            means.push(out[2]);
            inverses.push(out[3]);
        }
        read
    }

    /// A bias.
    pub(super) fn bias(bias: &[f32], channels: &Channels, batch: usize, slope: f32) -> Self {
        let bias = lines(bias, channels);
        let shift: Vec<Line> = (0..batch).flat_map(|_| bias.iter().copied()).collect();
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
