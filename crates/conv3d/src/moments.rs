//! Mean and variance of each channel, gathered while a convolution writes its result.
//!
//! Each piece of a result (a row of tiles, a row of voxels) gives Σ (y − y₀) and Σ (y − y₀)², with y₀ its
//! first value, so that nothing cancels when the mean is far from zero; pieces are joined in doubles and in
//! a fixed order (Chan, Golub & LeVeque 1979).

use crate::line::{LANES, Line};
use crate::simd::Simd;

/// Sums of one piece: y₀, Σ (y − y₀), Σ (y − y₀)².
#[derive(Clone, Copy)]
pub(crate) struct Running<S: Simd> {
    first: S::V,
    sum: S::V,
    squares: S::V,
}

impl<S: Simd> Running<S> {
    #[inline(always)]
    pub(crate) fn new(s: S, first: S::V) -> Self {
        Self { first, sum: s.zero(), squares: s.zero() }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, s: S, value: S::V) {
        let difference = s.sub(value, self.first);
        self.sum = s.add(self.sum, difference);
        self.squares = s.mul_add(difference, difference, self.squares);
    }

    #[inline(always)]
    pub(crate) fn finish(self, s: S) -> Piece {
        let mut piece = Piece::default();
        for (line, value) in [&mut piece.first, &mut piece.sum, &mut piece.squares].into_iter().zip([
            self.first,
            self.sum,
            self.squares,
        ]) {
            // SAFETY: a mutable reference to a line can be written.
            unsafe { s.store(&raw mut *line, value) };
        }
        piece
    }
}

/// What [`Running`] gave, and of how many values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    first: Line,
    sum: Line,
    squares: Line,
    pub(crate) count: usize,
}

#[cfg(test)]
impl Piece {
    /// Σ (y − y₀) of each lane.
    pub(crate) fn sum(&self) -> [f32; LANES] {
        self.sum.0
    }
}

impl Default for Piece {
    fn default() -> Self {
        Self { first: Line::ZERO, sum: Line::ZERO, squares: Line::ZERO, count: 0 }
    }
}

/// Mean and variance (divided by the number of values) of the sixteen channels of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Mean of each channel.
    pub mean: [f64; LANES],
    /// Variance of each channel.
    pub variance: [f64; LANES],
}

/// Joins pieces, in order.
pub(crate) fn join<'a>(pieces: impl Iterator<Item = &'a Piece>) -> Moments {
    let (mut mean, mut squares, mut count) = ([0.0; LANES], [0.0; LANES], 0.0);
    for piece in pieces.filter(|piece| piece.count > 0) {
        let n = piece.count as f64;
        let total = count + n;
        for c in 0..LANES {
            let sum = f64::from(piece.sum.0[c]);
            let piece_mean = f64::from(piece.first.0[c]) + sum / n;
            let piece_squares = f64::from(piece.squares.0[c]) - sum * sum / n;
            let apart = piece_mean - mean[c];
            mean[c] += apart * n / total;
            squares[c] += piece_squares + apart * apart * count * n / total;
        }
        count = total;
    }
    Moments { mean, variance: squares.map(|s| (s / f64::max(count, 1.0)).max(0.0)) }
}
