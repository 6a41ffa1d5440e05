//! The box of the voxels of a mask.

use organseg_volume::{Label, LabelVolume, Volume, Voxel};
use rayon::prelude::*;

use crate::BoundingBox;

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
                let Some(first) = row.iter().position(|&v| inside(v)) else { continue };
                let last = row.iter().rposition(|&v| inside(v)).expect("there is a first");
                let (y, z) = (y as i64, z as i64);
                let line = Self::new([first as i64, y, z], [last as i64 + 1, y + 1, z + 1])
                    .expect("the last is not before the first");
                found = Some(found.map_or(line, |b| b.union(&line)));
            }
            found
        };
        volume.voxels().par_chunks(nx * ny).enumerate().filter_map(in_plane).reduce_with(|a, b| a.union(&b))
    }
}
