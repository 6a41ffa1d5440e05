//! How a convolution is shared out: rectangles of tiles in the plane, pieces of the depth.
//!
//! A wrong split costs a factor of two: few tasks leave a thread idle at the end, small ones read the
//! weights more often, thin pieces of depth transform slices twice. So all splits are tried against a model
//! of their cost. The result of a convolution does not depend on the split; only its time does.

use super::TILE;
use super::tiles::Rectangle;
use crate::line::LANES;
use crate::product::pieces;

/// Tiles of a rectangle: more than fill two register blocks only make the workspace larger.
const MOST_TILES: usize = 24;

/// Tiles of a register block with AVX-512.
const ROWS: usize = 12;

/// Bytes that a task's workspace may have, in the second-level cache or in its share of the third.
const WORKSPACE: usize = 9 << 19;

/// Bytes of the second-level cache that the model counts on.
const NEAR: usize = 1 << 20;

/// What a tile costs. Cycles are those of one block on Zen 4 where the workspace is in the second-level cache:
/// estimates, good for choosing among splits and nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// Lines of a tile for each block of inputs and of outputs that a task keeps between its steps.
    lines: [usize; 2],
    /// Products of a tile for each pair of channels.
    products: usize,
    /// New slices of a step, and cycles to transform one.
    slices: usize,
    slice: usize,
    /// Cycles to transform the inputs at all points along the depth, and the results back.
    depth: usize,
    result: usize,
}

impl Model {
    /// F(4×4×4, 3×3×3).
    pub(super) const UNIT: Self =
        Self { lines: [36 * 6, 36 * 4], products: 216, slices: 4, slice: 300, depth: 780, result: 1300 };

    /// Of stride 2, where a tile has so many new slices of inputs and so many of outputs: the cycles of
    /// [`Model::UNIT`] for its number of values.
    pub(super) const fn strided(slices: usize, outputs: usize) -> Self {
        Self {
            lines: [81 * (slices + 1), 81 * outputs],
            products: 729,
            slices,
            slice: 600,
            depth: 1700,
            result: 720 * outputs,
        }
    }

    /// Bytes that a task of so many tiles keeps between its steps.
    fn workspace(&self, [inputs, outputs]: [usize; 2], tiles: usize) -> usize {
        64 * tiles * (self.lines[0] * inputs + self.lines[1] * outputs)
    }

    /// Cycles of a task of `steps` tiles of depth.
    fn cost(&self, [inputs, outputs]: [usize; 2], tiles: usize, steps: usize) -> usize {
        let lines = self.products * inputs * LANES * outputs;
        // Half a row for each register block, to write it, and half for the weights, which are fetched ahead.
        let products = lines * (2 * tiles + tiles.div_ceil(ROWS) + 1) / 2;
        let transforms = tiles * (inputs * (self.slices * self.slice + self.depth) + outputs * self.result);
        let start = 2 * tiles * inputs * self.slice;
        let near = self.workspace([inputs, outputs], tiles) <= NEAR;
        // A workspace in the third-level cache makes transforms slower by about that much.
        let far = |cycles: usize| if near { cycles } else { cycles * 7 / 5 };
        steps * (products + far(transforms)) + far(start)
    }
}

/// A task: a rectangle of tiles of one sample, walked from tile `from` of the depth up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) n: usize,
    pub(super) rectangle: Rectangle,
    pub(super) from: usize,
    pub(super) to: usize,
}

/// Tiles along (D, H, W).
pub(super) fn tiles(size: [usize; 3]) -> [usize; 3] {
    size.map(|n| n.div_ceil(TILE))
}

/// Pieces along W are the same in every split: the sums of [`crate::moments`] are taken over them.
pub(super) fn column_pieces(size: [usize; 3]) -> Vec<(usize, usize)> {
    pieces(tiles(size)[2], MOST_TILES).collect()
}

