//! Memory for voxels, if there is any.

use crate::Voxel;

/// `count` zeros that have not been touched, or nothing if there is not the memory for them.
pub(crate) fn zeros<T: Voxel>(count: usize) -> Option<Vec<T>> {
    // Only `vec!` asks the system for zeros, and it aborts where this fails.
    Vec::<T>::new().try_reserve_exact(count).ok()?;
    Some(vec![T::default(); count])
}
