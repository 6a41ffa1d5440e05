//! The unit of the blocked layout: sixteen channels of one voxel, one cache line.

/// Sixteen channels of one voxel.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Line(pub [f32; 16]);

/// Channels in a line.
pub const LANES: usize = 16;

impl Line {
    /// All zero.
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// The lines as the numbers they are made of.
pub fn numbers(lines: &[Line]) -> &[f32] {
    // SAFETY: a line is sixteen f32 one after the other (repr(C), 64 bytes), so the slice covers the same
    // bytes, aligned for f32, for the same lifetime.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// As [`numbers`], to write.
pub fn numbers_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as for `numbers`; every bit pattern of f32 is a valid line.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LANES) }
}
