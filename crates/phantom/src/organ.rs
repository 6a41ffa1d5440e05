//! What a voxel of a phantom belongs to.

/// Tissue of a voxel; the numbers are the labels of [`Phantom::organs`](crate::Phantom::organs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the variants name themselves")]
pub enum Organ {
    Air = 0,
    Fat = 1,
    Muscle = 2,
    Bone = 3,
    Liver = 4,
    Spleen = 5,
    Kidney = 6,
    Stomach = 7,
    Bowel = 8,
    Vessel = 9,
    Pancreas = 10,
}
