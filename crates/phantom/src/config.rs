//! How large a phantom is and how noisy.

use organseg_volume::{Affine, Grid, Spacing};
use serde::{Deserialize, Serialize};

use crate::PhantomError;

/// Size and noise of a phantom. The anatomy fills the field of view, whatever its voxels.
///
/// ```
/// use organseg_phantom::PhantomConfig;
/// let grid = PhantomConfig::default().with_size([56, 48, 36]).grid()?;
/// assert_eq!(grid.size(), [56, 48, 36]);
/// assert!((grid.spacing().to_array()[0] - 300.0 / 56.0).abs() < 1e-9);
/// # Ok::<(), organseg_phantom::PhantomError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomConfig {
    /// Voxels along (x, y, z).
    pub size: [usize; 3],
    /// Millimetres along (x, y, z) that they cover.
    pub fov_mm: [f64; 3],
    /// Standard deviation of the noise in HU.
    pub noise_hu: f64,
}

impl Default for PhantomConfig {
    /// 112×96×72 voxels over 300×250×200 mm, noise of 12 HU as in a soft-tissue reconstruction.
    fn default() -> Self {
        Self { size: [112, 96, 72], fov_mm: [300.0, 250.0, 200.0], noise_hu: 12.0 }
    }
}

impl PhantomConfig {
    /// With this many voxels over the same field of view.
    #[must_use]
    pub fn with_size(mut self, size: [usize; 3]) -> Self {
        self.size = size;
        self
    }

    /// With this noise in HU.
    #[must_use]
    pub fn with_noise_hu(mut self, noise_hu: f64) -> Self {
        self.noise_hu = noise_hu;
        self
    }

    /// The phantom's grid: RAS, its middle at the world's origin.
    ///
    /// # Errors
    /// [`PhantomError::Config`] naming the field.
    pub fn grid(&self) -> Result<Grid, PhantomError> {
        let fail = |field, found: String, expected| Err(PhantomError::Config { field, found, expected });
        if self.size.iter().any(|n| !(8..=4096).contains(n)) {
            return fail("size", format!("{:?}", self.size), "8 to 4096 voxels along each axis");
        }
        if !self.fov_mm.iter().all(|v| v.is_finite() && *v > 0.0) {
            return fail("fov_mm", format!("{:?}", self.fov_mm), "positive lengths");
        }
        if !(self.noise_hu.is_finite() && self.noise_hu >= 0.0) {
            return fail("noise_hu", self.noise_hu.to_string(), "0 or a positive number");
        }
        let spacing = [0, 1, 2].map(|a| self.fov_mm[a] / self.size[a] as f64);
        let origin = [0, 1, 2].map(|a| (spacing[a] - self.fov_mm[a]) / 2.0);
        Ok(Grid::new(self.size, Affine::from_spacing(Spacing::new(spacing)?, origin))?)
    }
}
