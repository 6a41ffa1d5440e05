//! The smallest number type that holds what a volume holds.

use rayon::prelude::*;

use crate::{DataType, Volume, Voxel};

/// Voxels looked at by one task.
const TASK: usize = 1 << 16;

/// Up to here doubles hold every whole number.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The integer types that are chosen from, smallest first. Not `i8`, which many programs do not read.
const INTEGERS: [(DataType, f64, f64); 5] = [
    (DataType::U8, 0.0, u8::MAX as f64),
    (DataType::I16, i16::MIN as f64, i16::MAX as f64),
    (DataType::U16, 0.0, u16::MAX as f64),
    (DataType::I32, i32::MIN as f64, i32::MAX as f64),
    (DataType::U32, 0.0, u32::MAX as f64),
];

/// The first of `u8`, `i16`, `u16`, `i32`, `u32` that holds every voxel exactly; for a volume that is not of
/// whole numbers `f32`, if that does, else `f64`. Never larger than the volume's own type, which stays
/// where no other is smaller, except that whole numbers in floats become integers of the same size. A zero with a sign counts as zero.
///
/// ```
/// use organseg_volume::{DataType, Grid, Spacing, Volume, smallest_type};
/// let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(1.0)?)?;
/// assert_eq!(smallest_type(&Volume::from_vec(grid, vec![0.0f32, 3.0])?), DataType::U8);
/// assert_eq!(smallest_type(&Volume::from_vec(grid, vec![-1024i32, 3071])?), DataType::I16);
/// assert_eq!(smallest_type(&Volume::from_vec(grid, vec![0.5f64, 1.0])?), DataType::F32);
/// assert_eq!(smallest_type(&Volume::from_vec(grid, vec![0.1f64, 1.0])?), DataType::F64);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn smallest_type<T: Voxel>(volume: &Volume<T>) -> DataType {
    if size_of::<T>() == 1 {
        return T::DATA_TYPE;
    }
    let tasks = volume.voxels().par_chunks(TASK);
    let range = tasks.map(Range::of).reduce(|| Range::NONE, Range::and);
    let is_float = matches!(T::DATA_TYPE, DataType::F32 | DataType::F64);
    let smaller = |data_type: DataType| data_type.bytes() < size_of::<T>();
    if range.whole {
        // Whole numbers in floats become integers even if those are not smaller.
        let fits = |&&(data_type, least, most): &&(DataType, f64, f64)| {
            range.least >= least
                && range.most <= most
                && (smaller(data_type) || (is_float && data_type.bytes() == size_of::<T>()))
        };
        if let Some((data_type, ..)) = INTEGERS.iter().find(fits) {
            return *data_type;
        }
    }
    if T::DATA_TYPE == DataType::F64 && range.single { DataType::F32 } else { T::DATA_TYPE }
}

/// What some voxels are like.
#[derive(Clone, Copy)]
struct Range {
    least: f64,
    most: f64,
    /// Whether all are whole numbers that doubles hold exactly.
    whole: bool,
    /// Whether `f32` holds all of them.
    single: bool,
}

impl Range {
    const NONE: Self = Self { least: f64::INFINITY, most: f64::NEG_INFINITY, whole: true, single: true };

    fn of<T: Voxel>(voxels: &[T]) -> Self {
        let mut range = Self::NONE;
        for value in voxels.iter().map(|v| v.to_f64()) {
            range.least = range.least.min(value);
            range.most = range.most.max(value);
            range.whole &= value.trunc() == value && value.abs() < EXACT;
            range.single &= f64::from(value as f32) == value || value.is_nan();
        }
        range
    }

    fn and(self, other: Self) -> Self {
        Self {
            least: self.least.min(other.least),
            most: self.most.max(other.most),
            whole: self.whole && other.whole,
            single: self.single && other.single,
        }
    }
}

/// `$body` with `$name` as the Rust type of the [`DataType`] `$data_type`.
macro_rules! with_type {
    ($data_type:expr, $name:ident => $body:block) => {
        $crate::file::smallest::with_type!(@ $data_type, $name => $body:
            U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64)
    };
    (@ $data_type:expr, $name:ident => $body:block: $($variant:ident $type:ident),*) => {
        match $data_type {
            $($crate::DataType::$variant => {
                type $name = $type;
                $body
            })*
        }
    };
}
pub(super) use with_type;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Spacing};

    fn of<T: Voxel>(voxels: &[T]) -> DataType {
        let spacing = Spacing::isotropic(1.0).expect("1 mm is a spacing");
        let grid = Grid::with_spacing([voxels.len(), 1, 1], spacing).expect("there are voxels");
        smallest_type(&Volume::from_vec(grid, voxels.to_vec()).expect("the grid has as many places"))
    }

    #[test]
    fn the_limits_of_a_type_still_fit_it() {
        assert_eq!(of(&[0.0f64, 255.0]), DataType::U8);
        assert_eq!(of(&[0.0f64, 256.0]), DataType::I16);
        assert_eq!(of(&[-32768.0f64, 32767.0]), DataType::I16);
        assert_eq!(of(&[0.0f64, 65535.0]), DataType::U16);
        assert_eq!(of(&[-1.0f64, 32768.0]), DataType::I32);
        assert_eq!(of(&[0.0f64, 4_294_967_295.0]), DataType::U32);
        assert_eq!(of(&[0i64, 4_294_967_296]), DataType::I64);
    }

    #[test]
    fn nothing_becomes_larger_and_no_type_changes_without_need() {
        assert_eq!(of(&[-1i8]), DataType::I8);
        assert_eq!(of(&[300u16]), DataType::U16);
        assert_eq!(of(&[u64::MAX]), DataType::U64);
        assert_eq!(of(&[1e10f64]), DataType::F32);
        assert_eq!(of(&[f32::NAN, 1.0]), DataType::F32);
        assert_eq!(of(&[f64::NAN, f64::INFINITY]), DataType::F32);
    }
}
