//! JPEG 2000 by OpenJPEG translated to Rust, through the `jpeg2k` crate.

use jpeg2k::Image;

use super::bytes::Plane;
use super::codestream::{check_ratio, check_size};

/// An empty slice becomes some ten thousand times smaller.
pub(super) const MAX_RATIO: u64 = 1 << 16;

/// Start of codestream, then the marker of the size segment.
const START: [u8; 4] = [0xFF, 0x4F, 0xFF, 0x51];

/// The pixels that `compressed` holds, least significant byte first.
pub(super) fn decode(compressed: &[u8], plane: Plane) -> Result<Vec<u8>, String> {
    check_ratio(compressed.len() as u64, plane.bytes() as u64, MAX_RATIO)?;
    check_size(size_of(compressed)?, plane)?;
    let image = Image::from_bytes(compressed).map_err(|error| error.to_string())?;
    let [component] = image.components() else {
        let n = image.components().len();
        return Err(format!("its JPEG 2000 image has {n} values a pixel, expected one"));
    };
    let samples = component.data();
    check_size([component.width() as usize, component.height() as usize], plane)?;
    if samples.len() != plane.pixels() {
        return Err(format!("its JPEG 2000 image has {} pixels, expected {}", samples.len(), plane.pixels()));
    }
    Ok(samples.iter().flat_map(|sample| sample.to_le_bytes().into_iter().take(plane.width)).collect())
}

/// Columns and rows from the size segment (ISO 15444-1, A.5.1), before anything is decoded.
fn size_of(compressed: &[u8]) -> Result<[usize; 2], String> {
    let number = |at: usize| {
        let bytes = compressed.get(at..at + 4)?;
        Some(u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    };
    let size = || {
        let far = [number(8)?, number(12)?];
        let near = [number(16)?, number(20)?];
        Some([far[0].checked_sub(near[0])? as usize, far[1].checked_sub(near[1])? as usize])
    };
    match size() {
        Some(size) if compressed.starts_with(&START) => Ok(size),
        _ => Err("its pixels are no JPEG 2000 codestream".to_string()),
    }
}
