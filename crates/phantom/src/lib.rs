//! Synthetic abdominal CT with a tortuous pancreas and its neighbours, decided by a seed.
//!
//! For tests, examples and demonstrations that need scans and masks without a download. A phantom is an
//! abdomen in Hounsfield units: skin, fat, muscle, bone, the large organs, stomach and bowel with gas and
//! mixed contents, vessels, noise as CT has it; and a thin bent pancreas among loops and veins as bright
//! as itself. After decimation by 4 it is one or two voxels thick, so that a look at the whole scan finds
//! roughly where it is and a second look at full resolution is needed for its outline.
//!
//! ```
//! use organseg_phantom::{PhantomConfig, generate};
//! let phantom = generate(&PhantomConfig::default().with_size([56, 48, 36]), 7)?;
//! assert_eq!(phantom.image.size(), [56, 48, 36]);
//! assert!(phantom.labels.voxels().contains(&1));
//! # Ok::<(), organseg_phantom::PhantomError>(())
//! ```
//!
//! With the feature `dicom`, `write_dicom_series` writes scans as a scanner would.
//!
//! It looks like an abdomen but is none: nothing learned here says anything about patients.

mod anatomy;
mod config;
mod curve;
mod dataset;
#[cfg(feature = "dicom")]
mod dicom;
mod error;
mod generate;
mod layer;
mod organ;
mod random;
mod render;
mod shape;
mod vector;

pub use config::PhantomConfig;
pub use dataset::write_dataset;
#[cfg(feature = "dicom")]
pub use dicom::{DicomSeriesConfig, write_dicom_series};
pub use error::PhantomError;
pub use generate::{PANCREAS_LABEL, Phantom, generate};
pub use organ::Organ;
pub use random::case_seed;
