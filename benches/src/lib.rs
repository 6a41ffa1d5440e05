//! What the benchmark programs share.

pub mod memory;

use std::fmt;
use std::str::FromStr;

/// A 3×3×3 convolution of stride 1 and padding 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// (D, H, W).
    pub size: [usize; 3],
}

impl Layer {
    /// Multiplications and additions of direct convolution.
    #[must_use]
    pub fn operations(&self) -> f64 {
        54.0 * (self.inputs * self.outputs * self.size.iter().product::<usize>()) as f64
    }
}

impl FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<usize> = text.split(',').filter_map(|part| part.trim().parse().ok()).collect();
        match numbers[..] {
            [inputs, outputs, d, h, w] if !numbers.contains(&0) && text.split(',').count() == 5 => {
                Ok(Self { inputs, outputs, size: [d, h, w] })
            }
            _ => Err(format!("{text:?}: expected five positive numbers IN,OUT,D,H,W")),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [d, h, w] = self.size;
        write!(f, "{},{},{d},{h},{w}", self.inputs, self.outputs)
    }
}

/// The middle of some times.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// `count` numbers from −1 to 1 by a linear congruence: the values do not matter, only that they are not 0.
#[must_use]
pub fn random(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
