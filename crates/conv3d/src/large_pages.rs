//! A global allocator that asks for large pages.
//!
//! Memory that is touched for the first time comes in pages of 4 kB, each with a trap into the system; on large pages of
//! 2 MB the same memory is there in a third of the time. Linux gives them to those who ask, if its setting
//! `/sys/kernel/mm/transparent_hugepage/enabled` is `madvise`, or to everyone if it is `always`. Where it has no memory in
//! such pieces it may, by its setting `defrag`, put some together on the spot, which takes longer than small pages do
//! and pays only for memory that is kept. So the allocator asks while there are pieces of that size.

use std::alloc::{GlobalAlloc, Layout, System};
#[cfg(all(target_os = "linux", not(miri)))]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Of a large page on x86-64 and on most of aarch64.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE: usize = 2 << 20;

/// Where Linux lists its free memory by the size of the pieces.
#[cfg(all(target_os = "linux", not(miri)))]
const FREE_PIECES: &std::ffi::CStr = c"/proc/buddyinfo";

/// Of a small page, in units of which the pieces are listed; with others nothing is known.
#[cfg(all(target_os = "linux", not(miri)))]
const SMALL: libc::c_long = 4096;

/// The column there of pieces of a large page: 4 kB · 2⁹.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE_COLUMN: usize = 9;

/// What is listed there is taken to hold for so long; looking takes some 20 µs.
#[cfg(all(target_os = "linux", not(miri)))]
const TRUSTED_MILLISECONDS: usize = 20;

/// Large pages that there are, as far as is known, and when that was looked up.
#[cfg(all(target_os = "linux", not(miri)))]
static FREE: AtomicUsize = AtomicUsize::new(0);
#[cfg(all(target_os = "linux", not(miri)))]
static LOOKED: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, asking for large pages, where there are some, for what is large enough to hold one. A
/// program that reads, resamples or segments scans is faster with it; a library leaves the choice to the program. On
/// systems other than Linux it is the system's allocator and no more.
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

// SAFETY: every method is the system allocator's with the same arguments and the same result; the advice beside it
// changes how memory is mapped and none of its contents. It neither allocates nor unwinds nor waits.
unsafe impl GlobalAlloc for LargePages {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises of `layout` is what the system's allocator asks.
        let start = unsafe { System.alloc(layout) };
        advise_fresh(start, layout.size(), layout.size());
        start
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let start = unsafe { System.alloc_zeroed(layout) };
        advise_fresh(start, layout.size(), layout.size());
        start
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `start` came from the system's allocator with `layout`, the caller promises the rest.
        let start = unsafe { System.realloc(start, layout, size) };
        advise_fresh(start, size, size.saturating_sub(layout.size()));
        start
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: `start` came from the system's allocator with `layout`.
        unsafe { System.dealloc(start, layout) }
        #[cfg(all(target_os = "linux", not(miri)))]
        if layout.size() >= HUGE {
            // Until the next look, what was taken last is taken to be there again.
            let _ =
                FREE.fetch_update(Relaxed, Relaxed, |free| Some(free.saturating_add(layout.size() / HUGE)));
        }
    }
}

/// [`advise`] for an allocation with `fresh` bytes that were not touched yet, where there are large pages for those.
fn advise_fresh(start: *mut u8, bytes: usize, fresh: usize) {
    #[cfg(all(target_os = "linux", not(miri)))]
    if start.is_null() || fresh < HUGE || !there_are(fresh / HUGE) {
        return;
    }
    let _ = fresh;
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
/// does not say.
#[cfg(all(target_os = "linux", not(miri)))]
#[cold]
#[inline(never)]
fn there_are(wanted: usize) -> bool {
    let now = milliseconds();
    let looked = LOOKED.load(Relaxed);
    // One thread looks, the others go by what was known before.
    if now.wrapping_sub(looked) >= TRUSTED_MILLISECONDS
        && LOOKED.compare_exchange(looked, now, Relaxed, Relaxed).is_ok()
    {
        FREE.store(look().unwrap_or(usize::MAX), Relaxed);
    }
    FREE.fetch_update(Relaxed, Relaxed, |free| free.checked_sub(wanted)).is_ok()
}

/// Since the start of the system, modulo the numbers that there are.
#[cfg(all(target_os = "linux", not(miri)))]
fn milliseconds() -> usize {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec to write to; if the call fails it stays as it is.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    let seconds = usize::try_from(now.tv_sec).unwrap_or(0);
    seconds.wrapping_mul(1000).wrapping_add(usize::try_from(now.tv_nsec / 1_000_000).unwrap_or(0))
}

/// The large pages of the system's list, or nothing if there is no such list. Of a machine with many nodes of memory
/// the first page of the list counts.
#[cfg(all(target_os = "linux", not(miri)))]
fn look() -> Option<usize> {
    let mut list = [0u8; 4096];
    // SAFETY: the name ends with a zero; at most as many bytes are read as `list` has; the file is closed once.
    let read = unsafe {
        if libc::sysconf(libc::_SC_PAGESIZE) != SMALL {
            return None;
        }
        let file = libc::open(FREE_PIECES.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let read = libc::read(file, list.as_mut_ptr().cast(), list.len());
        libc::close(file);
        read
    };
    free_large_pages(list.get(..usize::try_from(read).ok()?)?)
}

/// The large pages in the pieces that the whole lines of `list` name: a line for each zone, of which the columns behind
/// the fourth word count its pieces of 4 kB · 2ᵏ, k = 0, 1, …; nothing if it names no zone.
#[cfg(all(target_os = "linux", not(miri)))]
fn free_large_pages(list: &[u8]) -> Option<usize> {
    let zone = |line: &str| -> Option<usize> {
        let mut columns = line.split_ascii_whitespace().skip_while(|&word| word != "zone").skip(2).peekable();
        columns.peek()?;
        columns.skip(HUGE_COLUMN).enumerate().try_fold(0usize, |pages, (k, count)| {
            let each = 1usize.checked_shl(u32::try_from(k).ok()?)?;
            Some(pages.saturating_add(count.parse::<usize>().ok()?.saturating_mul(each)))
        })
    };
    let text = std::str::from_utf8(list).ok()?;
    let (lines, _) = text.rsplit_once('\n')?;
    lines.lines().map(zone).reduce(|all, zone| Some(all?.saturating_add(zone?))).flatten()
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
