//! Stored bytes into voxels of the type that was asked for, in parallel.

use std::any::Any;

use rayon::prelude::*;

use super::stored::StoredImage;
use crate::{DataType, Voxel};

/// Voxels converted by one task.
const CHUNK: usize = 1 << 16;

/// From here on, doubles do not fit an `i64`, and all of them are whole numbers.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// What may happen to a value that the type asked for does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// It becomes the nearest that the type does hold.
    Nearest,
    /// It is refused; but floats take any float, rounded.
    Exact,
}

/// A value that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// Its place among the voxels.
    pub(super) at: usize,
    /// The value in digits.
    pub(super) found: String,
}

/// The voxels stored in `bytes`, scaled as `image` says; or the first that does not fit.
pub(super) fn decode<T: Voxel>(image: &StoredImage, bytes: Vec<u8>, fit: Fit) -> Result<Vec<T>, Misfit> {
    let scaled = image.info.is_scaled();
    if (T::DATA_TYPE, image.info.data_type, scaled) == (DataType::U8, DataType::U8, false) {
        let voxels: Box<dyn Any> = Box::new(bytes);
        return Ok(*voxels.downcast::<Vec<T>>().expect("T is u8"));
    }
    match image.info.data_type {
        DataType::U8 => decode_from::<u8, T>(image, &bytes, scaled, fit),
        DataType::I8 => decode_from::<i8, T>(image, &bytes, scaled, fit),
        DataType::U16 => decode_from::<u16, T>(image, &bytes, scaled, fit),
        DataType::I16 => decode_from::<i16, T>(image, &bytes, scaled, fit),
        DataType::U32 => decode_from::<u32, T>(image, &bytes, scaled, fit),
        DataType::I32 => decode_from::<i32, T>(image, &bytes, scaled, fit),
        DataType::U64 => decode_from::<u64, T>(image, &bytes, scaled, fit),
        DataType::I64 => decode_from::<i64, T>(image, &bytes, scaled, fit),
        DataType::F32 => decode_from::<f32, T>(image, &bytes, scaled, fit),
        DataType::F64 => decode_from::<f64, T>(image, &bytes, scaled, fit),
    }
}

fn decode_from<S: Stored, T: Voxel>(
    image: &StoredImage,
    bytes: &[u8],
    scaled: bool,
    fit: Fit,
) -> Result<Vec<T>, Misfit> {
    let (slope, intercept) = (image.info.slope, image.info.intercept);
    let value = |stored: S| slope * stored.to_f64() + intercept;
    let voxels = match (fit, scaled) {
        (Fit::Nearest, false) => convert(image, bytes, |v: S| Some(T::from_f64(v.to_f64()))),
        (Fit::Nearest, true) => convert(image, bytes, |v: S| Some(T::from_f64(value(v)))),
        (Fit::Exact, false) => convert(image, bytes, S::exactly::<T>),
        (Fit::Exact, true) => convert(image, bytes, |v: S| value(v).exactly()),
    };
    voxels.map_err(|at| {
        let stored = S::from_bytes(&bytes[at * size_of::<S>()..][..size_of::<S>()], image.big_endian);
        Misfit { at, found: if scaled { format!("{:?}", value(stored)) } else { format!("{stored:?}") } }
    })
}

/// Every stored value through `to`, or where it gives nothing for the first time.
fn convert<S: Stored, T: Voxel>(
    image: &StoredImage,
    bytes: &[u8],
    to: impl Fn(S) -> Option<T> + Sync,
) -> Result<Vec<T>, usize> {
    let (width, big_endian) = (size_of::<S>(), image.big_endian);
    let mut voxels = vec![T::default(); bytes.len() / width];
    let misfit = voxels
        .par_chunks_mut(CHUNK)
        .zip(bytes.par_chunks(CHUNK * width))
        .enumerate()
        .filter_map(|(chunk, (voxels, bytes))| {
            for (i, (voxel, raw)) in voxels.iter_mut().zip(bytes.chunks_exact(width)).enumerate() {
                match to(S::from_bytes(raw, big_endian)) {
                    Some(value) => *voxel = value,
                    None => return Some(chunk * CHUNK + i),
                }
            }
            None
        })
        .min();
    misfit.map_or(Ok(voxels), Err)
}

/// A number as it lies in a file.
trait Stored: Voxel {
    /// The number in `raw`, which is as long as the type.
    fn from_bytes(raw: &[u8], big_endian: bool) -> Self;

    /// The same number as a `T`, if there is one.
    fn exactly<T: Voxel>(self) -> Option<T>;
}

macro_rules! stored {
    ($exactly:ident: $($type:ty),*) => {$(
        impl Stored for $type {
            fn from_bytes(raw: &[u8], big_endian: bool) -> Self {
                let raw = raw.try_into().expect("the slice has the size of the type");
                if big_endian { Self::from_be_bytes(raw) } else { Self::from_le_bytes(raw) }
            }

            fn exactly<T: Voxel>(self) -> Option<T> {
                $exactly!(self)
            }
        }
    )*};
}

macro_rules! small_integer {
    ($v:expr) => {
        match T::DATA_TYPE {
            // A double holds every integer of up to 32 bits, so that doubles tell whether T does.
            DataType::F32 | DataType::F64 => {
                let value = f64::from($v);
                Some(T::from_f64(value)).filter(|converted| converted.to_f64() == value)
            }
            _ => T::from_integer($v.into()),
        }
    };
}

macro_rules! large_integer {
    ($v:expr) => {
        T::from_integer($v.into())
    };
}

macro_rules! float {
    ($v:expr) => {{
        let value = f64::from($v);
        match T::DATA_TYPE {
            DataType::F32 | DataType::F64 => Some(T::from_f64(value)),
            _ if value.abs() < TWO_TO_63 => {
                let integer = value as i64;
                if integer as f64 == value { T::from_integer(integer.into()) } else { None }
            }
            _ if value.is_finite() => T::from_integer(value as i128),
            _ => None,
        }
    }};
}

stored!(small_integer: u8, i8, u16, i16, u32, i32);
stored!(large_integer: u64, i64);
stored!(float: f32, f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_integers_only_without_loss() {
        assert_eq!(3.0f32.exactly::<u8>(), Some(3));
        assert_eq!((-0.0f32).exactly::<u8>(), Some(0));
        for refused in [0.5, -1.0, 256.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(refused.exactly::<u8>(), None, "{refused}");
        }
        // As doubles, these are the limits plus one, and a saturating cast would let them pass.
        assert_eq!(TWO_TO_63.exactly::<i64>(), None);
        assert_eq!(TWO_TO_63.exactly::<u64>(), Some(1 << 63));
        assert_eq!((2.0 * TWO_TO_63).exactly::<u64>(), None);
        assert_eq!((-TWO_TO_63).exactly::<i64>(), Some(i64::MIN));
    }

    #[test]
    fn integers_become_floats_only_without_loss() {
        assert_eq!(16_777_216i32.exactly::<f32>(), Some(16_777_216.0));
        assert_eq!(16_777_217i32.exactly::<f32>(), None);
        assert_eq!(16_777_217i32.exactly::<f64>(), Some(16_777_217.0));
        assert_eq!(i64::MAX.exactly::<f64>(), None);
        assert_eq!(u64::MAX.exactly::<i64>(), None);
        assert_eq!((-1i8).exactly::<u64>(), None);
    }

    #[test]
    fn floats_take_any_float() {
        assert_eq!(0.1f64.exactly::<f32>(), Some(0.1));
        assert!(f64::NAN.exactly::<f32>().is_some_and(f32::is_nan));
    }
}
