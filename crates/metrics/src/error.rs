//! What can be wrong with a comparison of two masks.

use organseg_volume::VolumeError;
use thiserror::Error;

/// What can be wrong with a comparison of two masks.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MetricError {
    /// The two masks differ in size or lie in different places: comparing them voxel by voxel would
    /// give a number that means nothing.
    #[error("prediction and reference are not on the same grid")]
    GridMismatch {
        /// How they differ; the reference is what was expected.
        #[from]
        source: VolumeError,
    },
    /// A surface tolerance that is negative, infinite or NaN.
    #[error("surface tolerance {tolerance_mm} mm is not valid, expected a finite number of at least 0")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidTolerance { tolerance_mm: f64 },
    /// A report that could not be read or written as JSON.
    #[error("the report is not valid JSON of the expected shape")]
    Json {
        /// What the JSON parser says, with line and column.
        #[from]
        source: serde_json::Error,
    },
}
