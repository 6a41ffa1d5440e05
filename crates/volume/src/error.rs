//! What can be wrong with an image or its file.

use std::path::PathBuf;

use thiserror::Error;

/// What can be wrong with an image, its geometry or its file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// A spacing component is zero, negative, infinite or NaN.
    #[error("spacing {spacing_mm:?} mm is not valid, expected three positive finite numbers")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidSpacing { spacing_mm: [f64; 3] },
    /// A voxel-to-world matrix that cannot be inverted or holds NaN.
    #[error("the voxel-to-world affine is not valid: {reason}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidAffine { reason: String },
    /// A size with a zero, or too large to count.
    #[error("size {size:?} is not valid, expected at least one voxel along each axis")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidSize { size: [usize; 3] },
    /// A decimation factor of zero.
    #[error("decimation factors {factors:?} are not valid, expected at least 1 along each axis")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidFactors { factors: [usize; 3] },
    /// Not as many voxels as the grid has places.
    #[error("a grid of size {size:?} was given {found} voxels")]
    #[expect(missing_docs, reason = "the message names the fields")]
    VoxelCount { size: [usize; 3], found: usize },
    /// Two images that should be on one grid have different sizes.
    #[error("sizes differ: expected {expected:?}, found {found:?}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    SizeMismatch { expected: [usize; 3], found: [usize; 3] },
    /// Two images of one size that should be on one grid lie in different places.
    #[error(
        "geometries differ: the same voxel is up to {distance_voxels:.4} voxels ({distance_mm:.4} mm) \
         apart, tolerance {tolerance_voxels} voxels"
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    GeometryMismatch { distance_voxels: f64, distance_mm: f64, tolerance_voxels: f64 },
    /// The operating system refused to read or write.
    #[error("{path}: {source}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    Io { path: PathBuf, source: std::io::Error },
}
