//! Steps that work voxel by voxel: sums, sigmoids, gates; forward and backward.
//!
//! Unlike a norm, each is a pass over memory of its own, with a result that is kept for the backward pass.

use organseg_conv3d::blocked::{Buffer, LANES, Line};
use rayon::prelude::*;

use super::value::Value;

/// Lines of a task.
const PIECE: usize = 1 << 10;

/// A value as its readers see it, line by line.
struct Reader<'a> {
    value: &'a Value,
    /// Lines of a block.
    voxels: usize,
}

impl<'a> Reader<'a> {
    fn new(value: &'a Value, voxels: usize) -> Self {
        Self { value, voxels: voxels.max(1) }
    }

    #[inline]
    fn line(&self, at: usize) -> Line {
        let mut line = self.value.lines[at];
        if let Some(read) = &self.value.read {
            let block = at / self.voxels;
            let (scale, shift) = (&read.scale[block].0, &read.shift[block].0);
            for lane in 0..LANES {
                let z = scale[lane] * line.0[lane] + shift[lane];
                line.0[lane] = activated(z, read.slope);
            }
        }
        line
    }
}

#[inline]
fn activated(z: f32, slope: f32) -> f32 {
    if z > 0.0 { z } else { slope * z }
}

/// Lines made one by one, each from its number.
fn by_line(count: usize, of: impl Fn(usize) -> Line + Sync) -> Buffer {
    let mut out = Buffer::new(count);
    out.par_chunks_mut(PIECE).enumerate().for_each(|(task, lines)| {
        for (i, line) in lines.iter_mut().enumerate() {
            *line = of(task * PIECE + i);
        }
    });
    out
}

/// act(a + b), blocks of `voxels` lines.
pub(super) fn add([a, b]: [&Value; 2], voxels: usize, slope: f32) -> Buffer {
    let (a, b) = (Reader::new(a, voxels), Reader::new(b, voxels));
    by_line(a.value.lines.len(), |at| {
        let (mut sum, other) = (a.line(at), b.line(at));
        for lane in 0..LANES {
            sum.0[lane] = activated(sum.0[lane] + other.0[lane], slope);
        }
        sum
    })
}

/// The gradient for both values that [`add`] added, from that of their activated `sum`. A slope that is not
/// negative leaves the sign of what it acts on, so that the sum tells which side of zero it was on.
pub(super) fn add_gradient(mut gradient: Buffer, sum: &[Line], slope: f32) -> Buffer {
    if slope != 1.0 {
        gradient.par_chunks_mut(PIECE).zip(sum.par_chunks(PIECE)).for_each(|(gradient, sum)| {
            for (gradient, sum) in gradient.iter_mut().zip(sum) {
                for lane in 0..LANES {
                    gradient.0[lane] *= if sum.0[lane] > 0.0 { 1.0 } else { slope };
                }
            }
        });
    }
    gradient
}

/// 1 / (1 + e^−x) of the first `channels` lanes of the only block.
pub(super) fn sigmoid(x: &Value, voxels: usize, channels: usize) -> Buffer {
    let x = Reader::new(x, voxels);
    by_line(x.value.lines.len(), |at| {
        let line = x.line(at);
        Line(std::array::from_fn(
            |lane| if lane < channels { 1.0 / (1.0 + (-line.0[lane]).exp()) } else { 0.0 },
        ))
    })
}

/// The gradient for x, from that of its sigmoid s: s (1 − s) g.
pub(super) fn sigmoid_gradient(mut gradient: Buffer, sigmoid: &[Line]) -> Buffer {
    for (gradient, s) in gradient.iter_mut().zip(sigmoid) {
        for lane in 0..LANES {
            gradient.0[lane] *= s.0[lane] * (1.0 - s.0[lane]);
        }
    }
    gradient
}

/// Every channel of `x`, `blocks` blocks a sample, times the one of `gate`.
pub(super) fn gate(x: &Value, gate: &Value, blocks: usize, voxels: usize) -> Buffer {
    let (x, gate) = (Reader::new(x, voxels), Reader::new(gate, voxels));
    by_line(x.value.lines.len(), |at| {
        let mut line = x.line(at);
        let alpha = gate.line(gate_line(at, blocks, voxels)).0[0];
        line.0.iter_mut().for_each(|v| *v *= alpha);
        line
    })
}

/// The gradients for x and the gate.
pub(super) fn gate_gradient(
    gradient: &[Line],
    x: &Value,
    gate: &Value,
    blocks: usize,
    voxels: usize,
) -> (Buffer, Buffer) {
    let (x, gate) = (Reader::new(x, voxels), Reader::new(gate, voxels));
    let for_x = by_line(gradient.len(), |at| {
        let alpha = gate.line(gate_line(at, blocks, voxels)).0[0];
        Line(gradient[at].0.map(|g| g * alpha))
    });
    let for_gate = by_line(gate.value.lines.len(), |at| {
        let (sample, voxel) = (at / voxels, at % voxels);
        let mut sum = Line::ZERO;
        for block in 0..blocks {
            let at = (sample * blocks + block) * voxels + voxel;
            let x = x.line(at);
            sum.0[0] += gradient[at].0.iter().zip(x.0).map(|(g, x)| g * x).sum::<f32>();
        }
        sum
    });
    (for_x, for_gate)
}

/// The line of the gate for line `at` of what it gates.
fn gate_line(at: usize, blocks: usize, voxels: usize) -> usize {
    at / (blocks * voxels) * voxels + at % voxels
}
