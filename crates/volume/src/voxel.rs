//! The number types a voxel can have.

use serde::{Deserialize, Serialize};

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

/// A number that a [`Volume`](crate::Volume) can hold: the integers of 8 to 64 bits, `f32`, `f64`.
pub trait Voxel: Copy + Default + PartialEq + Send + Sync + std::fmt::Debug + 'static {
    /// Which type this is.
    const DATA_TYPE: DataType;

    /// The value as a double; exact for all but large 64-bit integers.
    fn to_f64(self) -> f64;

    /// The nearest value of this type: integers round half away from zero and saturate, NaN becomes 0.
    fn from_f64(value: f64) -> Self;

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
    ($($type:ty => $variant:ident, $value:ident => $from:expr, $exact:expr;)*) => {$(
        impl Voxel for $type {
            const DATA_TYPE: DataType = DataType::$variant;

            fn to_f64(self) -> f64 {
                self as f64
            }

            fn from_f64($value: f64) -> Self {
                $from
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
    u8 => U8, v => v.round() as u8, Self::try_from(v).ok();
    i8 => I8, v => v.round() as i8, Self::try_from(v).ok();
    u16 => U16, v => v.round() as u16, Self::try_from(v).ok();
    i16 => I16, v => v.round() as i16, Self::try_from(v).ok();
    u32 => U32, v => v.round() as u32, Self::try_from(v).ok();
    i32 => I32, v => v.round() as i32, Self::try_from(v).ok();
    u64 => U64, v => v.round() as u64, Self::try_from(v).ok();
    i64 => I64, v => v.round() as i64, Self::try_from(v).ok();
    f32 => F32, v => v as f32, Some(v as f32).filter(|&f| f as i128 == v);
    f64 => F64, v => v, Some(v as f64).filter(|&f| f as i128 == v);
}
