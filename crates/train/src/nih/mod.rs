//! NIH Pancreas-CT as The Cancer Imaging Archive delivers it, into a dataset that can be trained on.
//!
//! The archive delivers the scans as DICOM slices, a folder a patient, and the masks as NIfTI files whose
//! arrays do not run as the slices do and whose headers do not say so: users have found rows, and in other
//! conversions slices, in reverse order. [`prove_orientation`] finds out from the voxels how a mask belongs to
//! its scan; [`import_nih`] does it for the whole set and writes what is proved.

mod axis_map;
mod consensus;
mod import;
mod orientation;
mod output;
mod pairing;
mod reasons;
mod report;
mod score;
mod source;

pub use import::{WITHDRAWN, import_nih};
pub use orientation::{
    HeaderClaim, OrientationProof, OrientationRule, OrientationScore, Verdict, prove_orientation,
};
pub use report::{Evidence, NihCase, NihOutcome, NihReport};
