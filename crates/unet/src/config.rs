//! The shape of a U-Net: levels, channels, norm, activation, skips, classes.

use organseg_conv3d::Algorithm;
use serde::{Deserialize, Serialize};

use crate::UnetError;

/// Most channels of an image or a level. Networks in use have some 2000; of 8192 to 8192 one convolution has 7 GB of
/// weights.
const MOST_CHANNELS: usize = 8192;

/// Most convolutions of a level; networks in use have 2 to 6.
const MOST_CONVOLUTIONS: usize = 64;

/// Normalisation after each convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Norm {
    /// Instance norm with learnt scale and shift (Ulyanov et al. 2016): each channel of each sample to
    /// mean 0 and variance 1. Right for the batches of one or two that volumes allow.
    #[default]
    Instance,
    /// Group norm with learnt scale and shift (Wu & He 2018): groups of channels of a sample together, see
    /// [`UnetConfig::groups`].
    Group,
    /// Batch norm with learnt scale and shift (Ioffe & Szegedy 2015): each channel over all samples of a batch;
    /// at prediction running means and variances, which are stored with the weights. Wants large batches.
    Batch,
    /// None; the convolutions have a bias instead.
    None,
}

/// What the convolutions of a level are joined to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Blocks {
    /// One after the other.
    #[default]
    Plain,
    /// The level's input is added to what the last one's norm gives, before its activation (He et al. 2016);
    /// through a 1×1×1 convolution with norm if channels or resolution differ. A quarter more time.
    Residual,
}

/// How what comes across meets what comes from below.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Skips {
    /// Side by side, the skip's channels first, as in MONAI's `BasicUNet`.
    #[default]
    Concatenated,
    /// Side by side, the raised channels first, as in MONAI's `DynUNet`.
    RaisedFirst,
    /// Their sum, as in ResDSN (Zhu et al. 2018): half the channels for the convolution that follows. Wants
    /// transposed up-sampling, which gives as many channels as the skip has.
    Summed,
}

/// How the encoder lowers the resolution, by [`UnetConfig::strides`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Downsampling {
    /// Maximum of 2×2×2 voxels, before the convolutions of a level.
    #[default]
    Pooled,
    /// A stride in the first convolution of a level, as in nnU-Net and MONAI's `DynUNet`.
    Strided,
}

