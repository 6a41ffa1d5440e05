//! `model.toml`: everything that running a model needs besides the weights.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use organseg_train::{MAX_SEED, Modality, Padding, Preprocessing, TrainConfig};
use organseg_unet::UnetConfig;
use organseg_volume::{Label, write_atomically};
use serde::{Deserialize, Serialize};

use crate::{BoxConfig, Margin, PipelineError, PredictionConfig};

/// Largest factor of the coarse stage: no scan has more voxels along an axis than a few of it.
const MOST_DECIMATION: usize = 1024;

/// Most voxels of a patch, those of 1024³: beyond any memory that a network would need for it.
const MOST_PATCH_VOXELS: usize = 1 << 30;

/// The program that runs, with its version.
pub(crate) const SOFTWARE: &str = concat!("organseg ", env!("CARGO_PKG_VERSION"));

/// Which networks a model has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A coarse and a fine one.
    #[default]
    Two,
    /// One, over the whole scan at full resolution.
    Single,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Two => "two stages",
            Self::Single => "a single stage",
        })
    }
}

/// What a plan was made from; a plan for another dataset is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDataset {
    /// Name of the dataset.
    pub name: String,
    /// What kind of images it has.
    pub modality: Modality,
    /// How many of its cases were measured.
    pub cases: usize,
}

/// One of the networks: its shape, what it is shown and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StageConfig {
    /// Size (x, y, z) of the patches it is trained on and sees at prediction; without it, what the stage
    /// looks at goes through whole.
    pub patch_size: Option<[usize; 3]>,
    /// Share of the patches that are drawn around an organ, each label as often; the rest lie anywhere.
    pub foreground_share: f64,
    /// What happens where an image is smaller than a patch: `fill` or `refuse`.
    pub padding: Padding,
    /// Samples drawn from each case in an epoch.
    pub samples_per_case: usize,
    /// File with weights of the same network to start from, a stage's of another model or a checkpoint; random ones
    /// without. Not for a cross-validation: the weights may know the cases that a fold holds back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// Shape of the network; classes and channels of the image follow from the data.
    pub network: UnetConfig,
    /// How it is trained.
    pub train: TrainConfig,
}

impl Default for StageConfig {
    fn default() -> Self {
        Self {
            patch_size: None,
            // A third, as in nnU-Net.
            foreground_share: 0.33,
            padding: Padding::default(),
            samples_per_case: 1,
            start: None,
            network: UnetConfig::default(),
            train: TrainConfig::default(),
        }
    }
}

/// Everything that decides a model: the content of `model.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelConfig {
    /// Program and version that made the model.
    pub software: String,
    /// One network or two.
    pub method: Method,
    /// Decimation factor R along (x, y, z) of the coarse stage.
    pub decimation: [usize; 3],
    /// Margin around the true mask of the fine stage's training crops, in voxels.
    pub crop_margin_voxels: Margin,
    /// Each side of a training crop moves by up to this many voxels, so that the fine network has seen
    /// boxes that are not quite right.
    pub crop_jitter_voxels: Margin,
    /// Names of the labels, background left out. Keys are strings, as TOML wants them.
    #[serde(with = "label_names")]
    pub labels: BTreeMap<Label, String>,
    /// The dataset that this was planned for; none for a configuration by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset: Option<PlannedDataset>,
    /// What happens to a scan before any network sees it.
    pub preprocessing: Preprocessing,
    /// How the candidate boxes are made.
    pub boxes: BoxConfig,
    /// How a scan is segmented with the trained networks.
    pub prediction: PredictionConfig,
    /// The coarse network.
    pub coarse: StageConfig,
    /// The fine network.
    pub fine: StageConfig,
    /// The network of a model of one stage.
    pub single: StageConfig,
}

impl Default for ModelConfig {
    /// The paper's method for one organ.
    fn default() -> Self {
        Self {
            software: SOFTWARE.to_string(),
            method: Method::Two,
            decimation: [4; 3],
            crop_margin_voxels: 10.into(),
            crop_jitter_voxels: 4.into(),
            labels: BTreeMap::from([(1, "organ".to_string())]),
            dataset: None,
            preprocessing: Preprocessing::default(),
            boxes: BoxConfig::default(),
            prediction: PredictionConfig::default(),
            coarse: StageConfig::default(),
            fine: StageConfig::default(),
            single: StageConfig::default(),
        }
    }
}

