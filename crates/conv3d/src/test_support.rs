//! What the tests of the kernels share.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::reference::Array5;

/// `count` numbers from N(0, 1).
pub(crate) fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pair = || {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        let radius = (-2.0 * u.ln()).sqrt();
        let angle = std::f64::consts::TAU * v;
        [radius * angle.cos(), radius * angle.sin()]
    };
    (0..count.div_ceil(2)).flat_map(|_| pair()).take(count).map(|v| v as f32).collect()
}

/// Values in doubles.
pub(crate) fn array(dims: [usize; 5], values: &[f32]) -> Array5 {
    Array5 { dims, values: values.iter().map(|&v| f64::from(v)).collect() }
}

/// Every value is within `tolerance` times the rms of the expected ones.
pub(crate) fn assert_near(found: &[f32], expected: &[f64], tolerance: f64, what: &str) {
    let rms = (expected.iter().map(|v| v * v).sum::<f64>() / expected.len() as f64).sqrt();
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= tolerance * rms, "{what}: value {i} is {found}, expected {expected}, rms {rms}");
    }
}
