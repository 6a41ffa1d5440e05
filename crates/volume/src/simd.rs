//! The widest vectors that the processor has, chosen at run time.

/// Runs `work` compiled for the widest vectors at hand. What `work` calls is compiled with it only if it is
/// inlined: mark it `#[inline(always)]`.
///
/// Nothing here asks for fused multiply-add and rustc makes none on its own, so all processors give the
/// same bits.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
