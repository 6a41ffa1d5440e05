//! Fetching what the next output row needs while this one multiplies.

use super::rows::{DirectInput, RowPlan};
use crate::line::Line;
use crate::parts::input_block;
use crate::simd::Simd;

/// A walk through some runs of lines, a few at a time.
pub(super) struct Ahead {
    /// Where each run begins, and its lines.
    runs: Vec<(*const Line, usize)>,
    /// Run and line of it that come next.
    at: (usize, usize),
    /// Lines for each call of [`Ahead::fetch`].
    count: usize,
}

impl Ahead {
    /// The rows that output row (z, y) of sample `n` looks at and row (z, y − 1) does not, then `more`, in
    /// `calls` steps.
    pub(super) fn new(
        plan: &RowPlan,
        input: &DirectInput<'_>,
        [n, z, y]: [usize; 3],
        more: Vec<(*const Line, usize)>,
        calls: usize,
    ) -> Self {
        let mut runs = Vec::new();
        if let DirectInput::Blocks(parts) = input {
            let [depth, height, width] = plan.inputs();
            for row in plan.rows_of(z, y) {
                for group in 0..input.groups() {
                    let (source, block) = input_block(parts, n, group);
                    let start = block * depth * height * width + row * width;
                    for lines in source.arrays().into_iter().flatten() {
                        runs.push((lines[start..start + width].as_ptr(), width));
                    }
                }
            }
        }
        runs.extend(more);
        let lines: usize = runs.iter().map(|(_, count)| count).sum();
        Self { runs, at: (0, 0), count: lines.div_ceil(calls.max(1)) }
    }

    /// Asks for the next lines.
    #[inline(always)]
    pub(super) fn fetch<S: Simd>(&mut self, s: S) {
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
