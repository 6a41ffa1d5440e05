//! Which voxels along an axis make a value, and with which weights.

use super::Interpolation;

/// A number that interpolation computes with.
pub(super) trait Real:
    Copy
    + Default
    + Send
    + Sync
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::AddAssign
    + 'static
{
    fn of(value: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// Up to four voxels of an axis and their weights; unused ones have weight zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taps<R> {
    pub(super) index: [usize; 4],
    pub(super) weight: [R; 4],
}

/// Number of taps that are used.
pub(super) fn tap_count(interpolation: Interpolation) -> usize {
    match interpolation {
        Interpolation::Nearest => 1,
        Interpolation::Linear => 2,
        Interpolation::Cubic => 4,
    }
}

/// Taps for the coordinate `at` of an axis of `n` voxels; none if it lies outside.
pub(super) fn taps<R: Real>(at: f64, n: usize, interpolation: Interpolation) -> Option<Taps<R>> {
    /// Coordinates this close outside still count: rounding on the way through the world.
    const ROUNDING: f64 = 1e-6;
    if !(at >= -0.5 - ROUNDING && at <= n as f64 - 0.5 + ROUNDING) {
        return None;
    }
    let at = at.clamp(0.0, (n - 1) as f64);
    let zero = R::of(0.0);
    Some(match interpolation {
        Interpolation::Nearest => {
            let nearest = ((at + 0.5 + ROUNDING).floor() as usize).min(n - 1);
            Taps { index: [nearest; 4], weight: [R::of(1.0), zero, zero, zero] }
        }
        Interpolation::Linear => {
            let below = (at.floor() as usize).min(n - 1);
            let t = at - below as f64;
            let above = (below + 1).min(n - 1);
            Taps { index: [below, above, above, above], weight: [R::of(1.0 - t), R::of(t), zero, zero] }
        }
        Interpolation::Cubic => {
            let below = at.floor();
            let (t, u) = (at - below, 1.0 - (at - below));
            let index = [-1, 0, 1, 2].map(|k| mirrored(below as isize + k, n));
            let middle = |t: f64| (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0;
            let weight = [u * u * u / 6.0, middle(t), middle(u), t * t * t / 6.0].map(R::of);
            Taps { index, weight }
        }
    })
}

/// Index within 0‥n after reflection at the outermost centres: −1 is 1, n is n − 2.
fn mirrored(index: isize, n: usize) -> usize {
    let last = n as isize - 1;
    if last == 0 {
        return 0;
    }
    let folded = index.rem_euclid(2 * last);
    folded.min(2 * last - folded) as usize
}
