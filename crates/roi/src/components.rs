//! Connected pieces of a mask.
//!
//! Each row is cut into runs of foreground; runs that touch are joined in a forest with the smallest run
//! as root (Rosenfeld & Pfaltz 1966, on runs). Background, most of a scan, costs one look.

use organseg_volume::{LabelVolume, Volume};
use rayon::prelude::*;

/// Which voxels touch: those that share a face (6), a face or an edge (18), or a corner too (26).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connectivity {
    /// Faces.
    Six,
    /// Faces and edges.
    Eighteen,
    /// Faces, edges and corners.
    #[default]
    TwentySix,
}

/// The connected pieces of a mask, numbered from 1 in the order of their first voxels in memory.
#[derive(Clone, Debug)]
pub struct Components {
    labels: Volume<u32>,
    sizes: Vec<usize>,
}

impl Components {
    /// The number of the piece that each voxel belongs to, 0 for background.
    #[must_use]
    pub fn labels(&self) -> &Volume<u32> {
        &self.labels
    }

    /// Voxels of each piece; piece i is entry i − 1.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The number of the largest piece, the first of those that are equally large; none in an empty mask.
    #[must_use]
    pub fn largest(&self) -> Option<u32> {
        let best = (0..self.sizes.len()).max_by_key(|&i| (self.sizes[i], std::cmp::Reverse(i)))?;
        Some(best as u32 + 1)
    }
}

/// A run of foreground voxels in a row: `start`‥`end` along x.
#[derive(Clone, Copy)]
struct Run {
    start: u32,
    end: u32,
}

/// The connected pieces of the foreground of `mask`, whatever its labels.
///
/// ```
/// use organseg_roi::{Connectivity, connected_components};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([4, 2, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 0, 0, 1, 0, 1, 0, 1])?;
/// assert_eq!(connected_components(&mask, Connectivity::Six).sizes(), [1, 2, 1]);
/// // The first voxel touches the one diagonally below it.
/// assert_eq!(connected_components(&mask, Connectivity::TwentySix).sizes(), [2, 2]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn connected_components(mask: &LabelVolume, connectivity: Connectivity) -> Components {
    let [nx, ny, nz] = mask.size();
    let rows: Vec<Vec<Run>> = mask.voxels().par_chunks(nx).map(runs_of).collect();
    // First run of each row in the numbering of all runs.
    let mut first = Vec::with_capacity(rows.len() + 1);
    first.push(0u32);
    for row in &rows {
        first.push(first[first.len() - 1] + row.len() as u32);
    }
    let mut parent: Vec<u32> = (0..first[rows.len()]).collect();
    for z in 0..nz {
        for y in 0..ny {
            let here = y + ny * z;
            // The rows before this one that its runs may touch, and by how much runs may miss each other
            // along x and still do.
            for (dy, dz) in [(-1, 0), (0, -1), (-1, -1), (1, -1)] {
                let (Some(y), Some(z)) = (y.checked_add_signed(dy), z.checked_add_signed(dz)) else {
                    continue;
                };
                let slack = match (connectivity, dy != 0 && dz != 0) {
                    (Connectivity::Six, true) => continue,
                    (Connectivity::Six, false) | (Connectivity::Eighteen, true) => 0,
                    _ => 1,
                };
                if y < ny {
                    let there = y + ny * z;
                    join_rows(&rows[here], first[here], &rows[there], first[there], slack, &mut parent);
                }
            }
        }
    }
    number(mask, &rows, &first, &mut parent)
}

fn runs_of(row: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut x = 0;
    while let Some(gap) = row[x..].iter().position(|&v| v != 0) {
        let start = x + gap;
        let length = row[start..].iter().position(|&v| v == 0).unwrap_or(row.len() - start);
        x = start + length;
        runs.push(Run { start: start as u32, end: x as u32 });
    }
    runs
}

/// Joins each run of one row with those of another that it touches, walking both once.
fn join_rows(a: &[Run], a_first: u32, b: &[Run], b_first: u32, slack: u32, parent: &mut [u32]) {
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].start < b[j].end + slack && b[j].start < a[i].end + slack {
            join(parent, a_first + i as u32, b_first + j as u32);
        }
        if a[i].end < b[j].end {
            i += 1;
        } else {
            j += 1;
        }
    }
}

fn root(parent: &mut [u32], mut run: u32) -> u32 {
    while parent[run as usize] != run {
        // Halving the path keeps the trees flat.
        parent[run as usize] = parent[parent[run as usize] as usize];
        run = parent[run as usize];
    }
    run
}

fn join(parent: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parent, a), root(parent, b));
    parent[a.max(b) as usize] = a.min(b);
}

