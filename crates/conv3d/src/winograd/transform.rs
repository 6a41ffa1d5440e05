//! The one-dimensional transforms of Winograd's F(4, 3) and F(3, 4) at the points 0, ±1/√2, ±√2, ∞, and of F(4, 2) at
//! those but 0 (`pair_…`), for which M(x) = (x² − ½)(x² − 2) and M′ is ∓3/√2 at ±1/√2 and ±3√2 at ±√2.
//!
//! With M(x) = x (x² − ½)(x² − 2), the product of x − p over the finite points p, and N_p = M′(p):
//!
//! - data, Bᵀ (6×6): the row of p holds the coefficients of M(x) / (x − p), the row of ∞ those of M;
//! - weights, G (6×n): the row of p holds 1, p, p², … divided by N_p, the row of ∞ is 0, …, 0, 1;
//! - result, Aᵀ (n×6): row i holds pⁱ, and 1 for ∞ in the last row alone.
//!
//! The points are chosen for their rounding: their powers and reciprocals stay near 1, and errors are eight
//! times smaller than at the textbook's 0, ±1, ±2, ∞ for the same operations.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use crate::simd::Simd;

/// N at ±1/√2; at ±√2 it is [`NORM_OUTER`], at 0 and ∞ 1.
const NORM_INNER: f32 = -1.5;
/// N at ±√2.
const NORM_OUTER: f32 = 6.0;

/// Bᵀ d.
#[inline(always)]
pub(super) fn data<S: Simd>(s: S, d: [S::V; 6]) -> [S::V; 6] {
    let (inner, outer) = (s.splat(FRAC_1_SQRT_2), s.splat(SQRT_2));
    let (two, half, middle) = (s.splat(2.0), s.splat(0.5), s.splat(2.5));
    // x⁴ − 2x² and x³ − 2x; x⁴ − x²/2 and x³ − x/2.
    let (even_inner, odd_inner) = (s.sub_mul(two, d[2], d[4]), s.sub_mul(two, d[1], d[3]));
    let (even_outer, odd_outer) = (s.sub_mul(half, d[2], d[4]), s.sub_mul(half, d[1], d[3]));
    [
        s.sub_mul(middle, d[2], s.add(d[0], d[4])),
        s.mul_add(inner, odd_inner, even_inner),
        s.sub_mul(inner, odd_inner, even_inner),
        s.mul_add(outer, odd_outer, even_outer),
        s.sub_mul(outer, odd_outer, even_outer),
        s.sub_mul(middle, d[3], s.add(d[1], d[5])),
    ]
}

/// G g for three weights.
#[inline(always)]
pub(super) fn weights<S: Simd>(s: S, g: [S::V; 3]) -> [S::V; 6] {
    let even = |square: f32, norm: f32| {
        let sum = s.mul_add(s.splat(square), g[2], g[0]);
        s.mul(s.splat(1.0 / norm), sum)
    };
    let odd = |point: f32, norm: f32| s.mul(s.splat(point / norm), g[1]);
    let (even_inner, odd_inner) = (even(0.5, NORM_INNER), odd(FRAC_1_SQRT_2, NORM_INNER));
    let (even_outer, odd_outer) = (even(2.0, NORM_OUTER), odd(SQRT_2, NORM_OUTER));
    [
        g[0],
        s.add(even_inner, odd_inner),
        s.sub(even_inner, odd_inner),
        s.add(even_outer, odd_outer),
        s.sub(even_outer, odd_outer),
        g[2],
    ]
}

/// Aᵀ t for four results.
#[inline(always)]
pub(super) fn result<S: Simd>(s: S, t: [S::V; 6]) -> [S::V; 4] {
    let ([first, third], [second, fourth]) = (even_results(s, t), odd_results(s, t));
    [first, second, third, fourth]
}

/// The first and the third of [`result`].
#[inline(always)]
pub(super) fn even_results<S: Simd>(s: S, t: [S::V; 6]) -> [S::V; 2] {
    let (two, half) = (s.splat(2.0), s.splat(0.5));
    let (inner, outer) = (s.add(t[1], t[2]), s.add(t[3], t[4]));
    [s.add(t[0], s.add(inner, outer)), s.mul_add(half, inner, s.mul(two, outer))]
}

/// The second and the fourth of [`result`].
#[inline(always)]
pub(super) fn odd_results<S: Simd>(s: S, t: [S::V; 6]) -> [S::V; 2] {
    let (inner, outer) = (s.splat(FRAC_1_SQRT_2), s.splat(SQRT_2));
    let (inner_cubed, outer_cubed) = (s.splat(0.5 * FRAC_1_SQRT_2), s.splat(2.0 * SQRT_2));
    let (odd_inner, odd_outer) = (s.sub(t[1], t[2]), s.sub(t[3], t[4]));
    [
        s.mul_add(inner, odd_inner, s.mul(outer, odd_outer)),
        s.mul_add(inner_cubed, odd_inner, s.mul_add(outer_cubed, odd_outer, t[5])),
    ]
}

