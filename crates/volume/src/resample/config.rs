//! How an image is put on another grid: the options and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Grid, VolumeError};

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
    /// Mean over the region of the new voxel, each old voxel one value throughout its own region. Right
    /// for shrinking by any ratio; where the new voxel reaches beyond the image, the mean over the rest.
    Area,
}

impl fmt::Display for Interpolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nearest => "nearest",
            Self::Linear => "linear",
            Self::Cubic => "cubic",
            Self::Area => "area",
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
            "area" => Ok(Self::Area),
            _ => Err(VolumeError::InvalidInterpolation { found: text.to_string() }),
        }
    }
}

/// What is done about detail that a coarser grid cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AntiAliasing {
    /// Nothing: new voxels show the image at their centres.
    #[default]
    None,
    /// Along each axis that shrinks, by a factor s, the image is first blurred with a Gaussian of standard
    /// deviation (s − 1) / 2 old voxels, cut off at four of them, as scikit-image's `resize` does. Beyond
    /// the border it goes on, or is mirrored for the cubic spline. Means need no blurring and get none.
    Gaussian,
}

/// How to resample, beyond the choice of one interpolation.
///
/// ```
/// use organseg_volume::{AntiAliasing, Interpolation, ResampleConfig};
/// // As nnU-Net treats scans with thick slices.
/// let config = ResampleConfig::new(Interpolation::Cubic).with_across_slices(Interpolation::Nearest);
/// assert_eq!(config.anti_aliasing, AntiAliasing::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ResampleConfig {
    /// How values between voxel centres are made.
    pub interpolation: Interpolation,
    /// Another way across the slices of the source: along the axis of its largest spacing, the last of
    /// those that are equal. For scans whose slices are far apart, where a cubic overshoots.
    pub across_slices: Option<Interpolation>,
    /// What is done about detail that the target cannot hold; nothing unless chosen.
    pub anti_aliasing: AntiAliasing,
}

impl ResampleConfig {
    /// One interpolation along all axes, no anti-aliasing.
    #[must_use]
    pub fn new(interpolation: Interpolation) -> Self {
        Self { interpolation, ..Self::default() }
    }

    /// With another interpolation across the slices.
    #[must_use]
    pub fn with_across_slices(mut self, interpolation: Interpolation) -> Self {
        self.across_slices = Some(interpolation);
        self
    }

    /// With this anti-aliasing.
    #[must_use]
    pub fn with_anti_aliasing(mut self, anti_aliasing: AntiAliasing) -> Self {
        self.anti_aliasing = anti_aliasing;
        self
    }

    /// The interpolation along each axis of a source on `grid`.
    pub(super) fn ways(&self, grid: &Grid) -> [Interpolation; 3] {
        let mut ways = [self.interpolation; 3];
        if let Some(interpolation) = self.across_slices {
            let spacing = grid.spacing().to_array();
            let largest = spacing.into_iter().fold(0.0, f64::max);
            // Spacings that differ by rounding are equal.
            let slices = spacing.iter().rposition(|&s| s >= largest * (1.0 - 1e-6));
            ways[slices.expect("one of three is the largest")] = interpolation;
        }
        ways
    }
}
