//! The generator behind each training sample.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A generator for sample `index` of epoch `epoch`: the three numbers are its key, so that a sample
/// does not depend on which thread draws it, nor on what was drawn before.
///
/// ```
/// use organseg_train::sample_rng;
/// use rand::Rng;
/// assert_eq!(sample_rng(1, 2, 3).next_u64(), sample_rng(1, 2, 3).next_u64());
/// assert_ne!(sample_rng(1, 2, 3).next_u64(), sample_rng(1, 3, 2).next_u64());
/// ```
#[must_use]
pub fn sample_rng(seed: u64, epoch: usize, index: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, number) in key.chunks_exact_mut(8).zip([seed, epoch as u64, index as u64]) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
