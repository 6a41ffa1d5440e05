//! JPEG-LS by CharLS, through the `charls` crate.

use charls::CharLS;

use super::bytes::Plane;
use super::codestream::{check_ratio, check_size};

/// Runs of equal pixels grow to 32768 in a few bits; an empty slice becomes some ten thousand times smaller.
pub(super) const MAX_RATIO: u64 = 1 << 16;

/// The pixels that `compressed` holds, least significant byte first.
pub(super) fn decode(compressed: &[u8], plane: Plane) -> Result<Vec<u8>, String> {
    check_ratio(compressed.len() as u64, plane.bytes() as u64, MAX_RATIO)?;
    // A decoder reads one header and no second: another decodes.
    let info = CharLS::default().get_frame_info(compressed).map_err(|error| error.to_string())?;
    check_size([info.width as usize, info.height as usize], plane)?;
    let width = if info.bits_per_sample > 8 { 2 } else { 1 };
    if info.component_count != 1 || width > plane.width || plane.width > 2 {
        return Err(format!(
            "its JPEG-LS image has {} values of {} bits a pixel, its header says one of {} bytes",
            info.component_count, info.bits_per_sample, plane.width
        ));
    }
    let pixels = CharLS::default().decode(compressed).map_err(|error| error.to_string())?;
    if pixels.len() != plane.pixels() * width {
        return Err(format!(
            "its JPEG-LS image has {} bytes, expected {}",
            pixels.len(),
            plane.pixels() * width
        ));
    }
    Ok(match (width, plane.width) {
        (1, 2) => pixels.iter().flat_map(|&byte| [byte, 0]).collect(),
        (2, _) if cfg!(target_endian = "big") => {
            pixels.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect()
        }
        _ => pixels,
    })
}
