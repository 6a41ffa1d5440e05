//! Which voxels of an axis lie between which two scores.

use std::ops::Range;

/// The voxels of the target between the scores `low` and `low + 1` of an axis; the outermost cells go on
/// beyond the scores.
#[derive(Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) low: usize,
    pub(super) voxels: Range<usize>,
}

/// An axis of the target cut into the cells of the scores.
pub(super) struct AxisCells {
    /// Those that hold voxels, in the order of the voxels.
    pub(super) cells: Vec<Cell>,
    /// For each voxel, the share of the score `low + 1`: 0 on `low`, 1 on `low + 1`.
    pub(super) shares: Vec<f32>,
    /// From a score to the next of the axis: 1, or 0 if there is none.
    pub(super) next: usize,
}

/// The cells of an axis of `scores` for `voxels` voxels at the coordinates scale · i + offset.
pub(super) fn axis_cells((scale, offset): (f64, f64), scores: usize, voxels: usize) -> AxisCells {
    let mut cells: Vec<Cell> = Vec::new();
    let mut shares = Vec::with_capacity(voxels);
    for i in 0..voxels {
        let at = (scale * i as f64 + offset).clamp(0.0, (scores - 1) as f64);
        let low = (at as usize).min(scores.saturating_sub(2));
        shares.push((at - low as f64) as f32);
        match cells.last_mut() {
            Some(cell) if cell.low == low => cell.voxels.end = i + 1,
            _ => cells.push(Cell { low, voxels: i..i + 1 }),
        }
    }
    AxisCells { cells, shares, next: usize::from(scores > 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cover_the_axis_and_the_outer_ones_go_on() {
        let axis = axis_cells((0.5, -0.75), 3, 8); // −0.75, −0.25, 0.25, … 2.75
        assert_eq!(axis.cells, [Cell { low: 0, voxels: 0..4 }, Cell { low: 1, voxels: 4..8 }]);
        assert_eq!(axis.shares, [0.0, 0.0, 0.25, 0.75, 0.25, 0.75, 1.0, 1.0]);
        let one = axis_cells((0.5, -0.25), 1, 2);
        assert_eq!((one.cells.len(), one.next), (1, 0));
        assert_eq!(one.shares, [0.0, 0.0]);
    }

    #[test]
    fn cells_without_voxels_are_left_out() {
        let axis = axis_cells((2.5, 0.0), 8, 3);
        let lows: Vec<_> = axis.cells.iter().map(|cell| cell.low).collect();
        assert_eq!(lows, [0, 2, 5]);
        let lows: Vec<_> = axis_cells((-2.5, 5.0), 8, 3).cells.iter().map(|cell| cell.low).collect();
        assert_eq!(lows, [5, 2, 0]);
    }
}
