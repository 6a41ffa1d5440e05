//! The losses of the coarse-to-fine method and what is mixed with them.
//!
//! All take probabilities or logits (N, K, D, H, W) and the truth one-hot in the same shape; see
//! [`one_hot`]. A weighted sum of them is put together by [`LossConfig`]; [`batch_loss`] is that of a network
//! and a batch.

mod batch;
mod boundary;
mod center;
mod compute;
mod config;
mod counted;
mod cross_entropy;
mod dice;
mod focal;
mod fused;
mod one_hot;
mod tversky;

pub use batch::batch_loss;
pub use boundary::boundary_weights;
pub use center::{EmptySlices, center_loss};
pub use compute::LossParts;
pub use config::LossConfig;
pub use cross_entropy::cross_entropy;
pub use dice::dice_loss;
pub use focal::focal_loss;
pub use one_hot::one_hot;
pub use tversky::tversky_loss;

#[cfg(test)]
mod test_support;
