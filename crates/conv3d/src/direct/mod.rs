//! Convolution by plain sums: any kernel, stride and padding, transposed too.
//!
//! ```text
//! for each output row:
//!   rows = the input rows it looks at, with zeros where it looks outside   (rows.rs)
//!   for each group of output blocks and up to twelve voxels of the row:
//!     y = Σ_taps Σ_c rows[tap, c] · w[tap, c]                              (product.rs)
//! ```
//! A strided convolution reads its rows apart by phase, so that neighbouring outputs always read
//! neighbouring inputs. The adjoint (gradient for the input, transposed convolution) is one such convolution
//! of stride 1 for each phase of its output. What is different between them is in [`axis::Axis`] alone.

mod axis;
mod forward;
mod gradient;
mod rows;
#[cfg(test)]
mod tests;
mod weights;

pub(crate) use axis::{Axis, adjoint_axes, forward_axes};
pub(crate) use forward::{DirectForward, DirectOutput};
pub(crate) use gradient::DirectGradient;
pub(crate) use rows::DirectInput;
pub(crate) use weights::DirectWeights;
