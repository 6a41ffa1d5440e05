//! Training 3D segmentation networks: datasets, patches, augmentation, optimizers, schedules, checkpoints
//!
//! From files to samples: a [`Dataset`] is opened, perhaps looked over ([`check_dataset`]) and divided
//! ([`Splits`]); each [`Case`] is loaded and prepared ([`Preprocessing`]); [`PatchSampler`] or
//! [`CropSampler`] cut samples, [`AugmentConfig`] varies them, and a [`PrefetchLoader`] does all that in
//! threads. Everything random comes from [`sample_rng`], so that a seed decides it.

mod augment;
mod augment_spatial;
mod check;
mod dataset;
mod error;
mod loader;
mod mersenne_twister;
mod preprocess;
mod sample;
mod sample_rng;
mod splits;

pub use augment::AugmentConfig;
pub use check::{CaseCheck, CheckReport, FixReport, Problem, Unfixable, check_dataset, fix_to};
pub use dataset::{Case, Dataset, LoadedCase, Modality};
pub use error::TrainError;
pub use loader::PrefetchLoader;
pub use preprocess::{Intensity, Preprocessing};
pub use sample::{CropSampler, PatchSampler, Sample};
pub use sample_rng::sample_rng;
pub use splits::{Split, Splits};
