//! Sixteen lanes in four registers of NEON.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vbslq_f32, vceqq_f32, vcgtq_f32, vcgtzq_f32, vdupq_n_f32, vfmaq_f32, vfmsq_f32,
    vld1q_f32, vmaxnmq_f32, vmulq_f32, vmvnq_u32, vorrq_u32, vst1q_f32, vsubq_f32,
};

use super::{Kernel, Simd};
use crate::line::Line;

/// `part` of all four registers, without a closure, for the reason in `avx2.rs`.
macro_rules! all {
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
            {
                const $i: usize = 2;
                $part
            },
            {
                const $i: usize = 3;
                $part
            },
        ]
    };
}

/// Exists only where the CPU has NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon(());

impl Neon {
    /// The token; [`super::Isa::all`] has asked the CPU before, and asking again costs a load.
    pub(super) fn found() -> Self {
        assert!(std::arch::is_aarch64_feature_detected!("neon"), "the CPU has NEON");
        Self(())
    }
}

/// # Safety
/// The CPU has NEON.
#[target_feature(enable = "neon")]
unsafe fn run<K: Kernel>(token: Neon, kernel: K) -> K::Output {
    kernel.run(token)
}

impl Simd for Neon {
    type V = [float32x4_t; 4];
    // 6 · 4 sums, 4 weights and a broadcast in 32 registers.
    const ROWS: usize = 6;
    const VECTORS: usize = 1;

    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: the token.
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        // SAFETY: the token.
        [unsafe { vdupq_n_f32(value) }; 4]
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vaddq_f32(a[I], b[I]) })
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vsubq_f32(a[I], b[I]) })
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vmulq_f32(a[I], b[I]) })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vfmaq_f32(c[I], a[I], b[I]) })
    }

    #[inline(always)]
    fn sub_mul(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vfmsq_f32(c[I], a[I], b[I]) })
    }

    #[inline(always)]
    fn where_positive(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vbslq_f32(vcgtzq_f32(test[I]), then[I], otherwise[I]) })
    }

    #[inline(always)]
    fn where_above(self, [a, b]: [Self::V; 2], then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe {
            let number = vceqq_f32(a[I], a[I]);
            vbslq_f32(vorrq_u32(vcgtq_f32(a[I], b[I]), vmvnq_u32(number)), then[I], otherwise[I])
        })
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        all!(I => unsafe { vmaxnmq_f32(a[I], b[I]) })
    }

    #[inline(always)]
    unsafe fn load(self, from: *const Line) -> Self::V {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        all!(I => unsafe { vld1q_f32(from.cast::<f32>().add(4 * I)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Line, value: Self::V) {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        all!(I => unsafe { vst1q_f32(to.cast::<f32>().add(4 * I), value[I]) });
    }
}
