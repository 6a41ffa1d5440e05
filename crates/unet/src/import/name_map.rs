//! What the tensors of another program's network are called here.

use serde::{Deserialize, Serialize};

use super::pattern::{Numbers, read, write};
use crate::{UnetConfig, UnetError};

/// What the tensors of a network are called in somebody else's file.
///
/// Of the network's tensors each takes the first rule that fits its name; one that none fits keeps its name. In
/// a rule `{l}` is a number that is read from the network's name and written into theirs, also as a sum, such
/// as `{l-1}` or `{last-l}` with `last` the number of the deepest level. As a TOML file:
///
/// ```
/// use organseg_unet::import::NameMap;
/// let map = NameMap::from_toml(r#"
///     key = "state_dict"               # where in the file the tensors are; without it at its top
///     prefix = "model."                # what all their names begin with
///     ignore = ["auxiliary.*"]         # theirs that the network has no use for
///     zero = ["up{l}.transposed.bias"] # the network's that are zero if the file has none
///     [[rename]]
///     ours = "down{l}.conv{i}.weight"
///     theirs = "encoder.{l}.{i+1}.weight"
/// "#)?;
/// assert_eq!(map.key.as_deref(), Some("state_dict"));
/// # Ok::<(), organseg_unet::UnetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NameMap {
    /// The key under which a `.pt` file holds the state dict, if not at its top.
    pub key: Option<String>,
    /// What all names in the file begin with; rules are written without it.
    pub prefix: String,
    /// Tensors of the file that the network has no use for. A `*` is any text.
    pub ignore: Vec<String>,
    /// Tensors of the network that are zero if the file has none.
    pub zero: Vec<String>,
    /// The rules.
    pub rename: Vec<Rename>,
}

/// A rule: what is called so here is called so there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// Form of the network's names.
    pub ours: String,
    /// Form of theirs.
    pub theirs: String,
}

impl NameMap {
    /// A map from the text of a TOML file.
    ///
    /// # Errors
    /// [`UnetError::NameMapFormat`] if it is none.
    pub fn from_toml(text: &str) -> Result<Self, UnetError> {
        toml::from_str(text).map_err(|error| UnetError::NameMapFormat(Box::new(error)))
    }

    /// MONAI's `BasicUNet` with transposed up-sampling and five levels, its features f, f, 2f, 4f, 8f, f.
    ///
    /// ```
    /// use organseg_unet::UnetConfig;
    /// // BasicUNet(spatial_dims=3, in_channels=1, out_channels=2, features=(32, 32, 64, 128, 256, 32)),
    /// // for images whose sides are multiples of 16:
    /// let config = UnetConfig {
    ///     bias: true,
    ///     negative_slope: 0.1,
    ///     ..UnetConfig::new(1, 2).with_channels(vec![32, 32, 64, 128, 256])
    /// };
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn monai_basic_unet() -> Self {
        Self::from_toml(include_str!("monai_basic_unet.toml")).expect("the map is part of the crate")
    }

    /// MONAI's `DynUNet` with kernels of 3 throughout and strides of 1 or 2, up-sampling kernels as the strides, without
    /// residual blocks, the number of heads as here. Its strides and kernels are along the axes of its tensors, (D, H, W);
    /// [`UnetConfig::strides`] along (x, y, z) are theirs in reverse.
    ///
    /// ```
    /// use organseg_unet::{Downsampling, Skips, UnetConfig};
    /// // DynUNet(spatial_dims=3, in_channels=1, out_channels=2, kernel_size=[3] * 4, strides=[1, 2, 2, 2],
    /// //         upsample_kernel_size=[2, 2, 2], filters=[16, 32, 64, 128]):
    /// let config = UnetConfig::new(1, 2)
    ///     .with_channels(vec![16, 32, 64, 128])
    ///     .with_downsampling(Downsampling::Strided)
    ///     .with_skips(Skips::RaisedFirst);
    /// # config.check().unwrap();
    /// ```
    #[must_use]
    pub fn monai_dynunet() -> Self {
        Self::from_toml(include_str!("monai_dynunet.toml")).expect("the map is part of the crate")
    }

