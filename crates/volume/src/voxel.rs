//! The number types a voxel can have.

use serde::{Deserialize, Serialize};

use crate::instances::Instances;

/// A voxel's number type, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the Rust type of that name")]
pub enum DataType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl DataType {
    /// Bytes of one value.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// A number that a [`Volume`](crate::Volume) can hold: the integers of 8 to 64 bits, `f32`, `f64`, and no other.
pub trait Voxel: Instances + Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static {
    /// Which type this is.
    const DATA_TYPE: DataType;

    /// The value as a double; exact for all but large 64-bit integers.
    fn to_f64(self) -> f64;

    /// The nearest value of this type: integers round half away from zero and saturate, NaN becomes 0.
    fn from_f64(value: f64) -> Self;

    /// The value as a single; exact for integers of up to 24 bits.
    fn to_f32(self) -> f32;

    /// As [`Voxel::from_f64`], from a single.
    fn from_f32(value: f32) -> Self;

    /// The value, if this type holds it exactly.
    fn from_integer(value: i128) -> Option<Self>;

    /// The value without what this type does not hold of it, as `as` has it: for values that it does hold.
    #[doc(hidden)]
    fn truncated(value: i64) -> Self;

    /// Appends the value's bytes, least significant first.
    fn push_le_bytes(self, bytes: &mut Vec<u8>);

    /// The memory that the values take, in the machine's own byte order.
    fn bytes(values: &[Self]) -> &[u8];

    /// The memory that the values take, in the machine's own byte order.
    fn bytes_mut(values: &mut [Self]) -> &mut [u8];
}

macro_rules! voxel {
    ($($type:ty => $variant:ident, $value:ident => $from:expr, $single:expr, $exact:expr;)*) => {$(
        impl Voxel for $type {
            const DATA_TYPE: DataType = DataType::$variant;

            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn from_f64($value: f64) -> Self {
                $from
            }

            #[inline(always)]
            fn to_f32(self) -> f32 {
                self as f32
            }

            #[inline(always)]
            fn from_f32($value: f32) -> Self {
                $single
            }

            fn from_integer($value: i128) -> Option<Self> {
                $exact
            }

            fn truncated(value: i64) -> Self {
                value as Self
            }

            fn push_le_bytes(self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn bytes(values: &[Self]) -> &[u8] {
                bytemuck::cast_slice(values)
            }

            fn bytes_mut(values: &mut [Self]) -> &mut [u8] {
                bytemuck::cast_slice_mut(values)
            }
        }
    )*};
}

voxel! {
    u8 => U8, v => v.round() as u8, narrow(v, Self::MIN.into(), Self::MAX.into()) as u8, Self::try_from(v).ok();
    i8 => I8, v => v.round() as i8, narrow(v, Self::MIN.into(), Self::MAX.into()) as i8, Self::try_from(v).ok();
    u16 => U16, v => v.round() as u16, narrow(v, Self::MIN.into(), Self::MAX.into()) as u16, Self::try_from(v).ok();
    i16 => I16, v => v.round() as i16, narrow(v, Self::MIN.into(), Self::MAX.into()) as i16, Self::try_from(v).ok();
    u32 => U32, v => v.round() as u32, v.round() as u32, Self::try_from(v).ok();
    i32 => I32, v => v.round() as i32, v.round() as i32, Self::try_from(v).ok();
    u64 => U64, v => v.round() as u64, v.round() as u64, Self::try_from(v).ok();
    i64 => I64, v => v.round() as i64, v.round() as i64, Self::try_from(v).ok();
    f32 => F32, v => v as f32, v, Some(v as f32).filter(|&f| f as i128 == v);
    f64 => F64, v => v, f64::from(v), Some(v as f64).filter(|&f| f as i128 == v);
}

/// `value` rounded half away from zero and kept between `low` and `high`, whole numbers of up to 16 bits;
/// NaN becomes 0.
///
/// Not a cast, which compiles to a loop over lanes where it saturates: the sum with 1.5 · 2²³ holds the
/// whole number in its last bits.
#[inline(always)]
fn narrow(value: f32, low: f32, high: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    let value = if value.is_nan() { 0.0 } else { value.round() };
    let value = if value < low { low } else { value };
    let value = if value > high { high } else { value };
    (value + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singles_become_integers_as_doubles_do() {
        fn check<T: Voxel>() {
            let edges =
                [0.0, 0.5, 1.0, 127.0, 128.0, 255.0, 256.0, 32767.0, 32768.0, 65535.0, 65536.0, 1e9, 3e38];
            for edge in edges {
                for near in [edge, edge - 0.5, edge + 0.5, f32::next_up(edge), f32::next_down(edge)] {
                    for value in [near, -near] {
                        assert_eq!(
                            T::from_f32(value),
                            T::from_f64(value.into()),
                            "{:?} of {value}",
                            T::DATA_TYPE
                        );
                    }
                }
            }
            for value in [f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(T::from_f32(value), T::from_f64(value.into()));
            }
            assert_eq!(T::from_f32(-f32::NAN), T::default());
        }
        check::<u8>();
        check::<i8>();
        check::<u16>();
        check::<i16>();
        check::<u32>();
        check::<i32>();
        check::<u64>();
        check::<i64>();
        assert_eq!(f64::from_f32(0.1), f64::from(0.1f32));
    }
}
