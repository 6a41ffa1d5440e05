//! DICOM: the slices in a folder, put together to volumes.
//!
//! A folder, however its files are called and ordered, is [`DicomFolder::open`]ed, or its series listed by
//! [`find_dicom_series`]; each [`DicomSeries`] is read like any other image. What is out of the ordinary is
//! a [`DicomFinding`] and never mended; what makes the grid doubtful is an error unless [`DicomOptions`]
//! accept it.

mod attributes;
mod elements;
mod file;
mod finding;
mod folder;
mod frame;
mod geometry;
mod image;
mod options;
mod pixels;
mod series;
mod stack;
mod stream;
mod syntax;
mod turns;

pub use file::is_dicom;
pub use finding::DicomFinding;
pub use folder::{DicomFolder, find_dicom_series};
pub(crate) use image::{probe, read_as};
pub use options::DicomOptions;
pub use series::DicomSeries;
