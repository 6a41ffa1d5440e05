//! Where weights come from: a card that they carry along.
//!
//! It is in the header of the weights' safetensors file, key `card`, as JSON, so that it cannot be lost; and in
//! `card-STAGE.toml` beside them, for people. The one in the header leaves out the minutes: equal trainings give
//! equal files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use organseg_train::{Split, Trainer};
use organseg_unet::weights;
use organseg_volume::Label;
use serde::{Deserialize, Serialize};

use crate::model::{SOFTWARE, StageConfig};
use crate::{PipelineError, TrainRequest};

/// The key of the card in the header of a safetensors file.
const KEY: &str = "card";

/// Where the weights of one network come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightsCard {
    /// `coarse`, `fine` or `single`.
    pub stage: String,
    /// Program and version that trained them.
    pub software: String,
    /// Name of the dataset: the one it gives itself, else that of its folder or file.
    pub dataset: String,
    /// Decided everything random.
    pub seed: u64,
    /// Which weights these are: those of the last step, a running average, or those that did best.
    pub weights: KindOfWeights,
    /// The epoch, from 1, at whose end they were like this.
    pub epoch: usize,
    /// Epochs of the training, the last one perhaps cut short.
    pub epochs: usize,
    /// Steps of the training.
    pub steps: usize,
    /// Minutes that the training took; only in the file beside the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes: Option<f64>,
    /// File with the weights that it started from, if they were not random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_from: Option<PathBuf>,
    /// Names of the cases that it was trained on: those of the split that the stage could use.
    pub trained_on: Vec<String>,
    /// Names of the cases that it was validated with; [`KindOfWeights::Best`] were chosen by them. None if it was trained
    /// on every case.
    pub validated_on: Vec<String>,
    /// Mean DSC of each label over those, at the resolution and in the region that the stage sees.
    pub validation_dice: BTreeMap<String, f64>,
}

/// Which weights of a training were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KindOfWeights {
    /// Those of the last step.
    Last,
    /// Their running average.
    Average,
    /// Those that did best on the validation cases.
    Best,
}

impl WeightsCard {
    /// Of the weights that `trainer` has for `stage` from the cases that it could use: those of `split`.
    pub(crate) fn of(
        request: &TrainRequest<'_>,
        (name, stage): (&str, &StageConfig),
        split: Split,
        trainer: &Trainer,
    ) -> Self {
        let kind = match &stage.train {
            train if train.patience > 0 => KindOfWeights::Best,
            train if train.average_decay > 0.0 => KindOfWeights::Average,
            _ => KindOfWeights::Last,
        };
        // Without validation cases these are the weights of the last epoch.
        let last = trainer.epochs().saturating_sub(1);
        let (epoch, dice) =
            trainer.validated().map_or((last, BTreeMap::new()), |(epoch, dice)| (epoch, dice.clone()));
        let label_name = |label| request.config.labels.get(label).cloned().unwrap_or_default();
        Self {
            stage: name.to_string(),
            software: SOFTWARE.to_string(),
            dataset: request.dataset.name.clone(),
            seed: stage.train.seed,
            weights: kind,
            epoch: epoch + 1,
            epochs: trainer.epochs(),
            steps: trainer.steps(),
            minutes: None,
            started_from: stage.start.clone(),
            trained_on: split.train,
            validated_on: split.val,
            validation_dice: dice.iter().map(|(label, &dice)| (label_name(label), dice)).collect(),
        }
    }

    /// The DSC of each of `labels` that the card has.
    pub(crate) fn dice_of(&self, labels: &BTreeMap<Label, String>) -> BTreeMap<Label, f64> {
        let known =
            labels.iter().filter_map(|(&label, name)| Some((label, *self.validation_dice.get(name)?)));
        known.collect()
    }

    /// As the metadata of a safetensors file: one entry, for several would come in any order.
    pub(crate) fn to_metadata(&self) -> HashMap<String, String> {
        let json = serde_json::to_string(self).expect("a card is valid JSON");
        HashMap::from([(KEY.to_string(), json)])
    }

    /// Writes `card-STAGE.toml` into `folder`, with the `minutes` that the training took.
    pub(crate) fn save(&self, folder: &Path, minutes: f64) -> Result<(), PipelineError> {
        let card = Self { minutes: Some((100.0 * minutes).round() / 100.0), ..self.clone() };
        let text = toml::to_string_pretty(&card).expect("a card is valid TOML");
        let path = card_path(folder, &self.stage);
        organseg_volume::write_atomically(&path, |file| std::io::Write::write_all(file, text.as_bytes()))
            .map_err(|source| PipelineError::Io { path, source })
    }

    /// The card in the weights file at `path`; none if it carries none.
    ///
    /// # Errors
    /// [`PipelineError::Unet`] for a file that is no safetensors file, [`PipelineError::Card`] for a card that
    /// cannot be read; both name it.
    pub fn of_weights(path: &Path) -> Result<Option<Self>, PipelineError> {
        let metadata = weights::metadata(path)?;
        metadata
            .get(KEY)
            .map(|json| serde_json::from_str(json))
            .transpose()
            .map_err(|source| PipelineError::Card { path: path.to_path_buf(), source })
    }
}

/// Where the card of stage `name` of the model in `folder` lies.
fn card_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("card-{name}.toml"))
}
