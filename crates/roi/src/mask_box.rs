//! The box of the voxels of a mask.
//!
//! Slices are searched at once, rows from both ends, and blocks of a row without a branch per voxel, so
//! that background costs what reading it does.

use organseg_volume::{Label, LabelVolume, Volume, Voxel};
use rayon::prelude::*;

use crate::BoundingBox;

/// Voxels that are looked at together: all of them, without stopping at the first, which the compiler
/// turns into vector instructions.
const BLOCK: usize = 64;

impl BoundingBox {
    /// The smallest box that holds every voxel that is not background; none if there is none.
    ///
    /// ```
    /// use organseg_roi::BoundingBox;
    /// use organseg_volume::{Grid, LabelVolume, Spacing};
    /// let grid = Grid::with_spacing([5, 5, 5], Spacing::isotropic(1.0)?)?;
    /// let mut mask = LabelVolume::filled(grid, 0);
    /// assert_eq!(BoundingBox::of_mask(&mask), None);
    /// (mask[[1, 2, 3]], mask[[3, 2, 4]]) = (1, 2);
    /// let found = BoundingBox::of_mask(&mask).expect("two voxels");
    /// assert_eq!((found.min(), found.max()), ([1, 2, 3], [4, 3, 5]));
    /// # Ok::<(), organseg_volume::VolumeError>(())
    /// ```
    #[must_use]
    pub fn of_mask(mask: &LabelVolume) -> Option<Self> {
        Self::of_voxels(mask, |label| label != 0)
    }

    /// The smallest box that holds every voxel of `label`.
    #[must_use]
    pub fn of_label(mask: &LabelVolume, label: Label) -> Option<Self> {
        Self::of_voxels(mask, |found| found == label)
    }

    /// The smallest box that holds every voxel for which `inside` is true.
    #[must_use]
    pub fn of_voxels<T: Voxel>(volume: &Volume<T>, inside: impl Fn(T) -> bool + Sync) -> Option<Self> {
        let [nx, ny, _] = volume.size();
        let in_plane = |(z, plane): (usize, &[T])| {
            let mut found: Option<Self> = None;
            for (y, row) in plane.chunks(nx).enumerate() {
                let Some((first, last)) = first_and_last(row, &inside) else { continue };
                let (y, z) = (y as i64, z as i64);
                let line = Self::new([first as i64, y, z], [last as i64 + 1, y + 1, z + 1])
                    .expect("the last is not before the first");
                found = Some(found.map_or(line, |b| b.union(&line)));
            }
            found
        };
        // A union does not depend on the order, so neither does the result on the threads.
        volume.voxels().par_chunks(nx * ny).enumerate().filter_map(in_plane).reduce_with(|a, b| a.union(&b))
    }
}

/// Where the first and the last voxel of `row` are for which `inside` is true.
fn first_and_last<T: Voxel>(row: &[T], inside: impl Fn(T) -> bool) -> Option<(usize, usize)> {
    let any = |block: &[T]| block.iter().fold(false, |any, &v| any | inside(v));
    let place = |block: usize| block * BLOCK..row.len().min((block + 1) * BLOCK);
    let blocks = row.len().div_ceil(BLOCK);
    let start = place((0..blocks).find(|&block| any(&row[place(block)]))?);
    let end = place((0..blocks).rev().find(|&block| any(&row[place(block)]))?);
    let first = start.start + row[start].iter().position(|&v| inside(v))?;
    let last = end.start + row[end].iter().rposition(|&v| inside(v))?;
    Some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::masks;
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    /// Every voxel a box of its own, joined one by one.
    fn box_by_voxels(mask: &LabelVolume, inside: impl Fn(Label) -> bool) -> Option<BoundingBox> {
        let [nx, ny, nz] = mask.size();
        let mut found: Option<BoundingBox> = None;
        for (z, y, x) in (0..nz).flat_map(|z| (0..ny).flat_map(move |y| (0..nx).map(move |x| (z, y, x)))) {
            if inside(mask[[x, y, z]]) {
                let min = [x, y, z].map(|v| v as i64);
                let voxel = BoundingBox::new(min, min.map(|v| v + 1)).unwrap();
                found = Some(found.map_or(voxel, |b| b.union(&voxel)));
            }
        }
        found
    }

    #[test]
    fn a_full_mask_has_the_box_of_its_grid() {
        let grid = Grid::with_spacing([130, 3, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mask = LabelVolume::filled(grid, 255);
        assert_eq!(BoundingBox::of_mask(&mask), Some(BoundingBox::of_grid(&grid)));
        assert_eq!(BoundingBox::of_label(&mask, 254), None);
    }

    #[test]
    fn a_condition_on_intensities_has_a_box() {
        let grid = Grid::with_spacing([9, 8, 7], Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |[x, y, z]| (x + y + z) as f32);
        let bright = BoundingBox::of_voxels(&image, |v| v >= 20.0).unwrap();
        assert_eq!((bright.min(), bright.max()), ([7, 6, 5], [9, 8, 7]));
    }

    proptest! {
        #[test]
        fn the_box_is_that_of_all_voxels_one_by_one(
            size in (1usize..200, 1usize..5, 1usize..5),
            voxels in prop::collection::vec((any::<prop::sample::Index>(), 1u8..4), 0..6),
        ) {
            let grid = Grid::with_spacing([size.0, size.1, size.2], Spacing::isotropic(1.0).unwrap()).unwrap();
            let mut mask = LabelVolume::filled(grid, 0);
            for (at, label) in voxels {
                let at = at.index(grid.voxel_count());
                mask.voxels_mut()[at] = label;
            }
            prop_assert_eq!(BoundingBox::of_mask(&mask), box_by_voxels(&mask, |v| v != 0));
            for label in 0..4 {
                prop_assert_eq!(BoundingBox::of_label(&mask, label), box_by_voxels(&mask, |v| v == label));
            }
        }

        #[test]
        fn the_box_of_all_labels_is_the_union_of_each_ones(mask in masks([1..9, 1..9, 1..9])) {
            let each = (1..4).filter_map(|label| BoundingBox::of_label(&mask, label));
            prop_assert_eq!(BoundingBox::of_mask(&mask), each.reduce(|a, b| a.union(&b)));
        }
    }
}
