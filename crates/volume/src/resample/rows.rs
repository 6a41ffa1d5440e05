//! Weighted sums of rows: the loops that all the time goes into.
//!
//! They are written so that they vectorise, and inlined into their callers, which run in
//! [`vectorized`](crate::simd::vectorized) closures. All sums are taken in the order of their terms, so
//! that a value does not depend on which rows are worked on together.

use super::axis::Axis;
use super::kernel::Real;
use crate::Voxel;

/// Sets `sum` to Σ weights[k] · row(k), whose rows are as long as `sum`.
#[inline(always)]
pub(super) fn sum_rows<'a, R: Real, V: Voxel>(sum: &mut [R], weights: &[R], row: impl Fn(usize) -> &'a [V]) {
    let n = sum.len();
    match *weights {
        [a] => {
            for (sum, &v) in sum.iter_mut().zip(&row(0)[..n]) {
                *sum = a * R::of(v);
            }
        }
        [a, b] => {
            let rows = row(0)[..n].iter().zip(&row(1)[..n]);
            for (sum, (&v, &w)) in sum.iter_mut().zip(rows) {
                *sum = a * R::of(v) + b * R::of(w);
            }
        }
        [a, b, c, ref more @ ..] => {
            let rows = row(0)[..n].iter().zip(&row(1)[..n]).zip(&row(2)[..n]);
            for (sum, ((&v, &w), &x)) in sum.iter_mut().zip(rows) {
                *sum = a * R::of(v) + b * R::of(w) + c * R::of(x);
            }
            for (k, &weight) in more.iter().enumerate() {
                for (sum, &v) in sum.iter_mut().zip(&row(3 + k)[..n]) {
                    *sum += weight * R::of(v);
                }
            }
        }
        [] => sum.fill(R::default()),
    }
}

/// Sets `out` to the sums that `axis` takes along the row `line`.
#[inline(always)]
pub(super) fn sum_along<R: Real>(out: &mut [R], line: &[R], axis: &Axis<R>) {
    match axis.width {
        1 => sum_along_of::<R, 1>(out, line, axis),
        2 => sum_along_of::<R, 2>(out, line, axis),
        3 => sum_along_of::<R, 3>(out, line, axis),
        4 => sum_along_of::<R, 4>(out, line, axis),
        width => {
            let sums = axis.first.iter().zip(axis.weights.chunks_exact(width));
            for (out, (&first, weights)) in out.iter_mut().zip(sums) {
                let mut sum = R::default();
                for (&value, &weight) in line[first..first + width].iter().zip(weights) {
                    sum += weight * value;
                }
                *out = sum;
            }
        }
    }
    // The zeros among the weights of some may have met what is not finite, of which zero times is NaN. Without a
    // branch, which vectorises.
    let finite = |sound: bool, &v: &R| sound & (R::default() * v == R::default());
    if !axis.narrow.is_empty() && !out.iter().fold(true, finite) {
        for &i in &axis.narrow {
            let terms = line[axis.taken(i)].iter().zip(axis.weights(i));
            out[i] = terms.fold(R::default(), |sum, (&value, &weight)| sum + weight * value);
        }
    }
}

#[inline(always)]
fn sum_along_of<R: Real, const WIDTH: usize>(out: &mut [R], line: &[R], axis: &Axis<R>) {
    let (weights, _) = axis.weights.as_chunks::<WIDTH>();
    for (out, (&first, weights)) in out.iter_mut().zip(axis.first.iter().zip(weights)) {
        let values = &line[first..first + WIDTH];
        let mut sum = weights[0] * values[0];
        for k in 1..WIDTH {
            sum += weights[k] * values[k];
        }
        *out = sum;
    }
}

/// Rows that are worked on together where the work along x is a recursion.
pub(super) const LANES: usize = 16;

/// [`sum_along`] for as many rows at once as there are lanes: `lines[x]` holds the values at x of all. They are
/// coefficients of a spline, none of which is finite in a row that has one that is not.
#[inline(always)]
pub(super) fn sum_along_lanes<R: Real>(out: &mut [[R; LANES]], lines: &[[R; LANES]], axis: &Axis<R>) {
    let sums = axis.first.iter().zip(axis.weights.chunks_exact(axis.width));
    for (out, (&first, weights)) in out.iter_mut().zip(sums) {
        let mut sum = [R::default(); LANES];
        for (values, &weight) in lines[first..first + weights.len()].iter().zip(weights) {
            for lane in 0..LANES {
                sum[lane] += weight * values[lane];
            }
        }
        *out = sum;
    }
}
