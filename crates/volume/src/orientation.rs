//! Which way the voxel axes run through the patient, and turning an image without resampling it.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Affine, Grid, Volume, VolumeError, Voxel};

/// Directions in which the three voxel axes grow, as letters: R(ight), L(eft), A(nterior),
/// P(osterior), S(uperior), I(nferior). In RAS, x grows to the patient's right, y to the front, z to
/// the head.
///
/// ```
/// use organseg_volume::{Affine, Orientation};
/// let affine = Affine::new([
///     [-1.0, 0.0, 0.0, 0.0],
///     [0.0, 0.0, 2.0, 0.0],
///     [0.0, -1.0, 0.0, 0.0],
///     [0.0, 0.0, 0.0, 1.0],
/// ])?;
/// assert_eq!(Orientation::of(&affine).to_string(), "LIA");
/// assert_eq!("RAS".parse::<Orientation>()?, Orientation::RAS);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Orientation {
    /// For each voxel axis: the world axis it runs along most, and whether it runs against it.
    axes: [(usize, bool); 3],
}

/// Letters of the positive and negative world directions.
const LETTERS: [[char; 2]; 3] = [['R', 'L'], ['A', 'P'], ['S', 'I']];

impl Orientation {
    /// To the right, to the front, to the head.
    pub const RAS: Self = Self { axes: [(0, false), (1, false), (2, false)] };

    /// The orientation closest to `affine`: each voxel axis is given the world axis it is most aligned
    /// with, the best-aligned pair first, each world axis once.
    #[must_use]
    pub fn of(affine: &Affine) -> Self {
        let spacing = affine.spacing().to_array();
        let cosine = |voxel: usize, world: usize| affine.column(voxel)[world] / spacing[voxel];
        let mut pairs: Vec<_> = (0..9).map(|i| (i / 3, i % 3)).collect();
        pairs.sort_by(|&(v, w), &(v2, w2)| cosine(v2, w2).abs().total_cmp(&cosine(v, w).abs()));
        let mut axes = [None; 3];
        for (voxel, world) in pairs {
            let world_taken = axes.iter().flatten().any(|&(taken, _)| taken == world);
            if axes[voxel].is_none() && !world_taken {
                axes[voxel] = Some((world, cosine(voxel, world) < 0.0));
            }
        }
        Self { axes: axes.map(|axis| axis.expect("nine pairs give every axis one")) }
    }

    /// `values` of this orientation's axes in the order of those of `other`.
    pub(crate) fn permute<V: Copy>(self, other: Self, values: [V; 3]) -> [V; 3] {
        let place = |world| self.axes.iter().position(|&(w, _)| w == world);
        other.axes.map(|(world, _)| values[place(world).expect("every world axis is there")])
    }

    /// This orientation with its axes in the order of those of `other`, each in its own direction.
    pub(crate) fn in_order_of(self, other: Self) -> Self {
        let own = |world| self.axes.into_iter().find(|&(w, _)| w == world);
        Self { axes: other.axes.map(|(world, _)| own(world).expect("every world axis is there")) }
    }
}

impl fmt::Display for Orientation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.axes
            .iter()
            .try_for_each(|&(world, against)| write!(f, "{}", LETTERS[world][usize::from(against)]))
    }
}

impl FromStr for Orientation {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        let invalid = || VolumeError::InvalidOrientation { found: text.to_string() };
        let mut axes = Vec::with_capacity(3);
        for letter in text.chars() {
            let world = LETTERS.iter().position(|pair| pair.contains(&letter)).ok_or_else(invalid)?;
            axes.push((world, LETTERS[world][1] == letter));
        }
        let axes: [(usize, bool); 3] = axes.try_into().map_err(|_| invalid())?;
        let all_there = (0..3).all(|world| axes.iter().any(|&(w, _)| w == world));
        if all_there { Ok(Self { axes }) } else { Err(invalid()) }
    }
}

impl TryFrom<String> for Orientation {
    type Error = VolumeError;

    fn try_from(text: String) -> Result<Self, VolumeError> {
        text.parse()
    }
}

impl From<Orientation> for String {
    fn from(orientation: Orientation) -> Self {
        orientation.to_string()
    }
}

/// How to turn one grid into another orientation: the source axis of each new axis, and whether it is
/// walked backwards.
#[derive(Clone, Copy, Debug)]
struct Turn {
    axes: [(usize, bool); 3],
}

impl Turn {
    fn new(from: Orientation, to: Orientation) -> Self {
        Self {
            axes: to.axes.map(|(world, against)| {
                let source = from.axes.iter().position(|&(w, _)| w == world).expect("all axes are there");
                (source, from.axes[source].1 != against)
            }),
        }
    }

