//! How large a phantom is, and how noisy.

use organseg_volume::{Affine, Grid, Spacing};
use serde::{Deserialize, Serialize};

use crate::PhantomError;

/// The field of view that the anatomy is drawn for, in millimetres; another one stretches it.
pub(crate) const REFERENCE_FOV_MM: [f64; 3] = [280.0, 240.0, 198.0];

/// Size of a phantom, its field of view and its noise.
///
/// The anatomy always fills the field of view: more voxels make them finer, not the abdomen larger.
///
/// ```
/// use organseg_phantom::PhantomConfig;
/// let config = PhantomConfig::default();
/// assert_eq!(config.size, [112, 96, 72]);
/// assert_eq!(config.spacing()?.to_array(), [2.5, 2.5, 2.75]);
/// let fine = config.with_size([280, 240, 132]);
/// assert_eq!(fine.spacing()?.to_array(), [1.0, 1.0, 1.5]);
/// # Ok::<(), organseg_phantom::PhantomError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PhantomConfig {
    /// Voxels along (x, y, z).
    pub size: [usize; 3],
    /// What the voxels cover along (x, y, z), in millimetres. An abdomen of 280 × 240 × 198 mm, the
    /// default, has a body about 255 mm wide; any other field of view stretches everything with it.
    pub fov_mm: [f64; 3],
    /// Standard deviation of the noise, in Hounsfield units; 0 for none.
    pub noise_hu: f64,
}

impl Default for PhantomConfig {
    /// Small enough to train two networks on a score of phantoms in minutes; a pancreas some 2.5 to 5.5
    /// voxels in radius, which is what an outline takes.
    fn default() -> Self {
        Self { size: [112, 96, 72], fov_mm: REFERENCE_FOV_MM, noise_hu: 9.0 }
    }
}

impl PhantomConfig {
    /// The same with `size` voxels along (x, y, z).
    #[must_use]
    pub fn with_size(mut self, size: [usize; 3]) -> Self {
        self.size = size;
        self
    }

    /// The same with a field of view of `fov_mm` millimetres.
    #[must_use]
    pub fn with_fov_mm(mut self, fov_mm: [f64; 3]) -> Self {
        self.fov_mm = fov_mm;
        self
    }

    /// The same with noise of `noise_hu` Hounsfield units.
    #[must_use]
    pub fn with_noise_hu(mut self, noise_hu: f64) -> Self {
        self.noise_hu = noise_hu;
        self
    }

    /// Distance between voxels: field of view over size.
    ///
    /// # Errors
    /// [`PhantomError::InvalidFieldOfView`] or [`PhantomError::Volume`] for a size with a zero.
    pub fn spacing(&self) -> Result<Spacing, PhantomError> {
        Ok(self.grid()?.spacing())
    }

    /// Where the voxels lie: axes along RAS, the middle of the field of view at the world's origin.
    ///
    /// # Errors
    /// As [`PhantomConfig::spacing`].
    pub fn grid(&self) -> Result<Grid, PhantomError> {
        if !self.fov_mm.iter().all(|&f| f.is_finite() && f > 0.0) {
            return Err(PhantomError::InvalidFieldOfView { fov_mm: self.fov_mm });
        }
        // A zero gets past the division, to be refused by Grid with a message about the size.
        let step = [0, 1, 2].map(|a| self.fov_mm[a] / self.size[a].max(1) as f64);
        let origin = [0, 1, 2].map(|a| (step[a] - self.fov_mm[a]) / 2.0);
        Ok(Grid::new(self.size, Affine::from_spacing(Spacing::new(step)?, origin))?)
    }

    pub(crate) fn checked_grid(&self) -> Result<Grid, PhantomError> {
        if !self.noise_hu.is_finite() || self.noise_hu < 0.0 {
            return Err(PhantomError::InvalidNoise { noise_hu: self.noise_hu });
        }
        self.grid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_field_of_view_is_the_origin() {
        let grid = PhantomConfig::default().with_size([7, 11, 4]).grid().unwrap();
        let middle = grid.voxel_to_world([3.0, 5.0, 1.5]);
        assert!(middle.iter().all(|v| v.abs() < 1e-12), "{middle:?}");
        assert!(grid.affine().origin_mm().iter().all(|&v| v < 0.0));
    }

    #[test]
    fn what_is_no_size_no_field_or_no_noise_is_refused() {
        let config = PhantomConfig::default();
        assert!(matches!(config.with_size([4, 0, 4]).grid(), Err(PhantomError::Volume(_))));
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let fov = config.with_fov_mm([100.0, bad, 100.0]);
            assert!(matches!(fov.grid(), Err(PhantomError::InvalidFieldOfView { .. })));
        }
        let noisy = config.with_noise_hu(-1.0);
        assert!(matches!(noisy.checked_grid(), Err(PhantomError::InvalidNoise { .. })));
    }
}