/// The tasks of a convolution for `threads` threads. All have equal weight or nearly so.
pub(super) fn tasks(
    model: &Model,
    batch: usize,
    size: [usize; 3],
    blocks: [usize; 2],
    threads: usize,
) -> Vec<Task> {
    let [depth, height, _] = tiles(size);
    let columns = column_pieces(size);
    let widest = columns.iter().map(|&(_, count)| count).max().unwrap_or(1).max(1);
    let least =
        |count: usize| model.workspace(blocks, count * widest) <= WORKSPACE && count * widest <= MOST_TILES;
    let mut best: Option<(usize, usize, usize)> = None;
    for rows in (1..=height).filter(|&rows| rows == 1 || least(rows)) {
        for parts in 1..=depth {
            let strips = batch * height.div_ceil(rows) * columns.len() * parts;
            let steps = depth.div_ceil(parts);
            let task = model.cost(blocks, rows.min(height) * widest, steps);
            // An eighth of a task more for each thread: tasks do not all begin and end together.
            let total = strips.div_ceil(threads) * task + task / 8;
            if best.is_none_or(|(least, ..)| total < least) {
                best = Some((total, rows, parts));
            }
        }
    }
    let Some((_, rows, parts)) = best else { return Vec::new() };
    cut(batch, size, rows, parts)
}

/// The tasks of a sum over all tiles: groups of them, each with a sum of its own. A function of the shape
/// alone, so that the number of threads changes no sum.
pub(super) fn groups(batch: usize, size: [usize; 3]) -> Vec<Vec<Task>> {
    const GROUPS: usize = 16;
    /// Tasks that are worth cutting the depth for, where slices are then transformed twice.
    const LEAST_TASKS: usize = 8;
    let [depth, height, _] = tiles(size);
    let widest = column_pieces(size).iter().map(|&(_, count)| count).max().unwrap_or(1).max(1);
    let rows = (MOST_TILES / widest).clamp(1, height.max(1));
    let strips = batch * height.div_ceil(rows) * column_pieces(size).len();
    let tasks = cut(batch, size, rows, LEAST_TASKS.div_ceil(strips.max(1)).clamp(1, depth.max(1)));
    pieces(tasks.len(), tasks.len().div_ceil(GROUPS).max(1))
        .map(|(from, n)| tasks[from..from + n].to_vec())
        .collect()
}

/// Index of the piece of the moments of a step and row of tiles of `task`, for block `at[1]` of `at[0]`.
pub(super) fn piece(
    task: &Task,
    size: [usize; 3],
    [blocks, block]: [usize; 2],
    step: usize,
    row: usize,
) -> usize {
    let [d, h, _] = tiles(size);
    let columns = column_pieces(size);
    let column = columns.iter().position(|&(from, _)| from == task.rectangle.column);
    let column = column.expect("tasks end where pieces of columns do");
    (((task.n * blocks + block) * d + step) * h + task.rectangle.row + row) * columns.len() + column
}

/// Tasks of `rows` rows of tiles and a depth in `parts` pieces.
pub(super) fn cut(batch: usize, size: [usize; 3], rows: usize, parts: usize) -> Vec<Task> {
    let [depth, height, _] = tiles(size);
    let columns = column_pieces(size);
    let mut tasks = Vec::new();
    for n in 0..batch {
        for (row, rows) in pieces(height, rows) {
            for &(column, columns) in &columns {
                for (from, count) in pieces(depth, depth.div_ceil(parts)) {
                    let rectangle = Rectangle { row, rows, column, columns };
                    tasks.push(Task { n, rectangle, from, to: from + count });
                }
            }
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_every_tile_once() {
        for (batch, size, blocks, threads) in [
            (1, [64, 96, 96], [1, 1], 2),
            (2, [5, 7, 9], [8, 8], 2),
            (1, [16, 24, 24], [4, 4], 3),
            (1, [1, 1, 500], [1, 2], 16),
            (3, [9, 130, 130], [2, 1], 4),
        ] {
            let [d, h, w] = tiles(size);
            let mut seen = vec![0; batch * d * h * w];
            for task in tasks(&Model::UNIT, batch, size, blocks, threads) {
                let r = task.rectangle;
                for z in task.from..task.to {
                    for y in r.row..r.row + r.rows {
                        for x in r.column..r.column + r.columns {
                            seen[((task.n * d + z) * h + y) * w + x] += 1;
                        }
                    }
                }
            }
            assert!(seen.iter().all(|&n| n == 1), "{size:?}");
        }
    }
}
