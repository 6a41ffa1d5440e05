//! A box of voxels cut out of a volume, and put back.

use organseg_volume::{Volume, Voxel};

use crate::{BoundingBox, RoiError};

/// The voxels of `volume` in `place`, and `fill` where that reaches beyond it. The crop's grid puts every
/// voxel where it was in the world.
///
/// ```
/// use organseg_roi::{BoundingBox, crop};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(2.0)?)?;
/// let volume = Volume::from_vec(grid, vec![1, 2, 3])?;
/// let cut = crop(&volume, &BoundingBox::new([1, 0, 0], [4, 1, 1])?, 9);
/// assert_eq!(cut.voxels(), [2, 3, 9]);
/// assert_eq!(cut.grid().voxel_to_world([0.0; 3]), [2.0, 0.0, 0.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If the box has more voxels than memory can hold; clamp a box that comes from elsewhere.
#[must_use]
pub fn crop<T: Voxel>(volume: &Volume<T>, place: &BoundingBox, fill: T) -> Volume<T> {
    let grid = volume
        .grid()
        .cropped(place.min(), place.size())
        .expect("a box holds voxels, and no more than can be counted");
    let mut cut = Volume::filled(grid, fill);
    if let Some(shared) = place.clamp_to(volume.size()) {
        for_each_row(&shared, |row| {
            let (from, to) = (offset(row, [0; 3], volume.size()), offset(row, place.min(), place.size()));
            let n = shared.size()[0];
            cut.voxels_mut()[to..to + n].copy_from_slice(&volume.voxels()[from..from + n]);
        });
    }
    cut
}

/// Puts `patch` into the box `place` of `target`; what lies beyond `target` is dropped. Where the patch's
/// grid says it lies in the world is not looked at.
///
/// ```
/// use organseg_roi::{BoundingBox, crop, paste};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(2.0)?)?;
/// let mut volume = Volume::from_vec(grid, vec![1, 2, 3])?;
/// let place = BoundingBox::new([1, 0, 0], [4, 1, 1])?;
/// let patch = crop(&volume, &place, 9).map(|v| 10 * v);
/// paste(&mut volume, &patch, &place)?;
/// assert_eq!(volume.voxels(), [1, 20, 30]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RoiError::PatchSize`] if the patch does not fill the box.
pub fn paste<T: Voxel>(
    target: &mut Volume<T>,
    patch: &Volume<T>,
    place: &BoundingBox,
) -> Result<(), RoiError> {
    if patch.size() != place.size() {
        return Err(RoiError::PatchSize { expected: place.size(), found: patch.size() });
    }
    if let Some(shared) = place.clamp_to(target.size()) {
        let size = target.size();
        for_each_row(&shared, |row| {
            let (from, to) = (offset(row, place.min(), place.size()), offset(row, [0; 3], size));
            let n = shared.size()[0];
            target.voxels_mut()[to..to + n].copy_from_slice(&patch.voxels()[from..from + n]);
        });
    }
    Ok(())
}

/// Calls `visit` with the first voxel of each row of `b`.
fn for_each_row(b: &BoundingBox, mut visit: impl FnMut([i64; 3])) {
    for z in b.min()[2]..b.max()[2] {
        for y in b.min()[1]..b.max()[1] {
            visit([b.min()[0], y, z]);
        }
    }
}

/// Where `voxel` lies in the memory of a volume of `size` voxels that begins at `start`.
fn offset(voxel: [i64; 3], start: [i64; 3], size: [usize; 3]) -> usize {
    let [x, y, z] = [0, 1, 2].map(|a| (voxel[a] - start[a]) as usize);
    x + size[0] * (y + size[1] * z)
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    #[test]
    fn a_patch_of_another_size_is_refused() {
        let grid = Grid::with_spacing([3, 3, 3], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mut volume = Volume::filled(grid, 0u8);
        let place = BoundingBox::new([0; 3], [2, 3, 3]).unwrap();
        let patch = volume.clone();
        let error = paste(&mut volume, &patch, &place).unwrap_err();
        assert_eq!(error.to_string(), "a patch of size [3, 3, 3] does not fill a box of size [2, 3, 3]");
    }

    #[test]
    fn a_box_beside_the_volume_cuts_out_fill_and_changes_nothing_when_pasted() {
        let grid = Grid::with_spacing([3, 3, 3], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mut volume = Volume::from_fn(grid, |[x, y, z]| (x + y + z) as f32);
        let before = volume.clone();
        let beside = BoundingBox::new([3, -2, 1], [5, 2, 2]).unwrap();
        let cut = crop(&volume, &beside, -7.0);
        assert!(cut.voxels().iter().all(|&v| v == -7.0));
        assert_eq!(cut.grid().voxel_to_world([0.0; 3]), [3.0, -2.0, 1.0]);
        paste(&mut volume, &cut, &beside).unwrap();
        assert_eq!(volume, before);
    }

    #[test]
    fn pasting_changes_only_the_box() {
        let grid = Grid::with_spacing([4, 4, 4], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mut volume = Volume::filled(grid, 1u8);
        let place = BoundingBox::new([-1, 1, 2], [2, 3, 9]).unwrap();
        let patch = crop(&volume, &place, 0).map(|_| 5u8);
        paste(&mut volume, &patch, &place).unwrap();
        let expected = Volume::from_fn(grid, |v| if place.contains(v.map(|i| i as i64)) { 5 } else { 1 });
        assert_eq!(volume, expected);
    }

    proptest! {
        #[test]
        fn what_was_cut_out_fits_back_in(
            size in prop::array::uniform3(1usize..7),
            min in prop::array::uniform3(-4i64..8),
            extent in prop::array::uniform3(1i64..9),
        ) {
            let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
            let volume = Volume::from_fn(grid, |[x, y, z]| (x + 10 * y + 100 * z) as i32);
            let place = BoundingBox::new(min, [0, 1, 2].map(|a| min[a] + extent[a])).unwrap();
            let cut = crop(&volume, &place, -1);
            for z in 0..cut.size()[2] { for y in 0..cut.size()[1] { for x in 0..cut.size()[0] {
                let old = [0, 1, 2].map(|a| [x, y, z][a] as i64 + min[a]);
                let inside = BoundingBox::of_grid(&grid).contains(old);
                let expected = if inside { volume[old.map(|v| v as usize)] } else { -1 };
                prop_assert_eq!(cut[[x, y, z]], expected);
            }}}
            let mut back = volume.clone();
            paste(&mut back, &cut, &place).unwrap();
            prop_assert_eq!(back, volume);
        }
    }
}
