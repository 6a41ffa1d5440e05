//! The whole network in blocks of sixteen channels, on the CPU in `f32`.
//!
//! Between the image and the scores nothing is converted, joined or normalised in a pass of its own: each
//! convolution writes what it gave and, beside it, mean and variance of each channel; whoever reads the
//! result computes norm and activation as it reads. Backward, what the norm's gradient needs are two sums a
//! channel; the rest is again computed by the two convolutions that read it. Values are dropped as soon as
//! no gradient needs them, into the pool they came from.
//!
//! candle sees one operation, from the image and all parameters to the scores.
//!
//! The plan of a network is also carried out by candle's operations, one for each step, for other number types
//! and devices.

mod backward;
mod by_operations;
pub(crate) mod channels_last;
mod forward;
mod on_the_pool;
mod op;
mod parameters;
mod plan;
mod pointwise;
mod shared;
mod value;

pub(crate) use by_operations::by_operations;
pub(crate) use forward::{Keep, Run, WeightCache, run};
pub(crate) use on_the_pool::on_the_pool;
pub(crate) use op::{Ends, Gradients, locked, with_gradients, without_shared_statistics};
pub(crate) use plan::{Heads, Plan};
pub(crate) use shared::{BatchStatistics, MOMENTUM, Statistics};
