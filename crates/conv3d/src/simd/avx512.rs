//! Sixteen lanes in one register of AVX-512.

use std::arch::x86_64::{
    __m512, _CMP_GT_OQ, _CMP_UNORD_Q, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_fnmadd_ps,
    _mm512_load_ps, _mm512_mask_blend_ps, _mm512_max_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_store_ps, _mm512_sub_ps,
};

use super::{Kernel, Simd};
use crate::line::Line;

/// Exists only where the CPU has AVX-512F.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    /// The token; [`super::Isa::all`] has asked the CPU before, and asking again costs a load.
    pub(super) fn found() -> Self {
        assert!(is_x86_feature_detected!("avx512f"), "the CPU has AVX-512F");
        Self(())
    }
}

/// # Safety
/// The CPU has AVX-512F.
#[target_feature(enable = "avx512f")]
unsafe fn run<K: Kernel>(token: Avx512, kernel: K) -> K::Output {
    kernel.run(token)
}

impl Simd for Avx512 {
    type V = __m512;
    // 12 · 2 sums, 2 weights and a broadcast in 32 registers.
    const ROWS: usize = 12;
    const VECTORS: usize = 2;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token. The fence orders streamed lines before whatever tells others of them.
        unsafe {
            let output = run(self, kernel);
            std::arch::x86_64::_mm_sfence();
            output
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    fn zero(self) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sub_mul(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn where_positive(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(test, _mm512_setzero_ps());
            _mm512_mask_blend_ps(positive, otherwise, then)
        }
    }

    #[inline(always)]
    fn where_above(self, [a, b]: [Self::V; 2], then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, a);
            _mm512_mask_blend_ps(above, otherwise, then)
        }
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const Line) -> Self::V {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        unsafe { _mm512_load_ps(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Line, value: Self::V) {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        unsafe { _mm512_store_ps(to.cast(), value) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: *mut Line, value: Self::V) {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        unsafe { std::arch::x86_64::_mm512_stream_ps(to.cast(), value) }
    }
}
