//! The losses of the coarse-to-fine method and what is mixed with them.
//!
//! All take probabilities or logits (N, K, D, H, W) and the truth one-hot in the same shape; see
//! [`one_hot`]. L = w_dice · L_dice + γ · L_center + w_ce · L_ce, put together by [`LossConfig`].

mod center;
mod config;
mod cross_entropy;
mod dice;
mod fused;
mod one_hot;

pub use center::{EmptySlices, center_loss};
pub use config::{LossConfig, LossParts};
pub use cross_entropy::cross_entropy;
pub use dice::dice_loss;
pub use one_hot::one_hot;

#[cfg(test)]
mod test_support;
