//! The values of a step: along the depth, products, and back.

use super::super::{POINTS, transform};
use super::layout::{Layout, Room};
use super::{MOST, VALUES, Walk, Way, slot};
use crate::ahead::{Ahead, Run};
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::product::{Product, pieces, product_of};
use crate::simd::{Kernel, Simd};

/// Rows that go through the depth together.
pub(super) const ROWS: usize = 24;

/// All points of the plane for one step.
pub(super) struct Planes<'a, 'b, W> {
    pub(super) walk: &'a Walk<'b, W>,
    pub(super) room: &'a Room,
    pub(super) workspace: &'a mut Buffer,
    pub(super) step: usize,
    /// What the next step reads.
    pub(super) next_runs: Vec<Run>,
}

impl<W: Way> Kernel for Planes<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (room, weights) = (self.room, self.walk.job.weights);
        let Layout { tiles, blocks: inputs } = room.inputs;
        let outputs = room.outputs.blocks;
        let first = (W::INPUT_STEP * self.step) as isize - W::BEFORE as isize;
        let slices: [usize; MOST] =
            std::array::from_fn(|i| slot::<W>(first + i as isize) * room.inputs.lines());
        let [even, odd] = W::FIRST;
        let workspace = self.workspace.as_mut_ptr();
        let [ring, results, points, products, _] = room.starts;
        let groups: Vec<(usize, usize)> = weights.groups().collect();
        let mut ahead = Ahead::new(self.next_runs, POINTS * POINTS * groups.len());
        for plane in 0..POINTS * POINTS {
            let rows = Layout::values(plane) * tiles;
            let in_ring: Vec<usize> = (0..inputs).map(|block| block * rows * LANES).collect();
            for (from, count) in pieces(rows, ROWS) {
                let in_points: Vec<usize> = (0..inputs).map(|block| block * count * LANES).collect();
                // SAFETY: all indices follow the sizes in `Room::new`: `count` is at most ROWS, a plane has `rows` lines for
                // each block of a slice, of which these are `count` from `from` on. The products read `inputs` blocks of
                // `count` rows of sixteen numbers and write `outputs` blocks of `count` lines; `at` has the weights of all
                // blocks. The workspace is borrowed mutably and nothing read is written by the same call.
                unsafe {
                    let ring = workspace.add(ring + room.inputs.start(plane) + from);
                    let (points, products) = (workspace.add(points), workspace.add(products));
                    for block in 0..inputs {
                        for i in 0..count {
                            let mut values = [s.zero(); 5];
                            for q in 0..5 {
                                values[q] = s.load(ring.add(slices[odd + W::APART * q] + block * rows + i));
                            }
                            let values = transform::pair_data(s, values);
                            for q in 0..5 {
                                s.store(points.add((q * inputs + block) * count + i), values[q]);
                            }
                        }
                    }
                    for &(group, vectors) in &groups {
                        ahead.fetch(s);
                        for q in 0..VALUES {
                            let (data, offsets): (*const Line, &[usize]) = if q < 4 {
                                (ring.add(slices[even + W::APART * q]), &in_ring)
                            } else {
                                (points.add((q - 4) * inputs * count), &in_points)
                            };
                            let weights = weights.at(plane, q.saturating_sub(3), group).as_ptr();
                            for (row, rows) in pieces(count, S::ROWS) {
                                let out = products.add((q * outputs + group) * count + row);
                                let data = data.add(row).cast();
                                let product = Product { data, offsets, weights, out, out_step: count };
                                product_of::<S, LANES, LANES, false>(s, rows, vectors, product);
                            }
                        }
                    }
                    let results = workspace.add(results + room.outputs.start(plane) + from);
                    for block in 0..outputs {
                        for i in 0..count {
                            let mut values = [s.zero(); VALUES];
                            for q in 0..VALUES {
                                values[q] = s.load(products.add((q * outputs + block) * count + i));
                            }
                            let lines = W::outputs(s, values);
                            for z in 0..W::OUTPUTS {
                                s.store(results.add(z * room.outputs.lines() + block * rows + i), lines[z]);
                            }
                        }
                    }
                }
            }
        }
    }
}