    fn grid(&self, grid: &Grid) -> Grid {
        let size = self.axes.map(|(source, _)| grid.size()[source]);
        // Old voxel index of the new voxel (0, 0, 0), and the old affine's columns in the new order.
        let mut start = [0.0; 3];
        let mut rows = [[0.0, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
        for (new, &(source, backwards)) in self.axes.iter().enumerate() {
            let column = grid.affine().column(source);
            for (row, value) in rows.iter_mut().zip(column) {
                row[new] = if backwards { -value } else { value };
            }
            if backwards {
                start[source] = (grid.size()[source] - 1) as f64;
            }
        }
        for (row, value) in rows.iter_mut().zip(grid.voxel_to_world(start)) {
            row[3] = value;
        }
        let affine = Affine::new(rows).expect("a turned affine is as invertible as it was");
        Grid::new(size, affine).expect("a turned grid has as many voxels as before")
    }
}

/// `volume` with its axes permuted and flipped to run as `orientation` says. Nothing is interpolated:
/// each voxel keeps its value and its place in the world.
///
/// ```
/// use organseg_volume::{Grid, Orientation, Spacing, Volume, reorient};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(2.0)?)?;
/// let volume = Volume::from_vec(grid, vec![1, 2, 3])?;
/// let turned = reorient(&volume, "LAS".parse()?);
/// assert_eq!(turned.voxels(), [3, 2, 1]);
/// assert_eq!(turned.grid().voxel_to_world([0.0; 3]), [4.0, 0.0, 0.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn reorient<T: Voxel>(volume: &Volume<T>, orientation: Orientation) -> Volume<T> {
    let turn = Turn::new(Orientation::of(volume.grid().affine()), orientation);
    let grid = turn.grid(volume.grid());
    let size = volume.size();
    let strides = [1, size[0], size[0] * size[1]];
    // Where new voxel (0, 0, 0) lies in the old memory, and what a step along each new axis adds.
    let mut first = 0isize;
    let mut steps = [0isize; 3];
    for (step, &(source, backwards)) in steps.iter_mut().zip(&turn.axes) {
        *step = strides[source] as isize;
        if backwards {
            first += *step * (size[source] as isize - 1);
            *step = -*step;
        }
    }
    let mut voxels = vec![T::default(); volume.voxels().len()];
    Gather { old: volume.voxels(), first, steps }.fill(&mut voxels, grid.size());
    Volume::from_vec(grid, voxels).expect("a permutation keeps the number of voxels")
}

/// Side of the squares in which voxels are transposed. Lines of memory that far apart fall into the same
/// few places of the cache; a square is read and written by whole lines of it, each once.
const TILE: usize = 32;

/// Voxels of an old memory in a new order: (x, y, z) lies at first + x · steps[0] + y · steps[1] + z · steps[2].
struct Gather<'a, T> {
    old: &'a [T],
    first: isize,
    steps: [isize; 3],
}

impl<T: Voxel> Gather<'_, T> {
    fn at(&self, [x, y, z]: [usize; 3]) -> usize {
        let step = |a: usize, i: usize| self.steps[a] * i as isize;
        (self.first + step(0, x) + step(1, y) + step(2, z)) as usize
    }

    /// Writes all voxels of a volume of `size`.
    fn fill(&self, voxels: &mut [T], [nx, ny, _]: [usize; 3]) {
        let plane = nx * ny;
        if self.steps[0].abs() == 1 {
            voxels.par_chunks_mut(nx).enumerate().for_each(|(row, line)| {
                let start = self.at([0, row % ny, row / ny]);
                if self.steps[0] == 1 {
                    line.copy_from_slice(&self.old[start..start + nx]);
                } else {
                    let backwards = self.old[start + 1 - nx..=start].iter().rev();
                    line.iter_mut().zip(backwards).for_each(|(voxel, &old)| *voxel = old);
                }
            });
        } else if self.steps[1].abs() == 1 {
            voxels.par_chunks_mut(plane).enumerate().for_each(|(z, out)| {
                for (block, rows) in out.chunks_mut(TILE * nx).enumerate() {
                    self.transpose(1, [0, block * TILE, z], rows, nx, nx);
                }
            });
        } else {
            voxels.par_chunks_mut(TILE * plane).enumerate().for_each(|(block, planes)| {
                for y in 0..ny {
                    self.transpose(2, [0, y, block * TILE], &mut planes[y * nx..], nx, plane);
                }
            });
        }
    }

    /// Writes up to [`TILE`] rows of `nx` voxels, `stride` apart in `out`, which follow one another along
    /// `axis` of the new volume and lie side by side in the old memory; the first begins at `start`.
    fn transpose(&self, axis: usize, start: [usize; 3], out: &mut [T], nx: usize, stride: usize) {
        let rows = (out.len() - nx) / stride + 1;
        let mut tile = [[T::default(); TILE]; TILE];
        for from in (0..nx).step_by(TILE) {
            let width = TILE.min(nx - from);
            for x in 0..width {
                let start = self.at([from + x, start[1], start[2]]);
                if self.steps[axis] == 1 {
                    let voxels = self.old[start..start + rows].iter();
                    voxels.zip(&mut tile).for_each(|(&voxel, row)| row[x] = voxel);
                } else {
                    let voxels = self.old[start + 1 - rows..=start].iter().rev();
                    voxels.zip(&mut tile).for_each(|(&voxel, row)| row[x] = voxel);
                }
            }
            for (out, tile) in out.chunks_mut(stride).zip(&tile[..rows]) {
                out[from..from + width].copy_from_slice(&tile[..width]);
            }
        }
    }
}

