//! JPEG, baseline and lossless, by the `jpeg-decoder` crate.

use jpeg_decoder::{Decoder, PixelFormat};

use super::bytes::Plane;
use super::codestream::{check_ratio, check_size};

/// A block of 64 pixels of 2 bytes takes 2 bits at least.
pub(super) const MAX_RATIO: u64 = 512;

/// The pixels that `compressed` holds, least significant byte first.
pub(super) fn decode(compressed: &[u8], plane: Plane) -> Result<Vec<u8>, String> {
    check_ratio(compressed.len() as u64, plane.bytes() as u64, MAX_RATIO)?;
    let mut decoder = Decoder::new(compressed);
    decoder.read_info().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("its JPEG image has no header")?;
    check_size([info.width.into(), info.height.into()], plane)?;
    let width = match info.pixel_format {
        PixelFormat::L8 => 1,
        PixelFormat::L16 => 2,
        other => return Err(format!("its JPEG image has pixels of {other:?}, expected one grey value")),
    };
    if width > plane.width || plane.width > 2 {
        return Err(format!("its JPEG pixels have {width} bytes, its header says {}", plane.width));
    }
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    if pixels.len() != plane.pixels() * width {
        return Err(format!(
            "its JPEG image has {} bytes, expected {}",
            pixels.len(),
            plane.pixels() * width
        ));
    }
    // Pixels of two bytes come in the machine's order.
    Ok(match (width, plane.width) {
        (1, 2) => pixels.iter().flat_map(|&byte| [byte, 0]).collect(),
        (2, _) if cfg!(target_endian = "big") => {
            pixels.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect()
        }
        _ => pixels,
    })
}
