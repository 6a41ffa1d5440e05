//! An image on another grid.
//!
//! Each voxel centre of the target is carried through the world to a voxel coordinate of the source,
//! where the image is interpolated. Where the axes of both run the same way (after a permutation and
//! flips, which cost no interpolation) the three axes are resampled one after the other; elsewhere each
//! voxel gathers its neighbours in three dimensions.
//!
//! Beyond source and target that takes some planes, of the target's width and height: 16 and as many as one
//! plane of the target is made from, for a cubic spline 16 more in single precision, 30 in double. A source
//! whose axes are permuted is copied once, in the order of the target's; on oblique grids a cubic spline
//! needs its coefficients for the whole source.
//!
//! Values are computed in single precision where it holds the type exactly (integers of up to 16 bits,
//! `f32`), else in double. They are the same for any number of threads.
//!
//! A target voxel that lies outside the source, more than half a voxel beyond its outermost centres,
//! gets the fill value; within that half voxel the border value goes on.

mod axis;
mod between;
mod config;
mod general;
mod kernel;
mod nearest;
mod planes;
mod prefilter;
mod rows;
mod separable;
#[cfg(test)]
mod tests;

use crate::{Affine, Grid, Orientation, Spacing, Volume, VolumeError, Voxel, reorient};

pub use config::{AntiAliasing, Interpolation, ResampleConfig};

use axis::Axis;
use between::Between;
use kernel::Real;

/// Off-diagonal entries of the voxel-to-voxel map below this count as zero: over 1000 voxels they move a
/// point by a thousandth of a voxel.
const ALIGNED_TOLERANCE: f64 = 1e-6;

/// `volume` on the grid `target`; `fill` where `target` reaches beyond it. Integers are rounded and kept
/// within their type's range.
///
/// What takes from a voxel that is NaN or infinite, with any weight but 0, is not finite either, and nothing else is; the
/// cubic spline takes from all voxels along an axis.
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
    resample_with(volume, target, &ResampleConfig::new(interpolation), fill)
}

/// [`resample`] with more options.
///
/// On oblique targets means and blurring are along the source's axes: the source is put on a grid around it that
/// has its directions and the target's spacing first, and what comes out is interpolated linearly. Of means, a voxel of
/// the target that touches the image along each of the source's axes has one.
///
/// ```
/// use organseg_volume::{
///     AntiAliasing, Grid, Interpolation, ResampleConfig, Spacing, Volume, grid_with_size, resample_with,
/// };
/// let grid = Grid::with_spacing([6, 1, 1], Spacing::isotropic(1.0)?)?;
/// let stripes = Volume::from_vec(grid, vec![0.0f32, 9.0, 0.0, 9.0, 0.0, 9.0])?;
/// let half = grid_with_size(&grid, [2, 1, 1])?; // its voxels lie on the second and the fifth of six
/// let found = |config: &ResampleConfig| resample_with(&stripes, &half, config, 0.0).into_vec();
/// let linear = ResampleConfig::new(Interpolation::Linear);
/// assert_eq!(found(&linear), [9.0, 0.0]); // stripes of a spacing that is not there
/// assert_eq!(found(&ResampleConfig::new(Interpolation::Area)), [3.0, 6.0]);
/// let blurred = found(&linear.with_anti_aliasing(AntiAliasing::Gaussian));
/// assert!((blurred[0] - 4.5).abs() < 0.5 && (blurred[1] - 4.5).abs() < 0.5);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn resample_with<T: Voxel>(
    volume: &Volume<T>,
    target: &Grid,
    config: &ResampleConfig,
    fill: T,
) -> Volume<T> {
    T::resample(volume, target, config, fill)
}

/// [`resample_with`], computed with the numbers `R`.
pub(crate) fn resample_as<R: Real, T: Voxel>(
    volume: &Volume<T>,
    target: &Grid,
    config: &ResampleConfig,
    fill: T,
) -> Volume<T> {
    let ways = config.ways(volume.grid());
    let voxels = resample_in::<R, T>(volume, target, ways, config.anti_aliasing, fill);
    Volume::from_vec(*target, voxels).expect("one voxel for each of the target's")
}

/// Voxels of `target`, computed with the numbers `R`; `ways` are those of the volume's axes.
fn resample_in<R: Real, T: Voxel>(
    volume: &Volume<T>,
    target: &Grid,
    ways: [Interpolation; 3],
    anti_aliasing: AntiAliasing,
    fill: T,
) -> Vec<T> {
    let own = Orientation::of(volume.grid().affine());
    let order = own.in_order_of(Orientation::of(target.affine()));
    if own != order {
        let turned = reorient(volume, order);
        return resample_ordered::<R, T>(&turned, target, own.permute(order, ways), anti_aliasing, fill);
    }
    resample_ordered::<R, T>(volume, target, ways, anti_aliasing, fill)
}

