//! Rows of a mask as runs: which stretches along x are wanted.
//!
//! A row is read 64 voxels at a time as one word with a bit per voxel:
//!
//! ```text
//! for each block of 64 voxels
//!     bits  ← bit i set where voxel i is wanted
//!     edges ← bits xor (bits shifted by one, the last block's top bit moved in)
//!     each set bit of edges, from the lowest, is in turn the start and the end of a run
//! ```
//!
//! so that stretches without an edge, most of a scan, cost a few operations for eight voxels.

use organseg_volume::{Label, LabelVolume};
use rayon::prelude::*;

/// Planes (z) in a [`Slab`], the unit of parallel work: small enough for 30 slabs in a scan of 240 slices,
/// large enough that the borders between slabs, which one thread joins, are few.
const SLAB_PLANES: usize = 8;

/// Voxels in a block: the bits of a word.
const BLOCK: usize = u64::BITS as usize;

/// Which voxels of a mask are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Those of one label.
    Is(Label),
    /// Those of any other.
    IsNot(Label),
}

/// Wanted voxels `start`‥`end` of a row, as long a stretch as there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The runs of a few planes that follow each other.
#[derive(Debug)]
pub(crate) struct Slab {
    runs: Vec<Run>,
    /// First run of each row, and the number of runs: one entry more than there are rows.
    first: Vec<u32>,
    /// Runs in all slabs before this one.
    base: u32,
}

impl Slab {
    fn of(voxels: &[Label], row_length: usize, selection: Selection) -> Self {
        let mut slab = Self { runs: Vec::new(), first: vec![0], base: 0 };
        for row in voxels.chunks(row_length) {
            push_runs(row, selection, &mut slab.runs);
            slab.first.push(slab.runs.len() as u32);
        }
        slab
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(crate) fn run_count(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn base(&self) -> u32 {
        self.base
    }

    pub(crate) fn rows(&self) -> usize {
        self.first.len() - 1
    }

    /// The runs of a row of the slab, and the number of the first of them among the slab's.
    pub(crate) fn row(&self, row: usize) -> (u32, &[Run]) {
        let (from, to) = (self.first[row], self.first[row + 1]);
        (from, &self.runs[from as usize..to as usize])
    }
}

/// All runs of a mask, numbered in the order of memory.
#[derive(Debug)]
pub(crate) struct Runs {
    pub(crate) slabs: Vec<Slab>,
    pub(crate) size: [usize; 3],
    pub(crate) count: usize,
}

impl Runs {
    /// The runs of the voxels of `mask` that are wanted.
    ///
    /// # Panics
    /// If there are 2³² runs or more, or as many voxels in a row.
    pub(crate) fn of(mask: &LabelVolume, selection: Selection) -> Self {
        let size = mask.size();
        assert!(u32::try_from(size[0]).is_ok(), "a row of {} voxels, expected fewer than 2^32", size[0]);
        let mut runs = Self { slabs: Vec::new(), size, count: 0 };
        runs.slabs = mask
            .voxels()
            .par_chunks(runs.slab_voxels())
            .map(|voxels| Slab::of(voxels, size[0], selection))
            .collect();
        for slab in &mut runs.slabs {
            slab.base = u32::try_from(runs.count).expect("a mask has fewer than 2^32 runs");
            runs.count += slab.runs.len();
        }
        assert!(u32::try_from(runs.count).is_ok(), "a mask has fewer than 2^32 runs");
        runs
    }

    /// Rows in every slab but perhaps the last.
    pub(crate) fn slab_rows(&self) -> usize {
        self.size[1] * SLAB_PLANES
    }

    /// Voxels in every slab but perhaps the last.
    pub(crate) fn slab_voxels(&self) -> usize {
        self.size[0] * self.slab_rows()
    }
}

/// Appends the runs of one row.
fn push_runs(row: &[Label], selection: Selection, runs: &mut Vec<Run>) {
    let mut start = None;
    let mut before = 0;
    for (block, voxels) in row.chunks(BLOCK).enumerate() {
        let bits = wanted_bits(voxels, selection);
        let mut edges = bits ^ ((bits << 1) | before);
        before = bits >> (BLOCK - 1);
        while edges != 0 {
            let x = (block * BLOCK) as u32 + edges.trailing_zeros();
            match start.take() {
                None => start = Some(x),
                Some(start) => runs.push(Run { start, end: x }),
            }
            edges &= edges - 1;
        }
    }
    if let Some(start) = start {
        runs.push(Run { start, end: row.len() as u32 });
    }
}

/// Bit i is set where voxel i of at most 64 is wanted.
fn wanted_bits(voxels: &[Label], selection: Selection) -> u64 {
    let (label, wanted_where_different) = match selection {
        Selection::Is(label) => (label, false),
        Selection::IsNot(label) => (label, true),
    };
    let present = u64::MAX >> (BLOCK - voxels.len());
    let different = if voxels.iter().fold(0, |any, &v| any | (v ^ label)) == 0 {
        0
    } else {
        let eights = voxels.chunks_exact(8);
        let rest = eights.remainder();
        let done = voxels.len() - rest.len();
        let mut bits = 0;
        for (i, eight) in eights.enumerate() {
            let word = u64::from_le_bytes(eight.try_into().expect("eight voxels"));
            bits |= nonzero_bytes(word ^ u64::from_le_bytes([label; 8])) << (8 * i);
        }
        for (i, &v) in rest.iter().enumerate() {
            bits |= u64::from(v != label) << (done + i);
        }
        bits
    };
    if wanted_where_different { different } else { !different & present }
}

/// Bit i (of 8) is set where byte i of `word` is not zero.
fn nonzero_bytes(word: u64) -> u64 {
    const LOW_SEVEN: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    // The sum carries into a byte's top bit if any of its lower seven are set, and never beyond the byte.
    let top_bits = (((word & LOW_SEVEN) + LOW_SEVEN) | word) & !LOW_SEVEN;
    // The product moves the top bit of byte i to bit 56 + i; no two of its terms meet, so nothing carries.
    (top_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_pattern_of_eight_bytes_becomes_its_bits() {
        for pattern in 0..256u64 {
            for value in [1u8, 0x7f, 0x80, 0xff] {
                let bytes: [u8; 8] = std::array::from_fn(|i| if pattern >> i & 1 == 1 { value } else { 0 });
                assert_eq!(nonzero_bytes(u64::from_le_bytes(bytes)), pattern, "value {value}");
            }
        }
    }

    proptest! {
        #[test]
        fn runs_are_those_of_walking_the_row(
            stretches in prop::collection::vec((0u8..3, 1usize..90), 1..8), label in 0u8..3, is in any::<bool>(),
        ) {
            let row: Vec<u8> = stretches.into_iter().flat_map(|(v, n)| std::iter::repeat_n(v, n)).collect();
            let selection = if is { Selection::Is(label) } else { Selection::IsNot(label) };
            let mut found = Vec::new();
            push_runs(&row, selection, &mut found);
            let mut walked: Vec<Run> = Vec::new();
            for (x, _) in row.iter().enumerate().filter(|&(_, &v)| (v == label) == is) {
                let x = x as u32;
                match walked.last_mut() {
                    Some(run) if run.end == x => run.end += 1,
                    _ => walked.push(Run { start: x, end: x + 1 }),
                }
            }
            prop_assert_eq!(found, walked);
        }
    }
}
