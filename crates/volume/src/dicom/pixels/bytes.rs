//! The stored bytes of one slice, decompressed.

use std::io::Read;

use super::codestream::check_ratio;
#[cfg(feature = "jpeg")]
use super::jpeg;
#[cfg(feature = "jpeg-ls")]
use super::jpeg_ls;
#[cfg(feature = "jpeg2000")]
use super::jpeg2000;
use super::rle;
use crate::VolumeError;
use crate::dicom::frame::{Frame, PixelSource};
use crate::dicom::stream::Stream;
use crate::dicom::syntax::{Coding, Syntax};
use crate::file::MAX_EXPANSION;

/// What a decompressed slice should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plane {
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Bytes of a pixel: 1, 2 or 4.
    pub(super) width: usize,
}

impl Plane {
    pub(super) fn of(frame: &Frame) -> Self {
        let width = usize::from(frame.source.format.bits_allocated / 8);
        Self { columns: frame.size[0], rows: frame.size[1], width }
    }

    pub(super) fn pixels(self) -> usize {
        self.columns * self.rows
    }

    pub(super) fn bytes(self) -> usize {
        self.pixels() * self.width
    }
}

/// Checks, without reading them, that the pixels are of a kind that is read, and that the file has the
/// bytes that its header promises.
pub(super) fn check_length(frame: &Frame) -> Result<(), VolumeError> {
    let (source, plane) = (&frame.source, Plane::of(frame));
    let coding = Syntax::of(&source.syntax, &source.path)?.coding;
    let expected = plane.bytes() as u64 * source.frames as u64;
    let length = match (source.place.length, source.place.available) {
        (Some(length), Some(available)) => length.min(available),
        (Some(length), None) => {
            let compressed = source.place.deflated.unwrap_or(u64::MAX);
            check_ratio(compressed, expected, MAX_EXPANSION).map_err(|reason| broken(source, &reason))?;
            length
        }
        // Fragments: what comes out of them is seen when they are decoded, what cannot before.
        (None, available) => {
            let compressed = available.unwrap_or(u64::MAX);
            return check_ratio(compressed, expected, max_ratio(coding))
                .map_err(|reason| broken(source, &reason));
        }
    };
    if length < expected {
        return Err(VolumeError::Truncated { path: source.path.to_path_buf(), expected, found: length });
    }
    Ok(())
}

/// How many times larger pixels become at most.
fn max_ratio(coding: Coding) -> u64 {
    match coding {
        Coding::Native | Coding::Encapsulated => 1,
        Coding::Rle => rle::MAX_RATIO,
        #[cfg(feature = "jpeg")]
        Coding::Jpeg => jpeg::MAX_RATIO,
        #[cfg(feature = "jpeg2000")]
        Coding::Jpeg2000 => jpeg2000::MAX_RATIO,
        #[cfg(feature = "jpeg-ls")]
        Coding::JpegLs => jpeg_ls::MAX_RATIO,
    }
}

/// Reads the pixels of `frame` into `bytes`: as many as [`Plane::bytes`], the least significant of each
/// pixel first unless the file is big-endian.
pub(super) fn read_bytes(frame: &Frame, bytes: &mut Vec<u8>) -> Result<(), VolumeError> {
    let source = &frame.source;
    let syntax = Syntax::of(&source.syntax, &source.path)?;
    let mut stream = Stream::open(&source.path)?;
    if syntax.deflated {
        stream.go_to(source.place.data_set)?;
        stream = stream.inflated();
    }
    let plane = Plane::of(frame);
    match (syntax.coding, source.place.length) {
        (Coding::Native, Some(_)) => {
            stream.go_to(source.place.offset + (frame.index * plane.bytes()) as u64)?;
            take(&mut stream, plane.bytes(), bytes)
        }
        (Coding::Native, None) => Err(broken(source, "its pixels are in fragments, and its syntax has none")),
        (_, Some(_)) => Err(broken(source, "its pixels are not in fragments, as its syntax would have them")),
        (coding, None) => {
            source.fragments(&mut stream)?.read(frame, &mut stream, bytes)?;
            decode(coding, bytes, plane).map_err(|reason| broken(source, &reason))
        }
    }
}

/// The pixels that `compressed` holds, in its place.
fn decode(coding: Coding, compressed: &mut Vec<u8>, plane: Plane) -> Result<(), String> {
    match coding {
        Coding::Native | Coding::Encapsulated => {
            if compressed.len() < plane.bytes() {
                let (found, expected) = (compressed.len(), plane.bytes());
                return Err(format!("its fragments hold {found} bytes of pixels, expected {expected}"));
            }
            compressed.truncate(plane.bytes());
        }
        Coding::Rle => *compressed = rle::decode(compressed, plane)?,
        #[cfg(feature = "jpeg")]
        Coding::Jpeg => *compressed = jpeg::decode(compressed, plane)?,
        #[cfg(feature = "jpeg2000")]
        Coding::Jpeg2000 => *compressed = jpeg2000::decode(compressed, plane)?,
        #[cfg(feature = "jpeg-ls")]
        Coding::JpegLs => *compressed = jpeg_ls::decode(compressed, plane)?,
    }
    Ok(())
}

/// The next `length` bytes of `stream` as all that `bytes` holds. Memory is taken as bytes arrive.
fn take(stream: &mut Stream, length: usize, bytes: &mut Vec<u8>) -> Result<(), VolumeError> {
    bytes.clear();
    if stream.remaining().is_some_and(|remaining| remaining >= length as u64) {
        bytes.resize(length, 0);
        return stream.fill(bytes);
    }
    let path = stream.path().to_path_buf();
    let read =
        (&mut *stream).take(length as u64).read_to_end(bytes).map_err(|source| stream.error(source))?;
    if read < length {
        return Err(VolumeError::Truncated { path, expected: length as u64, found: read as u64 });
    }
    Ok(())
}

pub(super) fn broken(source: &PixelSource, reason: &str) -> VolumeError {
    VolumeError::Format { path: source.path.to_path_buf(), reason: reason.to_string() }
}