/// How the decoder raises the resolution again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Upsampling {
    /// Learnt transposed convolution of 2×2×2, or the level's stride, with that stride.
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
/// assert_eq!(config.size_multiple(), [8, 8, 8]); // three halvings
/// // Slices five times as far apart as their pixels: they are halved when the pixels have caught up.
/// let config = config.with_strides(vec![[2, 2, 1], [2, 2, 1], [2, 2, 2]]);
/// assert_eq!(config.size_multiple(), [8, 8, 2]);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UnetConfig {
    /// Channels of the image: 1 for CT.
    pub in_channels: usize,
    /// Classes, background included.
    pub classes: usize,
    /// Channels of each level, full resolution first. Each level halves the one before, or as `strides` say.
    pub channels: Vec<usize>,
    /// By how much each level but the first lowers the resolution along (x, y, z): 1 or 2, as nnU-Net's strides; empty
    /// for 2 along all axes in all levels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub strides: Vec<[usize; 3]>,
    /// Convolutions of 3×3×3 in each level, on the way down and again on the way up.
    pub convolutions_per_level: usize,
    /// Normalisation after each convolution.
    pub norm: Norm,
    /// Groups of channels of [`Norm::Group`]; each level's channels are a multiple.
    pub groups: usize,
    /// Whether convolutions have a bias before a norm too, as in MONAI's `BasicUNet`. It changes nothing but
    /// with group norm and the running statistics of a batch norm.
    pub bias: bool,
    /// Slope of the leaky ReLU below zero, from 0, which gives ReLU, to 1, no activation. 0.01 as in nnU-Net.
    pub negative_slope: f64,
    /// Whether the level's input is added to what its convolutions give.
    pub blocks: Blocks,
    /// How the encoder lowers the resolution.
    pub downsampling: Downsampling,
    /// How the decoder raises it again.
    pub upsampling: Upsampling,
    /// How what comes across meets what comes from below.
    pub skips: Skips,
    /// Attention gates (Oktay et al. 2018): each skip is multiplied by a number from 0 to 1 for each voxel,
    /// which skip and what comes from below give together. A tenth more time.
    pub attention: bool,
    /// Deep supervision: so many levels of the decoder below the full resolution have a head of their own, which
    /// only training uses; their losses count half as much from level to level. nnU-Net has the number of levels
    /// less three. At most the number of levels less two. A twentieth more time in training, none at prediction.
    pub deep_supervision: usize,
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
            strides: Vec::new(),
            convolutions_per_level: 2,
            norm: Norm::Instance,
            groups: 8,
            bias: false,
            negative_slope: 0.01,
            blocks: Blocks::Plain,
            downsampling: Downsampling::Pooled,
            upsampling: Upsampling::Transposed,
            skips: Skips::Concatenated,
            attention: false,
            deep_supervision: 0,
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

    /// With levels that lower the resolution by this much along (x, y, z).
    #[must_use]
    pub fn with_strides(mut self, strides: Vec<[usize; 3]>) -> Self {
        self.strides = strides;
        self
    }

    /// With this normalisation.
    #[must_use]
    pub fn with_norm(mut self, norm: Norm) -> Self {
        self.norm = norm;
        self
    }

    /// With this way of lowering the resolution.
    #[must_use]
    pub fn with_downsampling(mut self, downsampling: Downsampling) -> Self {
        self.downsampling = downsampling;
        self
    }

    /// With this way of raising the resolution.
    #[must_use]
    pub fn with_upsampling(mut self, upsampling: Upsampling) -> Self {
        self.upsampling = upsampling;
        self
    }

    /// With levels of this kind.
    #[must_use]
    pub fn with_blocks(mut self, blocks: Blocks) -> Self {
        self.blocks = blocks;
        self
    }

    /// With skips that are joined this way.
    #[must_use]
    pub fn with_skips(mut self, skips: Skips) -> Self {
        self.skips = skips;
        self
    }

    /// With attention gates on the skips.
    #[must_use]
    pub fn with_attention(mut self) -> Self {
        self.attention = true;
        self
    }

    /// With heads on so many levels of the decoder below the full resolution, for training.
    #[must_use]
    pub fn with_deep_supervision(mut self, levels: usize) -> Self {
        self.deep_supervision = levels;
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

    /// By how much level `level`, from 1, lowers the resolution along (x, y, z).
    #[must_use]
    pub fn stride(&self, level: usize) -> [usize; 3] {
        self.strides.get(level.wrapping_sub(1)).copied().unwrap_or([2; 3])
    }

    /// Whether some level halves some axes and others not.
    #[must_use]
    pub fn has_uneven_strides(&self) -> bool {
        self.strides.iter().any(|stride| *stride != [2; 3])
    }

    /// Sizes that are a multiple of this along (x, y, z) need no padding: 2 to the number of halvings of each axis.
    #[must_use]
    pub fn size_multiple(&self) -> [usize; 3] {
        let levels = 1..self.levels();
        [0, 1, 2].map(|axis| levels.clone().map(|level| self.stride(level)[axis]).product())
    }

    /// Checks the strides alone, however many levels there are going to be.
    ///
    /// # Errors
    /// [`UnetError::Config`] for a stride of other numbers than 1 and 2, or without a 2, and for more than 7 of them.
    pub fn check_strides(&self) -> Result<(), UnetError> {
        let sound = |stride: &[usize; 3]| stride.iter().all(|s| (1..=2).contains(s)) && stride.contains(&2);
        if self.strides.len() > 7 || !self.strides.iter().all(sound) {
            let found = format!("{:?}", self.strides);
            let expected = "at most 7 of 1 or 2 along (x, y, z), one 2 at least in each";
            return Err(UnetError::Config { field: "strides", found, expected });
        }
        Ok(())
    }

    /// Checks that this describes a network, and one whose sizes some machine could hold.
    ///
    /// # Errors
    /// [`UnetError::Config`] naming the field.
    pub fn check(&self) -> Result<(), UnetError> {
        let fail = |field, found: String, expected| Err(UnetError::Config { field, found, expected });
        if !(1..=MOST_CHANNELS).contains(&self.in_channels) {
            return fail("in_channels", self.in_channels.to_string(), "1 to 8192");
        }
        if !(2..=256).contains(&self.classes) {
            return fail("classes", self.classes.to_string(), "2 to 256, background included");
        }
        let sound = |channels: &usize| (1..=MOST_CHANNELS).contains(channels);
        if !(1..=8).contains(&self.channels.len()) || !self.channels.iter().all(sound) {
            return fail("channels", format!("{:?}", self.channels), "1 to 8 levels of 1 to 8192 channels");
        }
        self.check_strides()?;
        if !self.strides.is_empty() && self.strides.len() + 1 != self.levels() {
            let found = format!("{:?} for {} levels", self.strides, self.levels());
            return fail("strides", found, "nothing, or a stride for each level but the first");
        }
        if !(1..=MOST_CONVOLUTIONS).contains(&self.convolutions_per_level) {
            return fail("convolutions_per_level", self.convolutions_per_level.to_string(), "1 to 64");
        }
        if !(0.0..=1.0).contains(&self.negative_slope) {
            return fail("negative_slope", self.negative_slope.to_string(), "0 to 1");
        }
        let uneven = |groups: usize| groups == 0 || self.channels.iter().any(|c| !c.is_multiple_of(groups));
        if self.norm == Norm::Group && uneven(self.groups) {
            let found = format!("{} for {:?} channels", self.groups, self.channels);
            return fail("groups", found, "a divisor of each level's channels");
        }
        if self.skips == Skips::Summed && self.upsampling != Upsampling::Transposed {
            return fail("skips", "summed".into(), "transposed up-sampling with summed skips");
        }
        if self.deep_supervision > self.levels().saturating_sub(2) {
            let found = format!("{} of {} levels", self.deep_supervision, self.levels());
            return fail("deep_supervision", found, "at most the number of levels less two");
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
            "network configuration: channels is [], expected 1 to 8 levels of 1 to 8192 channels"
        );
    }

    #[test]
    fn settings_that_cannot_be_are_refused_by_name() {
        let base = || UnetConfig::new(1, 2).with_channels(vec![4, 6, 8]);
        for (config, message) in [
            (
                UnetConfig { groups: 4, ..base().with_norm(Norm::Group) },
                "groups is 4 for [4, 6, 8] channels, expected a divisor of each level's channels",
            ),
            (
                base().with_strides(vec![[2, 2, 1]]),
                "strides is [[2, 2, 1]] for 3 levels, expected nothing, or a stride for each level but the first",
            ),
            (
                base().with_strides(vec![[2, 2, 1], [1, 1, 1]]),
                "strides is [[2, 2, 1], [1, 1, 1]], expected at most 7 of 1 or 2 along (x, y, z), one 2 at least in each",
            ),
            (
                UnetConfig { in_channels: 1 << 40, ..base() },
                "in_channels is 1099511627776, expected 1 to 8192",
            ),
            (
                base().with_channels(vec![4, 100_000_000]),
                "channels is [4, 100000000], expected 1 to 8 levels of 1 to 8192 channels",
            ),
            (
                UnetConfig { convolutions_per_level: 10_000_000_000, ..base() },
                "convolutions_per_level is 10000000000, expected 1 to 64",
            ),
            (UnetConfig { negative_slope: 1.5, ..base() }, "negative_slope is 1.5, expected 0 to 1"),
            (UnetConfig { negative_slope: f64::NAN, ..base() }, "negative_slope is NaN, expected 0 to 1"),
            (
                base().with_skips(Skips::Summed).with_upsampling(Upsampling::Trilinear),
                "skips is summed, expected transposed up-sampling with summed skips",
            ),
            (
                base().with_deep_supervision(2),
                "deep_supervision is 2 of 3 levels, expected at most the number of levels less two",
            ),
        ] {
            let error = config.check().unwrap_err().to_string();
            assert_eq!(error, format!("network configuration: {message}"));
        }
    }
}
