//! Where the voxels of an image lie: how many there are along each axis and where they sit in the world.

use serde::{Deserialize, Serialize};

use crate::{Affine, Spacing, VolumeError};

/// Two grids are the same if no corner of one is further than this from the other's, in voxels:
/// a 1e-8 difference in a direction cosine is rounding, a tenth of a voxel is another image.
pub const GEOMETRY_TOLERANCE_VOXELS: f64 = 1e-3;

/// Size in voxels and voxel-to-world affine of an image; the spacing follows from the affine.
///
/// ```
/// use organseg_volume::{Grid, Spacing};
/// let grid = Grid::with_spacing([4, 4, 2], Spacing::new([1.0, 1.0, 3.0])?)?;
/// assert_eq!(grid.voxel_count(), 32);
/// assert_eq!(grid.voxel_to_world([1.0, 2.0, 1.0]), [1.0, 2.0, 3.0]);
/// // Blocks of 2×2×1 voxels become one voxel, centred where the block was.
/// let coarse = grid.decimated([2, 2, 1])?;
/// assert_eq!(coarse.size(), [2, 2, 2]);
/// assert_eq!(coarse.voxel_to_world([0.0, 0.0, 0.0]), [0.5, 0.5, 0.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GridFields")]
pub struct Grid {
    size: [usize; 3],
    affine: Affine,
}

/// A grid as it is in a file, before [`Grid::new`] has seen it.
#[derive(Deserialize)]
struct GridFields {
    size: [usize; 3],
    affine: Affine,
}

impl TryFrom<GridFields> for Grid {
    type Error = VolumeError;

    fn try_from(fields: GridFields) -> Result<Self, VolumeError> {
        Self::new(fields.size, fields.affine)
    }
}

impl Grid {
    /// Grid of `size` voxels along (x, y, z).
    ///
    /// # Errors
    /// [`VolumeError::InvalidSize`] if an axis has no voxel or their product overflows; as [`Affine::new`] if `affine`
    /// is made of others, [one after the other](Affine::after), and what came out is none.
    pub fn new(size: [usize; 3], affine: Affine) -> Result<Self, VolumeError> {
        let affine = Affine::new(affine.to_rows())?;
        let count = size.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        match count {
            Some(n) if n > 0 => Ok(Self { size, affine }),
            _ => Err(VolumeError::InvalidSize { size }),
        }
    }

    /// Grid with its axes along the world's and voxel (0, 0, 0) at the world's origin.
    ///
    /// # Errors
    /// As [`Grid::new`].
    pub fn with_spacing(size: [usize; 3], spacing: Spacing) -> Result<Self, VolumeError> {
        Self::new(size, Affine::from_spacing(spacing, [0.0; 3]))
    }

    /// Voxels along (x, y, z).
    #[must_use]
    pub fn size(&self) -> [usize; 3] {
        self.size
    }

    /// Voxel-to-world map in RAS+ millimetres.
    #[must_use]
    pub fn affine(&self) -> &Affine {
        &self.affine
    }

    /// Distance between neighbouring voxels in millimetres.
    #[must_use]
    pub fn spacing(&self) -> Spacing {
        self.affine.spacing()
    }

    /// Number of voxels.
    #[must_use]
    pub fn voxel_count(&self) -> usize {
        self.size.iter().product()
    }

    /// Position in memory of voxel (x, y, z): x + X (y + Y z).
    #[must_use]
    pub fn offset(&self, [x, y, z]: [usize; 3]) -> usize {
        x + self.size[0] * (y + self.size[1] * z)
    }

    /// World position in millimetres of a voxel index (fractions allowed).
    #[must_use]
    pub fn voxel_to_world(&self, voxel: [f64; 3]) -> [f64; 3] {
        self.affine.apply(voxel)
    }

    /// Voxel index (with fractions) of a world position in millimetres.
    #[must_use]
    pub fn world_to_voxel(&self, world_mm: [f64; 3]) -> [f64; 3] {
        self.affine.inverse().apply(world_mm)
    }

    /// Checks that `other` has the same size and, to [`GEOMETRY_TOLERANCE_VOXELS`], the same place.
    ///
    /// # Errors
    /// [`VolumeError::SizeMismatch`] or [`VolumeError::GeometryMismatch`], with how far they are apart.
    pub fn check_same(&self, other: &Self) -> Result<(), VolumeError> {
        if self.size != other.size {
            return Err(VolumeError::SizeMismatch { expected: self.size, found: other.size });
        }
        let distance_voxels = self.corner_distance_voxels(other);
        if distance_voxels <= GEOMETRY_TOLERANCE_VOXELS {
            Ok(())
        } else {
            let spacing = self.spacing().to_array().into_iter().fold(0.0, f64::max);
            Err(VolumeError::GeometryMismatch {
                distance_voxels,
                distance_mm: distance_voxels * spacing,
                tolerance_voxels: GEOMETRY_TOLERANCE_VOXELS,
            })
        }
    }

    /// Largest distance, over the eight corners and along any axis, between where the two grids put
    /// the same voxel index; in voxels of `self`.
    #[must_use]
    pub fn corner_distance_voxels(&self, other: &Self) -> f64 {
        self.corner_distances_voxels(other).into_iter().fold(0.0, f64::max)
    }

