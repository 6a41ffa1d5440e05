//! The whole network in blocks of sixteen channels, on the CPU in `f32`.
//!
//! Between the image and the scores nothing is converted, joined or normalised in a pass of its own: each
//! convolution writes what it gave and, beside it, mean and variance of each channel; whoever reads the
//! result computes norm and activation as it reads. Backward, what the norm's gradient needs are two sums a
//! channel; the rest is again computed by the two convolutions that read it. Values are dropped as soon as
//! no gradient needs them, into the pool they came from.
//!
//! candle sees one operation, from the image and all parameters to the scores.

mod backward;
mod forward;
mod op;
mod plan;
mod value;

pub(crate) use forward::{Keep, WeightCache, run};
pub(crate) use op::with_gradients;
pub(crate) use plan::Plan;
