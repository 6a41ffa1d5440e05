//! The register block that all convolutions here come down to.
//!
//! ```text
//! out[r][v] = Σ_g Σ_{k < K} a[offset_g + r·STEP + k] · w[g][k][v]
//! ```
//! R rows (tiles or voxels) of V vectors (sixteen output channels each), all sums in registers; weights are
//! loaded, data broadcast. g runs over groups of K numbers: the blocks of input channels, or those of each
//! kernel voxel. Numbers of a row are neighbours; rows are STEP numbers apart.

use crate::line::Line;
use crate::simd::Simd;

/// What [`product`] works on.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    /// The data of row 0.
    pub(crate) data: *const f32,
    /// Where the numbers of each group begin, from `data` on.
    pub(crate) offsets: &'a [usize],
    /// V lines for each number of each group.
    pub(crate) weights: *const Line,
    /// The results of row 0; those of row r are r lines further.
    pub(crate) out: *mut Line,
    /// From the results of one vector to those of the next, in lines.
    pub(crate) out_step: usize,
}

/// Lines of weights that are asked for ahead of their use.
const AHEAD: usize = 64;

/// Numbers of a group that are unrolled by hand: the speed of one short loop depended on where in the program it
/// was placed.
const TOGETHER: usize = 4;

/// The sums of R rows and V vectors; added to what is there if `ADD`.
///
/// # Safety
/// For every offset, the K numbers from `data + offset + r · STEP` of each row r can be read, and so can
/// V · K lines of weights for each offset. Line `r` from `out + v · out_step` can be written for each r and
/// v, and nobody else touches it meanwhile.
#[inline(always)]
pub(crate) unsafe fn product<
    S: Simd,
    const R: usize,
    const V: usize,
    const STEP: usize,
    const K: usize,
    const ADD: bool,
>(
    s: S,
    p: Product<'_>,
) {
    let mut sums = [[s.zero(); V]; R];
    let mut weights = p.weights;
    // SAFETY: the caller answers for what is read and written; see each bound above.
    unsafe {
        for &offset in p.offsets {
            let data = p.data.add(offset);
            for first in (0..K).step_by(TOGETHER) {
                for k in first..(first + TOGETHER).min(K) {
                    let mut w = [s.zero(); V];
                    for v in 0..V {
                        w[v] = s.load(weights.add(v));
                        s.fetch(weights.wrapping_add(AHEAD + v));
                    }
                    weights = weights.add(V);
                    for r in 0..R {
                        let x = s.splat(*data.add(r * STEP + k));
                        for v in 0..V {
                            sums[r][v] = s.mul_add(x, w[v], sums[r][v]);
                        }
                    }
                }
            }
        }
        for r in 0..R {
            for v in 0..V {
                let out = p.out.add(v * p.out_step + r);
                // Added as a whole: sums of blocks lose fewer digits than one long sum.
                let sum = sums[r][v];
                s.store(out, if ADD { s.add(sum, s.load(out)) } else { sum });
            }
        }
    }
}

/// [`product`] with `rows` (1 to 12) and `vectors` (1 or 2) chosen at run time.
///
/// # Safety
/// As [`product`].
#[inline(always)]
pub(crate) unsafe fn product_of<S: Simd, const STEP: usize, const K: usize, const ADD: bool>(
    s: S,
    rows: usize,
    vectors: usize,
    p: Product<'_>,
) {
    macro_rules! by_rows {
        ($vectors:literal: $($rows:literal)*) => {
            match rows {
                // SAFETY: the caller answers for the rows and vectors it asks for.
                $($rows => unsafe { product::<S, $rows, $vectors, STEP, K, ADD>(s, p) },)*
                _ => unreachable!("{rows} rows of a product"),
            }
        };
    }
    if vectors == 2 && S::VECTORS == 2 {
        by_rows!(2: 1 2 3 4 5 6 7 8 9 10 11 12);
    } else if S::ROWS == 12 {
        by_rows!(1: 1 2 3 4 5 6 7 8 9 10 11 12);
    } else {
        by_rows!(1: 1 2 3 4 5 6);
    }
}

/// `total` rows in pieces of at most `most`, as equal as can be: the number of pieces and the size of each.
pub(crate) fn pieces(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = total.div_ceil(most);
    (0..count).map(move |i| {
        let (from, to) = (i * total / count, (i + 1) * total / count);
        (from, to - from)
    })
}

/// What [`add_products`] works on.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    /// Sixteen numbers for each of `count` rows.
    pub(crate) data: *const f32,
    /// From one row of numbers to the next.
    pub(crate) data_step: usize,
    /// A line for each row and block.
    pub(crate) gradient: *const Line,
    /// From the lines of one block to those of the next.
    pub(crate) gradient_block: usize,
    /// Rows.
    pub(crate) count: usize,
    /// For each of the sixteen numbers a line for each block.
    pub(crate) out: *mut Line,
}

/// out[c][v] (+)= Σ_k data[k][c] · gradient[v][k] for sixteen numbers c and one or two blocks v; added to
/// what is there if `add`.
///
/// # Safety
/// The rows of data and gradient can be read, the 16 · `vectors` lines of `out` read and written, and nobody
/// else touches those meanwhile.
#[inline(always)]
pub(crate) unsafe fn add_products<S: Simd>(s: S, vectors: usize, add: bool, sums: Sums) {
    // SAFETY: the caller answers for all; each piece takes its share of the sixteen numbers.
    unsafe {
        if vectors == 2 && S::VECTORS == 2 {
            for first in [0, 8] {
                sums_block::<S, 8, 2>(s, first, add, sums);
            }
        } else if S::ROWS == 12 {
            sums_block::<S, 16, 1>(s, 0, add, sums);
        } else {
            // As few pieces as registers allow: with four sums of two registers each, every addition would wait for the
            // one before.
            sums_block::<S, 6, 1>(s, 0, add, sums);
            sums_block::<S, 5, 1>(s, 6, add, sums);
            sums_block::<S, 5, 1>(s, 11, add, sums);
        }
    }
}

/// R of the sixteen numbers, from `first` on.
///
/// # Safety
/// As [`add_products`], with V vectors.
#[inline(always)]
unsafe fn sums_block<S: Simd, const R: usize, const V: usize>(s: S, first: usize, add: bool, sums: Sums) {
    // SAFETY: the caller answers for rows and results; first + R is at most 16.
    unsafe {
        let out = sums.out.add(first * V);
        let mut block = [[s.zero(); V]; R];
        if add {
            for (r, row) in block.iter_mut().enumerate() {
                for (v, sum) in row.iter_mut().enumerate() {
                    *sum = s.load(out.add(r * V + v));
                }
            }
        }
        for k in 0..sums.count {
            let data = sums.data.add(k * sums.data_step + first);
            let mut g = [s.zero(); V];
            for (v, g) in g.iter_mut().enumerate() {
                *g = s.load(sums.gradient.add(v * sums.gradient_block + k));
            }
            for (r, row) in block.iter_mut().enumerate() {
                let x = s.splat(*data.add(r));
                for v in 0..V {
                    row[v] = s.mul_add(x, g[v], row[v]);
                }
            }
        }
        for (r, row) in block.iter().enumerate() {
            for (v, &sum) in row.iter().enumerate() {
                s.store(out.add(r * V + v), sum);
            }
        }
    }
}