impl ModelConfig {
    /// Reads `model.toml` from the model folder `folder`.
    ///
    /// # Errors
    /// [`PipelineError::Io`] or [`PipelineError::Toml`], naming the file.
    pub fn load(folder: &Path) -> Result<Self, PipelineError> {
        Self::read(&folder.join("model.toml"))
    }

    /// Reads a file of the form of `model.toml`; what it leaves out is as in [`ModelConfig::default`].
    ///
    /// # Errors
    /// As [`ModelConfig::load`].
    pub fn read(path: &Path) -> Result<Self, PipelineError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| PipelineError::Io { path: path.to_path_buf(), source })?;
        let config: Self = toml::from_str(&text)
            .map_err(|source| PipelineError::Toml { path: path.to_path_buf(), source: Box::new(source) })?;
        config.check().map_err(|error| error.in_model(path))?;
        Ok(config)
    }

    /// Writes `model.toml` into `folder`.
    ///
    /// # Errors
    /// [`PipelineError::Io`] naming the file; [`PipelineError::Config`] for a number that TOML cannot hold.
    pub fn save(&self, folder: &Path) -> Result<(), PipelineError> {
        let path = folder.join("model.toml");
        // A table refuses what text would take and no reader would.
        toml::Table::try_from(self).map_err(|error| not_toml(&error))?;
        let text = toml::to_string_pretty(self).map_err(|error| not_toml(&error))?;
        write_atomically(&path, |file| file.write_all(text.as_bytes()))
            .map_err(|source| PipelineError::Io { path, source })
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`PipelineError::Config`], or [`PipelineError::Train`] for the preprocessing, naming the field.
    pub fn check(&self) -> Result<(), PipelineError> {
        let fail = |field: &str, found: String, expected: &'static str| {
            Err(PipelineError::Config { field: field.to_string(), found, expected })
        };
        self.preprocessing.check()?;
        if !self.decimation.iter().all(|factor| (1..=MOST_DECIMATION).contains(factor)) {
            return fail("decimation", format!("{:?}", self.decimation), "1 to 1024 along each axis");
        }
        if self.labels.is_empty() || self.labels.contains_key(&0) {
            let found = format!("{:?}", self.labels);
            return fail("labels", found, "at least one label, none of them 0 (background)");
        }
        let least_ml = self.prediction.least_volume_ml;
        if !(least_ml.is_finite() && least_ml >= 0.0) {
            return fail("prediction.least_volume_ml", least_ml.to_string(), "0 or a number of millilitres");
        }
        for (name, stage) in [("coarse", &self.coarse), ("fine", &self.fine), ("single", &self.single)] {
            if let Some(size) = stage.patch_size {
                let voxels = size.iter().try_fold(1, |voxels: usize, &n| voxels.checked_mul(n));
                if !voxels.is_some_and(|voxels| (1..=MOST_PATCH_VOXELS).contains(&voxels)) {
                    let expected = "at least 1 along each axis and at most 2^30 voxels";
                    return fail(&format!("{name}.patch_size"), format!("{size:?}"), expected);
                }
            }
            if stage.train.seed > MAX_SEED {
                let found = stage.train.seed.to_string();
                return fail(
                    &format!("{name}.train.seed"),
                    found,
                    "at most 2^63 − 1, the largest number in TOML",
                );
            }
            if !(0.0..=1.0).contains(&stage.foreground_share) {
                let found = stage.foreground_share.to_string();
                return fail(&format!("{name}.foreground_share"), found, "0 to 1");
            }
            if stage.samples_per_case == 0 {
                return fail(&format!("{name}.samples_per_case"), "0".into(), "at least 1");
            }
        }
        Ok(())
    }

    /// The fields in which this model and the one asked for `here` lead to different weights or masks, with both
    /// values; empty if a training of the one may go on as the other. Versions of the software may differ, so
    /// may how the model is asked, what a stage starts from (which matters before its first checkpoint alone), and what
    /// [`TrainConfig::what_decides`] leaves out. A model of before plans knows
    /// nothing of its dataset, which is no difference then.
    #[must_use]
    pub fn differences(&self, here: &Self) -> String {
        let what_decides = |model: &Self| {
            let stage = |stage: &StageConfig| StageConfig {
                train: stage.train.what_decides(),
                start: None,
                ..stage.clone()
            };
            Self {
                software: String::new(),
                dataset: model.dataset.clone().filter(|_| self.dataset.is_some()),
                prediction: PredictionConfig::default(),
                coarse: stage(&model.coarse),
                fine: stage(&model.fine),
                single: stage(&model.single),
                ..model.clone()
            }
        };
        organseg_train::differences(&what_decides(self), &what_decides(here))
    }

    /// The part of the stage called `name`: `coarse`, `fine`, and `single` for any other.
    pub fn stage_mut(&mut self, name: &str) -> &mut StageConfig {
        match name {
            "coarse" => &mut self.coarse,
            "fine" => &mut self.fine,
            _ => &mut self.single,
        }
    }

    /// Classes of the networks: the largest label and all below it, background included.
    #[must_use]
    pub fn classes(&self) -> usize {
        usize::from(self.labels.keys().copied().max().unwrap_or(0)) + 1
    }

    /// The shape of `stage`'s network with the classes and channels that the data ask for.
    #[must_use]
    pub fn network_of(&self, stage: &StageConfig) -> UnetConfig {
        UnetConfig { in_channels: 1, classes: self.classes(), ..stage.network.clone() }
    }
}

