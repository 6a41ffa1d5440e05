//! Sums that vectorise and lose no digits on large volumes.
//!
//! Sixteen running sums in the values' own type over a block, then into doubles: the compiler keeps the
//! lanes in registers, and no lane adds more than 256 numbers.

use candle_core::WithDType;

const LANES: usize = 16;
const BLOCK: usize = 4096;

/// Σ of[k](values[i]) over i, for each k.
pub(crate) fn sums<T: WithDType, const K: usize>(values: &[T], of: impl Fn(T) -> [T; K]) -> [f64; K] {
    let mut total = [0.0; K];
    for block in values.chunks(BLOCK) {
        let mut lanes = [[T::zero(); LANES]; K];
        let mut rows = block.chunks_exact(LANES);
        for row in &mut rows {
            for (i, &value) in row.iter().enumerate() {
                let terms = of(value);
                for k in 0..K {
                    lanes[k][i] += terms[k];
                }
            }
        }
        for (i, &value) in rows.remainder().iter().enumerate() {
            let terms = of(value);
            for k in 0..K {
                lanes[k][i] += terms[k];
            }
        }
        for k in 0..K {
            total[k] += lanes[k].iter().map(|v| v.to_f64()).sum::<f64>();
        }
    }
    total
}

/// Σ of[k](a[i], b[i]) over i, for each k; as [`sums`].
pub(crate) fn sums_of_pairs<T: WithDType, const K: usize>(
    a: &[T],
    b: &[T],
    of: impl Fn(T, T) -> [T; K],
) -> [f64; K] {
    let mut total = [0.0; K];
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [[T::zero(); LANES]; K];
        for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
            for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
                let terms = of(a, b);
                for k in 0..K {
                    lanes[k][i] += terms[k];
                }
            }
        }
        for k in 0..K {
            total[k] += lanes[k].iter().map(|v| v.to_f64()).sum::<f64>();
        }
    }
    total
}
