//! 3×3×3 convolution of stride 2 and padding 1 by minimal filtering of its halves.
//!
//! Along an axis, outputs of stride 2 see even and odd inputs apart: y[i] = w₁ e[i] + (w₀ o[i] + w₂ o[i + 1]) with
//! e[i] = x[2i] and o[i] = x[2i − 1]. Four outputs need four products of the first kind and, by F(4, 2), five of the
//! second instead of eight: nine for twelve, along three axes 729 products for 64 outputs instead of 1728. Where the
//! other axes have the weight w₁, neighbours have the same weights, so that products of matrices have rows enough even
//! where there are few tiles.
//!
//! ```text
//! for each step of a walk down the depth:
//!   new slices of inputs, transformed along H and W, to the ring                 (slices.rs)
//!   for each point of the plane: along the depth, products, and back             (planes.rs)
//!   results, transformed along H and W, to the output                            (results.rs)
//! ```

mod layout;
mod planes;
mod results;
mod slices;

use std::marker::PhantomData;

use rayon::prelude::*;

use super::forward::Epilogue;
use super::split::{self, Task};
use super::weights::WinogradWeights;
use super::{TILE, transform};
use crate::memory::Buffer;
use crate::parts::{InputPart, SharedOutput};
use crate::simd::{Isa, Kernel, Simd};
use layout::Room;
use planes::Planes;

/// Values of a tile along an axis: four of the first kind, five points of the second.
const VALUES: usize = 9;
/// Values of a tile in the plane.
const PLANE_VALUES: usize = VALUES * VALUES;
/// Most inputs of a tile along an axis.
const MOST: usize = 9;

/// How a tile looks at its inputs, and what becomes of its products, along one axis.
pub(crate) trait Way: Sync {
    /// Inputs of a tile, from one tile to the next, and before the first of the tile.
    const INPUTS: usize;
    const INPUT_STEP: usize;
    const BEFORE: usize;
    /// Which input is the first of each kind, and from one of a kind to the next.
    const FIRST: [usize; 2];
    const APART: usize;
    /// Outputs of a tile.
    const OUTPUTS: usize;

    /// The outputs of the values of a tile, in the first [`Way::OUTPUTS`] places.
    fn outputs<S: Simd>(s: S, values: [S::V; VALUES]) -> [S::V; 8];

    /// The values of the first [`Way::INPUTS`] inputs.
    #[inline(always)]
    fn values<S: Simd>(s: S, inputs: [S::V; MOST]) -> [S::V; VALUES] {
        let [even, odd] = Self::FIRST;
        let mut seconds = [s.zero(); 5];
        for i in 0..5 {
            seconds[i] = inputs[odd + Self::APART * i];
        }
        let points = transform::pair_data(s, seconds);
        let mut values = [s.zero(); VALUES];
        for i in 0..4 {
            values[i] = inputs[even + Self::APART * i];
        }
        values[4..].copy_from_slice(&points);
        values
    }
}

/// From inputs to outputs of half the size.
pub(crate) struct Halving;

impl Way for Halving {
    const INPUTS: usize = 9;
    const INPUT_STEP: usize = 8;
    const BEFORE: usize = 1;
    const FIRST: [usize; 2] = [1, 0];
    const APART: usize = 2;
    const OUTPUTS: usize = 4;

    #[inline(always)]
    fn outputs<S: Simd>(s: S, [a, b, c, d, points @ ..]: [S::V; VALUES]) -> [S::V; 8] {
        let [e, f, g, h] = transform::pair_result(s, points);
        let zero = s.zero();
        [s.add(a, e), s.add(b, f), s.add(c, g), s.add(d, h), zero, zero, zero, zero]
    }
}

/// A convolution, ready to run.
pub(crate) struct Strided<'a, W> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    /// (D, H, W) of what is read.
    pub(crate) from: [usize; 3],
    /// (D, H, W) of what is written.
    pub(crate) to: [usize; 3],
    pub(crate) inputs: &'a [InputPart<'a>],
    pub(crate) weights: &'a WinogradWeights,
    pub(crate) output: &'a SharedOutput<'a>,
    pub(crate) epilogue: Epilogue<'a>,
    pub(crate) way: PhantomData<W>,
}

impl<W: Way> Strided<'_, W> {
    /// Runs it on rayon's current pool.
    pub(crate) fn run(&self) {
        let blocks = [self.weights.inputs, self.weights.outputs];
        assert_eq!(
            self.inputs.iter().map(|part| part.blocks).sum::<usize>(),
            blocks[0],
            "inputs fit the weights"
        );
        assert_eq!(self.output.blocks(), blocks[1], "outputs fit the weights");
        for part in self.inputs {
            let lines = self.batch * part.blocks * self.from.iter().product::<usize>();
            assert_eq!(part.source.len(), lines, "an input has its lines");
        }
        assert_eq!(self.to, self.from.map(|n| n.div_ceil(2)), "the output is half of the input");
        let grid = self.to.map(|n| n.div_ceil(W::OUTPUTS) * TILE);
        let model = split::Model::strided(W::INPUT_STEP, W::OUTPUTS);
        let tasks = split::tasks(&model, self.batch, grid, blocks, rayon::current_num_threads());
        tasks.par_iter().with_max_len(1).for_each(|task| self.isa.run(Walk { job: self, task: *task, grid }));
    }
}

/// One task: a rectangle of tiles that walks down the depth.
struct Walk<'a, W> {
    job: &'a Strided<'a, W>,
    task: Task,
    /// Four voxels for each tile, which is what `split` counts in.
    grid: [usize; 3],
}

/// The slot of the ring in which slice z (from −`BEFORE` on) is.
#[inline(always)]
fn slot<W: Way>(z: isize) -> usize {
    (z + W::BEFORE as isize) as usize % W::INPUTS
}

impl<W: Way> Kernel for Walk<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { rectangle, from, to, .. } = self.task;
        let blocks = [self.job.weights.inputs, self.job.weights.outputs];
        let room = Room::new::<W>(rectangle.tiles(), blocks);
        let mut workspace = Buffer::new(room.lines);
        let first = |step: usize| (W::INPUT_STEP * step) as isize - W::BEFORE as isize;
        let mut next = first(from);
        for step in from..to {
            let end = first(step) + W::INPUTS as isize;
            for z in next..end {
                self.slice(s, z, &room, &mut workspace);
            }
            next = end;
            let slices = if step + 1 < to { next..next + W::INPUT_STEP as isize } else { next..next };
            let seen = [W::INPUT_STEP, W::BEFORE, W::INPUTS];
            let next_runs = rectangle.runs(self.job.inputs, self.task.n, self.job.from, slices, seen);
            s.run(Planes { walk: &self, room: &room, workspace: &mut workspace, step, next_runs });
            self.write(s, step, &room, &workspace);
        }
    }
}
