//! One file a command, and what several of them need.

pub(crate) mod check;
pub(crate) mod convert;
pub(crate) mod cross_validate;
pub(crate) mod device;
pub(crate) mod dicom;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod files;
mod geometry_notes;
pub(crate) mod import_nih;
pub(crate) mod import_weights;
pub(crate) mod info;
pub(crate) mod interrupt;
mod modality_note;
pub(crate) mod output;
pub(crate) mod phantom;
pub(crate) mod plan;
pub(crate) mod prediction;
pub(crate) mod resample;
pub(crate) mod segment;
pub(crate) mod splitting;
pub(crate) mod train;
pub(crate) mod training;
pub(crate) mod typed;
