//! Distance between voxel centres along each axis, in millimetres.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::VolumeError;

/// Spacings that can be computed with: their squares and the product of three are normal doubles. A header
/// may hold 1e-300, whose square is zero.
const POSSIBLE_MM: RangeInclusive<f64> = 1e-60..=1e60;

/// Voxel spacing in millimetres along (x, y, z); every component is finite and positive, from 1e-60 to 1e60.
///
/// ```
/// use organseg_volume::Spacing;
/// let spacing = Spacing::new([0.8, 0.8, 2.5])?;
/// assert_eq!(spacing.to_array(), [0.8, 0.8, 2.5]);
/// assert!((spacing.voxel_volume_mm3() - 1.6).abs() < 1e-12);
/// assert!(Spacing::new([1.0, 0.0, 1.0]).is_err());
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "[f64; 3]", into = "[f64; 3]")]
pub struct Spacing([f64; 3]);

impl Spacing {
    /// Spacing from millimetres along (x, y, z).
    ///
    /// # Errors
    /// [`VolumeError::InvalidSpacing`] if a component is zero, negative, infinite, NaN or beyond what can be
    /// computed with.
    pub fn new(millimetres: [f64; 3]) -> Result<Self, VolumeError> {
        if millimetres.iter().all(|s| POSSIBLE_MM.contains(s)) {
            Ok(Self(millimetres))
        } else {
            Err(VolumeError::InvalidSpacing { spacing_mm: millimetres })
        }
    }

    /// The same spacing along all three axes.
    ///
    /// # Errors
    /// As [`Spacing::new`].
    pub fn isotropic(millimetres: f64) -> Result<Self, VolumeError> {
        Self::new([millimetres; 3])
    }

    /// Millimetres along (x, y, z).
    #[must_use]
    pub fn to_array(self) -> [f64; 3] {
        self.0
    }

    /// Volume of one voxel in cubic millimetres, for axes at right angles.
    #[must_use]
    pub fn voxel_volume_mm3(self) -> f64 {
        self.0.iter().product()
    }
}

impl TryFrom<[f64; 3]> for Spacing {
    type Error = VolumeError;

    fn try_from(millimetres: [f64; 3]) -> Result<Self, VolumeError> {
        Self::new(millimetres)
    }
}

impl From<Spacing> for [f64; 3] {
    fn from(spacing: Spacing) -> Self {
        spacing.0
    }
}
