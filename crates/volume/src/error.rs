//! What can be wrong with an image or its file.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What can be wrong with an image, its geometry or its file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// A spacing component is zero, negative, infinite, NaN or beyond 1e-60 to 1e60.
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
    /// Three letters that are no orientation.
    #[error("orientation `{found}` is not valid, expected one of R/L, A/P, S/I each, as in RAS")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidOrientation { found: String },
    /// A file that is not what its header or name says, or damaged.
    #[error("{path}: {reason}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    Format { path: PathBuf, reason: String },
    /// An image of four or more dimensions where three are meant.
    #[error("{path}: it is an image of size {size:?}, expected three dimensions", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    NotThreeDimensional { path: PathBuf, size: Vec<usize> },
    /// An image that needs more memory than may be taken.
    #[error("{path}: its header asks for {bytes} bytes of memory, the limit is {limit}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    TooLarge { path: PathBuf, bytes: u64, limit: u64 },
    /// A file that ends before its last voxel.
    #[error(
        "{path}: its header promises {expected} bytes of voxels, the file holds {found}",
        path = path.display()
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    Truncated { path: PathBuf, expected: u64, found: u64 },
    /// A gzip stream that breaks off or does not have the checksum it should.
    #[error(
        "{path}: its gzip stream is damaged or cut short, after {decoded} decompressed bytes: {source}",
        path = path.display()
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    DamagedGzip { path: PathBuf, decoded: u64, source: std::io::Error },
    /// A voxel whose value does not fit the type asked for.
    #[error("{path}: voxel {voxel:?} holds {found}, expected {expected}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    Value { path: PathBuf, voxel: [usize; 3], found: String, expected: String },
    /// A name that is no way to interpolate.
    #[error("interpolation `{found}` is not known, expected nearest, linear, cubic or area")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidInterpolation { found: String },
    /// An intensity window that is empty or not finite.
    #[error("the window {low} to {high} is not valid, expected two finite numbers, the lower first")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidWindow { low: f32, high: f32 },
    /// A number of classes that labels cannot tell apart, or none.
    #[error("{found} classes are not valid, expected 1 to 256")]
    #[expect(missing_docs, reason = "the message names the fields")]
    ClassCount { found: usize },
    /// Not a score for each class and voxel.
    #[error("{classes} classes on a grid of size {size:?} were given {found} scores, expected {expected}")]
    #[expect(missing_docs, reason = "the message names the fields")]
    ScoreCount { classes: usize, size: [usize; 3], found: usize, expected: usize },
    /// A score that compares with nothing.
    #[error("class {class} has the score {found} at voxel {voxel:?}, expected finite numbers")]
    #[expect(missing_docs, reason = "the message names the fields")]
    InvalidScore { class: usize, voxel: [usize; 3], found: f32 },
    /// A DICOM file whose pixels are compressed in a way that is not read.
    #[error(
        "{path}: its transfer syntax {uid} ({name}) is not read{}", 
        feature.map_or_else(String::new, |feature| format!(
            " by this build, the feature `{feature}` of organseg-volume would"
        )),
        path = path.display()
    )]
    #[expect(missing_docs, reason = "the message names the fields")]
    UnsupportedSyntax { path: PathBuf, uid: String, name: &'static str, feature: Option<&'static str> },
    /// A DICOM series that is no regular grid.
    #[error("{path}: {series} is irregular: {found}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    IrregularSeries { path: PathBuf, series: String, found: String },
    /// Several DICOM series where one is meant, or none that is called so.
    #[error("{path}: {found}; the series are {series}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    ChooseSeries { path: PathBuf, found: String, series: String },
    /// What is wrong with the content of a file.
    #[error("{path}: {source}", path = path.display())]
    #[expect(missing_docs, reason = "the message names the fields")]
    InFile { path: PathBuf, source: Box<VolumeError> },
}

impl VolumeError {
    /// The same error with the file it is about.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        Self::InFile { path: path.to_path_buf(), source: Box::new(self) }
    }
}
