//! What may be believed of a compressed image before it is decoded.

#[cfg(any(feature = "jpeg", feature = "jpeg2000", feature = "jpeg-ls"))]
use super::bytes::Plane;

/// Images up to this many bytes are decoded whatever is claimed.
const HARMLESS: u64 = 1 << 20;

/// Refuses images that claim to have become more than `ratio` times smaller: memory and time would be
/// taken for pixels that cannot be there.
pub(super) fn check_ratio(compressed: u64, expected: u64, ratio: u64) -> Result<(), String> {
    if expected > HARMLESS && expected > compressed.saturating_mul(ratio) {
        return Err(format!("{compressed} bytes cannot hold {expected} bytes of pixels"));
    }
    Ok(())
}

/// Refuses an image of another size than the header says.
#[cfg(any(feature = "jpeg", feature = "jpeg2000", feature = "jpeg-ls"))]
pub(super) fn check_size(found: [usize; 2], plane: Plane) -> Result<(), String> {
    let expected = [plane.columns, plane.rows];
    if found == expected {
        return Ok(());
    }
    Err(format!("its compressed image has {found:?} columns and rows, its header says {expected:?}"))
}
