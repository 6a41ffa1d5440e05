//! Voxels on a grid.

use std::ops::{Index, IndexMut};

use ndarray::{ArrayView3, ArrayViewMut3, ShapeBuilder};

use crate::{Grid, VolumeError, Voxel};

/// A class of tissue; 0 is background.
pub type Label = u8;

/// A segmentation: one [`Label`] a voxel.
pub type LabelVolume = Volume<Label>;

/// An image: voxels, x fastest, and the [`Grid`] they lie on.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([2, 3, 1], Spacing::isotropic(1.0)?)?;
/// let volume = Volume::from_vec(grid, vec![0, 1, 2, 3, 4, 5])?;
/// assert_eq!(volume[[1, 0, 0]], 1);
/// assert_eq!(volume[[0, 1, 0]], 2);
/// assert_eq!(volume.array()[[1, 2, 0]], 5);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    grid: Grid,
    voxels: Vec<T>,
}

impl<T: Voxel> Volume<T> {
    /// Volume from voxels in memory order, x fastest.
    ///
    /// # Errors
    /// [`VolumeError::VoxelCount`] if there are not as many voxels as the grid has places.
    pub fn from_vec(grid: Grid, voxels: Vec<T>) -> Result<Self, VolumeError> {
        if voxels.len() == grid.voxel_count() {
            Ok(Self { grid, voxels })
        } else {
            Err(VolumeError::VoxelCount { size: grid.size(), found: voxels.len() })
        }
    }

    /// Volume from an array indexed `[[x, y, z]]`, whatever its order in memory.
    ///
    /// ```
    /// use organseg_volume::{Grid, Spacing, Volume, ndarray::array};
    /// let grid = Grid::with_spacing([1, 2, 3], Spacing::isotropic(1.0)?)?;
    /// let volume = Volume::from_array(grid, &array![[[1, 2, 3], [4, 5, 6]]].view())?;
    /// assert_eq!(volume[[0, 1, 2]], 6);
    /// assert_eq!(volume.voxels(), [1, 4, 2, 5, 3, 6]);
    /// # Ok::<(), organseg_volume::VolumeError>(())
    /// ```
    ///
    /// # Errors
    /// [`VolumeError::SizeMismatch`] unless the array has the grid's size.
    pub fn from_array(grid: Grid, array: &ArrayView3<'_, T>) -> Result<Self, VolumeError> {
        let found = <[usize; 3]>::from(array.dim());
        if found != grid.size() {
            return Err(VolumeError::SizeMismatch { expected: grid.size(), found });
        }
        Ok(Self { grid, voxels: array.t().iter().copied().collect() })
    }

    /// Volume that holds `value` everywhere.
    #[must_use]
    pub fn filled(grid: Grid, value: T) -> Self {
        Self { grid, voxels: vec![value; grid.voxel_count()] }
    }

    /// Volume whose voxel (x, y, z) is `value([x, y, z])`.
    pub fn from_fn(grid: Grid, mut value: impl FnMut([usize; 3]) -> T) -> Self {
        let [nx, ny, nz] = grid.size();
        let mut voxels = Vec::with_capacity(grid.voxel_count());
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    voxels.push(value([x, y, z]));
                }
            }
        }
        Self { grid, voxels }
    }

    /// Where the voxels lie.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Voxels along (x, y, z).
    #[must_use]
    pub fn size(&self) -> [usize; 3] {
        self.grid.size()
    }

    /// The voxels in memory order, x fastest.
    #[must_use]
    pub fn voxels(&self) -> &[T] {
        &self.voxels
    }

    /// The voxels in memory order, x fastest.
    pub fn voxels_mut(&mut self) -> &mut [T] {
        &mut self.voxels
    }

    /// The voxels, without a copy.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.voxels
    }

    /// View indexed `[[x, y, z]]`.
    #[must_use]
    pub fn array(&self) -> ArrayView3<'_, T> {
        let [nx, ny, nz] = self.size();
        ArrayView3::from_shape((nx, ny, nz).f(), &self.voxels).expect("as many voxels as the grid has places")
    }

    /// View indexed `[[x, y, z]]`.
    pub fn array_mut(&mut self) -> ArrayViewMut3<'_, T> {
        let [nx, ny, nz] = self.size();
        ArrayViewMut3::from_shape((nx, ny, nz).f(), &mut self.voxels)
            .expect("as many voxels as the grid has places")
    }

    /// The volume with `f` applied to each voxel.
    #[must_use]
    pub fn map<U: Voxel>(&self, f: impl Fn(T) -> U) -> Volume<U> {
        Volume { grid: self.grid, voxels: self.voxels.iter().map(|&v| f(v)).collect() }
    }

    /// The same voxels on another grid of the same size: for a header to be corrected.
    ///
    /// # Errors
    /// [`VolumeError::SizeMismatch`] if the sizes differ.
    pub fn with_grid(self, grid: Grid) -> Result<Self, VolumeError> {
        if grid.size() == self.size() {
            Ok(Self { grid, voxels: self.voxels })
        } else {
            Err(VolumeError::SizeMismatch { expected: self.size(), found: grid.size() })
        }
    }
}

impl<T: Voxel> Index<[usize; 3]> for Volume<T> {
    type Output = T;

    fn index(&self, index: [usize; 3]) -> &T {
        assert!(
            index.iter().zip(self.size()).all(|(&i, n)| i < n),
            "voxel {index:?} outside {:?}",
            self.size()
        );
        &self.voxels[self.grid.offset(index)]
    }
}

impl<T: Voxel> IndexMut<[usize; 3]> for Volume<T> {
    fn index_mut(&mut self, index: [usize; 3]) -> &mut T {
        assert!(
            index.iter().zip(self.size()).all(|(&i, n)| i < n),
            "voxel {index:?} outside {:?}",
            self.size()
        );
        let offset = self.grid.offset(index);
        &mut self.voxels[offset]
    }
}
