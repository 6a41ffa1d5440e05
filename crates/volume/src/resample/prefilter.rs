//! From voxels to the coefficients of the cubic B-spline that passes through them.
//!
//! Along each axis the inverse of the kernel (1/6, 4/6, 1/6) is a pair of first-order recursions with
//! the pole z = √3 − 2 (Unser, Aldroubi and Eden 1993): c⁺ₖ = 6 sₖ + z c⁺ₖ₋₁ forwards,
//! cₖ = z (cₖ₊₁ − c⁺ₖ) backwards, started for a signal that is mirrored at its outermost samples. The
//! recursions run over whole rows at a time where the axis is not x, so that they vectorise.

use rayon::prelude::*;

use super::kernel::Real;

/// √3 − 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// Terms of the starting sum after which POLEᵏ is below the rounding of a double.
const HORIZON: usize = 28;

/// Replaces the samples of `data`, x fastest, by coefficients along all three axes.
pub(super) fn to_coefficients<R: Real>(data: &mut [R], [nx, ny, nz]: [usize; 3]) {
    if nx > 1 {
        data.par_chunks_mut(nx).for_each(filter_row);
    }
    if ny > 1 {
        data.par_chunks_mut(nx * ny)
            .for_each(|plane| filter_lines(&mut plane.chunks_mut(nx).collect::<Vec<_>>()));
    }
    if nz > 1 {
        // The same rows of all planes, row by row.
        let mut columns: Vec<Vec<&mut [R]>> = (0..ny).map(|_| Vec::with_capacity(nz)).collect();
        for plane in data.chunks_mut(nx * ny) {
            for (column, row) in columns.iter_mut().zip(plane.chunks_mut(nx)) {
                column.push(row);
            }
        }
        columns.par_iter_mut().for_each(|lines| filter_lines(lines));
    }
}

fn filter_row<R: Real>(row: &mut [R]) {
    let n = row.len();
    let (pole, gain) = (R::of(POLE), R::of(6.0));
    let mut sum = R::of(0.0);
    for (k, weight) in start_weights(n) {
        sum += R::of(weight) * row[k];
    }
    row[0] = gain * sum;
    for k in 1..n {
        row[k] = gain * row[k] + pole * row[k - 1];
    }
    row[n - 1] = R::of(END) * (row[n - 1] + pole * row[n - 2]);
    for k in (0..n - 1).rev() {
        row[k] = pole * (row[k + 1] - row[k]);
    }
}

/// [`filter_row`] across rows: entry i of every line is a signal of its own.
fn filter_lines<R: Real>(lines: &mut [&mut [R]]) {
    let n = lines.len();
    let (pole, gain) = (R::of(POLE), R::of(6.0));
    let mut sum = vec![R::of(0.0); lines[0].len()];
    for (k, weight) in start_weights(n) {
        let weight = R::of(weight);
        for (sum, &value) in sum.iter_mut().zip(lines[k].iter()) {
            *sum += weight * value;
        }
    }
    for (first, &sum) in lines[0].iter_mut().zip(&sum) {
        *first = gain * sum;
    }
    for k in 1..n {
        let (before, here) = lines.split_at_mut(k);
        for (value, &previous) in here[0].iter_mut().zip(before[k - 1].iter()) {
            *value = gain * *value + pole * previous;
        }
    }
    let (before, last) = lines.split_at_mut(n - 1);
    for (value, &previous) in last[0].iter_mut().zip(before[n - 2].iter()) {
        *value = R::of(END) * (*value + pole * previous);
    }
    for k in (0..n - 1).rev() {
        let (here, after) = lines.split_at_mut(k + 1);
        for (value, &next) in here[k].iter_mut().zip(after[0].iter()) {
            *value = pole * (next - *value);
        }
    }
}

/// z / (z² − 1), which starts the backward recursion of a mirrored signal.
const END: f64 = POLE / (POLE * POLE - 1.0);

/// Weights of the samples in c⁺₀ / 6 = Σ zᵏ sₖ over the mirrored signal, which repeats after 2 n − 2
/// samples: (zᵏ + z^(2n−2−k)) / (1 − z^(2n−2)), the ends counted once.
fn start_weights(n: usize) -> impl Iterator<Item = (usize, f64)> {
    let period = 2 * n as i32 - 2;
    let whole = 1.0 - POLE.powi(period);
    (0..n.min(HORIZON)).map(move |k| {
        let there = POLE.powi(k as i32);
        let back = if k == 0 || k == n - 1 { 0.0 } else { POLE.powi(period - k as i32) };
        (k, (there + back) / whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (c₋₁ + 4 c₀ + c₁) / 6 gives the samples back, with c mirrored at the ends.
    #[test]
    fn the_kernel_undoes_the_filter_along_every_axis() {
        for n in [2usize, 3, 5, 40] {
            for axis in 0..3 {
                let mut size = [3, 4, 2];
                size[axis] = n;
                let samples: Vec<f64> =
                    (0..size.iter().product::<usize>()).map(|i| ((i * 37) % 23) as f64).collect();
                let mut line = vec![0.0; n];
                let stride = [1, size[0], size[0] * size[1]][axis];
                let mut only = [1, 1, 1];
                only[axis] = n;
                for (k, value) in line.iter_mut().enumerate() {
                    *value = samples[k * stride];
                }
                let expected = line.clone();
                to_coefficients(&mut line, only);
                for k in 0..n {
                    let left = line[if k == 0 { 1 } else { k - 1 }];
                    let right = line[if k == n - 1 { n - 2 } else { k + 1 }];
                    let back = (left + 4.0 * line[k] + right) / 6.0;
                    assert!((back - expected[k]).abs() < 1e-9, "n {n} axis {axis} sample {k}");
                }
            }
        }
    }
}
