//! Stored pixels into values: bits, sign, slope and intercept, and the type that was asked for.
//!
//! The value of a pixel is slope · p + intercept (PS3.3, C.11.1.1.2), p being the stored bits without the
//! ones above and below, sign-extended if pixels are signed. If slope and intercept are whole numbers, so
//! is the value, and it is computed as one.

use super::bytes::Plane;
use crate::dicom::frame::{Frame, PixelFormat};
use crate::file::Fit;
use crate::{DataType, Voxel};

/// Whole numbers up to here are exact in an `f32`.
const WHOLE_F32: i64 = 1 << 24;

/// A value that does not fit, and its place in the slice.
#[derive(Debug, PartialEq)]
pub(super) struct Misfit {
    pub(super) at: usize,
    pub(super) found: String,
}

/// The smallest type that holds every value that pixels of `frames` can have.
pub(in crate::dicom) fn smallest_type(frames: &[Frame]) -> DataType {
    let mut range = (0i64, 0i64);
    for frame in frames {
        let Some(scale) = Whole::of(frame) else { return DataType::F32 };
        let Some((low, high)) = scale.range(&frame.source.format) else { return DataType::F32 };
        range = (range.0.min(low), range.1.max(high));
    }
    let holds = |low: i64, high: i64| low <= range.0 && range.1 <= high;
    match () {
        () if holds(0, 0xff) => DataType::U8,
        () if holds(-0x80, 0x7f) => DataType::I8,
        () if holds(0, 0xffff) => DataType::U16,
        () if holds(-0x8000, 0x7fff) => DataType::I16,
        () if holds(0, u32::MAX.into()) => DataType::U32,
        () if holds(i32::MIN.into(), i32::MAX.into()) => DataType::I32,
        () => DataType::I64,
    }
}

/// Puts the values of the pixels in `bytes` into `voxels`; or the first that does not fit.
pub(super) fn convert<T: Voxel>(
    frame: &Frame,
    bytes: &[u8],
    fit: Fit,
    voxels: &mut [T],
) -> Result<(), Misfit> {
    let (format, big) = (frame.source.format, frame.source.big_endian);
    // Bits up to the top and down again: those above go, and the sign spreads.
    let up = 32 - u32::from(format.bits_stored) - u32::from(format.shift);
    let down = 32 - u32::from(format.bits_stored);
    let unsigned = move |raw: u32| i64::from((raw << up) >> down);
    let signed = move |raw: u32| i64::from(((raw << up) as i32) >> down);
    let one = |raw: &[u8; 1]| u32::from(raw[0]);
    let two = |raw: &[u8; 2]| u32::from(u16::from_le_bytes(*raw));
    let two_big = |raw: &[u8; 2]| u32::from(u16::from_be_bytes(*raw));
    let four = |raw: &[u8; 4]| u32::from_le_bytes(*raw);
    let four_big = |raw: &[u8; 4]| u32::from_be_bytes(*raw);
    match (Plane::of(frame).width, format.signed, big) {
        (1, false, _) => scale(frame, bytes, fit, voxels, |raw| unsigned(one(raw))),
        (1, true, _) => scale(frame, bytes, fit, voxels, |raw| signed(one(raw))),
        (2, false, false) => scale(frame, bytes, fit, voxels, |raw| unsigned(two(raw))),
        (2, true, false) => scale(frame, bytes, fit, voxels, |raw| signed(two(raw))),
        (2, false, true) => scale(frame, bytes, fit, voxels, |raw| unsigned(two_big(raw))),
        (2, true, true) => scale(frame, bytes, fit, voxels, |raw| signed(two_big(raw))),
        (_, false, false) => scale(frame, bytes, fit, voxels, |raw| unsigned(four(raw))),
        (_, true, false) => scale(frame, bytes, fit, voxels, |raw| signed(four(raw))),
        (_, false, true) => scale(frame, bytes, fit, voxels, |raw| unsigned(four_big(raw))),
        (_, true, true) => scale(frame, bytes, fit, voxels, |raw| signed(four_big(raw))),
    }
}