/// [`reorient`] for one who does not need the old volume: axes that only run the other way are turned in
/// place, and a volume that lies as it should is handed back. Only where axes change places is a second
/// volume made.
#[must_use]
pub fn reorient_owned<T: Voxel>(mut volume: Volume<T>, orientation: Orientation) -> Volume<T> {
    let turn = Turn::new(Orientation::of(volume.grid().affine()), orientation);
    if (0..3).any(|axis| turn.axes[axis].0 != axis) {
        return reorient(&volume, orientation);
    }
    let grid = turn.grid(volume.grid());
    let backwards = turn.axes.map(|(_, backwards)| backwards);
    let [nx, ny, nz] = volume.size();
    if backwards[2] {
        let (front, back) = volume.voxels_mut().split_at_mut(nz / 2 * nx * ny);
        let pairs = front.par_chunks_mut(nx * ny).zip(back.par_rchunks_mut(nx * ny));
        pairs.for_each(|(plane, other)| plane.swap_with_slice(other));
    }
    if backwards[0] || backwards[1] {
        volume.voxels_mut().par_chunks_mut(nx * ny).for_each(|plane| {
            if backwards[0] && backwards[1] {
                plane.reverse();
            } else if backwards[0] {
                plane.chunks_mut(nx).for_each(<[T]>::reverse);
            } else {
                let (front, back) = plane.split_at_mut(ny / 2 * nx);
                let pairs = front.chunks_mut(nx).zip(back.rchunks_mut(nx));
                pairs.for_each(|(row, other)| row.swap_with_slice(other));
            }
        });
    }
    volume.with_grid(grid).expect("axes that keep their places keep the size")
}

/// `grid` turned to `orientation`: the grid of what [`reorient`] gives.
#[must_use]
pub fn reoriented_grid(grid: &Grid, orientation: Orientation) -> Grid {
    Turn::new(Orientation::of(grid.affine()), orientation).grid(grid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spacing;
    use proptest::prelude::*;

    fn all_orientations() -> Vec<Orientation> {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let turned = |order: [usize; 3], flips: usize| {
            let axis = |a: usize| (order[a], flips >> a & 1 == 1);
            Orientation { axes: [axis(0), axis(1), axis(2)] }
        };
        orders.into_iter().flat_map(|order| (0..8).map(move |flips| turned(order, flips))).collect()
    }

    #[test]
    fn all_48_orientations_read_as_they_are_written() {
        for orientation in all_orientations() {
            assert_eq!(orientation.to_string().parse::<Orientation>().unwrap(), orientation);
        }
        assert!("RAR".parse::<Orientation>().is_err());
        assert!("RA".parse::<Orientation>().is_err());
    }

    /// Sizes beyond a tile, which the sizes below are not.
    #[test]
    fn large_images_turn_as_small_ones_do() {
        let grid = Grid::with_spacing([37, 70, 33], Spacing::isotropic(1.0).unwrap()).unwrap();
        let volume = Volume::from_fn(grid, |[x, y, z]| (x + 100 * y + 10_000 * z) as i32);
        for orientation in all_orientations() {
            let turned = reorient(&volume, orientation);
            let to_old = grid.affine().inverse().after(turned.grid().affine());
            let expected = Volume::from_fn(*turned.grid(), |voxel| {
                volume[to_old.apply(voxel.map(|i| i as f64)).map(|v| v.round() as usize)]
            });
            assert!(turned == expected, "{orientation}");
        }
    }

    proptest! {
        /// Every voxel keeps its value and its place, and turning back gives the same bits.
        #[test]
        fn turning_moves_nothing_in_the_world(
            from in 0usize..48, to in 0usize..48, sx in 1usize..5, sy in 1usize..5, sz in 1usize..5,
        ) {
            let all = all_orientations();
            let straight = Grid::new(
                [sx, sy, sz],
                Affine::from_spacing(Spacing::new([0.5, 0.75, 2.0]).unwrap(), [-3.0, 7.0, 11.0]),
            ).unwrap();
            let volume = Volume::from_fn(straight, |[x, y, z]| (x + 10 * y + 100 * z) as i32);
            let volume = reorient(&volume, all[from]);
            prop_assert_eq!(Orientation::of(volume.grid().affine()), all[from]);
            let turned = reorient(&volume, all[to]);
            let to_old = volume.grid().affine().inverse();
            for z in 0..turned.size()[2] { for y in 0..turned.size()[1] { for x in 0..turned.size()[0] {
                let world = turned.grid().voxel_to_world([x, y, z].map(|i| i as f64));
                let old = to_old.apply(world).map(|v| v.round() as usize);
                prop_assert_eq!(turned[[x, y, z]], volume[old]);
            }}}
            prop_assert_eq!(&reorient_owned(volume.clone(), all[to]), &turned);
            let back = reorient(&turned, all[from]);
            prop_assert_eq!(back.voxels(), volume.voxels());
            prop_assert!(back.grid().corner_distance_voxels(volume.grid()) < 1e-12);
        }
    }
}
