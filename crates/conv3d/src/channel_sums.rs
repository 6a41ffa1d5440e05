//! Sums over the voxels of each channel, for the gradients of norms and biases.

use rayon::prelude::*;

use crate::line::{LANES, Line};
use crate::simd::{Isa, Kernel, Simd};
use crate::source::Affine;

/// Lines of a piece: few enough for its sums to lose no digits, and for many pieces to share out.
const PIECE: usize = 1 << 12;

/// Two sums for each of the sixteen channels of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ChannelSums {
    /// Σ g′.
    pub gradient: [f64; LANES],
    /// Σ g′ (y − mean).
    pub product: [f64; LANES],
}

/// For each block of each sample, with g′ = g where scale · y + shift > 0 and slope · g elsewhere: Σ g′ and
/// Σ g′ (y − mean). `means` has a line for each block, as `map` has; blocks have `voxels` lines.
///
/// # Panics
/// If slices do not fit each other.
#[must_use]
pub fn norm_sums(
    gradient: &[Line],
    values: &[Line],
    map: Affine<'_>,
    means: &[Line],
    voxels: usize,
) -> Vec<ChannelSums> {
    assert_eq!(gradient.len(), values.len(), "there is a gradient for each value");
    assert_eq!(values.len(), means.len() * voxels, "there is a mean for each block");
    let isa = Isa::detect();
    let of = |block: usize, from: usize, to: usize| {
        let range = block * voxels + from..block * voxels + to;
        let (gradient, values) = (&gradient[range.clone()], &values[range]);
        isa.run(NormPiece {
            gradient,
            values,
            lines: [map.scale[block], map.shift[block], means[block]],
            slope: map.slope,
        })
    };
    sums(means.len(), voxels, of)
}

/// For each block of each sample: Σ g.
#[must_use]
pub fn gradient_sums(gradient: &[Line], voxels: usize) -> Vec<[f64; LANES]> {
    let of = |block: usize, from: usize, to: usize| {
        let mut sum = [0f32; LANES];
        for line in &gradient[block * voxels + from..block * voxels + to] {
            for (sum, value) in sum.iter_mut().zip(line.0) {
                *sum += value;
            }
        }
        [sum, [0.0; LANES]]
    };
    sums(gradient.len() / voxels.max(1), voxels, of).into_iter().map(|sums| sums.gradient).collect()
}

/// The sums of each block from those of its pieces, which are added in order.
fn sums(
    blocks: usize,
    voxels: usize,
    of: impl Fn(usize, usize, usize) -> [[f32; LANES]; 2] + Sync,
) -> Vec<ChannelSums> {
    let pieces = voxels.div_ceil(PIECE).max(1);
    let parts: Vec<[[f32; LANES]; 2]> = (0..blocks * pieces)
        .into_par_iter()
        .map(|task| {
            let from = task % pieces * PIECE;
            of(task / pieces, from, voxels.min(from + PIECE))
        })
        .collect();
    let total = |parts: &[[[f32; LANES]; 2]]| {
        let mut sums = ChannelSums::default();
        for part in parts {
            for lane in 0..LANES {
                sums.gradient[lane] += f64::from(part[0][lane]);
                sums.product[lane] += f64::from(part[1][lane]);
            }
        }
        sums
    };
    parts.chunks(pieces).map(total).collect()
}

/// The sums of a piece of a block.
struct NormPiece<'a> {
    gradient: &'a [Line],
    values: &'a [Line],
    /// Scale, shift and mean.
    lines: [Line; 3],
    slope: f32,
}

impl Kernel for NormPiece<'_> {
    type Output = [[f32; LANES]; 2];

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        // SAFETY: references to lines can be read.
        let load = |line: &Line| unsafe { s.load(&raw const *line) };
        let (scale, shift, mean) = (load(&self.lines[0]), load(&self.lines[1]), load(&self.lines[2]));
        let slope = s.splat(self.slope);
        let (mut sum, mut product) = (s.zero(), s.zero());
        for (g, y) in self.gradient.iter().zip(self.values) {
            let (g, y) = (load(g), load(y));
            let through = s.where_positive(s.mul_add(scale, y, shift), g, s.mul(slope, g));
            sum = s.add(sum, through);
            product = s.mul_add(through, s.sub(y, mean), product);
        }
        let mut out = [Line::ZERO; 2];
        // SAFETY: mutable references to lines can be written.
        unsafe {
            s.store(&raw mut out[0], sum);
            s.store(&raw mut out[1], product);
        }
        out.map(|line| line.0)
    }
}
