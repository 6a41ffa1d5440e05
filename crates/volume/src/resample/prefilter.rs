//! From voxels to the coefficients of the cubic B-spline that passes through them.
//!
//! Along each axis the inverse of the kernel (1/6, 4/6, 1/6) is a pair of first-order recursions with
//! the pole z = √3 − 2 (Unser, Aldroubi and Eden 1993): c⁺ₖ = 6 sₖ + z c⁺ₖ₋₁ forwards,
//! cₖ = z (cₖ₊₁ − c⁺ₖ) backwards, started for a signal that is mirrored at its outermost samples. The
//! recursions run over whole rows at a time, so that they vectorise; along x, over a few rows at once.
//!
//! Either recursion may also start anywhere with any finite value: what is wrong with the start is
//! multiplied by z at each step, and [`Real::HORIZON`] steps on it is below rounding.

use super::kernel::Real;

/// √3 − 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// z / (z² − 1), which starts the backward recursion of a signal that is mirrored there.
const END: f64 = POLE / (POLE * POLE - 1.0);

/// Replaces samples by coefficients: entry i of every row is a signal of its own, along the rows' index.
#[inline(always)]
pub(super) fn to_coefficients<R: Real, Row: AsMut<[R]>>(rows: &mut [Row]) {
    let n = rows.len();
    if n > 1 {
        start(rows, n);
        for k in 1..n {
            forward(rows, k);
        }
        backward_end(rows, n - 1);
        for k in (0..n - 1).rev() {
            backward(rows, k);
        }
    }
}

/// Sets row 0 to c⁺₀ of the `n` samples along the axis, the first of which are the rows.
///
/// c⁺₀ / 6 = Σ zᵏ sₖ over the mirrored signal, which repeats after 2 n − 2 samples: the weights are
/// (zᵏ + z^(2n−2−k)) / (1 − z^(2n−2)), the ends counted once.
#[inline(always)]
pub(super) fn start<R: Real, Row: AsMut<[R]>>(rows: &mut [Row], n: usize) {
    let period = 2 * n as i32 - 2;
    let gain = 6.0 / (1.0 - POLE.powi(period));
    let (first, others) = rows.split_first_mut().expect("there are samples");
    let first = first.as_mut();
    for value in first.iter_mut() {
        *value = R::of(gain) * *value;
    }
    for (k, row) in (1..n.min(R::HORIZON)).zip(others) {
        let back = if k == n - 1 { 0.0 } else { POLE.powi(period - k as i32) };
        let weight = R::of(gain * (POLE.powi(k as i32) + back));
        for (first, &mut value) in first.iter_mut().zip(row.as_mut()) {
            *first += weight * value;
        }
    }
}

/// Replaces row k's samples by c⁺ₖ, the row before it having its own.
#[inline(always)]
pub(super) fn forward<R: Real, Row: AsMut<[R]>>(rows: &mut [Row], k: usize) {
    let [previous, here] = &mut rows[k - 1..=k] else { unreachable!("two rows") };
    for (value, &mut previous) in here.as_mut().iter_mut().zip(previous.as_mut()) {
        *value = R::of(6.0) * *value + R::of(POLE) * previous;
    }
}

/// Replaces c⁺ₖ by cₖ, as if the signal were mirrored at k.
#[inline(always)]
pub(super) fn backward_end<R: Real, Row: AsMut<[R]>>(rows: &mut [Row], k: usize) {
    let [previous, here] = &mut rows[k - 1..=k] else { unreachable!("two rows") };
    for (value, &mut previous) in here.as_mut().iter_mut().zip(previous.as_mut()) {
        *value = R::of(END) * (*value + R::of(POLE) * previous);
    }
}

/// Replaces c⁺ₖ by cₖ, the row after it having its own.
#[inline(always)]
pub(super) fn backward<R: Real, Row: AsMut<[R]>>(rows: &mut [Row], k: usize) {
    let [here, next] = &mut rows[k..=k + 1] else { unreachable!("two rows") };
    for (value, &mut next) in here.as_mut().iter_mut().zip(next.as_mut()) {
        *value = R::of(POLE) * (next - *value);
    }
}
