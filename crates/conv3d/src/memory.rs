//! Memory that is used again.
//!
//! The first touch of a fresh page costs more than ten times the writing of it, and large vectors are
//! fresh pages each time: the system's allocator maps them and gives them back. So the buffers of this
//! crate come from a pool of their own, which keeps what is dropped. `docs/DESIGN.md` has the argument and
//! the measurement.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::large_pages::advise;
use crate::line::Line;

/// All buffers of the process.
static POOL: Mutex<Pool> = Mutex::new(Pool { free: Vec::new(), free_lines: 0, used_lines: 0, most_used: 0 });

/// What was dropped and waits to be used again, and how much there is.
struct Pool {
    /// The longest unused first.
    free: Vec<Vec<Line>>,
    free_lines: usize,
    used_lines: usize,
    /// The most that was used at one time.
    most_used: usize,
}

/// A buffer is used for a request of down to this share of its size, so that a small request does not hold
/// a large buffer.
const LEAST_USE: f64 = 0.7;

/// All buffers together may be so many times the most that was used at one time. What does not fit the sizes
/// that are asked for goes, so that a process that meets many sizes does not keep some of each. A training
/// step asks for sizes one after the other that sum up to 1.3 times its most; with less room it would give
/// up the same large buffer each time, to ask the system for it again in the next step.
const MOST_KEPT: f64 = 2.0;

/// From so many bytes on, what is given up to make room goes back to the system at once, which
/// [`keep_freed_memory`] would otherwise have the allocator keep. Looking through its heap takes time.
const WORTH_A_TRIM: usize = 64 << 20;

impl Pool {
    /// The smallest free buffer that `length` lines may have.
    fn take(&mut self, length: usize) -> Option<Vec<Line>> {
        let fits =
            |lines: &Vec<Line>| lines.len() >= length && lines.len() as f64 * LEAST_USE <= length as f64;
        let best =
            (0..self.free.len()).filter(|&i| fits(&self.free[i])).min_by_key(|&i| self.free[i].len())?;
        let lines = self.free.remove(best);
        self.free_lines -= lines.len();
        Some(lines)
    }

    /// Gives up what is free if a fresh buffer of `length` lines makes more used than ever before: none of it
    /// was of use for this request, and without it the process needs no more memory than it uses. Who does
    /// the same again finds room in what [`MOST_KEPT`] allows.
    fn make_room(&mut self, length: usize) -> Vec<Vec<Line>> {
        if self.used_lines + length <= self.most_used {
            return Vec::new();
        }
        self.free_lines = 0;
        std::mem::take(&mut self.free)
    }

    /// Notes that so many lines are used.
    fn use_lines(&mut self, lines: usize) {
        self.used_lines += lines;
        self.most_used = self.most_used.max(self.used_lines);
    }

    /// Takes a buffer back. Returns those that are too many, to be freed by the caller.
    fn put(&mut self, lines: Vec<Line>) -> Vec<Vec<Line>> {
        self.used_lines -= lines.len();
        self.free_lines += lines.len();
        self.free.push(lines);
        let most = (self.most_used as f64 * MOST_KEPT) as usize;
        let mut surplus = 0;
        while self.free_lines + self.used_lines > most && surplus < self.free.len() {
            self.free_lines -= self.free[surplus].len();
            surplus += 1;
        }
        self.free.drain(..surplus).collect()
    }
}

/// Lines from the pool, which get them back when this is dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    length: usize,
}

impl Buffer {
    /// `length` lines that hold anything: numbers of an earlier use, or zeros.
    #[must_use]
    pub fn new(length: usize) -> Self {
        let kept = pool().take(length);
        let lines = kept.unwrap_or_else(|| {
            let surplus = pool().make_room(length);
            let bytes: usize = surplus.iter().map(|lines| size_of_val(lines.as_slice())).sum();
            drop(surplus);
            if bytes >= WORTH_A_TRIM {
                trim();
            }
            fresh(length)
        });
        pool().use_lines(lines.len());
        Self { lines, length }
    }

    /// `length` lines of zeros.
    #[must_use]
    pub fn zeros(length: usize) -> Self {
        let mut buffer = Self::new(length);
        buffer.fill(Line::ZERO);
        buffer
    }
}

