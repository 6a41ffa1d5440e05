//! Sixteen lanes in four registers of NEON.

use std::arch::aarch64::{
    float32x4_t, vaddq_f32, vbslq_f32, vcgtzq_f32, vdupq_n_f32, vfmaq_f32, vfmsq_f32, vld1q_f32, vmulq_f32,
    vst1q_f32, vsubq_f32,
};

use super::{Kernel, Simd};
use crate::line::Line;

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
        std::array::from_fn(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        std::array::from_fn(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        // SAFETY: the token.
        std::array::from_fn(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }

    #[inline(always)]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        std::array::from_fn(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }

    #[inline(always)]
    fn sub_mul(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the token.
        std::array::from_fn(|i| unsafe { vfmsq_f32(c[i], a[i], b[i]) })
    }

    #[inline(always)]
    fn where_positive(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        // SAFETY: the token.
        std::array::from_fn(|i| unsafe { vbslq_f32(vcgtzq_f32(test[i]), then[i], otherwise[i]) })
    }

    #[inline(always)]
    unsafe fn load(self, from: *const Line) -> Self::V {
        // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
        std::array::from_fn(|i| unsafe { vld1q_f32(from.cast::<f32>().add(4 * i)) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut Line, value: Self::V) {
        for (i, part) in value.into_iter().enumerate() {
            // SAFETY: the token, and the caller answers for the line, which is aligned by its type.
            unsafe { vst1q_f32(to.cast::<f32>().add(4 * i), part) };
        }
    }
}
