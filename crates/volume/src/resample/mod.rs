//! An image on another grid.
//!
//! Each voxel centre of the target is carried through the world to a voxel coordinate of the source,
//! where the image is interpolated. Where the axes of both run the same way (after a permutation and
//! flips, which cost no interpolation) the three axes are resampled one after the other; elsewhere each
//! voxel gathers its neighbours in three dimensions.
//!
//! A target voxel that lies outside the source, more than half a voxel beyond its outermost centres,
//! gets the fill value; within that half voxel the border value goes on.

mod general;
mod kernel;
mod prefilter;
mod separable;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Affine, DataType, Grid, Orientation, Spacing, Volume, VolumeError, Voxel, reorient};

/// Off-diagonal entries of the voxel-to-voxel map below this count as zero: over 1000 voxels they move a
/// point by a thousandth of a voxel.
const ALIGNED_TOLERANCE: f64 = 1e-6;

/// How values between voxel centres are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The value of the nearest voxel; the one with the higher index halfway between two. For labels.
    Nearest,
    /// Linear along each axis.
    #[default]
    Linear,
    /// Cubic B-spline that passes through the voxels (Unser 1999), mirrored at the border.
    Cubic,
}

impl fmt::Display for Interpolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nearest => "nearest",
            Self::Linear => "linear",
            Self::Cubic => "cubic",
        })
    }
}

impl FromStr for Interpolation {
    type Err = VolumeError;

    fn from_str(text: &str) -> Result<Self, VolumeError> {
        match text {
            "nearest" => Ok(Self::Nearest),
            "linear" => Ok(Self::Linear),
            "cubic" => Ok(Self::Cubic),
            _ => Err(VolumeError::InvalidInterpolation { found: text.to_string() }),
        }
    }
}

/// `volume` on the grid `target`; `fill` where `target` reaches beyond it. Integers are rounded and kept
/// within their type's range.
///
/// ```
/// use organseg_volume::{Affine, Grid, Interpolation, Spacing, Volume, resample};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0)?)?;
/// let ramp = Volume::from_vec(grid, vec![0.0f32, 10.0, 20.0])?;
/// let affine = Affine::from_spacing(Spacing::isotropic(1.0)?, [0.5, 0.0, 0.0]);
/// let half = resample(&ramp, &Grid::new([3, 1, 1], affine)?, Interpolation::Linear, -1.0);
/// assert_eq!(half.voxels(), [5.0, 15.0, 20.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn resample<T: Voxel>(
    volume: &Volume<T>,
    target: &Grid,
    interpolation: Interpolation,
    fill: T,
) -> Volume<T> {
    let orientation = Orientation::of(target.affine());
    if Orientation::of(volume.grid().affine()) != orientation {
        return resample(&reorient(volume, orientation), target, interpolation, fill);
    }
    let map = volume.grid().affine().inverse().after(target.affine());
    // Single precision holds these types exactly.
    let single =
        matches!(T::DATA_TYPE, DataType::U8 | DataType::I8 | DataType::U16 | DataType::I16 | DataType::F32);
    let voxels = match (aligned(&map), single) {
        (Some(axes), true) => separable::resample::<f32, T>(volume, target.size(), axes, interpolation, fill),
        (Some(axes), false) => {
            separable::resample::<f64, T>(volume, target.size(), axes, interpolation, fill)
        }
        (None, true) => general::resample::<f32, T>(volume, target.size(), &map, interpolation, fill),
        (None, false) => general::resample::<f64, T>(volume, target.size(), &map, interpolation, fill),
    };
    Volume::from_vec(*target, voxels).expect("one voxel for each of the target's")
}

/// Scale and offset of each axis, if `map` mixes none with another.
pub(crate) fn aligned(map: &Affine) -> Option<[(f64, f64); 3]> {
    let rows = map.to_rows();
    let mixes = (0..3).any(|r| (0..3).any(|c| r != c && rows[r][c].abs() > ALIGNED_TOLERANCE));
    (!mixes).then(|| [0, 1, 2].map(|a| (rows[a][a], rows[a][3])))
}

