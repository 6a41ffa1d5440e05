//! A slice that several threads write at once, each its own part.

use std::marker::PhantomData;

/// A mutable slice handed to tasks whose parts do not overlap but are no contiguous pieces either: a
/// range of voxels in each of several channels.
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: only `part`, and who reads or writes by `pointer`, have access, and they promise that no two
// parts in use overlap.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// Elements `from`‥`from + count`.
    ///
    /// # Safety
    /// No other part that is in use at the same time may share an element with this one.
    // The parts are the point: shared access to the whole, exclusive access to each.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps parts apart")]
    pub(crate) unsafe fn part(&self, from: usize, count: usize) -> &mut [T] {
        assert!(from <= self.length && count <= self.length - from, "the part lies within the slice");
        // SAFETY: the assertion keeps the part within the slice, which lives for 'a and is borrowed
        // mutably by `self`; the caller keeps it apart from other parts.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), count) }
    }
}

impl<T> Disjoint<'_, T> {
    /// Where element `at` lies.
    pub(crate) fn pointer(&self, at: usize) -> *mut T {
        assert!(at <= self.length, "the element lies within the slice");
        self.start.wrapping_add(at)
    }
}
