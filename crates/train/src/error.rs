//! What can go wrong before and while a network is trained.

use std::path::PathBuf;

use organseg_roi::RoiError;
use organseg_volume::{Label, VolumeError};
use thiserror::Error;

/// What can be wrong with a dataset, a configuration or a training run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The operating system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    Io { path: PathBuf, source: std::io::Error },
    /// A file or folder that the dataset's layout asks for is not there.
    #[error("{path}: not found, expected {expected}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    NotFound { path: PathBuf, expected: String },
    /// A dataset without a single case.
    #[error("{path}: the dataset is empty, expected {expected}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    EmptyDataset { path: PathBuf, expected: String },
    /// A JSON file that cannot be parsed.
    #[error("{path}: not readable as {expected}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    Json { path: PathBuf, expected: &'static str, source: serde_json::Error },
    /// A `dataset.json` or CSV file that can be parsed and makes no sense.
    #[error("{path}: {found}, expected {expected}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    DatasetFile { path: PathBuf, found: String, expected: String },
    /// A case that the dataset does not have.
    #[error("{dataset}: has no case called `{name}`", dataset = dataset.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    UnknownCase { name: String, dataset: PathBuf },
    /// An image without a label file.
    #[error("{image}: has no label, expected it at {expected}", image = image.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    MissingLabel { image: PathBuf, expected: String },
    /// A label file without an image.
    #[error("{label}: has no image, expected it at {expected}", label = label.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    MissingImage { label: PathBuf, expected: String },
    /// More than one channel a case.
    #[error("{path}: {found}, but multi-channel images are not supported yet", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    MultiChannel { path: PathBuf, found: String },
    /// A label file holds a value that the dataset does not name.
    #[error("{path}: holds label {found} in {voxels} voxels, but the dataset declares {declared:?}",
        path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    UnknownLabel { path: PathBuf, found: Label, voxels: u64, declared: Vec<Label> },
    /// Labels that leave numbers out, where a network is to be planned or trained.
    #[error(
        "{dataset}: its labels are {labels}, expected 1 to {number} without a gap: a network has a class for each number \
         from 0 to the highest, here {}; correct what is stray in the masks, or let `organseg check DATASET --fix-to DIR` \
         write a copy that is numbered so",
        u16::from(*highest) + 1,
        dataset = dataset.display()
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    LabelGaps { dataset: PathBuf, labels: Box<str>, highest: Label, number: usize },
    /// An image and its label are not on one grid; the cause says how they differ.
    #[error("{image} and its label {label} do not lie on one grid",
        image = image.display(), label = label.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    ImageLabelMismatch { image: PathBuf, label: PathBuf, source: Box<VolumeError> },
    /// An image with NaN or infinite voxels, on which a network would learn nothing but NaN.
    #[error("{path}: {voxels} voxels are NaN or infinite, expected finite numbers", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    NonFiniteVoxels { path: PathBuf, voxels: usize },
    /// A label without a voxel of an organ, where one is needed.
    #[error("no voxel is labelled as an organ, expected some foreground")]
    NoForeground,
    /// An image smaller than the patches, where filling them up is not allowed.
    #[error("the patch of {patch:?} voxels is larger than the image of {image:?}, and `padding` is `refuse`")]
    #[expect(missing_docs, reason = "the message names the fields")]
    PatchTooLarge { patch: [usize; 3], image: [usize; 3] },
    /// A scan that would be larger at the spacing it is resampled to than memory is.
    #[error(
        "{from:?} voxels of {from_mm:?} mm, along RAS axes, would be {to:?} at the spacing that they are resampled to, and both \
         together take {bytes} bytes of memory, the limit is {limit}"
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    ResampledTooLarge { from: [usize; 3], from_mm: [f64; 3], to: [usize; 3], bytes: u64, limit: u64 },
    /// What went wrong, with the case it went wrong in.
    #[error("case {case}: {source}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Case { case: String, source: Box<TrainError> },
    /// A setting that cannot be run.
    #[error("`{field}` is {found}, expected {expected}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Config { field: &'static str, found: String, expected: &'static str },
    /// A folder that is to be written holds something already.
    #[error("{path}: exists and is not empty, expected a new or empty folder", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    OutputNotEmpty { path: PathBuf },
    /// A loader thread panicked while it drew an item.
    #[error("drawing sample {index} panicked: {message}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    WorkerPanicked { index: usize, message: String },
    /// A source without a single sample.
    #[error("stage {stage}: there are no training samples, expected at least one")]
    #[expect(missing_docs, reason = "the message names the fields")]
    NoSamples { stage: String },
    /// A loss, gradient or weight that is NaN or infinite; the last checkpoint stays as it is. Epoch and step
    /// count from 0.
    #[error(
        "stage {stage}: the {what} is not finite in epoch {epoch}, step {step} (cases {cases}), with \
         learning rate {learning_rate:e}; a lower one, from the start, may help; {kept}"
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    NotFinite {
        stage: String,
        what: &'static str,
        epoch: usize,
        step: usize,
        cases: Box<str>,
        learning_rate: f64,
        /// Which weights there are from before.
        kept: Box<str>,
    },
    /// What went wrong while a training was running, with where it was; the last checkpoint stays as it is. Epoch and step
    /// count from 0.
    #[error("stage {stage}: {doing} failed in epoch {epoch}, step {step}: {source}; {kept}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Running {
        stage: String,
        /// What was being done, with the cases and sizes.
        doing: Box<str>,
        epoch: usize,
        step: usize,
        /// Which weights there are from before.
        kept: Box<str>,
        source: Box<TrainError>,
    },
    /// Somebody asked the training to stop, and it did after a step. Epoch and step count from 0.
    #[error("stage {stage}: stopped before step {step} of epoch {epoch}{saved}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Stopped { stage: String, epoch: usize, step: usize, saved: String },
    /// A training that was started on other samples.
    #[error(
        "stage {stage}: the training was started with {there} samples an epoch, this data has {here}; \
         go on with the same dataset and split"
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    OtherSamples { stage: String, there: usize, here: usize },
    /// A checkpoint that this run cannot go on from.
    #[error("{path}: not a checkpoint of this run: {reason}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    Checkpoint { path: PathBuf, reason: String },
    /// State of an optimizer that is not of its variables.
    #[error("the optimizer's state `{name}` does not fit: {reason}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Optimizer { name: String, reason: String },
    /// What the caller's validation met.
    #[error("validation failed")]
    #[expect(missing_docs, reason = "the message names the fields")]
    Validation { source: Box<dyn std::error::Error + Send + Sync> },
    /// A network or its weights.
    #[error(transparent)]
    Unet(#[from] organseg_unet::UnetError),
    /// A tensor operation.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// Reading, writing or resampling an image failed.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A box or crop that cannot be made.
    #[error(transparent)]
    Roi(#[from] RoiError),
}

impl TrainError {
    /// The same error with the case it arose in.
    #[must_use]
    pub fn in_case(self, case: &str) -> Self {
        Self::Case { case: case.to_string(), source: Box::new(self) }
    }
}
