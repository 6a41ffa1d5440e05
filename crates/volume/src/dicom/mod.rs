//! DICOM series.

mod finding;
mod options;
mod series;

pub use finding::DicomFinding;
pub use options::DicomOptions;
pub use series::{DicomSeries, find_dicom_series};