fn number(mask: &LabelVolume, rows: &[Vec<Run>], first: &[u32], parent: &mut [u32]) -> Components {
    // Roots are the first runs of their pieces, so numbering them in order numbers the pieces so.
    let mut number = vec![0u32; parent.len()];
    let mut sizes: Vec<usize> = Vec::new();
    for (row, &first) in rows.iter().zip(first) {
        for (i, run) in row.iter().enumerate() {
            let id = first + i as u32;
            let root = root(parent, id);
            if root == id {
                sizes.push(0);
                number[id as usize] = sizes.len() as u32;
            }
            number[id as usize] = number[root as usize];
            sizes[number[id as usize] as usize - 1] += (run.end - run.start) as usize;
        }
    }
    let mut labels = Volume::filled(*mask.grid(), 0u32);
    let nx = mask.size()[0];
    labels.voxels_mut().par_chunks_mut(nx).enumerate().for_each(|(r, voxels)| {
        for (i, run) in rows[r].iter().enumerate() {
            voxels[run.start as usize..run.end as usize].fill(number[first[r] as usize + i]);
        }
    });
    Components { labels, sizes }
}

/// `mask` with only the largest connected piece of its foreground; the first of those that are equally
/// large.
#[must_use]
pub fn largest_component(mask: &LabelVolume, connectivity: Connectivity) -> LabelVolume {
    let components = connected_components(mask, connectivity);
    let largest = components.largest();
    keep(mask, &components, |id| Some(id) == largest)
}

/// `mask` without the connected pieces of its foreground that have fewer than `min_voxels`.
#[must_use]
pub fn remove_small_components(
    mask: &LabelVolume,
    min_voxels: usize,
    connectivity: Connectivity,
) -> LabelVolume {
    let components = connected_components(mask, connectivity);
    keep(mask, &components, |id| components.sizes[id as usize - 1] >= min_voxels)
}

fn keep(mask: &LabelVolume, components: &Components, wanted: impl Fn(u32) -> bool) -> LabelVolume {
    let wanted: Vec<bool> = (0..=components.sizes.len() as u32).map(|id| id != 0 && wanted(id)).collect();
    let mut kept = mask.clone();
    for (label, &id) in kept.voxels_mut().iter_mut().zip(components.labels.voxels()) {
        if !wanted[id as usize] {
            *label = 0;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    const ALL: [Connectivity; 3] = [Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix];

    /// Piece by piece, voxel by voxel, with a stack.
    fn flood(mask: &LabelVolume, connectivity: Connectivity) -> (Vec<u32>, Vec<usize>) {
        let size = mask.size();
        let reach = match connectivity {
            Connectivity::Six => 1,
            Connectivity::Eighteen => 2,
            Connectivity::TwentySix => 3,
        };
        let (mut ids, mut sizes) = (vec![0; mask.voxels().len()], Vec::new());
        for start in 0..ids.len() {
            if mask.voxels()[start] == 0 || ids[start] != 0 {
                continue;
            }
            sizes.push(0);
            let mut stack = vec![start];
            ids[start] = sizes.len() as u32;
            while let Some(at) = stack.pop() {
                *sizes.last_mut().unwrap() += 1;
                let v = [at % size[0], at / size[0] % size[1], at / size[0] / size[1]].map(|i| i as i64);
                for d in 0..27i64 {
                    let step = [d % 3 - 1, d / 3 % 3 - 1, d / 9 - 1];
                    let n = [0, 1, 2].map(|a| v[a] + step[a]);
                    let inside = (0..3).all(|a| (0..size[a] as i64).contains(&n[a]));
                    if inside && step.iter().map(|s| s.abs()).sum::<i64>() <= reach {
                        let at = mask.grid().offset(n.map(|i| i as usize));
                        if mask.voxels()[at] != 0 && ids[at] == 0 {
                            ids[at] = sizes.len() as u32;
                            stack.push(at);
                        }
                    }
                }
            }
        }
        (ids, sizes)
    }

    proptest! {
        #[test]
        fn pieces_are_those_of_flooding(
            size in prop::array::uniform3(1usize..8), seed in any::<u64>(), density in 1u64..9,
        ) {
            let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
            let mut state = seed | 1;
            let mask = LabelVolume::from_fn(grid, |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u8::from((state >> 33) % 10 < density)
            });
            for connectivity in ALL {
                let found = connected_components(&mask, connectivity);
                let (ids, sizes) = flood(&mask, connectivity);
                prop_assert_eq!(found.labels().voxels(), &ids[..]);
                prop_assert_eq!(found.sizes(), &sizes[..]);
            }
        }
    }

    #[test]
    fn the_largest_piece_keeps_its_labels() {
        let grid = Grid::with_spacing([7, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mask = LabelVolume::from_vec(grid, vec![1, 1, 0, 2, 1, 3, 0]).unwrap();
        assert_eq!(largest_component(&mask, Connectivity::Six).voxels(), [0, 0, 0, 2, 1, 3, 0]);
        assert_eq!(remove_small_components(&mask, 3, Connectivity::Six).voxels(), [0, 0, 0, 2, 1, 3, 0]);
        assert_eq!(remove_small_components(&mask, 2, Connectivity::Six), mask);
        let empty = LabelVolume::filled(grid, 0);
        assert_eq!(largest_component(&empty, Connectivity::Six), empty);
    }
}