    /// The same axis by axis: how far, at most over the eight corners, the two grids put a voxel index
    /// apart along x, y and z of `self`. Times the spacing it is millimetres.
    ///
    /// ```
    /// use organseg_volume::{Affine, Grid, Spacing};
    /// let spacing = Spacing::new([1.0, 2.0, 5.0])?;
    /// let grid = Grid::new([4, 3, 2], Affine::from_spacing(spacing, [0.0; 3]))?;
    /// let moved = Grid::new([4, 3, 2], Affine::from_spacing(spacing, [0.0, 1.0, -1.25]))?;
    /// assert_eq!(grid.corner_distances_voxels(&moved), [0.0, 0.5, 0.25]);
    /// # Ok::<(), organseg_volume::VolumeError>(())
    /// ```
    #[must_use]
    pub fn corner_distances_voxels(&self, other: &Self) -> [f64; 3] {
        let to_voxel = self.affine.inverse();
        let mut worst = [0.0f64; 3];
        for corner in 0..8usize {
            let index = [0, 1, 2].map(|a| if corner >> a & 1 == 1 { (self.size[a] - 1) as f64 } else { 0.0 });
            let seen = to_voxel.apply(other.affine.apply(index));
            for a in 0..3 {
                worst[a] = worst[a].max((seen[a] - index[a]).abs());
            }
        }
        worst
    }

    /// The grid whose voxels are blocks of `factors` voxels of this one, the last block perhaps cut
    /// short: size ⌈n / R⌉, spacing R times as wide, each voxel at the centre of a full block.
    ///
    /// # Errors
    /// [`VolumeError::InvalidFactors`] if a factor is zero, [`VolumeError::InvalidSpacing`] if blocks are too large to be
    /// computed with.
    pub fn decimated(&self, factors: [usize; 3]) -> Result<Self, VolumeError> {
        if factors.contains(&0) {
            return Err(VolumeError::InvalidFactors { factors });
        }
        let size = [0, 1, 2].map(|a| self.size[a].div_ceil(factors[a]));
        let scale = factors.map(|f| f as f64);
        let block = Affine::new([
            [scale[0], 0.0, 0.0, (scale[0] - 1.0) / 2.0],
            [0.0, scale[1], 0.0, (scale[1] - 1.0) / 2.0],
            [0.0, 0.0, scale[2], (scale[2] - 1.0) / 2.0],
            [0.0, 0.0, 0.0, 1.0],
        ])?;
        Self::new(size, self.affine.after(&block))
    }

    /// The grid of `size` voxels whose voxel (0, 0, 0) is voxel `start` of this one; `start` may lie
    /// outside.
    ///
    /// # Errors
    /// [`VolumeError::InvalidSize`] if `size` has a zero.
    pub fn cropped(&self, start: [i64; 3], size: [usize; 3]) -> Result<Self, VolumeError> {
        let origin = self.affine.apply(start.map(|v| v as f64));
        let mut rows = self.affine.to_rows();
        for (row, value) in rows.iter_mut().zip(origin) {
            row[3] = value;
        }
        Self::new(size, Affine::new(rows)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two directions that people's files have, the second after a conversion through single precision:
    /// 2e-8 apart, which tools that compare numbers take for another image.
    #[test]
    fn rounding_in_a_direction_cosine_is_the_same_grid_and_a_tenth_of_a_voxel_another() {
        let turned = |sine: f64, origin_mm: f64| {
            let cosine = (1.0 - sine * sine).sqrt();
            let rows = [
                [-0.8 * cosine, -0.8 * sine, 0.0, origin_mm],
                [0.8 * sine, -0.8 * cosine, 0.0, 7.0],
                [0.0, 0.0, 2.0, -30.0],
                [0.0, 0.0, 0.0, 1.0],
            ];
            Grid::new([512, 512, 300], Affine::new(rows).unwrap()).unwrap()
        };
        let grid = turned(0.016_624_766, 12.0);
        assert!(grid.check_same(&turned(0.016_624_766 + 1e-8, 12.0)).is_ok());
        assert!(grid.check_same(&turned(0.016_624_788, 12.0)).is_ok());
        // A thousandth of a voxel at the far corner: 512 voxels of 4e-6 are two.
        assert!(grid.check_same(&turned(0.016_628_766, 12.0)).is_err());
        let error = grid.check_same(&turned(0.016_624_766, 12.08)).unwrap_err();
        assert!(matches!(error, VolumeError::GeometryMismatch { .. }), "{error}");
    }

    #[test]
    fn an_affine_that_grows_beyond_what_can_be_computed_with_is_an_error() {
        let grid = Grid::with_spacing([4, 3, 2], Spacing::isotropic(9e59).unwrap()).unwrap();
        assert!(matches!(grid.decimated([1, 1, 2]), Err(VolumeError::InvalidSpacing { .. })));
        assert!(crate::grid_with_size(&grid, [4, 1, 2]).is_err());
        assert!(grid.decimated([1; 3]).is_ok());
        let twice = Affine::new([
            [2.0, 0.0, 0.0, 0.0],
            [0.0, 2.0, 0.0, 0.0],
            [0.0, 0.0, 2.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        assert!(Grid::new([1; 3], grid.affine().after(&twice.unwrap())).is_err());
    }

    #[test]
    fn a_grid_from_json_is_checked_as_any_other() {
        let grid = Grid::with_spacing([4, 3, 2], Spacing::new([0.5, 1.0, 2.0]).unwrap()).unwrap();
        let json = serde_json::to_string(&grid).unwrap();
        assert_eq!(serde_json::from_str::<Grid>(&json).unwrap(), grid);
        let error = serde_json::from_str::<Grid>(&json.replace("[4,3,2]", "[4,0,2]")).unwrap_err();
        assert!(error.to_string().starts_with("size [4, 0, 2] is not valid"), "{error}");
    }
}
