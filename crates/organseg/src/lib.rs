//! Coarse-to-fine 3D organ segmentation: every crate of the organseg workspace under one name.
//!
//! A first network looks at the whole scan at a quarter of its resolution and finds the organ; a second
//! looks again at full resolution inside that region; their masks vote. After Zhao, Tong, Ruan and
//! Sheng, "Fully Automated Pancreas Segmentation with Two-stage 3D Convolutional Neural Networks",
//! MICCAI 2019.
//!
//! # Where to start
//! - Images: [`volume`] reads and writes NIfTI, NRRD and MetaImage, reads DICOM, turns, resamples and windows.
//! - Regions: [`roi`] has boxes, crops, connected components and voting.
//! - Scores: [`metrics`] has DSC, surface distances and tables.
//! - Networks: [`unet`] on the operations of [`conv3d`].
//! - Training: [`train`] from a dataset folder, [`pipeline`] for both stages and their use.
//! - Data to play with: [`phantom`].
//!
//! Each is a crate of its own, `organseg-volume` and so on, to be taken alone.
//!
//! # A scan to a mask
//! ```no_run
//! use organseg::pipeline::{Device, Segmenter};
//! use organseg::volume::{read_image, write};
//!
//! let model = Segmenter::load("model".as_ref(), &Device::Cpu)?;
//! let scan = read_image("scan.nii.gz")?;
//! let found = model.segment(&scan)?;
//! for warning in found.report.warnings() {
//!     eprintln!("{warning}");
//! }
//! write("mask.nii.gz", &found.mask)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How good is a mask?
//! ```
//! use organseg::metrics::dice;
//! use organseg::volume::{Grid, LabelVolume, Spacing};
//!
//! let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
//! let truth = LabelVolume::from_vec(grid, vec![0, 1, 1, 0])?;
//! let found = LabelVolume::from_vec(grid, vec![0, 1, 0, 0])?;
//! assert_eq!(dice(&found, &truth, 1)?, 2.0 / 3.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use organseg_conv3d as conv3d;
pub use organseg_metrics as metrics;
pub use organseg_phantom as phantom;
pub use organseg_pipeline as pipeline;
pub use organseg_roi as roi;
pub use organseg_train as train;
pub use organseg_unet as unet;
pub use organseg_volume as volume;
