//! Blur and simulated low resolution, axis by axis.
//!
//! Both are sums of a few voxels along an axis: a blur weighs them with a Gaussian cut off at 4 σ; a low
//! resolution of m instead of n voxels takes voxel ⌊(j + ½) n / m⌋ for the low one j and interpolates linearly
//! between those at (i + ½) m / n − ½. Beyond the border the outermost voxel repeats.

/// A Gaussian is cut off so many standard deviations from its middle, as in scipy.
const CUT_OFF_SIGMAS: f64 = 4.0;

/// For each voxel along an axis the voxels that it is summed up from, and their weights.
struct Taps {
    /// So many for each voxel.
    count: usize,
    from: Vec<usize>,
    weights: Vec<f32>,
}

impl Taps {
    fn gaussian(n: usize, sigma: f64) -> Self {
        let reach = (CUT_OFF_SIGMAS * sigma).ceil() as i64;
        let weights: Vec<f64> = (-reach..=reach).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let near = |i: usize| (-reach..=reach).map(move |j| (i as i64 + j).clamp(0, n as i64 - 1) as usize);
        Self {
            count: weights.len(),
            from: (0..n).flat_map(near).collect(),
            weights: (0..n).flat_map(|_| weights.iter().map(|w| (w / sum) as f32)).collect(),
        }
    }

    fn low_resolution(n: usize, share: f64) -> Self {
        let low = ((n as f64 * share).round() as usize).clamp(1, n);
        let step = n as f64 / low as f64;
        let (mut from, mut weights) = (Vec::with_capacity(2 * n), Vec::with_capacity(2 * n));
        for i in 0..n {
            let place = ((i as f64 + 0.5) / step - 0.5).clamp(0.0, (low - 1) as f64);
            let (first, part) = (place as usize, place.fract() as f32);
            for j in [first, (first + 1).min(low - 1)] {
                from.push(((j as f64 + 0.5) * step) as usize);
            }
            weights.extend([1.0 - part, part]);
        }
        Self { count: 2, from, weights }
    }

    /// What each voxel is summed up from.
    fn each(&self) -> impl Iterator<Item = (&[usize], &[f32])> {
        self.from.chunks_exact(self.count).zip(self.weights.chunks_exact(self.count))
    }
}

/// Blurs `image` (x fastest) with a Gaussian of `sigma` voxels.
pub(super) fn blur(image: &mut Vec<f32>, size: [usize; 3], sigma: f64) {
    along_axes(image, size, None, |n| Taps::gaussian(n, sigma));
}

/// `image` as if it had been taken with `share` of its voxels along each axis but `kept`.
pub(super) fn lower_resolution(image: &mut Vec<f32>, size: [usize; 3], share: f64, kept: Option<usize>) {
    along_axes(image, size, kept, |n| Taps::low_resolution(n, share));
}

/// Sums up along each axis but `kept`.
fn along_axes(image: &mut Vec<f32>, size: [usize; 3], kept: Option<usize>, taps: impl Fn(usize) -> Taps) {
    let mut other = vec![0.0; image.len()];
    for axis in (0..3).filter(|&axis| size[axis] > 1 && kept != Some(axis)) {
        let taps = taps(size[axis]);
        let stride: usize = size[..axis].iter().product();
        for (from, to) in
            image.chunks_exact(stride * size[axis]).zip(other.chunks_exact_mut(stride * size[axis]))
        {
            for ((indices, weights), sums) in taps.each().zip(to.chunks_exact_mut(stride)) {
                add_up(from, stride, indices, weights, sums);
            }
        }
        std::mem::swap(image, &mut other);
    }
}

/// Runs of `stride` voxels of `from`, weighed and summed up.
fn add_up(from: &[f32], stride: usize, indices: &[usize], weights: &[f32], sums: &mut [f32]) {
    if let [sum] = sums {
        *sum = indices.iter().zip(weights).map(|(&i, weight)| weight * from[i]).sum();
        return;
    }
    sums.fill(0.0);
    for (&i, weight) in indices.iter().zip(weights) {
        for (sum, value) in sums.iter_mut().zip(&from[i * stride..(i + 1) * stride]) {
            *sum += weight * value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 3] = [15, 12, 9];

    /// [`lower_resolution`] along all axes.
    fn lower(image: &mut Vec<f32>, size: [usize; 3], share: f64) {
        lower_resolution(image, size, share, None);
    }

    fn index([x, y, z]: [usize; 3]) -> usize {
        x + SIZE[0] * (y + SIZE[1] * z)
    }

    #[test]
    fn a_blurred_point_is_a_gaussian_and_keeps_its_sum() {
        let mut image = vec![0.0; SIZE.iter().product()];
        image[index([7, 6, 4])] = 1.0;
        blur(&mut image, SIZE, 0.8);
        assert!((image.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let at = |x, y, z| image[index([x, y, z])];
        for (found, squared_distance) in [(at(8, 6, 4), 1.0), (at(7, 5, 4), 1.0), (at(6, 7, 5), 3.0)] {
            let expected = (-0.5f32 * squared_distance / 0.64).exp();
            assert!((found / at(7, 6, 4) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn constants_stay_in_both() {
        for change in [blur, lower] {
            let mut image = vec![2.5; SIZE.iter().product()];
            change(&mut image, SIZE, 0.6);
            assert!(image.iter().all(|v| (v - 2.5).abs() < 1e-5));
        }
    }

    #[test]
    fn half_the_resolution_keeps_every_second_voxel_and_a_straight_line_between_them() {
        // Low voxel j shows voxel 2 j + 1; voxel i looks at (i + ½) / 2 − ½ among them.
        let mut line: Vec<f32> = (0..8).map(|v| (v * v) as f32).collect();
        lower(&mut line, [8, 1, 1], 0.5);
        assert_eq!(line[..3], [1.0, 0.75 * 1.0 + 0.25 * 9.0, 0.25 * 1.0 + 0.75 * 9.0]);
        assert_eq!(line[7], 49.0);
        let before = line.clone();
        lower(&mut line, [8, 1, 1], 1.0);
        assert_eq!(line, before, "all of the resolution changes nothing");
        lower_resolution(&mut line, [8, 1, 1], 0.5, Some(0));
        assert_eq!(line, before, "an axis that is kept");
    }

    #[test]
    fn axes_are_treated_alike() {
        let line: Vec<f32> = (0..11).map(|v| ((v * 5) % 7) as f32).collect();
        for change in [blur, lower] {
            let [x, y, z] = [[11, 1, 1], [1, 11, 1], [1, 1, 11]].map(|size| {
                let mut line = line.clone();
                change(&mut line, size, 0.7);
                line
            });
            assert!(x == y && y == z && x != line);
        }
    }
}