/// That a configuration has a number that TOML cannot hold: its integers end at 2^63 − 1.
pub(crate) fn not_toml(error: &toml::ser::Error) -> PipelineError {
    let (field, expected) = ("a number".to_string(), "at most 2^63 − 1, the largest in TOML");
    PipelineError::Config { field, found: error.to_string(), expected }
}

/// Where the weights of stage `name` (`coarse`, `fine`, `single`) of the model in `folder` lie.
#[must_use]
pub fn weights_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

/// Labels as TOML keys: `1 = "pancreas"`.
mod label_names {
    use super::{BTreeMap, Label};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        labels: &BTreeMap<Label, String>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        labels.iter().map(|(label, name)| (label.to_string(), name)).collect::<BTreeMap<_, _>>().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<Label, String>, D::Error> {
        BTreeMap::<String, String>::deserialize(d)?
            .into_iter()
            .map(|(label, name)| match label.parse() {
                Ok(label) => Ok((label, name)),
                Err(_) => Err(D::Error::custom(format!("label `{label}` is not a number from 1 to 255"))),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let config =
            ModelConfig { labels: BTreeMap::from([(1, "a".into()), (2, "b".into())]), ..Default::default() };
        config.save(folder.path()).unwrap();
        assert_eq!(ModelConfig::load(folder.path()).unwrap(), config);
        assert_eq!(config.classes(), 3);
    }

    #[test]
    fn a_folder_that_knows_no_dataset_goes_on_with_any() {
        let of = |name: &str| {
            let (name, modality) = (name.to_string(), Modality::Ct);
            let dataset = Some(PlannedDataset { name, modality, cases: 3 });
            ModelConfig { dataset, ..ModelConfig::default() }
        };
        assert_eq!(ModelConfig::default().differences(&of("a")), "");
        let message = of("b").differences(&of("a"));
        assert_eq!(message, "dataset.name is \"b\" there and \"a\" here");
    }

    #[test]
    fn sizes_beyond_any_machine_and_seeds_beyond_toml_are_refused_by_name() {
        type Change = fn(&mut ModelConfig);
        let of = |change: Change| {
            let mut config = ModelConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        let cases: [(Change, &str); 4] = [
            (
                |config| config.decimation = [2, 2, 2_097_152],
                "decimation is [2, 2, 2097152], expected 1 to 1024 along each axis",
            ),
            (
                |config| config.fine.patch_size = Some([4_194_304; 3]),
                "fine.patch_size is [4194304, 4194304, 4194304], expected at least 1 along each axis and at most 2^30 voxels",
            ),
            (
                |config| config.single.patch_size = Some([0, 1, 1]),
                "single.patch_size is [0, 1, 1], expected at least 1 along each axis and at most 2^30 voxels",
            ),
            (
                |config| config.coarse.train.seed = 1 << 63,
                "coarse.train.seed is 9223372036854775808, expected at most 2^63 − 1, the largest number in TOML",
            ),
        ];
        for (change, message) in cases {
            assert_eq!(of(change), format!("model configuration: {message}"));
        }
    }

    #[test]
    fn a_seed_that_toml_cannot_hold_is_an_error_and_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = ModelConfig::default();
        config.fine.train.seed = u64::MAX;
        let message = config.save(folder.path()).unwrap_err().to_string();
        assert!(message.contains("at most 2^63 − 1"), "{message}");
        assert!(!folder.path().join("model.toml").exists());
    }

    #[test]
    fn a_misspelt_field_is_named_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.toml");
        std::fs::write(&path, "decimatoin = [2, 2, 2]\n").unwrap();
        let message = ModelConfig::read(&path).unwrap_err().to_string();
        assert!(message.contains("model.toml") && message.contains("decimatoin"), "{message}");
    }
}
