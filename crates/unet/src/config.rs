//! The shape of a U-Net: levels, channels, norm, activation, classes.

use organseg_conv3d::Algorithm;
use serde::{Deserialize, Serialize};

use crate::UnetError;

/// Normalisation after each convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Norm {
    /// Instance norm with learnt scale and shift (Ulyanov et al. 2016): each channel of each sample to
    /// mean 0 and variance 1. Right for the batches of one or two that volumes allow.
    #[default]
    Instance,
    /// None; the convolutions have a bias instead.
    None,
}

/// How the encoder halves the resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Downsampling {
    /// Maximum of 2×2×2 voxels, before the convolutions of a level.
    #[default]
    Pooled,
    /// Stride 2 in the first convolution of a level, as in nnU-Net and MONAI's `DynUNet`.
    Strided,
}

/// How the decoder doubles the resolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Upsampling {
    /// Learnt 2×2×2 transposed convolution with stride 2.
    #[default]
    Transposed,
    /// Trilinear interpolation; no weights, and the deeper level's channels go into the convolution.
    Trilinear,
}

/// Shape of a [`Unet3d`](crate::Unet3d).
///
/// ```
/// use organseg_unet::UnetConfig;
/// let config = UnetConfig::new(1, 2).with_channels(vec![16, 32, 64, 128]);
/// assert_eq!(config.levels(), 4);
/// assert_eq!(config.size_multiple(), 8); // three halvings
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Channels of the image: 1 for CT.
    pub in_channels: usize,
    /// Classes, background included.
    pub classes: usize,
    /// Channels of each level, full resolution first. Each level halves the one before.
    pub channels: Vec<usize>,
    /// Convolutions of 3×3×3 in each level, on the way down and again on the way up.
    pub convolutions_per_level: usize,
    /// Normalisation after each convolution.
    pub norm: Norm,
    /// Slope of the leaky ReLU below zero; 0 gives ReLU. 0.01 as in nnU-Net.
    pub negative_slope: f64,
    /// How the encoder halves the resolution.
    pub downsampling: Downsampling,
    /// How the decoder doubles the resolution.
    pub upsampling: Upsampling,
    /// How convolutions are computed on the CPU: `direct` for sums as they are written, several times
    /// slower.
    pub algorithm: Algorithm,
}

impl Default for UnetConfig {
    /// One channel in, background and organ out, four levels of 16, 32, 64 and 128 channels.
    fn default() -> Self {
        Self {
            in_channels: 1,
            classes: 2,
            channels: vec![16, 32, 64, 128],
            convolutions_per_level: 2,
            norm: Norm::Instance,
            negative_slope: 0.01,
            downsampling: Downsampling::Pooled,
            upsampling: Upsampling::Transposed,
            algorithm: Algorithm::Auto,
        }
    }
}

impl UnetConfig {
    /// The default network for `in_channels` image channels and `classes` classes (background
    /// included).
    #[must_use]
    pub fn new(in_channels: usize, classes: usize) -> Self {
        Self { in_channels, classes, ..Self::default() }
    }

    /// With these channels, full resolution first.
    #[must_use]
    pub fn with_channels(mut self, channels: Vec<usize>) -> Self {
        self.channels = channels;
        self
    }

    /// With this normalisation.
    #[must_use]
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// With this way of halving the resolution.
    #[must_use]
    pub fn with_downsampling(mut self, downsampling: Downsampling) -> Self {
        self.downsampling = downsampling;
        self
    }

    /// With this way of doubling the resolution.
    #[must_use]
    pub fn with_upsampling(mut self, upsampling: Upsampling) -> Self {
        self.upsampling = upsampling;
        self
    }

    /// With convolutions computed this way.
    #[must_use]
    pub fn with_algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Number of resolutions.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.channels.len()
    }

    /// Sizes that are a multiple of this along each axis need no padding: 2 to the number of halvings.
    #[must_use]
    pub fn size_multiple(&self) -> usize {
        1 << self.levels().saturating_sub(1)
    }

    /// Checks that this describes a network.
    ///
    /// # Errors
    /// [`UnetError::Config`] naming the field.
    pub fn check(&self) -> Result<(), UnetError> {
        let fail = |field, found: String, expected| Err(UnetError::Config { field, found, expected });
        if self.in_channels == 0 {
            return fail("in_channels", "0".into(), "at least 1");
        }
        if !(2..=256).contains(&self.classes) {
            return fail("classes", self.classes.to_string(), "2 to 256, background included");
        }
        if self.channels.is_empty() || self.channels.len() > 8 || self.channels.contains(&0) {
            return fail("channels", format!("{:?}", self.channels), "1 to 8 levels of at least 1 channel");
        }
        if self.convolutions_per_level == 0 {
            return fail("convolutions_per_level", "0".into(), "at least 1");
        }
        if !self.negative_slope.is_finite() {
            return fail("negative_slope", self.negative_slope.to_string(), "a finite number");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_without_levels_is_refused_by_name() {
        let error = UnetConfig::default().with_channels(vec![]).check().unwrap_err();
        assert_eq!(
            error.to_string(),
            "network configuration: channels is [], expected 1 to 8 levels of at least 1 channel"
        );
    }
}
