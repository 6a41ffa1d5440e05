//! Sixteen lanes of `f32`, as wide as the CPU at hand has them.
//!
//! Every fast kernel of this crate is written once over [`Simd`]. A value of a type that implements it is a
//! token: it exists only where [`Isa::run`] found the instructions, so arithmetic through it is safe and
//! only loads and stores, which take pointers, are not.
//!
//! A function runs with an instruction set when everything in it is inlined into one that is compiled for
//! it. So kernels are `#[inline(always)]` down to the token, and [`Isa::run`] and [`Simd::run`] are the
//! borders: each calls a function compiled for the instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use std::sync::OnceLock;

use crate::line::Line;

/// Sixteen lanes of `f32` and what can be done with them.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// A vector of sixteen lanes, in one register or several.
    type V: Copy;

    /// Rows of the register block of a matrix product: with [`Simd::VECTORS`] columns of sixteen lanes, as
    /// many sums as leave registers for the weights and a broadcast.
    const ROWS: usize;

    /// Vectors of the register block of a matrix product.
    const VECTORS: usize;

    /// Runs `kernel` in a function of its own, compiled for this instruction set.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::V;

    /// a + b.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;

    /// a − b.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;

    /// a · b.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;

    /// a · b + c.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// c − a · b.
    fn sub_mul(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// In each lane `then` where `test` is above zero, `otherwise` elsewhere.
    fn where_positive(self, test: Self::V, then: Self::V, otherwise: Self::V) -> Self::V;

    /// In each lane `then` where the first of `pair` is above the second or is no number, `otherwise` elsewhere.
    fn where_above(self, pair: [Self::V; 2], then: Self::V, otherwise: Self::V) -> Self::V;

    /// The larger of two numbers in every lane; `b` where `a` is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;

    /// The lanes of a line.
    ///
    /// # Safety
    /// The line can be read.
    unsafe fn load(self, from: *const Line) -> Self::V;

    /// Stores the lanes in a line.
    ///
    /// # Safety
    /// The line can be written, and nobody else touches it meanwhile.
    unsafe fn store(self, to: *mut Line, value: Self::V);

    /// As [`Simd::store`], past the caches.
    ///
    /// # Safety
    /// As [`Simd::store`].
    #[inline(always)]
    unsafe fn stream(self, to: *mut Line, value: Self::V) {
        // SAFETY: the caller answers for the line.
        unsafe { self.store(to, value) }
    }

    /// Asks for a line that will be needed soon, to the second-level cache.
    #[inline(always)]
    fn fetch(self, line: *const Line) {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: every x86-64 CPU has the instruction; it is a hint and may be given any address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.cast());
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = line;
    }

    /// Zero in every lane.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
}

/// Something to run with the instructions of a token.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// Runs it. Implementations are `#[inline(always)]`.
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// The instruction sets that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

/// The instructions that convolutions use on this CPU: `avx512`, `avx2`, `neon` or `portable`. The environment variable
/// `ORGANSEG_ISA` asks for lesser ones.
#[must_use]
pub fn instructions() -> &'static str {
    Isa::detect().name()
}

impl Isa {
    /// The best that this CPU has. The environment variable `ORGANSEG_ISA` (`avx512`, `avx2`, `neon`,
    /// `portable`) asks for a lesser one; one that the CPU lacks is not taken.
    pub(crate) fn detect() -> Self {
        static FOUND: OnceLock<Isa> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let all = Self::all();
            let wanted = std::env::var("ORGANSEG_ISA").unwrap_or_default();
            let named = all.iter().find(|isa| isa.name() == wanted);
            *named.unwrap_or(&all[0])
        })
    }

    /// All that this CPU has, the best first.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        {
            if is_x86_feature_detected!("avx512f") {
                all.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                all.push(Self::Avx2);
            }
        }
        #[cfg(all(target_arch = "aarch64", not(miri)))]
        all.push(Self::Neon);
        all.push(Self::Portable);
        all
    }

    /// Lower-case name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// [`Simd::VECTORS`] of its token.
    pub(crate) fn vectors(self) -> usize {
        struct Vectors;
        impl Kernel for Vectors {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::VECTORS
            }
        }
        self.run(Vectors)
    }

    /// Runs `kernel` with these instructions.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::Avx512::found().run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::Avx2::found().run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::Neon::found().run(kernel),
            Self::Portable => portable::Portable.run(kernel),
        }
    }
}
