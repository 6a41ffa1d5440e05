//! The two versions of NIfTI.

/// Which version of NIfTI a file is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NiftiVersion {
    /// NIfTI-1, which every program reads, unless an axis is longer than the 32767 voxels that it can count:
    /// then NIfTI-2.
    #[default]
    Fitting,
    /// NIfTI-1. The affine is kept in single precision.
    One,
    /// NIfTI-2. The affine is kept to the bit, but older programs do not read it.
    Two,
}
