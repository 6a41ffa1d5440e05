//! NRRD and MetaImage files: what is read from them, what other programs read from ours, what is refused;
//! and round trips among all formats.

mod data_files;
mod files;
mod golden;
mod metaimage;
mod nrrd;
mod round_trip;
#[cfg(feature = "dicom")]
#[path = "../dicom/writer.rs"]
#[expect(dead_code, reason = "another test needs more of it")]
mod writer;
