//! Stored bytes into voxels of the type that was asked for.

use std::any::Any;

use crate::{DataType, Voxel};

/// From here on, doubles do not fit an `i64`, and all of them are whole numbers.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A scaled value this close to a whole number is a label that rounding has moved: slopes in single precision are off
/// by 6e-8 of themselves, and so are labels up to 255 by 2e-5; stored in 16 bits, labels up to 13 move by 1e-4.
/// Labels up to 4 in 8 bits move by 4e-3, and whoever rounds those guesses.
const LABEL_ROUNDING: f64 = 1e-4;

/// How numbers are stored and what they stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Encoding {
    pub(crate) data_type: DataType,
    /// Whether they are stored most significant byte first.
    pub(crate) big_endian: bool,
    /// A stored value v stands for slope · v + intercept.
    pub(crate) slope: f64,
    pub(crate) intercept: f64,
}

impl Encoding {
    /// Whether the stored bytes are those of a `T` in this machine's memory.
    pub(super) fn is_memory_of<T: Voxel>(self) -> bool {
        let order = self.data_type.bytes() == 1 || self.big_endian == cfg!(target_endian = "big");
        self.data_type == T::DATA_TYPE && order && !self.is_scaled()
    }

    fn is_scaled(self) -> bool {
        (self.slope, self.intercept) != (1.0, 0.0)
    }
}

/// What may happen to a value that the type asked for does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It becomes the nearest that the type does hold.
    Nearest,
    /// It is refused; but floats take any float, rounded.
    Exact,
    /// As `Exact`, but a value that slope and intercept make is the whole number that it almost is.
    Label,
}

impl Fit {
    /// What `value`, made by slope and intercept, stands for.
    pub(crate) fn of_scaled(self, value: f64) -> f64 {
        let nearest = value.round();
        if self == Self::Label && (value - nearest).abs() <= LABEL_ROUNDING { nearest } else { value }
    }
}

/// A value that does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Its place among the voxels.
    pub(crate) at: usize,
    /// The value in digits.
    pub(crate) found: String,
}

/// The numbers stored in `bytes` into as many `voxels`, or the first that does not fit.
pub(crate) fn decode<T: Voxel>(
    encoding: Encoding,
    fit: Fit,
    bytes: &[u8],
    voxels: &mut [T],
) -> Result<(), Misfit> {
    if encoding.is_memory_of::<T>() {
        T::bytes_mut(voxels).copy_from_slice(bytes);
        return Ok(());
    }
    match encoding.data_type {
        DataType::U8 => decode_from::<u8, T>(encoding, fit, bytes, voxels),
        DataType::I8 => decode_from::<i8, T>(encoding, fit, bytes, voxels),
        DataType::U16 => decode_from::<u16, T>(encoding, fit, bytes, voxels),
        DataType::I16 => decode_from::<i16, T>(encoding, fit, bytes, voxels),
        DataType::U32 => decode_from::<u32, T>(encoding, fit, bytes, voxels),
        DataType::I32 => decode_from::<i32, T>(encoding, fit, bytes, voxels),
        DataType::U64 => decode_from::<u64, T>(encoding, fit, bytes, voxels),
        DataType::I64 => decode_from::<i64, T>(encoding, fit, bytes, voxels),
        DataType::F32 => decode_from::<f32, T>(encoding, fit, bytes, voxels),
        DataType::F64 => decode_from::<f64, T>(encoding, fit, bytes, voxels),
    }
}

fn decode_from<S: Stored, T: Voxel>(
    encoding: Encoding,
    fit: Fit,
    bytes: &[u8],
    voxels: &mut [T],
) -> Result<(), Misfit> {
    let Encoding { big_endian, slope, intercept, .. } = encoding;
    let value = |stored: S| slope * stored.to_f64() + intercept;
    let converted = match (fit, encoding.is_scaled()) {
        // The bits as they are: going through a double would make a signalling NaN a quiet one.
        (_, false) if S::DATA_TYPE == T::DATA_TYPE => convert(big_endian, bytes, voxels, same::<S, T>),
        (Fit::Nearest, false) => convert(big_endian, bytes, voxels, |v: S| Some(T::from_f64(v.to_f64()))),
        (Fit::Nearest, true) => convert(big_endian, bytes, voxels, |v: S| Some(T::from_f64(value(v)))),
        (_, false) => convert(big_endian, bytes, voxels, S::exactly::<T>),
        (_, true) => convert(big_endian, bytes, voxels, |v: S| fit.of_scaled(value(v)).exactly()),
    };
    converted.map_err(|at| {
        let stored = S::from_bytes(&bytes[at * size_of::<S>()..][..size_of::<S>()], big_endian);
        let found = if encoding.is_scaled() { format!("{:?}", value(stored)) } else { format!("{stored:?}") };
        Misfit { at, found }
    })
}

/// `value`, whose type is `T`.
fn same<S: Stored, T: Voxel>(value: S) -> Option<T> {
    let value: &dyn Any = &value;
    value.downcast_ref().copied()
}

/// Every stored value through `to`, or where it gives nothing for the first time.
fn convert<S: Stored, T: Voxel>(
    big_endian: bool,
    bytes: &[u8],
    voxels: &mut [T],
    to: impl Fn(S) -> Option<T>,
) -> Result<(), usize> {
    for (i, (voxel, raw)) in voxels.iter_mut().zip(bytes.chunks_exact(size_of::<S>())).enumerate() {
        *voxel = to(S::from_bytes(raw, big_endian)).ok_or(i)?;
    }
    Ok(())
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
