//! Sixteen lanes in an array: for CPUs without a file of their own, for wasm32 and for Miri.

use super::{Kernel, Simd};
use crate::line::Line;

/// Runs everywhere.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type V = [f32; 16];
    const ROWS: usize = 4;
    const VECTORS: usize = 1;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        [value; 16]
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not fused: without the instruction a fused product is a call.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn sub_mul(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| c[i] - a[i] * b[i])
    }

    #[inline(always)]
    fn where_positive(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        std::array::from_fn(|i| if test[i] > 0.0 { then[i] } else { otherwise[i] })
    }

    #[inline(always)]
    fn where_above(self, [a, b]: [Self::V; 2], then: Self::V, otherwise: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] || a[i].is_nan() { then[i] } else { otherwise[i] })
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    unsafe fn load(self, from: *const Line) -> Self::V {
        // SAFETY: the caller answers for the line.
        unsafe { from.read() }.0
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Line, value: Self::V) {
        // SAFETY: the caller answers for the line.
        unsafe { to.write(Line(value)) }
    }
}
