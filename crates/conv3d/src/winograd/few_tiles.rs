//! The convolution of a few tiles of many channels.
//!
//! At the bottom of a network there are a handful of tiles and more weights than data: 256 to 256 channels
//! are 57 MB at the 216 points and 7 MB before. So they are never all at the points at once:
//!
//! ```text
//! V of all tiles                                     a task for each input block
//! for each group of output blocks:                   a task
//!   for each input block: U of the pair, in the second-level cache
//!     M[p] += V[p] · U[p] at each point
//!   y = Aᵀ M…
//! ```

use rayon::prelude::*;

use super::forward::slot;
use super::results::{TileSlice, Writing};
use super::split;
use super::tiles::{COLUMNS, Data, Rectangle, Slice};
use super::weights::RawWeights;
use super::{PLANE, POINTS, TILE, transform};
use crate::channels::Channels;
use crate::kernels::disjoint::Disjoint;
use crate::line::{LANES, Line};
use crate::memory::Buffer;
use crate::moments::{Piece, Running};
use crate::parts::{InputPart, SharedOutput, input_block};
use crate::product::{Product, pieces, product_of};
use crate::simd::{Isa, Kernel, Simd};

/// Points of all axes.
const ALL: usize = PLANE * POINTS;

/// A convolution of few tiles, ready to run.
pub(crate) struct FewTiles<'a> {
    pub(crate) isa: Isa,
    pub(crate) batch: usize,
    pub(crate) size: [usize; 3],
    pub(crate) inputs: &'a [InputPart<'a>],
    pub(crate) weights: RawWeights<'a>,
    pub(crate) input_channels: &'a Channels,
    pub(crate) output_channels: &'a Channels,
    pub(crate) output: &'a SharedOutput<'a>,
    /// Sums for the moments: one for each sample and output block, in this order.
    pub(crate) moments: Option<&'a Disjoint<'a, Piece>>,
}

impl FewTiles<'_> {
    /// Runs it on rayon's current pool.
    pub(crate) fn run(&self) {
        let (inputs, outputs) = (self.input_channels.blocks(), self.output_channels.blocks());
        assert_eq!(self.output.blocks(), outputs, "outputs fit the weights");
        for part in self.inputs {
            let lines = self.batch * part.blocks * self.size.iter().product::<usize>();
            assert_eq!(part.source.len(), lines, "an input has its lines");
        }
        let tiles = self.batch * split::tiles(self.size).iter().product::<usize>();
        let mut data = Buffer::new(ALL * inputs * tiles);
        let shared = Disjoint::new(&mut data);
        (0..inputs).into_par_iter().for_each(|block| {
            self.isa.run(Points { job: self, block, inputs, tiles, data: &shared });
        });
        let group = self.isa.vectors();
        (0..outputs.div_ceil(group)).into_par_iter().for_each(|task| {
            let first = task * group;
            let vectors = group.min(outputs - first);
            self.isa.run(Group { job: self, first, vectors, tiles, data: &data });
        });
    }
}

/// V of one input block.
struct Points<'a> {
    job: &'a FewTiles<'a>,
    block: usize,
    inputs: usize,
    tiles: usize,
    data: &'a Disjoint<'a, Line>,
}

impl Kernel for Points<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let [depth, rows, columns] = split::tiles(job.size);
        let rectangle = Rectangle { row: 0, rows, column: 0, columns };
        let plane_tiles = rectangle.tiles();
        let ring_slice = PLANE * plane_tiles;
        let mut workspace = Buffer::new(POINTS * ring_slice + COLUMNS);
        let (ring, strip) = workspace.split_at_mut(POINTS * ring_slice);
        for n in 0..job.batch {
            let (source, index) = input_block(job.inputs, n, self.block);
            let mut next = -1;
            for step in 0..depth {
                let last = (TILE * step + POINTS - 1) as isize - 1;
                for z in next..=last {
                    let slice = Slice {
                        size: job.size,
                        rectangle,
                        z,
                        columns: strip,
                        to: ring[slot(z) * ring_slice..][..ring_slice].as_mut_ptr(),
                        point_step: plane_tiles,
                    };
                    // SAFETY: the slice of the ring has 36 points of a line for each tile and is borrowed
                    // mutably.
                    unsafe { slice.run::<S, Data>(s, source, index) };
                }
                next = last + 1;
                let first = (TILE * step) as isize - 1;
                for plane in 0..PLANE {
                    let at = (plane * POINTS * self.inputs + self.block) * self.tiles
                        + (n * depth + step) * plane_tiles;
                    let point = self.inputs * self.tiles;
                    // SAFETY: these lines are of this block alone; the part checks that the last of them is
                    // in the buffer.
                    let to = unsafe {
                        let _ = self.data.part(at + (POINTS - 1) * point, plane_tiles);
                        self.data.pointer(at)
                    };
                    for tile in 0..plane_tiles {
                        let mut slices = [s.zero(); POINTS];
                        for (q, value) in slices.iter_mut().enumerate() {
                            let line =
                                &ring[slot(first + q as isize) * ring_slice + plane * plane_tiles + tile];
                            // SAFETY: a reference to a line can be read.
                            *value = unsafe { s.load(&raw const *line) };
                        }
                        let points = transform::data(s, slices);
                        for q in 0..POINTS {
                            // SAFETY: as above, point q of tile `tile`.
                            unsafe { s.store(to.add(q * point + tile), points[q]) };
                        }
                    }
                }
            }
        }
    }
}

