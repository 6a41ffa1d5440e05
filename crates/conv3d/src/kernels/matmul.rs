//! Matrix product on slices, by the `gemm` crate, which looks at run time what the CPU can do.

use candle_core::WithDType;

/// A matrix in a slice: where each row and column begins.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    pub(crate) values: &'a [T],
    pub(crate) row_step: usize,
    pub(crate) column_step: usize,
}

/// Index of the last element of an m×n matrix, plus one.
fn extent(m: usize, n: usize, row_step: usize, column_step: usize) -> usize {
    if m == 0 || n == 0 { 0 } else { (m - 1) * row_step + (n - 1) * column_step + 1 }
}

/// `out` (m×n, rows `row_step` apart) = a (m×k) · b (k×n), plus what `out` holds if `add`. One thread.
///
/// # Panics
/// If a slice is shorter than its matrix.
pub(crate) fn multiply<T: WithDType>(
    [m, n, k]: [usize; 3],
    out: &mut [T],
    row_step: usize,
    add: bool,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
) {
    assert!(out.len() >= extent(m, n, row_step, 1), "the product fits");
    // SAFETY: the assertion above keeps all m×n results within `out`, which is borrowed mutably.
    unsafe { multiply_into([m, n, k], out.as_mut_ptr(), row_step, add, a, b) }
}

/// [`multiply`] through a pointer, for results whose rows lie in memory that others write between them.
///
/// # Safety
/// The n values from `out + r · row_step`, for each row r < m, must be valid for reads and writes, and
/// nobody else may touch them meanwhile.
pub(crate) unsafe fn multiply_into<T: WithDType>(
    [m, n, k]: [usize; 3],
    out: *mut T,
    row_step: usize,
    add: bool,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
) {
    assert!(a.values.len() >= extent(m, k, a.row_step, a.column_step), "the left matrix fits");
    assert!(b.values.len() >= extent(k, n, b.row_step, b.column_step), "the right matrix fits");
    let (zero, one) = (T::zero(), T::one());
    // SAFETY: both factors lie within their slices by the assertions, the caller answers for `out`, and
    // T is f32 or f64, which `gemm` knows. Slices that overlap `out` would contradict its exclusivity.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            row_step as isize,
            add,
            a.values.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.values.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            if add { one } else { zero },
            one,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
