//! What can be wrong with a region.

use thiserror::Error;

/// What can be wrong with a region.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the messages name the fields")]
pub enum RoiError {
    /// A box without volume.
    #[error("a box from {min:?} to {max:?} is empty, expected min < max along each axis")]
    EmptyBox { min: [i64; 3], max: [i64; 3] },
    /// A box that no scan can reach.
    #[error("a box from {min:?} to {max:?} is out of reach, expected corners within ±{reach} voxels")]
    BoxOutOfReach { min: [i64; 3], max: [i64; 3], reach: i64 },
    /// Normalised coordinates that are not finite or reach no voxel.
    #[error("normalised corners {corners:?} are not a box, expected finite numbers, the lower corner first")]
    InvalidNormalized { corners: [[f64; 3]; 2] },
    /// A patch that does not fill its box.
    #[error("a patch of size {found:?} does not fill a box of size {expected:?}")]
    PatchSize { expected: [usize; 3], found: [usize; 3] },
    /// A vote without voters.
    #[error("there are no masks to vote")]
    NoMasks,
    /// Masks on different grids.
    #[error(transparent)]
    Volume(#[from] organseg_volume::VolumeError),
}