/// Bᵀ d of F(4, 2).
#[inline(always)]
pub(super) fn pair_data<S: Simd>(s: S, d: [S::V; 5]) -> [S::V; 5] {
    let (inner, outer) = (s.splat(FRAC_1_SQRT_2), s.splat(SQRT_2));
    let (two, half) = (s.splat(2.0), s.splat(0.5));
    // x³ − 2x and x² − 2; x³ − x/2 and x² − 1/2.
    let (odd_inner, even_inner) = (s.sub_mul(two, d[1], d[3]), s.sub_mul(two, d[0], d[2]));
    let (odd_outer, even_outer) = (s.sub_mul(half, d[1], d[3]), s.sub_mul(half, d[0], d[2]));
    [
        s.mul_add(inner, even_inner, odd_inner),
        s.sub_mul(inner, even_inner, odd_inner),
        s.mul_add(outer, even_outer, odd_outer),
        s.sub_mul(outer, even_outer, odd_outer),
        s.sub_mul(s.splat(2.5), d[2], s.add(d[0], d[4])),
    ]
}

/// G g of F(4, 2).
#[inline(always)]
pub(super) fn pair_weights<S: Simd>(s: S, g: [S::V; 2]) -> [S::V; 5] {
    let (inner, outer) = (s.mul(s.splat(SQRT_2 / 3.0), g[0]), s.mul(s.splat(SQRT_2 / 6.0), g[0]));
    let third = s.mul(s.splat(1.0 / 3.0), g[1]);
    let minus = s.sub(s.zero(), third);
    [s.sub(minus, inner), s.add(minus, inner), s.add(third, outer), s.sub(third, outer), g[1]]
}

/// Aᵀ t of F(4, 2).
#[inline(always)]
pub(super) fn pair_result<S: Simd>(s: S, t: [S::V; 5]) -> [S::V; 4] {
    let (two, half) = (s.splat(2.0), s.splat(0.5));
    let (inner, outer) = (s.splat(FRAC_1_SQRT_2), s.splat(SQRT_2));
    let (inner_cubed, outer_cubed) = (s.splat(0.5 * FRAC_1_SQRT_2), s.splat(2.0 * SQRT_2));
    let (even_inner, even_outer) = (s.add(t[0], t[1]), s.add(t[2], t[3]));
    let (odd_inner, odd_outer) = (s.sub(t[0], t[1]), s.sub(t[2], t[3]));
    [
        s.add(even_inner, even_outer),
        s.mul_add(inner, odd_inner, s.mul(outer, odd_outer)),
        s.mul_add(half, even_inner, s.mul(two, even_outer)),
        s.mul_add(inner_cubed, odd_inner, s.mul_add(outer_cubed, odd_outer, t[4])),
    ]
}

/// N · G g for four values of a gradient: what [`gradient_result`] divides by again, once per weight
/// instead of once per voxel.
#[inline(always)]
pub(super) fn gradient<S: Simd>(s: S, g: [S::V; 4]) -> [S::V; 6] {
    let (inner, outer) = (s.splat(FRAC_1_SQRT_2), s.splat(SQRT_2));
    let (two, half) = (s.splat(2.0), s.splat(0.5));
    let (even_inner, odd_inner) = (s.mul_add(half, g[2], g[0]), s.mul_add(half, g[3], g[1]));
    let (even_outer, odd_outer) = (s.mul_add(two, g[2], g[0]), s.mul_add(two, g[3], g[1]));
    [
        g[0],
        s.mul_add(inner, odd_inner, even_inner),
        s.sub_mul(inner, odd_inner, even_inner),
        s.mul_add(outer, odd_outer, even_outer),
        s.sub_mul(outer, odd_outer, even_outer),
        g[3],
    ]
}

/// Aᵀ N⁻¹ t for three weights.
#[inline(always)]
pub(super) fn gradient_result<S: Simd>(s: S, t: [S::V; 6]) -> [S::V; 3] {
    let even = |a, b, norm: f32| s.mul(s.splat(1.0 / norm), s.add(a, b));
    let odd = |a, b, norm: f32| s.mul(s.splat(1.0 / norm), s.sub(a, b));
    let (even_inner, odd_inner) = (even(t[1], t[2], NORM_INNER), odd(t[1], t[2], NORM_INNER));
    let (even_outer, odd_outer) = (even(t[3], t[4], NORM_OUTER), odd(t[3], t[4], NORM_OUTER));
    [
        s.add(t[0], s.add(even_inner, even_outer)),
        s.mul_add(s.splat(FRAC_1_SQRT_2), odd_inner, s.mul(s.splat(SQRT_2), odd_outer)),
        s.mul_add(s.splat(0.5), even_inner, s.mul_add(s.splat(2.0), even_outer, t[5])),
    ]
}
