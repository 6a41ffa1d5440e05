//! Which voxels along an axis make a value, and with which weights.

use super::Interpolation;
use crate::Voxel;

/// Coordinates this close to a face count as on it: rounding on the way through the world.
pub(super) const ROUNDING: f64 = 1e-6;

/// A number that interpolation computes with.
pub(crate) trait Real:
    Voxel
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
{
    /// Samples after which the influence of one on a spline's coefficients, √3 − 2 to that power, is
    /// below the rounding of this type.
    const HORIZON: usize;

    fn of<T: Voxel>(value: T) -> Self;
    fn to<T: Voxel>(self) -> T;
}

impl Real for f32 {
    const HORIZON: usize = 16; // 7e-10

    #[inline(always)]
    fn of<T: Voxel>(value: T) -> Self {
        value.to_f32()
    }

    #[inline(always)]
    fn to<T: Voxel>(self) -> T {
        T::from_f32(self)
    }
}

impl Real for f64 {
    const HORIZON: usize = 30; // 7e-18

    #[inline(always)]
    fn of<T: Voxel>(value: T) -> Self {
        value.to_f64()
    }

    #[inline(always)]
    fn to<T: Voxel>(self) -> T {
        T::from_f64(self)
    }
}

/// Up to four voxels of an axis and their weights.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taps {
    pub(super) index: [usize; 4],
    pub(super) weight: [f64; 4],
    /// How many there are; the others have weight zero, which what is not finite must not meet.
    pub(super) count: usize,
}

/// Taps for the coordinate `at` of an axis of `n` voxels; none if it lies outside.
pub(super) fn taps(at: f64, n: usize, interpolation: Interpolation) -> Option<Taps> {
    is_within(at, n, ROUNDING).then(|| taps_within(at, n, interpolation))
}

/// Whether the coordinate `at` lies within an axis of `n` voxels or at most `beyond` outside.
pub(super) fn is_within(at: f64, n: usize, beyond: f64) -> bool {
    at >= -0.5 - beyond && at <= n as f64 - 0.5 + beyond
}

/// [`taps`] of the border where the coordinate lies outside.
pub(super) fn taps_within(at: f64, n: usize, interpolation: Interpolation) -> Taps {
    let at = at.clamp(0.0, (n - 1) as f64);
    match interpolation {
        Interpolation::Nearest => {
            let nearest = ((at + 0.5 + ROUNDING).floor() as usize).min(n - 1);
            Taps { index: [nearest; 4], weight: [1.0, 0.0, 0.0, 0.0], count: 1 }
        }
        Interpolation::Linear => {
            let below = (at.floor() as usize).min(n - 1);
            let t = at - below as f64;
            let above = (below + 1).min(n - 1);
            let count = if t > 0.0 { 2 } else { 1 };
            Taps { index: [below, above, above, above], weight: [1.0 - t, t, 0.0, 0.0], count }
        }
        Interpolation::Cubic => {
            let below = at.floor();
            let (t, u) = (at - below, 1.0 - (at - below));
            let index = [-1, 0, 1, 2].map(|k| mirrored(below as isize + k, n));
            let middle = |t: f64| (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0;
            Taps { index, weight: [u * u * u / 6.0, middle(t), middle(u), t * t * t / 6.0], count: 4 }
        }
        Interpolation::Area => unreachable!("means have as many taps as they need"),
    }
}

/// Index within 0‥n after reflection at the outermost centres: −1 is 1, n is n − 2.
pub(super) fn mirrored(index: isize, n: usize) -> usize {
    let last = n as isize - 1;
    if last == 0 {
        return 0;
    }
    let folded = index.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}
