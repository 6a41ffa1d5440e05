//! Training 3D segmentation networks: datasets, patches, augmentation, optimizers, schedules, checkpoints
//!
//! From files to samples: a [`Dataset`] is opened, perhaps looked over ([`check_dataset`]) and divided
//! ([`Splits`]); each [`Case`] is loaded and prepared ([`Preprocessing`]); [`PatchSampler`] or
//! [`CropSampler`] say where a sample lies, [`AugmentConfig`] cuts and varies it, and a [`PrefetchLoader`] does
//! all that in threads. Everything random comes from [`sample_rng`], so that a seed decides it.
//!
//! [`nih`] makes a dataset of one set as it is downloaded.
//!
//! From samples to a network: a [`Trainer`] runs the epochs that its [`TrainConfig`] describes, with an
//! [`Optimizer`] on a [`Schedule`], and leaves [`Checkpoint`]s, a history of [`EpochRecord`]s and event files
//! for TensorBoard. A [`StopSignal`] ends it after a step; a checkpoint goes on from there to the same bytes.

mod augment;
mod average;
mod budget;
mod check;
mod checkpoint;
mod config;
mod dataset;
mod difference;
mod error;
mod fingerprint;
mod groups;
mod history;
mod ignored;
mod intensity;
mod loader;
mod mersenne_twister;
pub mod nih;
mod optimizer;
mod precision;
mod preprocess;
mod run;
#[cfg(test)]
mod run_tests;
mod sample;
mod sample_rng;
mod schedule;
mod splits;
mod splits_file;
mod state;
mod stop;
mod tensorboard;
mod tensors;
mod trainer;
mod view;

pub use augment::{AugmentConfig, ThickSlices};
pub use check::{CaseCheck, CheckReport, FixReport, Problem, Unfixable, check_dataset, fix_to};
pub use checkpoint::Checkpoint;
pub use config::{MAX_SEED, TrainConfig};
pub use dataset::{Case, Dataset, LoadedCase, Modality, read_ignore_label};
pub use difference::differences;
pub use error::TrainError;
pub use fingerprint::{CaseFingerprint, Fingerprint, IntensityRange, LabelExtent};
pub use history::{EpochRecord, append_history, read_history, rewind_history};
pub use ignored::{organ_box, without_ignored};
pub use intensity::Intensity;
pub use loader::PrefetchLoader;
pub use optimizer::{Optimizer, OptimizerConfig};
pub use precision::Precision;
pub use preprocess::Preprocessing;
pub use run::RunOptions;
pub use sample::{CropSampler, Padding, PatchSampler, Sample};
pub use sample_rng::sample_rng;
pub use schedule::Schedule;
pub use splits::{Split, Splits};
pub use stop::StopSignal;
pub use tensors::{from_tensor, to_tensor};
pub use trainer::{SampleSource, Trainer, Validation};
