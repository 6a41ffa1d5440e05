//! Fetching what is needed next while something else multiplies.
//!
//! Transforms and copies wait for memory and products hardly touch it, so the lines that the next step needs
//! are asked for a few at a time, between products.

use crate::line::Line;
use crate::simd::Simd;

/// Lines one after the other: where they begin, and how many. Addresses alone; nothing reads through them.
pub(crate) type Run = (*const Line, usize);

/// A walk through runs of lines, a few at a time.
pub(crate) struct Ahead {
    runs: Vec<Run>,
    /// Run and line of it that come next.
    at: (usize, usize),
    /// Lines for each call of [`Ahead::fetch`].
    count: usize,
}

impl Ahead {
    /// All of `runs` in `calls` steps.
    pub(crate) fn new(runs: Vec<Run>, calls: usize) -> Self {
        let lines: usize = runs.iter().map(|(_, count)| count).sum();
        Self { runs, at: (0, 0), count: lines.div_ceil(calls.max(1)) }
    }

    /// Asks for the next lines.
    #[inline(always)]
    pub(crate) fn fetch<S: Simd>(&mut self, s: S) {
        let mut left = self.count;
        while left > 0 {
            let Some(&(start, lines)) = self.runs.get(self.at.0) else { return };
            let until = lines.min(self.at.1 + left);
            for i in self.at.1..until {
                s.fetch(start.wrapping_add(i));
            }
            left -= until - self.at.1;
            self.at = if until == lines { (self.at.0 + 1, 0) } else { (self.at.0, until) };
        }
    }
}
