//! The gradient for the weights where there are many channels and few tiles.
//!
//! ```text
//! V, H of all tiles and channels               a task for each rectangle of tiles
//! for each pair of channel blocks:             a task
//!   U[p] = Σ_tiles V[p] · H[p] at each point, dw += Aᵀ N⁻¹ U…
//! ```
//! So the sums of a pair stay in the second-level cache and are never written anywhere else.

use rayon::prelude::*;

use super::gradient::{PairBack, Room, Slices, WeightGradient, slots};
use super::split::{self, Task};
use super::{PLANE, POINTS, TILE};
use crate::kernels::disjoint::Disjoint;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::product::{Sums, add_products};
use crate::simd::{Kernel, Simd};

/// Points of all axes.
const ALL: usize = PLANE * POINTS;

/// Runs `job`.
pub(super) fn run(job: &WeightGradient<'_>) -> Vec<f32> {
    let [depth, height, width] = split::tiles(job.size);
    let plane = height * width;
    let (inputs, outputs) = (job.input_channels.blocks(), job.output_channels.blocks());
    let planes: Vec<(usize, usize)> = (0..job.batch).flat_map(|n| (0..depth).map(move |z| (n, z))).collect();
    let tiles = planes.len() * plane;
    let mut data = Buffer::new(ALL * inputs * tiles);
    let mut gradient = Buffer::new(ALL * outputs * tiles);
    let shared = [Disjoint::new(&mut data), Disjoint::new(&mut gradient)];
    let tasks = split::cut(1, [TILE, job.size[1], job.size[2]], (24 / width.max(1)).max(1), 1);
    // Each rectangle walks down as many planes of tiles as follow each other in one sample, so that
    // slices are shared; two pieces at least, for two threads.
    let half = planes.len().div_ceil(2).max(1);
    let walks: Vec<(usize, Task)> = planes
        .chunks(half)
        .enumerate()
        .flat_map(|(piece, planes)| {
            let first = piece * half;
            let mut runs: Vec<(usize, usize, usize, usize)> = Vec::new();
            for (i, &(n, z)) in planes.iter().enumerate() {
                match runs.last_mut() {
                    Some((_, sample, _, to)) if *sample == n => *to = z + 1,
                    _ => runs.push((first + i, n, z, z + 1)),
                }
            }
            runs
        })
        .flat_map(|(at, n, from, to)| tasks.iter().map(move |task| (at, Task { n, from, to, ..*task })))
        .collect();
    walks.par_iter().with_max_len(1).for_each(|&(at, task)| {
        job.isa.run(Points { job, task, at, plane: [height, width], tiles, shared: &shared });
    });
    job.join_pairs(|first, vectors, input| {
        job.isa.run(Pair { job, first, vectors, input, tiles, data: &data, gradient: &gradient })
    })
}

/// V and H of a rectangle and some planes of tiles.
struct Points<'a, 'b> {
    job: &'a WeightGradient<'b>,
    task: Task,
    /// Plane of tiles with which the task begins.
    at: usize,
    /// Tiles along (H, W).
    plane: [usize; 2],
    /// All tiles.
    tiles: usize,
    shared: &'a [Disjoint<'a, Line>; 2],
}

impl Kernel for Points<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (inputs, outputs) = (self.job.input_channels.blocks(), self.job.output_channels.blocks());
        let rectangle = self.task.rectangle;
        let room = Room::new(rectangle.tiles(), [inputs, outputs]);
        let mut workspace = Buffer::new(room.lines);
        let mut next = (TILE * self.task.from) as isize - 1;
        for step in self.task.from..self.task.to {
            let last = (TILE * step + POINTS - 1) as isize - 1;
            let slices = Slices { job: self.job, task: self.task, room: &room };
            slices.load(s, step, next..=last, &mut workspace);
            next = last + 1;
            let first = (self.at + step - self.task.from) * self.plane[0] * self.plane[1];
            let base = workspace.as_ptr();
            let slots = slots(step, &room);
            for (side, blocks) in [inputs, outputs].into_iter().enumerate() {
                let to = &self.shared[side];
                for block in 0..blocks {
                    for row in 0..rectangle.rows {
                        // The tiles of a row of the rectangle among all.
                        let place = first + (rectangle.row + row) * self.plane[1] + rectangle.column;
                        for plane in 0..PLANE {
                            let from = ((plane * POINTS) * blocks + block) * self.tiles + place;
                            let step = blocks * self.tiles;
                            // SAFETY: the workspace is of this room. The lines written are of this task's
                            // tiles, and so of it alone; the part checks that the last of them is in the
                            // buffer.
                            unsafe {
                                let _ = to.part(from + (POINTS - 1) * step, rectangle.columns);
                                let to = to.pointer(from);
                                for column in 0..rectangle.columns {
                                    let i = block * room.tiles + row * rectangle.columns + column;
                                    let points = if side == 0 {
                                        room.depth(s, base, plane, slots, i)
                                    } else {
                                        room.gradient_depth(s, base, plane, i)
                                    };
                                    for q in 0..POINTS {
                                        s.store(to.add(q * step + column), points[q]);
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The weights of one input block and a group of output blocks, from all tiles.
struct Pair<'a, 'b> {
    job: &'a WeightGradient<'b>,
    first: usize,
    vectors: usize,
    input: usize,
    tiles: usize,
    data: &'a [Line],
    gradient: &'a [Line],
}

impl Kernel for Pair<'_, '_> {
    /// (C_out of the group, C_in of the block, 27).
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let (inputs, outputs) = (self.job.input_channels.blocks(), self.job.output_channels.blocks());
        let point_step = LANES * self.vectors;
        let mut sums = Buffer::new(ALL * point_step);
        for point in 0..ALL {
            let data = &self.data[(point * inputs + self.input) * self.tiles..][..self.tiles];
            let gradient =
                &self.gradient[(point * outputs + self.first) * self.tiles..][..self.vectors * self.tiles];
            let products = Sums {
                data: data.as_ptr().cast(),
                data_step: LANES,
                gradient: gradient.as_ptr(),
                gradient_block: self.tiles,
                count: self.tiles,
                out: sums[point * point_step..][..point_step].as_mut_ptr(),
            };
            // SAFETY: the slices above have the tiles' lines for one input block and `vectors` output
            // blocks, and the sums their place, borrowed mutably.
            unsafe { add_products(s, self.vectors, false, products) };
        }
        let (job, input, first, vectors) = (self.job, self.input, self.first, self.vectors);
        s.run(PairBack { job, input, first, vectors, sums: &sums, point_step })
    }
}
