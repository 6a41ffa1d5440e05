//! The widest vectors that the processor has, chosen at run time.

/// Runs `work` compiled for the widest vectors at hand. Only what is inlined is compiled for them: mark the
/// closure and what it calls `#[inline(always)]`.
///
/// Nothing here asks for fused multiply-add and rustc makes none on its own, so all processors give the
/// same bits.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
