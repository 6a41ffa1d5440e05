//! Background enclosed by foreground.

use organseg_volume::{Label, LabelVolume};

use crate::{Connectivity, connected_components};

/// `mask` with every hole given `label`: each piece of background, connected by `connectivity`, that
/// does not reach the border of the volume. Background connects by [`Connectivity::Six`] where
/// foreground does by 26, so that a diagonal wall holds tight.
///
/// ```
/// use organseg_roi::{Connectivity, fill_holes};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([3, 3, 3], Spacing::isotropic(1.0)?)?;
/// let shell = LabelVolume::from_fn(grid, |v| u8::from(v != [1, 1, 1]));
/// assert_eq!(fill_holes(&shell, 1, Connectivity::Six), LabelVolume::filled(grid, 1));
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn fill_holes(mask: &LabelVolume, label: Label, connectivity: Connectivity) -> LabelVolume {
    let background = mask.map(|label| u8::from(label == 0));
    let pieces = connected_components(&background, connectivity);
    let [nx, ny, nz] = mask.size();
    let ids = pieces.labels();
    let mut open = vec![false; pieces.sizes().len() + 1];
    let mut reach = |v: [usize; 3]| open[ids[v] as usize] = true;
    for z in 0..nz {
        for y in 0..ny {
            let whole_row = z == 0 || z + 1 == nz || y == 0 || y + 1 == ny;
            if whole_row {
                (0..nx).for_each(|x| reach([x, y, z]));
            } else {
                reach([0, y, z]);
                reach([nx - 1, y, z]);
            }
        }
    }
    let mut filled = mask.clone();
    for (voxel, &id) in filled.voxels_mut().iter_mut().zip(ids.voxels()) {
        if id != 0 && !open[id as usize] {
            *voxel = label;
        }
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    #[test]
    fn a_bay_is_no_hole() {
        let grid = Grid::with_spacing([3, 3, 3], Spacing::isotropic(1.0).unwrap()).unwrap();
        let bay = LabelVolume::from_fn(grid, |v| u8::from(v != [1, 1, 1] && v != [1, 1, 2]));
        assert_eq!(fill_holes(&bay, 1, Connectivity::Six), bay);
    }
}
