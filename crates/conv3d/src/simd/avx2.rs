//! Sixteen lanes in two registers of AVX2.

use std::arch::x86_64::{
    __m256, _CMP_GT_OQ, _CMP_UNORD_Q, _mm256_add_ps, _mm256_blendv_ps, _mm256_cmp_ps, _mm256_fmadd_ps,
    _mm256_fnmadd_ps, _mm256_load_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_or_ps, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_store_ps, _mm256_sub_ps,
};

use super::{Kernel, Simd};
use crate::line::Line;

/// `part` of both registers. A closure that the compiler does not inline is not compiled for the instructions at
/// hand, and the products around it become many times as slow: without link-time optimisation that happened.
macro_rules! both {
    ($i:ident => $part:expr) => {
        [
            {
                const $i: usize = 0;
                $part
            },
            {
                const $i: usize = 1;
                $part
            },
        ]
    };
}

/// Exists only where the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The token; [`super::Isa::all`] has asked the CPU before, and asking again costs a load.
    pub(super) fn found() -> Self {
        let both = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        assert!(both, "the CPU has AVX2 and FMA");
        Self(())
    }
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn run<K: Kernel>(token: Avx2, kernel: K) -> K::Output {
    kernel.run(token)
}

impl Simd for Avx2 {
    type V = [__m256; 2];
    // 6 · 2 sums, 2 weights and a broadcast in 16 registers.
    const ROWS: usize = 6;
    const VECTORS: usize = 1;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token.
        [unsafe { _mm256_set1_ps(value) }; 2]
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe { _mm256_add_ps(a[I], b[I]) })
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe { _mm256_sub_ps(a[I], b[I]) })
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe { _mm256_mul_ps(a[I], b[I]) })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe { _mm256_fmadd_ps(a[I], b[I], c[I]) })
    }

    #[inline(always)]
    fn sub_mul(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe { _mm256_fnmadd_ps(a[I], b[I], c[I]) })
    }

    #[inline(always)]
    fn where_positive(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe {
            let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(test[I], _mm256_setzero_ps());
            _mm256_blendv_ps(otherwise[I], then[I], positive)
        })
    }

    #[inline(always)]
    fn where_above(self, [a, b]: [Self::V; 2], then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe {
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(a[I], b[I]);
            let above = _mm256_or_ps(above, _mm256_cmp_ps::<_CMP_UNORD_Q>(a[I], a[I]));
            _mm256_blendv_ps(otherwise[I], then[I], above)
        })
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        both!(I => unsafe { _mm256_max_ps(a[I], b[I]) })
    }

    #[inline(always)]
    unsafe fn load(self, from: *const Line) -> Self::V {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        both!(I => unsafe { _mm256_load_ps(from.cast::<f32>().add(8 * I)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Line, value: Self::V) {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        both!(I => unsafe { _mm256_store_ps(to.cast::<f32>().add(8 * I), value[I]) });
    }
}