/// The grid with voxels of `spacing` that covers the same region as `grid`: ⌊n · s / s′ + ½⌋ voxels along
/// each axis, at least one, beginning at the same outer corner.
///
/// # Errors
/// [`VolumeError::InvalidSize`] if there would be too many voxels to count.
pub fn grid_with_spacing(grid: &Grid, spacing: Spacing) -> Result<Grid, VolumeError> {
    let (old, new) = (grid.spacing().to_array(), spacing.to_array());
    let size = [0, 1, 2].map(|a| ((grid.size()[a] as f64 * old[a] / new[a]).round() as usize).max(1));
    rescaled(grid, size, [0, 1, 2].map(|a| new[a] / old[a]))
}

/// The grid of `size` voxels that covers the same region as `grid`.
///
/// ```
/// use organseg_volume::{Grid, Spacing, grid_with_size};
/// let grid = Grid::with_spacing([4, 4, 4], Spacing::isotropic(1.0)?)?;
/// let half = grid_with_size(&grid, [2, 2, 4])?;
/// assert_eq!(half.spacing().to_array(), [2.0, 2.0, 1.0]);
/// assert_eq!(half.voxel_to_world([0.0; 3]), [0.5, 0.5, 0.0]); // the outer corner stays
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
///
/// # Errors
/// [`VolumeError::InvalidSize`] for a size of zero along an axis.
pub fn grid_with_size(grid: &Grid, size: [usize; 3]) -> Result<Grid, VolumeError> {
    if size.contains(&0) {
        return Err(VolumeError::InvalidSize { size });
    }
    rescaled(grid, size, [0, 1, 2].map(|a| grid.size()[a] as f64 / size[a] as f64))
}

