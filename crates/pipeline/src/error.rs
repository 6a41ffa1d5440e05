//! What can go wrong between a scan and its mask.

use std::path::{Path, PathBuf};

use organseg_volume::Label;
use thiserror::Error;

use crate::Method;

/// What can go wrong between a scan and its mask.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum PipelineError {
    /// A field of a configuration that cannot be.
    #[error("model configuration: {field} is {found}, expected {expected}")]
    Config { field: String, found: String, expected: &'static str },
    /// A `model.toml` or configuration file that does not parse.
    #[error("{path}: {source}", path = path.display())]
    Toml { path: PathBuf, source: Box<toml::de::Error> },
    /// A plan or configuration for another dataset.
    #[error("{path}: is for another dataset: its {what}: {found}, but in {dataset}: {expected}",
        path = path.display(), dataset = dataset.display())]
    OtherDataset { path: PathBuf, dataset: PathBuf, what: &'static str, found: String, expected: String },
    /// A plan for a model of other stages.
    #[error("{path}: is a plan for {found}, expected one for {asked}", path = path.display())]
    OtherMethod { path: PathBuf, found: Method, asked: Method },
    /// A loss that ignores another label than the dataset does, or one where that ignores none.
    #[error("{stage}.train.loss.ignore_label is {found}, but {dataset} {}",
        expected.map_or("has no label `ignore`".to_string(), |label| format!("calls {label} `ignore`")),
        dataset = dataset.display())]
    IgnoreLabel { stage: &'static str, found: Label, dataset: PathBuf, expected: Option<Label> },
    /// Stages that a model of this method does not have.
    #[error(
        "{folder}: stage {stages} belongs to a model of {asked}, expected stages of one of {found}, which the \
         configuration describes",
        folder = folder.display()
    )]
    OtherStages { folder: PathBuf, stages: String, asked: Method, found: Method },
    /// The card in a weights file does not parse.
    #[error("{path}: the card in its header cannot be read: {source}", path = path.display())]
    Card { path: PathBuf, source: serde_json::Error },
    /// What is wrong in a model's files, with the file or folder.
    #[error("{path}: {source}", path = path.display())]
    Model { path: PathBuf, source: Box<PipelineError> },
    /// A GPU that is not there, or cannot be used.
    #[error(
        "looked for NVIDIA's driver and GPU number {number} of this machine (`organseg doctor` says what there is): {source}"
    )]
    Gpu { number: usize, source: candle_core::Error },
    /// A GPU for a program that knows none.
    #[error("this organseg was built without its `cuda` feature")]
    NoCuda,
    /// No model to segment with.
    #[error("no model is named, expected at least one")]
    NoModels,
    /// A folder that holds no model.
    #[error("{path}: {found} there, expected a model or all of a cross-validation's folds", path = path.display())]
    NoModel { path: PathBuf, found: String },
    /// Models that prepare, see or name things differently.
    #[error("{path} (there) cannot be averaged with {first} (here): {reason}", path = path.display(), first = first.display())]
    Ensemble { path: PathBuf, first: PathBuf, reason: String },
    /// A model folder that is not empty and should be.
    #[error("{path}: there is a model already; choose another folder or resume it", path = path.display())]
    ModelExists { path: PathBuf },
    /// A stage that another run is training.
    #[error("{folder}: stage {stage} is being trained there by another run; wait for its end, or choose another folder",
        folder = folder.display())]
    Busy { folder: PathBuf, stage: String },
    /// A run that was to be resumed and is another one.
    #[error("{path}: cannot resume: {reason}", path = path.display())]
    Resume { path: PathBuf, reason: String },
    /// A split without cases to train on.
    #[error(
        "the split has {train} training and {validation} validation cases, expected at least one to train on"
    )]
    Split { train: usize, validation: usize },
    /// Cases in none of which an organ is labelled, where there must be one to train on or to be measured by.
    #[error(
        "stage {stage}: no voxel is labelled in any of {cases} cases, expected the organ in one at least"
    )]
    NoForeground { stage: String, cases: usize },
    /// A scan on which every network would answer NaN.
    #[error("{voxels} voxels of the scan are NaN or infinite, expected finite numbers")]
    NotFinite { voxels: usize },
    /// A network whose answer is no answer: half precision that overflowed, or a fault of the device.
    #[error(
        "{values} of the network's {of} scores are NaN or infinite, expected finite numbers; where its numbers are f16 or \
         bf16, the same model answers with f32 (`precision` in model.toml)"
    )]
    ScoresNotFinite { values: usize, of: usize },
    /// Class probabilities that would need more memory than the machine has for them.
    #[error(
        "the probabilities of {classes} classes in {voxels} voxels would take {bytes} bytes of memory, the limit is {limit}; \
         where the mean of two boxes is asked for, their vote (`combine`) takes less, else fewer slices at a time do"
    )]
    SumsTooLarge { classes: usize, voxels: usize, bytes: u64, limit: u64 },
    /// What went wrong, with the case it went wrong in.
    #[error("case {case}: {source}")]
    Case { case: String, source: Box<PipelineError> },
    /// A setting of a stage that cannot be run.
    #[error("stage {stage}: {source}")]
    Stage { stage: &'static str, source: Box<PipelineError> },
    /// Somebody asked a cross-validation to stop while it tested a fold.
    #[error("fold {fold}: stopped before case {case} was tested")]
    Stopped { fold: usize, case: String },
    /// The operating system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// A picture that cannot be drawn or written.
    #[error("{path}: cannot write the picture", path = path.display())]
    Picture { path: PathBuf, source: Box<image::ImageError> },
    /// An image or its geometry.
    #[error(transparent)]
    Volume(#[from] organseg_volume::VolumeError),
    /// A box or a mask.
    #[error(transparent)]
    Roi(#[from] organseg_roi::RoiError),
    /// A metric.
    #[error(transparent)]
    Metric(#[from] organseg_metrics::MetricError),
    /// A network or its weights.
    #[error(transparent)]
    Unet(#[from] organseg_unet::UnetError),
    /// A dataset or a training.
    #[error(transparent)]
    Train(#[from] organseg_train::TrainError),
    /// A tensor operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl PipelineError {
    /// The same error with the file or folder of the model it is about.
    pub(crate) fn in_model(self, path: &Path) -> Self {
        Self::Model { path: path.to_path_buf(), source: Box::new(self) }
    }

    /// The same error with the case it arose in.
    pub(crate) fn in_case(self, case: &str) -> Self {
        Self::Case { case: case.to_string(), source: Box::new(self) }
    }
}
