//! What may be believed of a compressed image before it is decoded.

use super::bytes::Plane;

/// A slice up to this size is decoded whatever is claimed.
const HARMLESS: usize = 1 << 20;

/// Refuses an image that claims to have become more than `ratio` times smaller: the decoder would take
/// memory and time for an image that cannot be there.
pub(super) fn check_ratio(compressed: usize, plane: Plane, ratio: usize) -> Result<(), String> {
    let expected = plane.bytes();
    if expected > HARMLESS && expected > compressed.saturating_mul(ratio) {
        return Err(format!("{compressed} bytes cannot be an image of {expected} bytes"));
    }
    Ok(())
}

/// Refuses an image of another size than the header says.
pub(super) fn check_size(found: [usize; 2], plane: Plane) -> Result<(), String> {
    let expected = [plane.columns, plane.rows];
    if found == expected {
        return Ok(());
    }
    Err(format!("its compressed image has {found:?} columns and rows, its header says {expected:?}"))
}