/// Applies slope and intercept to what `stored` makes of the bytes of each pixel.
fn scale<const N: usize, T: Voxel>(
    frame: &Frame,
    bytes: &[u8],
    fit: Fit,
    voxels: &mut [T],
    stored: impl Fn(&[u8; N]) -> i64,
) -> Result<(), Misfit> {
    let (pixels, _) = bytes.as_chunks::<N>();
    let range = Whole::of(frame).and_then(|whole| Some((whole, whole.range(&frame.source.format)?)));
    let Some((whole, possible)) = range else {
        let value = |pixel: &[u8; N]| frame.slope * stored(pixel) as f64 + frame.intercept;
        return each(pixels, voxels, |pixel| {
            let value = value(pixel);
            match fit {
                Fit::Nearest => Ok(T::from_f64(value)),
                _ => exactly(fit.of_scaled(value)).ok_or_else(|| format!("{value:?}")),
            }
        });
    };
    let value = |pixel: &[u8; N]| whole.slope * stored(pixel) + whole.intercept;
    let holds_all = |(low, high)| holds::<T>(low) && holds::<T>(high);
    // What bits could hold is seldom what they do.
    let fits = holds_all(possible) || {
        let least_and_most = |(low, high): (i64, i64), pixel| (low.min(value(pixel)), high.max(value(pixel)));
        holds_all(pixels.iter().fold((i64::MAX, i64::MIN), least_and_most))
    };
    if fits {
        for (voxel, pixel) in voxels.iter_mut().zip(pixels) {
            *voxel = T::truncated(value(pixel));
        }
        return Ok(());
    }
    each(pixels, voxels, |pixel| {
        let value = value(pixel);
        match (fit, T::from_integer(value.into())) {
            (_, Some(voxel)) => Ok(voxel),
            (Fit::Nearest, None) => Ok(T::from_f64(value as f64)),
            (_, None) => Err(value.to_string()),
        }
    })
}

fn each<const N: usize, T: Voxel>(
    pixels: &[[u8; N]],
    voxels: &mut [T],
    to: impl Fn(&[u8; N]) -> Result<T, String>,
) -> Result<(), Misfit> {
    for (at, (voxel, pixel)) in voxels.iter_mut().zip(pixels).enumerate() {
        *voxel = to(pixel).map_err(|found| Misfit { at, found })?;
    }
    Ok(())
}

/// Whether a `T` holds `value`, and with it all whole numbers between it and 0.
fn holds<T: Voxel>(value: i64) -> bool {
    match T::DATA_TYPE {
        DataType::F32 => value.abs() <= WHOLE_F32,
        _ => T::from_integer(value.into()).is_some(),
    }
}

/// The same number as a `T`; a float takes any, rounded.
fn exactly<T: Voxel>(value: f64) -> Option<T> {
    match T::DATA_TYPE {
        DataType::F32 | DataType::F64 => Some(T::from_f64(value)),
        _ if value.fract() == 0.0 => T::from_integer(value as i128),
        _ => None,
    }
}

/// A slope and an intercept that are whole numbers.
#[derive(Clone, Copy)]
struct Whole {
    slope: i64,
    intercept: i64,
}

impl Whole {
    fn of(frame: &Frame) -> Option<Self> {
        // Such that no pixel of 32 bits can overflow.
        let whole = |value: f64| (value.fract() == 0.0 && value.abs() < 1e9).then_some(value as i64);
        Some(Self { slope: whole(frame.slope)?, intercept: whole(frame.intercept)? })
    }

    /// Least and greatest value that the stored bits can have.
    fn range(self, format: &PixelFormat) -> Option<(i64, i64)> {
        let values = 1i64 << format.bits_stored;
        let (low, high) = if format.signed { (-values / 2, values / 2 - 1) } else { (0, values - 1) };
        let ends = [low, high].map(|end| self.slope * end + self.intercept);
        Some((ends[0].min(ends[1]), ends[0].max(ends[1])))
    }
}
