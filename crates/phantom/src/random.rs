//! Everything random, from a seed and a counter.
//!
//! Numbers come from SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
//! OOPSLA 2014): a counter through a mixing function. A voxel's noise depends on the seed and its index
//! alone, so threads can share the work in any way without a change in the result.

/// Step of SplitMix64's counter: 2^64 over the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Seed of case `index` of a dataset whose seed is `seed`: neighbouring seeds share no cases.
///
/// ```
/// use organseg_phantom::case_seed;
/// assert_eq!(case_seed(1, 0), case_seed(1, 0));
/// assert_ne!(case_seed(1, 1), case_seed(2, 0));
/// ```
#[must_use]
pub fn case_seed(seed: u64, index: usize) -> u64 {
    hash(hash(seed, 0x6f72_6761_6e73_6567), index as u64)
}

/// 64 well mixed bits of a seed and a counter.
pub(crate) fn hash(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Nearly normal number of mean 0 and variance 1: four uniform ones added up, from the four quarters of
/// `bits`. Enough for noise that gets smoothed, and no logarithm that another libm rounds otherwise.
pub(crate) fn nearly_normal(bits: u64) -> f32 {
    let sum: u32 = (0..4).map(|quarter| (bits >> (16 * quarter)) as u32 & 0xffff).sum();
    // Each uniform on 0..65536 has variance 65536² / 12, the four of them 65536² / 3.
    (sum as f32 - 2.0 * 65535.0) * (1.732_050_8 / 65536.0)
}

/// A stream of random numbers for choosing an anatomy.
#[derive(Clone, Debug)]
pub(crate) struct Sampler {
    seed: u64,
    counter: u64,
}

impl Sampler {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, counter: 0 }
    }

    /// 64 random bits: the seed of something.
    pub(crate) fn bits(&mut self) -> u64 {
        self.counter += 1;
        hash(self.seed, self.counter)
    }

    /// Uniform in `[low, high)`.
    pub(crate) fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.bits() >> 40) as f32 / (1u32 << 24) as f32;
        low + (high - low) * unit
    }

    /// Uniform within `spread` of `middle`.
    pub(crate) fn around(&mut self, middle: f32, spread: f32) -> f32 {
        self.between(middle - spread, middle + spread)
    }

    /// `point` moved by at most `spread` along each axis.
    pub(crate) fn near(&mut self, point: [f32; 3], spread: f32) -> [f32; 3] {
        point.map(|v| self.around(v, spread))
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.between(0.0, 1.0) < probability
    }
}

/// Smooth random field over space: random numbers in -1..1 on a cubic lattice, interpolated with a
/// quintic so that neither the value nor its slope jumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Texture {
    seed: u64,
    per_mm: f32,
}

impl Texture {
    /// A field that changes over about `size_mm` millimetres.
    pub(crate) fn new(seed: u64, size_mm: f32) -> Self {
        Self { seed, per_mm: 1.0 / size_mm }
    }

    /// The field at a point, in -1..1; its standard deviation is about 0.35.
    pub(crate) fn at(&self, point: [f32; 3]) -> f32 {
        let scaled = point.map(|v| v * self.per_mm);
        let cell = scaled.map(f32::floor);
        let fade = [0, 1, 2].map(|a| {
            let t = scaled[a] - cell[a];
            t * t * t * (t * (t * 6.0 - 15.0) + 10.0)
        });
        let corner = |dx: i64, dy: i64, dz: i64| {
            let key = [(cell[0], dx), (cell[1], dy), (cell[2], dz)]
                .into_iter()
                .fold(0u64, |key, (c, d)| (key << 21) ^ ((c as i64 + d) as u64 & 0x1f_ffff));
            (hash(self.seed, key) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
        };
        let mix = |a: f32, b: f32, t: f32| a + (b - a) * t;
        let edge = |dy, dz| mix(corner(0, dy, dz), corner(1, dy, dz), fade[0]);
        let face = |dz| mix(edge(0, dz), edge(1, dz), fade[1]);
        mix(face(0), face(1), fade[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_mean_zero_and_variance_one() {
        let n = 100_000u64;
        let values: Vec<f64> = (0..n).map(|i| f64::from(nearly_normal(hash(3, i)))).collect();
        let mean = values.iter().sum::<f64>() / n as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        // Four standard errors: 4/√n and 4·√(2/n).
        assert!(mean.abs() < 0.013, "{mean}");
        assert!((variance - 1.0).abs() < 0.018, "{variance}");
    }

    #[test]
    fn a_texture_is_bounded_and_does_not_jump() {
        let texture = Texture::new(5, 8.0);
        let mut last = texture.at([-40.0, 3.0, 1.0]);
        for step in 1..800 {
            let value = texture.at([-40.0 + 0.1 * step as f32, 3.0, 1.0]);
            assert!(value.abs() <= 1.0);
            // The quintic's steepest slope is 15/8 over a cell; lattice values differ by 2 at most.
            assert!((value - last).abs() <= 2.0 * 1.875 * 0.1 / 8.0 + 1e-4);
            last = value;
        }
    }
}
