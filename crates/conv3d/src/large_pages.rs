//! A global allocator that asks for large pages.
//!
//! Memory that is touched for the first time comes in pages of 4 kB, each with a trap into the system; on large pages of
//! 2 MB the same memory is there in a third of the time. Linux gives them to those who ask, if its setting
//! `/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`, as with most distributions, or to everyone if it is
//! `always`. The allocator asks while the system has pieces of that size to give: else it would put some together on
//! the spot, which takes longer than small pages do and pays only for memory that is kept.

use std::alloc::{GlobalAlloc, Layout, System};
#[cfg(all(target_os = "linux", not(miri)))]
use std::{
    fs::File,
    io::Read,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Of a large page on x86-64 and on most of aarch64.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE: usize = 2 << 20;

/// Where Linux lists its free memory by the size of the pieces.
#[cfg(all(target_os = "linux", not(miri)))]
const FREE_PIECES: &str = "/proc/buddyinfo";

/// The column there of pieces of a large page, of 4 kB · 2⁹.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE_COLUMN: usize = 9;

/// What is listed there is taken to hold for so long; looking takes some 20 µs.
#[cfg(all(target_os = "linux", not(miri)))]
const TRUSTED: Duration = Duration::from_millis(20);

/// The system's allocator, asking for large pages, where there are some, for what is large enough to hold one. A program that reads,
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
        advise_if_ready(start, layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise_if_ready(start, layout.size());
        start
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `start` came from the system's allocator with `layout`, the caller promises the rest.
        let start = unsafe { System.realloc(start, layout, size) };
        advise_if_ready(start, size);
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: `start` came from the system's allocator with `layout`.
        unsafe { System.dealloc(start, layout) }
    }
}

/// [`advise`] for memory that may soon be given back, only where there are large pages.
fn advise_if_ready(start: *mut u8, bytes: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    if bytes < HUGE || !there_are(bytes / HUGE) {
        return;
    }
    advise(start, bytes);
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

/// Whether the system has `wanted` large pages to give without moving others' memory, and notes them as given. Yes if it
/// does not say. Nothing here allocates, for an allocator asks.
#[cfg(all(target_os = "linux", not(miri)))]
fn there_are(wanted: usize) -> bool {
    static KNOWN: Mutex<Option<(Instant, usize)>> = Mutex::new(None);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let (looked, free) = known.filter(|(looked, _)| now - *looked < TRUSTED).unwrap_or_else(|| {
        let mut list = [0; 8192];
        let read = File::open(FREE_PIECES).and_then(|mut file| file.read(&mut list)).unwrap_or(0);
        (now, free_large_pages(&list[..read]).unwrap_or(usize::MAX))
    });
    let left = free.checked_sub(wanted);
    *known = Some((looked, left.unwrap_or(free)));
    left.is_some()
}

/// The large pages in the pieces that `list` names: a line for each zone, of which the columns behind the fourth word
/// count its pieces of 4 kB · 2ᵏ, k = 0, 1, …; nothing if it names no zone.
#[cfg(all(target_os = "linux", not(miri)))]
fn free_large_pages(list: &[u8]) -> Option<usize> {
    let zone = |line: &str| -> Option<usize> {
        let mut columns = line.split_ascii_whitespace().skip_while(|&word| word != "zone").skip(2).peekable();
        columns.peek()?;
        columns
            .skip(HUGE_COLUMN)
            .enumerate()
            .try_fold(0, |pages, (k, count)| Some(pages + (count.parse::<usize>().ok()? << k)))
    };
    std::str::from_utf8(list).ok()?.lines().map(zone).reduce(|all, zone| Some(all? + zone?)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn free_large_pages_are_summed_over_zones_and_sizes() {
        let list = "Node 0, zone    DMA32   35  43  55  44  43  41  31  23  11  13  738\n\
                    Node 0, zone   Normal    0   0   0   0   0   0   0   0 900   6    2\n";
        assert_eq!(free_large_pages(list.as_bytes()), Some(13 + 2 * 738 + 6 + 2 * 2));
        assert_eq!(free_large_pages(b"Node 0, zone Normal 1 2 3\n"), Some(0));
        for unknown in ["", "something else\n", "Node 0, zone Normal 0 0 0 0 0 0 0 0 0 many 2\n"] {
            assert_eq!(free_large_pages(unknown.as_bytes()), None, "{unknown:?}");
        }
    }

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
