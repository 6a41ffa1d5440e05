//! Neighbouring cells that the same two classes contest: the sign of the second's lead over the first.

use super::cells::{AxisCells, Cell};
use super::slab::mix;

/// The lead along x, with memory that is used again.
#[derive(Default)]
pub(super) struct Lead {
    /// At the centres, in the four rows of scores around a row of voxels: (y, z), (y + 1, z), (y, z + 1),
    /// (y + 1, z + 1).
    corners: [Vec<f32>; 4],
    /// In the two rows between those in z, and in the one between these in y.
    between_z: [Vec<f32>; 2],
    between: Vec<f32>,
    /// At the voxels.
    voxels: Vec<f32>,
}

impl Lead {
    /// Takes the lead of `seconds` over `firsts` at the centres around `cells`, in the `rows` that begin
    /// there.
    #[inline(always)]
    pub(super) fn load(&mut self, [firsts, seconds]: [&[f32]; 2], rows: [usize; 4], centres: usize) {
        for (line, row) in self.corners.iter_mut().zip(rows) {
            let scores = seconds[row..row + centres].iter().zip(&firsts[row..row + centres]);
            line.clear();
            line.extend(scores.map(|(second, first)| second - first));
        }
        self.between_z.iter_mut().for_each(|line| line.resize(centres, 0.0));
        self.between.resize(centres, 0.0);
    }

    /// Goes to the plane with the share `z` of the high centres.
    #[inline(always)]
    pub(super) fn go_to_plane(&mut self, z: f32) {
        let [a, b, c, d] = &self.corners;
        for (line, (low, high)) in self.between_z.iter_mut().zip([(a, c), (b, d)]) {
            mix_lines(line, low, high, z);
        }
    }

    /// Labels `row`, the voxels of `cells`, of which each has as many, in a row of the plane with the share `y`
    /// of the high centres.
    #[inline(always)]
    pub(super) fn label(&mut self, y: f32, x: &AxisCells, cells: &[Cell], labels: [u8; 2], row: &mut [u8]) {
        let [low, high] = &self.between_z;
        mix_lines(&mut self.between, low, high, y);
        let first = cells[0].voxels.start;
        let shares = &x.shares[first..first + row.len()];
        self.voxels.resize(row.len(), 0.0);
        match cells[0].voxels.len() {
            2 => spread::<2>(&mut self.voxels, &self.between, shares, cells, x.next),
            3 => spread::<3>(&mut self.voxels, &self.between, shares, cells, x.next),
            4 => spread::<4>(&mut self.voxels, &self.between, shares, cells, x.next),
            each => {
                let from = lowest(cells);
                let voxels = self.voxels.chunks_exact_mut(each).zip(shares.chunks_exact(each));
                for ((voxels, shares), cell) in voxels.zip(cells) {
                    let (a, b) = (self.between[cell.low - from], self.between[cell.low - from + x.next]);
                    for (voxel, &share) in voxels.iter_mut().zip(shares) {
                        *voxel = mix(a, b, share);
                    }
                }
            }
        }
        for (label, &lead) in row.iter_mut().zip(&self.voxels) {
            *label = if lead > 0.0 { labels[1] } else { labels[0] };
        }
    }
}

/// The smallest of the cells' centres; they run one way or the other.
pub(super) fn lowest(cells: &[Cell]) -> usize {
    cells[0].low.min(cells[cells.len() - 1].low)
}

/// The lead at the voxels of cells that have `EACH` of them: whole factors, as of decimated grids, are the
/// rule and worth a loop without a loop in it.
#[inline(always)]
fn spread<const EACH: usize>(voxels: &mut [f32], line: &[f32], shares: &[f32], cells: &[Cell], next: usize) {
    let from = lowest(cells);
    let voxels = voxels.as_chunks_mut::<EACH>().0.iter_mut().zip(shares.as_chunks::<EACH>().0);
    for ((voxels, shares), cell) in voxels.zip(cells) {
        let (a, b) = (line[cell.low - from], line[cell.low - from + next]);
        *voxels = shares.map(|share| mix(a, b, share));
    }
}

#[inline(always)]
fn mix_lines(line: &mut [f32], low: &[f32], high: &[f32], share: f32) {
    for (value, (&low, &high)) in line.iter_mut().zip(low.iter().zip(high)) {
        *value = mix(low, high, share);
    }
}