/// [`resample_in`] for a volume whose axes are in the target's order. That is not asked again: halfway between
/// two axes the turned volume may seem to be in another.
fn resample_ordered<R: Real, T: Voxel>(
    volume: &Volume<T>,
    target: &Grid,
    ways: [Interpolation; 3],
    anti_aliasing: AntiAliasing,
    fill: T,
) -> Vec<T> {
    let map = volume.grid().affine().inverse().after(target.affine());
    let (old, size) = (volume.size(), target.size());
    if let Some(maps) = aligned(&map) {
        if ways == [Interpolation::Nearest; 3] && anti_aliasing == AntiAliasing::None {
            return nearest::resample(volume, size, maps, fill);
        }
        let axes = [0, 1, 2].map(|a| Axis::<R>::new(maps[a], old[a], size[a], ways[a], anti_aliasing));
        return separable::resample(volume, size, &axes, fill);
    }
    if anti_aliasing == AntiAliasing::None && !ways.contains(&Interpolation::Area) {
        return general::resample::<R, T>(volume, size, &map, ways, fill);
    }
    let between = Between::new(volume.grid(), target, &map, ways);
    let maps = between.maps();
    let axes = [0, 1, 2].map(|a| Axis::<R>::new(maps[a], old[a], between.size()[a], ways[a], anti_aliasing));
    let voxels = separable::resample(volume, between.size(), &axes, fill);
    general::resample_between::<R, T>(&voxels, &between, size, &map, fill)
}

/// The mean of each block of `factors` voxels, as many as there are.
pub(crate) fn means_of_blocks(volume: &Volume<f32>, factors: [usize; 3]) -> Vec<f32> {
    let old = volume.size();
    let size = [0, 1, 2].map(|a| old[a].div_ceil(factors[a]));
    let axes = [0, 1, 2].map(|a| {
        let width = factors[a] as f64;
        let map = (width, (width - 1.0) / 2.0);
        Axis::<f32>::new(map, old[a], size[a], Interpolation::Area, AntiAliasing::None)
    });
    separable::resample(volume, size, &axes, 0.0)
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
/// [`VolumeError::InvalidSize`] if there would be too many voxels to count, [`VolumeError::InvalidSpacing`] if one
/// spacing is more than 1e60 times the other.
pub fn grid_with_spacing(grid: &Grid, spacing: Spacing) -> Result<Grid, VolumeError> {
    let (old, new) = (grid.spacing().to_array(), spacing.to_array());
    let size = [0, 1, 2].map(|a| ((grid.size()[a] as f64 * old[a] / new[a]).round() as usize).max(1));
    rescaled(grid, size, [0, 1, 2].map(|a| new[a] / old[a]), [0.0; 3])
}

/// The smallest grid with voxels of `spacing` that covers all of `grid` but for half a voxel of either at most:
/// ⌈n · s / s′ − ½ min(s / s′, 1)⌉ voxels along each axis, around the same middle. Each grid's centres lie within the other,
/// so that resampling there and back has nothing to fill; a spacing that is almost the grid's keeps its voxels.
///
/// ```
/// use organseg_volume::{Grid, Spacing, grid_that_covers};
/// let grid = Grid::with_spacing([9, 8, 7], Spacing::isotropic(1.0)?)?; // from −0.5 mm on
/// let coarse = grid_that_covers(&grid, Spacing::isotropic(4.0)?)?;
/// assert_eq!(coarse.size(), [3, 2, 2]);
/// assert_eq!(coarse.voxel_to_world([0.0; 3]), [0.0, 1.5, 1.0]); // 1.5, 0 and 0.5 mm beyond at each end
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
///
/// # Errors
/// [`VolumeError::InvalidSize`] if there would be too many voxels to count, [`VolumeError::InvalidSpacing`] if one
/// spacing is more than 1e60 times the other.
pub fn grid_that_covers(grid: &Grid, spacing: Spacing) -> Result<Grid, VolumeError> {
    let scale = [0, 1, 2].map(|a| spacing.to_array()[a] / grid.spacing().to_array()[a]);
    let old = grid.size().map(|n| n as f64);
    let size =
        [0, 1, 2].map(|a| ((old[a] / scale[a] - 0.5 * scale[a].recip().min(1.0)).ceil() as usize).max(1));
    rescaled(grid, size, scale, [0, 1, 2].map(|a| (old[a] - size[a] as f64 * scale[a]) / 2.0))
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
/// [`VolumeError::InvalidSize`] for a size of zero along an axis, [`VolumeError::InvalidSpacing`] if voxels would be
/// too large or too small to be computed with.
pub fn grid_with_size(grid: &Grid, size: [usize; 3]) -> Result<Grid, VolumeError> {
    if size.contains(&0) {
        return Err(VolumeError::InvalidSize { size });
    }
    rescaled(grid, size, [0, 1, 2].map(|a| grid.size()[a] as f64 / size[a] as f64), [0.0; 3])
}

/// `size` voxels, each `scale` old ones wide, from `start` old ones after the outer corner of `grid`.
fn rescaled(grid: &Grid, size: [usize; 3], scale: [f64; 3], start: [f64; 3]) -> Result<Grid, VolumeError> {
    let first = [0, 1, 2].map(|a| start[a] + (scale[a] - 1.0) / 2.0);
    let map = Affine::new([
        [scale[0], 0.0, 0.0, first[0]],
        [0.0, scale[1], 0.0, first[1]],
        [0.0, 0.0, scale[2], first[2]],
        [0.0, 0.0, 0.0, 1.0],
    ])?;
    Grid::new(size, grid.affine().after(&map))
}