    /// What tensor `name` of a network of `config` is called in the file.
    pub(super) fn theirs(&self, config: &UnetConfig, name: &str) -> Result<String, UnetError> {
        let known = known(config);
        for rule in &self.rename {
            if let Some(numbers) = read(&rule.ours, name, &known).map_err(wrong(&rule.ours))? {
                let theirs = write(&rule.theirs, &numbers).map_err(wrong(&rule.theirs))?;
                return Ok(format!("{}{theirs}", self.prefix));
            }
        }
        Ok(format!("{}{name}", self.prefix))
    }

    /// Whether tensor `name` of the network is zero if the file has none.
    pub(super) fn is_zero(&self, config: &UnetConfig, name: &str) -> Result<bool, UnetError> {
        for pattern in &self.zero {
            if read(pattern, name, &known(config)).map_err(wrong(pattern))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether tensor `name` of the file is not missed.
    pub(super) fn is_ignored(&self, name: &str) -> bool {
        let name = name.strip_prefix(&self.prefix).unwrap_or(name);
        self.ignore.iter().any(|pattern| is_like(name, pattern))
    }
}

fn known(config: &UnetConfig) -> Numbers {
    Numbers::from([("last".to_string(), config.levels() as i64 - 1)])
}

/// Whether `name` is `pattern` with any text in the place of each `*`.
fn is_like(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|after| {
            (0..=after.len()).filter(|&at| after.is_char_boundary(at)).any(|at| is_like(&after[at..], rest))
        }),
    }
}

fn wrong(pattern: &str) -> impl Fn(String) -> UnetError {
    move |reason| UnetError::NameMap { pattern: pattern.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_map_says_what_is_wrong() {
        let error = |text: &str| NameMap::from_toml(text).unwrap_err().to_string();
        assert!(error("renmae = []").contains("renmae"));
        assert!(error("rename = [{ ours = 'head.bias' }]").contains("theirs"));
    }

    #[test]
    fn a_star_is_any_text() {
        for (name, pattern, like) in [
            ("a.b.count", "*.count", true),
            ("a.b.counts", "*.count", false),
            ("skip.a", "skip.*", true),
            ("skip", "skip.*", false),
            ("a.norm.count", "a*norm*", true),
            ("a.norm", "a.norm", true),
        ] {
            assert_eq!(is_like(name, pattern), like, "{name}, {pattern}");
        }
    }

    /// Names of every kind, from both ends of the network.
    #[test]
    fn levels_are_counted_as_dynunet_counts_them() {
        let (map, config) = (NameMap::monai_dynunet(), UnetConfig::new(1, 2));
        for (ours, theirs) in [
            ("down0.conv1.norm.shift", "input_block.norm2.bias"),
            ("down1.conv0.weight", "downsamples.0.conv1.conv.weight"),
            ("down3.conv0.norm.scale", "bottleneck.norm1.weight"),
            ("up2.transposed.weight", "upsamples.0.transp_conv.conv.weight"),
            ("up0.conv0.weight", "upsamples.2.conv_block.conv1.conv.weight"),
            ("up1.head.bias", "deep_supervision_heads.0.conv.conv.bias"),
            ("head.weight", "output_block.conv.conv.weight"),
        ] {
            assert_eq!(map.theirs(&config, ours).unwrap(), theirs);
        }
        assert!(map.is_ignored("skip_layers.upsample.conv_block.norm1.bias"));
        let prefixed = NameMap { prefix: "model.".into(), ..map };
        assert_eq!(prefixed.theirs(&config, "head.bias").unwrap(), "model.output_block.conv.conv.bias");
        assert!(prefixed.is_ignored("model.skip_layers.upsample.norm"));
    }
}