impl Deref for Buffer {
    type Target = [Line];
    fn deref(&self) -> &[Line] {
        &self.lines[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [Line] {
        &mut self.lines[..self.length]
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.length);
        copy.copy_from_slice(self);
        copy
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if !self.lines.is_empty() {
            let surplus = pool().put(std::mem::take(&mut self.lines));
            drop(surplus);
        }
    }
}

/// Fresh lines of zeros: on large pages where the system has them for those who ask, which spares most of
/// the faults of the first touch and most of the address translation of every later one.
fn fresh(length: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::with_capacity(length);
    advise(lines.as_mut_ptr().cast(), length * size_of::<Line>());
    lines.resize(length, Line::ZERO);
    lines
}

fn pool() -> MutexGuard<'static, Pool> {
    // Whoever panicked left lists and sums that are whole between any two calls.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the memory that the pool keeps for later back to the system; returns how many bytes it was. For a
/// process that goes on to other things or to images of another size: the pool itself keeps up to twice the
/// most that was ever in use. With glibc, all that its allocator has kept for this process goes too, also
/// after [`keep_freed_memory`], which keeps what is freed from then on.
pub fn release_memory() -> usize {
    let kept = {
        let mut pool = pool();
        pool.free_lines = 0;
        pool.most_used = pool.used_lines;
        std::mem::take(&mut pool.free)
    };
    let bytes = kept.iter().map(|lines| size_of_val(lines.as_slice())).sum();
    drop(kept);
    trim();
    bytes
}

/// Has the system's allocator give back all whole pages that are free, also those between others.
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: malloc_trim takes the number of bytes to leave at the end of the heap, and touches free memory
    // alone.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Has the system's allocator keep what is freed too, for programs whose tensors are candle's: vectors that
/// come and go with each operation. To be called once, first thing in `main`; libraries leave the choice to
/// the program. Does something with glibc on Linux, and nothing elsewhere.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: mallopt takes two integers and changes settings of malloc; any values are allowed.
    unsafe {
        // No mapping of its own for large blocks, and none given back: both would be fresh pages next time.
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TOP_PAD, 64 << 20);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<Line> {
        vec![Line::ZERO; count]
    }

    #[test]
    fn what_is_put_back_is_used_again_if_it_fits() {
        let mut pool = Pool { free: Vec::new(), free_lines: 0, used_lines: 0, most_used: 0 };
        pool.use_lines(100);
        assert!(pool.put(lines(100)).is_empty());
        assert!(pool.take(60).is_none(), "too small a request");
        assert!(pool.take(101).is_none(), "too large a request");
        assert_eq!(pool.take(80).map(|lines| lines.len()), Some(100));
        assert_eq!((pool.free_lines, pool.free.len()), (0, 0));
    }

    #[test]
    fn sizes_that_are_not_asked_for_again_are_given_up() {
        let mut pool = Pool { free: Vec::new(), free_lines: 0, used_lines: 0, most_used: 0 };
        for length in [100, 30, 80] {
            pool.use_lines(length);
            let surplus = pool.put(lines(length));
            // 200 lines may be kept.
            assert_eq!(surplus.len(), usize::from(length == 80));
        }
        assert_eq!(pool.free.iter().map(Vec::len).collect::<Vec<_>>(), [30, 80]);
    }

    #[test]
    fn what_is_free_is_given_up_only_for_a_new_peak() {
        let mut pool = Pool { free: Vec::new(), free_lines: 0, used_lines: 0, most_used: 0 };
        pool.use_lines(100);
        pool.use_lines(40);
        pool.put(lines(40));
        assert!(pool.make_room(40).is_empty(), "no more than before");
        let given_up: usize = pool.make_room(41).iter().map(Vec::len).sum();
        assert_eq!((given_up, pool.free_lines, pool.free.len()), (40, 0, 0));
    }

    #[test]
    fn a_buffer_has_the_length_asked_for() {
        let first = Buffer::zeros(1000);
        assert_eq!((first.len(), first.clone().len()), (1000, 1000));
        drop(first);
        assert_eq!(Buffer::new(900).len(), 900);
    }
}