/// The results of one group of output blocks.
struct Group<'a> {
    job: &'a FewTiles<'a>,
    first: usize,
    vectors: usize,
    tiles: usize,
    data: &'a [Line],
}

impl Kernel for Group<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let job = self.job;
        let inputs = job.input_channels.blocks();
        let (vectors, tiles) = (self.vectors, self.tiles);
        // Weights of a pair of blocks, then the results of the group.
        let mut workspace = Buffer::new(ALL * vectors * (LANES + tiles));
        let (weights, results) = workspace.split_at_mut(ALL * vectors * LANES);
        results.fill(Line::ZERO);
        for block in 0..inputs {
            let input = job.input_channels.block(block);
            for k in 0..LANES {
                for v in 0..vectors {
                    let output = job.output_channels.block(self.first + v);
                    let to = weights[k * vectors + v..].as_mut_ptr();
                    // SAFETY: point 215 of number 15 and the last vector is the last line of `weights`,
                    // which is borrowed mutably.
                    unsafe { job.weights.transform(s, input, k, output, to, LANES * vectors) };
                }
            }
            s.run(Multiply { data: self.data, weights, results, block, inputs, vectors, tiles });
        }
        self.write(s, results);
    }
}

/// M[p] += V[p] · U[p] for one input block.
struct Multiply<'a> {
    data: &'a [Line],
    weights: &'a [Line],
    results: &'a mut [Line],
    block: usize,
    inputs: usize,
    vectors: usize,
    tiles: usize,
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (vectors, tiles) = (self.vectors, self.tiles);
        for point in 0..ALL {
            let data = &self.data[(point * self.inputs + self.block) * tiles..][..tiles];
            let weights = &self.weights[point * LANES * vectors..][..LANES * vectors];
            let out = &mut self.results[point * vectors * tiles..][..vectors * tiles];
            for (tile, rows) in pieces(tiles, S::ROWS) {
                // SAFETY: the slices have a line for each tile, for each number and vector, and for each
                // vector and tile; `tile + rows` is at most the number of tiles.
                unsafe {
                    let product = Product {
                        data: data.as_ptr().add(tile).cast(),
                        offsets: &[0],
                        weights: weights.as_ptr(),
                        out: out.as_mut_ptr().add(tile),
                        out_step: tiles,
                    };
                    product_of::<S, LANES, LANES, true>(s, rows, vectors, product);
                }
            }
        }
    }
}

impl Group<'_> {
    /// Transforms the results back and writes them.
    #[inline(always)]
    fn write<S: Simd>(&self, s: S, results: &[Line]) {
        let job = self.job;
        let [depth, rows, columns] = split::tiles(job.size);
        let [d, h, w] = job.size;
        let mut planes = [Line::ZERO; TILE * PLANE];
        for v in 0..self.vectors {
            for n in 0..job.batch {
                let (out, start, add) = job.output.block(n, self.first + v, d * h * w);
                let writing = if add { Writing::Add } else { Writing::Store };
                // Sums are about the first value.
                let mut running = Running::new(s, s.zero());
                for tile in 0..depth * rows * columns {
                    let at = n * depth * rows * columns + tile;
                    let place =
                        [tile / (rows * columns), tile / columns % rows, tile % columns].map(|i| TILE * i);
                    for plane in 0..PLANE {
                        let mut points = [s.zero(); POINTS];
                        for (q, value) in points.iter_mut().enumerate() {
                            let line = &results[((plane * POINTS + q) * self.vectors + v) * self.tiles + at];
                            // SAFETY: a reference to a line can be read.
                            *value = unsafe { s.load(&raw const *line) };
                        }
                        let slices = transform::result(s, points);
                        for z in 0..TILE {
                            // SAFETY: a mutable reference to a line can be written.
                            unsafe { s.store(&raw mut planes[z * PLANE + plane], slices[z]) };
                        }
                    }
                    let [depth, height, width] = [0, 1, 2].map(|a| TILE.min(job.size[a] - place[a]));
                    for z in 0..depth {
                        let at = start + ((place[0] + z) * h + place[1]) * w + place[2];
                        // SAFETY: these voxels of this block are of this task alone; the part checks that the
                        // last of them are in the output. `planes` has the 36 points of slice z.
                        unsafe {
                            let _ = out.part(at + (height - 1) * w, width);
                            let (from, to) = (planes[z * PLANE..].as_ptr(), out.pointer(at));
                            let slice = TileSlice { from, point_step: 1, to, row_step: w, height, width };
                            if tile == 0 && z == 0 && job.moments.is_some() {
                                running = Running::new(s, slice.first(s));
                            }
                            slice.write(s, writing, job.moments.is_some().then_some(&mut running));
                        }
                    }
                }
                if let Some(moments) = job.moments {
                    let mut piece = running.finish(s);
                    piece.count = d * h * w;
                    // SAFETY: this piece is of this task alone.
                    unsafe { moments.part(n * job.output_channels.blocks() + self.first + v, 1)[0] = piece };
                }
            }
        }
    }
}
