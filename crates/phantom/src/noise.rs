//! Texture and noise that depend on a seed and a place alone, so that threads change nothing.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A number in −1‥1 for each corner of an integer lattice.
fn at_corner(seed: u64, corner: [i64; 3]) -> f64 {
    // SplitMix64's finaliser over the corner: neighbours come out unrelated.
    let mut h = seed;
    for c in corner {
        h = (h ^ c as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        h ^= h >> 31;
    }
    (h >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// A smooth field in −1‥1 whose features are some `scale_mm` wide: values at the corners of a lattice,
/// linear between them.
pub(crate) fn smooth_field(seed: u64, p: [f64; 3], scale_mm: f64) -> f64 {
    let place = p.map(|v| v / scale_mm);
    let corner = place.map(|v| v.floor() as i64);
    let t = [0, 1, 2].map(|a| place[a] - corner[a] as f64);
    let mut sum = 0.0;
    for c in 0..8i64 {
        let step = [c & 1, c >> 1 & 1, c >> 2 & 1];
        let weight: f64 = (0..3).map(|a| if step[a] == 1 { t[a] } else { 1.0 - t[a] }).product();
        sum += weight * at_corner(seed, [0, 1, 2].map(|a| corner[a] + step[a]));
    }
    sum
}

/// Noise of a slice of nx×ny voxels: normal, standard deviation 1, each voxel related to its neighbours
/// in the slice as reconstruction kernels make it.
pub(crate) fn slice_noise(seed: u64, slice: usize, nx: usize, ny: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(slice as u64);
    // One voxel more on every side, for the smoothing to reach into.
    let (wide, high) = (nx + 2, ny + 2);
    let mut white = Vec::with_capacity(wide * high + 1);
    while white.len() < wide * high {
        // Box and Muller 1958: two normal numbers from two uniform ones.
        let (u, v): (f64, f64) = (rng.random_range(f64::EPSILON..1.0), rng.random_range(0.0..1.0));
        let (length, angle) = ((-2.0 * u.ln()).sqrt(), std::f64::consts::TAU * v);
        white.push((length * angle.cos()) as f32);
        white.push((length * angle.sin()) as f32);
    }
    // (1 2 1)/4 along both axes shrinks the deviation by 3/8.
    let (middle, side) = (0.5, 0.25);
    let smooth = |a: f32, b: f32, c: f32| side * a + middle * b + side * c;
    let mut noise = Vec::with_capacity(nx * ny);
    for y in 1..=ny {
        for x in 1..=nx {
            let row = |dy: usize| {
                let at = (y + dy - 1) * wide + x;
                smooth(white[at - 1], white[at], white[at + 1])
            };
            noise.push(smooth(row(0), row(1), row(2)) / 0.375);
        }
    }
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_mean_0_and_deviation_1() {
        let noise = slice_noise(3, 5, 200, 200);
        let mean = noise.iter().sum::<f32>() / noise.len() as f32;
        let square = noise.iter().map(|v| v * v).sum::<f32>() / noise.len() as f32;
        assert!(mean.abs() < 0.05 && (square - 1.0).abs() < 0.1, "{mean} {square}");
        assert_ne!(noise, slice_noise(3, 6, 200, 200));
    }

    #[test]
    fn a_smooth_field_is_smooth() {
        for i in 0..1000 {
            let p = [f64::from(i) * 0.37, 5.0, -3.0];
            let q = [p[0] + 0.01, 5.0, -3.0];
            let (a, b) = (smooth_field(1, p, 8.0), smooth_field(1, q, 8.0));
            assert!(a.abs() <= 1.0 && (a - b).abs() < 0.01);
        }
    }
}