/// `size` voxels, each `scale` old ones wide, from the outer corner of `grid`.
fn rescaled(grid: &Grid, size: [usize; 3], scale: [f64; 3]) -> Result<Grid, VolumeError> {
    let map = Affine::new([
        [scale[0], 0.0, 0.0, (scale[0] - 1.0) / 2.0],
        [0.0, scale[1], 0.0, (scale[1] - 1.0) / 2.0],
        [0.0, 0.0, scale[2], (scale[2] - 1.0) / 2.0],
        [0.0, 0.0, 0.0, 1.0],
    ])?;
    Grid::new(size, grid.affine().after(&map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(size: [usize; 3], spacing: [f64; 3], origin: [f64; 3]) -> Grid {
        Grid::new(size, Affine::from_spacing(Spacing::new(spacing).unwrap(), origin)).unwrap()
    }

    fn noise(grid: Grid, seed: usize) -> Volume<f64> {
        Volume::from_fn(grid, |[x, y, z]| {
            (((x * 73 + y * 151 + z * 283 + seed * 97) * 2_654_435_761) % 1009) as f64
        })
    }

    const ALL: [Interpolation; 3] = [Interpolation::Nearest, Interpolation::Linear, Interpolation::Cubic];

    #[test]
    fn the_same_grid_gives_the_same_image() {
        let volume = noise(grid([7, 5, 6], [0.8, 1.0, 2.5], [-4.0, 2.0, 8.0]), 1);
        for interpolation in ALL {
            let same = resample(&volume, volume.grid(), interpolation, -1.0);
            for (a, b) in same.voxels().iter().zip(volume.voxels()) {
                assert!((a - b).abs() < 1e-9, "{interpolation}: {a}, expected {b}");
            }
        }
    }

    #[test]
    fn another_orientation_moves_no_value() {
        let volume = noise(grid([4, 5, 6], [0.8, 1.0, 2.5], [-4.0, 2.0, 8.0]), 2).map(|v| v as i16);
        let turned = reorient(&volume, "PSL".parse().unwrap());
        for interpolation in ALL {
            assert_eq!(resample(&volume, turned.grid(), interpolation, -1).voxels(), turned.voxels());
        }
    }

    /// Both paths against sums over all neighbours written down directly.
    #[test]
    fn both_paths_agree_with_each_other_on_aligned_axes() {
        let volume = noise(grid([6, 7, 5], [1.0, 1.0, 2.0], [0.0; 3]), 3);
        let target = grid([9, 4, 11], [0.7, 1.6, 0.9], [-0.4, 0.3, -0.2]);
        let map = volume.grid().affine().inverse().after(target.affine());
        for interpolation in ALL {
            let one = resample(&volume, &target, interpolation, -5.0);
            let other = general::resample::<f64, f64>(&volume, target.size(), &map, interpolation, -5.0);
            for (a, b) in one.voxels().iter().zip(&other) {
                assert!((a - b).abs() < 1e-9, "{interpolation}: {a}, expected {b}");
            }
        }
    }

    #[test]
    fn beyond_the_image_is_fill_and_its_outer_half_voxel_is_not() {
        let volume = Volume::filled(grid([4, 4, 4], [1.0; 3], [0.0; 3]), 7u8);
        let target = grid([12, 1, 1], [0.5, 1.0, 1.0], [-1.0, 0.0, 0.0]);
        for interpolation in ALL {
            let found = resample(&volume, &target, interpolation, 0);
            // Coordinates −1, −0.5, 0, … 3.5, 4, 4.5: the image reaches from −0.5 to 3.5.
            assert_eq!(found.voxels(), [0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0], "{interpolation}");
        }
    }

    /// A cubic B-spline reproduces polynomials up to the third degree where the mirrored border is far.
    #[test]
    fn cubic_reproduces_a_cubic() {
        let value = |x: f64, y: f64| 0.01 * x * x * x - 0.2 * x * y + 0.05 * y * y * y - x;
        let source = grid([40, 40, 1], [1.0; 3], [0.0; 3]);
        let volume = Volume::from_fn(source, |[x, y, _]| value(x as f64, y as f64));
        let target = grid([20, 20, 1], [0.31, 0.37, 1.0], [16.1, 16.2, 0.0]);
        let found = resample(&volume, &target, Interpolation::Cubic, 0.0);
        for y in 0..20 {
            for x in 0..20 {
                let [wx, wy, _] = target.voxel_to_world([x as f64, y as f64, 0.0]);
                // The border's influence falls by 0.27 a voxel: 1e-9 of it is left after 16.
                assert!((found[[x, y, 0]] - value(wx, wy)).abs() < 1e-5);
            }
        }
    }

    proptest! {
        /// Linear interpolation reproduces an affine function exactly, on any rotated grid inside.
        #[test]
        fn linear_reproduces_a_ramp(angle in 0.0f64..1.5, g in prop::array::uniform3(-2.0f64..2.0)) {
            let source = grid([20, 20, 20], [1.0, 1.0, 1.0], [0.0; 3]);
            let volume = Volume::from_fn(source, |v| (0..3).map(|a| g[a] * v[a] as f64).sum::<f64>());
            let (s, c) = angle.sin_cos();
            let target = Grid::new([5, 5, 5], Affine::new([
                [c, -s, 0.0, 9.0], [s, c, 0.0, 8.0], [0.0, 0.0, 1.2, 7.0], [0.0, 0.0, 0.0, 1.0],
            ]).unwrap()).unwrap();
            let found = resample(&volume, &target, Interpolation::Linear, -99.0);
            for z in 0..5 { for y in 0..5 { for x in 0..5 {
                let world = target.voxel_to_world([x, y, z].map(|i| i as f64));
                let expected: f64 = (0..3).map(|a| g[a] * world[a]).sum();
                prop_assert!((found[[x, y, z]] - expected).abs() < 1e-9);
            }}}
        }
    }
}
