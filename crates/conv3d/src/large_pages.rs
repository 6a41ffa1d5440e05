//! A global allocator that asks for large pages.
//!
//! Memory that is touched for the first time comes in pages of 4 kB, each with a trap into the system; on large pages of
//! 2 MB the same memory is there in a third of the time. Linux gives them to those who ask, if its setting
//! `/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`, as with most distributions, or to everyone if it is
//! `always`.

use std::alloc::{GlobalAlloc, Layout, System};

/// Of a large page on x86-64 and on most of aarch64.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE: usize = 2 << 20;

/// The system's allocator, asking for large pages for what is large enough to hold some. A program that reads,
/// resamples or segments scans is faster with it; a library leaves the choice to the program. On systems other than
/// Linux it is the system's allocator and no more.
///
/// ```
/// #[global_allocator]
/// static MEMORY: organseg_conv3d::LargePages = organseg_conv3d::LargePages;
///
/// let scan = vec![1u8; 100 << 20];
/// assert_eq!(scan[99 << 20], 1);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LargePages;

// SAFETY: every method is the system allocator's with the same arguments and the same result; the advice in between
// changes how memory is mapped and none of its contents.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises of `layout` is what the system's allocator asks.
        let start = unsafe { System.alloc(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise(start, layout.size());
        start
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `start` came from the system's allocator with `layout`, the caller promises the rest.
        let start = unsafe { System.realloc(start, layout, size) };
        advise(start, size);
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: `start` came from the system's allocator with `layout`.
        unsafe { System.dealloc(start, layout) }
    }
}

/// Asks for large pages for the whole ones among the `bytes` from `start` on, an allocation of the caller's or null. A
/// refusal costs nothing but speed.
pub(crate) fn advise(start: *mut u8, bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    if bytes >= HUGE && !start.is_null() {
        let skipped = start.align_offset(HUGE);
        let whole = bytes.saturating_sub(skipped) / HUGE * HUGE;
        if whole > 0 {
            // SAFETY: the range lies within the caller's allocation; the advice changes how it is mapped and none of
            // its contents.
            unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let _ = (start, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_hold_what_is_written_when_they_grow_and_shrink() {
        for size in [1, 4096, 3 << 20, 9 << 20] {
            let layout = Layout::from_size_align(size, 64).expect("a valid layout");
            let larger = Layout::from_size_align(2 * size, 64).expect("a valid layout");
            // SAFETY: each block is used within its size, and freed with the layout it has.
            unsafe {
                let block = LargePages.alloc_zeroed(layout);
                assert!(!block.is_null());
                assert_eq!((block.align_offset(64), *block, *block.add(size - 1)), (0, 0, 0));
                *block.add(size - 1) = 7;
                let block = LargePages.realloc(block, layout, 2 * size);
                *block.add(2 * size - 1) = 9;
                assert_eq!((*block.add(size - 1), *block.add(2 * size - 1)), (7, 9));
                let block = LargePages.realloc(block, larger, size);
                assert_eq!(*block.add(size - 1), 7);
                LargePages.dealloc(block, layout);
            }
        }
    }
}
