//! Runs joined into pieces.
//!
//! Runs that touch are joined in a forest in which every root is the smallest run of its tree (union-find
//! by Rosenfeld & Pfaltz 1966, on runs as by He, Chao & Suzuki 2008):
//!
//! ```text
//! each slab at once:        join the runs of each row with those of the rows before it that they may touch
//! for each slab border:     join the first plane of one slab with the last plane of the slab before
//! for each run in order:    a root begins a new piece, any other run belongs to its parent's
//! ```
//!
//! A parent comes before its children, so the last step needs no search. Roots do not depend on the order
//! of joining, so the pieces and their numbers do not depend on the number of threads.

use std::ops::Range;

use organseg_volume::LabelVolume;
use rayon::prelude::*;

use crate::Connectivity;
use crate::runs::{Run, Runs, Selection, Slab};

/// The runs of a mask and which piece each belongs to.
pub(crate) struct Pieces {
    runs: Runs,
    /// The piece of each run, from 1, in the order of their first runs.
    of_run: Vec<u32>,
    /// Voxels of each piece; piece i is entry i − 1.
    pub(crate) sizes: Vec<usize>,
}

impl Pieces {
    /// The pieces of the voxels of `mask` that are wanted.
    pub(crate) fn of(mask: &LabelVolume, selection: Selection, connectivity: Connectivity) -> Self {
        let runs = Runs::of(mask, selection);
        let parents = join_all(&runs, connectivity);
        let (of_run, sizes) = number(&runs, parents);
        Self { runs, of_run, sizes }
    }

    /// The number of the largest piece, the first of those that are equally large.
    pub(crate) fn largest(&self) -> Option<u32> {
        largest(&self.sizes)
    }

    /// Calls `paint` for each run with its place in memory, the voxels of `target` there and its piece;
    /// many runs at once.
    pub(crate) fn paint<T: Send>(
        &self,
        target: &mut [T],
        paint: impl Fn(Range<usize>, &mut [T], u32) + Sync,
    ) {
        let (row_length, slab_voxels) = (self.runs.size[0], self.runs.slab_voxels());
        target.par_chunks_mut(slab_voxels).zip(&self.runs.slabs).enumerate().for_each(
            |(s, (voxels, slab))| {
                for row in 0..slab.rows() {
                    let (first, runs) = slab.row(row);
                    let of_run = &self.of_run[(slab.base() + first) as usize..];
                    for (run, &piece) in runs.iter().zip(of_run) {
                        let here = row * row_length + run.start as usize..row * row_length + run.end as usize;
                        let place = s * slab_voxels + here.start..s * slab_voxels + here.end;
                        paint(place, &mut voxels[here], piece);
                    }
                }
            },
        );
    }

    /// Entry i says whether piece i has a voxel on a face of the volume; entry 0 is not used.
    pub(crate) fn reach_border(&self) -> Vec<bool> {
        let [nx, ny, nz] = self.runs.size;
        let mut reach = vec![false; self.sizes.len() + 1];
        for (s, slab) in self.runs.slabs.iter().enumerate() {
            for row in 0..slab.rows() {
                let (y, z) = (row % ny, (s * self.runs.slab_rows() + row) / ny);
                let on_face = y == 0 || y + 1 == ny || z == 0 || z + 1 == nz;
                let (first, runs) = slab.row(row);
                let of_run = &self.of_run[(slab.base() + first) as usize..];
                for (run, &piece) in runs.iter().zip(of_run) {
                    if on_face || run.start == 0 || run.end as usize == nx {
                        reach[piece as usize] = true;
                    }
                }
            }
        }
        reach
    }
}

/// The number, from 1, of the largest of `sizes`, the first of those that are equally large.
pub(crate) fn largest(sizes: &[usize]) -> Option<u32> {
    let best = (0..sizes.len()).max_by_key(|&i| (sizes[i], std::cmp::Reverse(i)))?;
    Some(best as u32 + 1)
}

/// For each run, a run of its piece that is not after it; itself only for the first run of a piece.
fn join_all(runs: &Runs, connectivity: Connectivity) -> Vec<u32> {
    let ny = runs.size[1];
    let mut parents = vec![0u32; runs.count];
    let mut shares = Vec::with_capacity(runs.slabs.len());
    let mut rest = &mut parents[..];
    for slab in &runs.slabs {
        let (share, after) = rest.split_at_mut(slab.run_count());
        shares.push((slab, share));
        rest = after;
    }
    shares.into_par_iter().for_each(|(slab, parents)| join_slab(slab, ny, connectivity, parents));
    for pair in runs.slabs.windows(2) {
        let (above, below) = (&pair[1], &pair[0]);
        let last_plane = below.rows() - ny;
        for y in 0..ny {
            let (first, here) = above.row(y);
            for (y, slack) in rows_of_next_plane(y, ny, connectivity) {
                let (there_first, there) = below.row(last_plane + y);
                let (here, there) = ((above.base() + first, here), (below.base() + there_first, there));
                join_rows(here, there, slack, &mut parents);
            }
        }
    }
    parents
}

/// Joins the runs of one slab; `parents` are its own, and come out numbered as all runs are.
fn join_slab(slab: &Slab, ny: usize, connectivity: Connectivity, parents: &mut [u32]) {
    parents.iter_mut().zip(0..).for_each(|(parent, id)| *parent = id);
    let in_plane = connectivity.slack(false).expect("neighbouring rows of a plane can always touch");
    for here in 0..slab.rows() {
        let y = here % ny;
        if y > 0 {
            join_rows(slab.row(here), slab.row(here - 1), in_plane, parents);
        }
        if here >= ny {
            for (there, slack) in rows_of_next_plane(y, ny, connectivity) {
                join_rows(slab.row(here), slab.row(here - y - ny + there), slack, parents);
            }
        }
    }
    parents.iter_mut().for_each(|parent| *parent += slab.base());
}

/// The rows of a neighbouring plane that row `y` may touch, each with the slack of
/// [`Connectivity::slack`].
fn rows_of_next_plane(y: usize, ny: usize, connectivity: Connectivity) -> impl Iterator<Item = (usize, u32)> {
    (y.saturating_sub(1)..(y + 2).min(ny))
        .filter_map(move |there| Some((there, connectivity.slack(there != y)?)))
}

/// Joins each run of one row with those of another that it touches, walking both once. Each row comes with
/// the number of its first run.
fn join_rows((a_first, a): (u32, &[Run]), (b_first, b): (u32, &[Run]), slack: u32, parents: &mut [u32]) {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].start < b[j].end + slack && b[j].start < a[i].end + slack {
            join(parents, a_first + i as u32, b_first + j as u32);
        }
        if a[i].end < b[j].end {
            i += 1;
        } else {
            j += 1;
        }
    }
}

fn join(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b) as usize] = a.min(b);
}

fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        // Halving the path keeps the trees flat.
        parents[run as usize] = parents[parents[run as usize] as usize];
        run = parents[run as usize];
    }
    run
}

/// The piece of each run, and how many voxels each piece has.
fn number(runs: &Runs, mut parents: Vec<u32>) -> (Vec<u32>, Vec<usize>) {
    let mut sizes: Vec<usize> = Vec::new();
    for (run, id) in runs.slabs.iter().flat_map(Slab::runs).zip(0..) {
        let parent = parents[id];
        let piece = if parent as usize == id {
            sizes.push(0);
            sizes.len() as u32
        } else {
            // A parent comes first, so its place already holds its piece.
            parents[parent as usize]
        };
        parents[id] = piece;
        sizes[piece as usize - 1] += (run.end - run.start) as usize;
    }
    (parents, sizes)
}
