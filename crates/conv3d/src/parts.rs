//! Tensors side by side: what a convolution reads from and writes to without a copy that joins them.

use crate::kernels::disjoint::Disjoint;
use crate::line::Line;
use crate::source::Source;

/// Some of the blocks of an input.
#[derive(Clone, Copy, Debug)]
pub struct InputPart<'a> {
    /// Their values.
    pub source: Source<'a>,
    /// How many blocks it has.
    pub blocks: usize,
}

/// The part and its block index (sample · B + block) of block `block` of sample `n` of `parts`.
#[inline(always)]
pub(crate) fn input_block<'a, 'b>(
    parts: &'b [InputPart<'a>],
    n: usize,
    block: usize,
) -> (&'b Source<'a>, usize) {
    let mut local = block;
    for part in parts {
        if local < part.blocks {
            return (&part.source, n * part.blocks + local);
        }
        local -= part.blocks;
    }
    unreachable!("block {block} of an input with fewer")
}

/// Some of the blocks of an output.
#[derive(Debug)]
pub struct OutputPart<'a> {
    /// Where their values go.
    pub values: &'a mut [Line],
    /// How many blocks it has.
    pub blocks: usize,
    /// Whether the values are added to what is there.
    pub add: bool,
}

/// Lines from which on an output is written past the caches: what is written there is not read again soon,
/// and lines that are not fetched before they are overwritten save a third of the traffic.
pub(crate) const STREAMED: usize = 1 << 15;

/// [`OutputPart`]s that tasks share.
pub(crate) struct SharedOutput<'a> {
    parts: Vec<(Disjoint<'a, Line>, usize, bool)>,
    lines: usize,
}

impl<'a> SharedOutput<'a> {
    /// Of parts with `volumes` (samples · voxels) lines a block.
    ///
    /// # Panics
    /// If a part has not that many lines.
    pub(crate) fn new(parts: Vec<OutputPart<'a>>, volumes: usize) -> Self {
        let share = |part: OutputPart<'a>| {
            assert_eq!(part.values.len(), part.blocks * volumes, "an output has room for its blocks");
            (Disjoint::new(part.values), part.blocks, part.add)
        };
        let lines = parts.iter().map(|part| part.values.len()).sum();
        Self { parts: parts.into_iter().map(share).collect(), lines }
    }

    /// The buffer of block `block` of sample `n`, where in it the block begins, and whether to add.
    #[inline(always)]
    pub(crate) fn block(&self, n: usize, block: usize, voxels: usize) -> (&Disjoint<'a, Line>, usize, bool) {
        let mut local = block;
        for (values, blocks, add) in &self.parts {
            if local < *blocks {
                return (values, (n * blocks + local) * voxels, *add);
            }
            local -= blocks;
        }
        unreachable!("block {block} of an output with fewer")
    }

    /// Lines of all parts.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    pub(crate) fn blocks(&self) -> usize {
        self.parts.iter().map(|(_, blocks, _)| blocks).sum()
    }
}
