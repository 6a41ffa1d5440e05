//! The loops behind the operations, on slices.

pub(crate) mod adjoint;
pub(crate) mod disjoint;
pub(crate) mod forward;
pub(crate) mod im2col;
pub(crate) mod matmul;
pub(crate) mod sums;
pub(crate) mod weight_gradient;
