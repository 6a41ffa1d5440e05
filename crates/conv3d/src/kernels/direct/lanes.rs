//! Vectors of f32, as wide as the CPU at hand has them.

/// A vector of [`Lanes::COUNT`] numbers.
///
/// The functions are unsafe because those of wider vectors may only run on a CPU that has them:
/// [`Width::detect`] is asked before a kernel over them is entered.
pub(super) trait Lanes: Copy {
    const COUNT: usize;

    /// All zero.
    ///
    /// # Safety
    /// The CPU has this vector.
    unsafe fn zero() -> Self;

    /// `COUNT` numbers from `from` on.
    ///
    /// # Safety
    /// The CPU has this vector; `COUNT` numbers from `from` on can be read.
    unsafe fn load(from: *const f32) -> Self;

    /// Stores to `COUNT` numbers from `to` on.
    ///
    /// # Safety
    /// The CPU has this vector; `COUNT` numbers from `to` on can be written.
    unsafe fn store(self, to: *mut f32);

    /// self + a · b, with one number b for all lanes.
    ///
    /// # Safety
    /// The CPU has this vector.
    unsafe fn add_scaled(self, a: Self, b: f32) -> Self;

    /// self + a · b.
    ///
    /// # Safety
    /// The CPU has this vector.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// The widest vectors that the kernels know and the CPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Width {
    /// Asks the CPU; the standard library remembers the answer.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }

    /// Every width that this CPU can run, for tests.
    #[cfg(test)]
    pub(super) fn all() -> Vec<Self> {
        let mut all = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
            if is_x86_feature_detected!("avx512f") {
                all.push(Self::Avx512);
            }
        }
        all
    }

    /// Numbers in a vector.
    pub(super) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            Self::Portable => 4,
        }
    }
}

/// Four numbers in an array, which compilers turn into the baseline's vectors.
impl Lanes for [f32; 4] {
    const COUNT: usize = 4;

    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller answers for four numbers from `from` on.
        unsafe { from.cast::<Self>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller answers for four numbers from `to` on.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn add_scaled(self, a: Self, b: f32) -> Self {
        std::array::from_fn(|i| self[i] + a[i] * b)
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|i| self[i] + a[i] * b[i])
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };

    use super::Lanes;

    macro_rules! lanes {
        ($type:ty, $count:literal, $zero:ident, $load:ident, $store:ident, $set:ident, $fma:ident) => {
            impl Lanes for $type {
                const COUNT: usize = $count;

                #[inline(always)]
                unsafe fn zero() -> Self {
                    // SAFETY: the caller answers for the CPU.
                    unsafe { $zero() }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: the caller answers for the CPU and for the numbers from `from` on.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: the caller answers for the CPU and for the numbers from `to` on.
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                unsafe fn add_scaled(self, a: Self, b: f32) -> Self {
                    // SAFETY: the caller answers for the CPU.
                    unsafe { $fma(a, $set(b), self) }
                }

                #[inline(always)]
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: the caller answers for the CPU.
                    unsafe { $fma(a, b, self) }
                }
            }
        };
    }

    lanes!(__m256, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps);
    lanes!(__m512, 16, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps);
}
