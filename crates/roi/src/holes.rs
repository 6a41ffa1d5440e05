//! Background enclosed by foreground.

use organseg_volume::{Label, LabelVolume};

use crate::Connectivity;
use crate::pieces::Pieces;
use crate::runs::Selection;

/// `mask` with every hole given `label`: each piece of background, connected by `connectivity`, that has no
/// voxel on a face of the volume. In a volume of one slice every voxel is on a face, and nothing is filled.
///
/// `connectivity` is the background's. It is [`Connectivity::Six`] where the foreground's is 26, so that a
/// wall of voxels that touch at corners holds tight, and 26 where the foreground's is 6.
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
    let background = Pieces::of(mask, Selection::Is(0), connectivity);
    let open = background.reach_border();
    let mut filled = mask.clone();
    background.paint(filled.voxels_mut(), |_, voxels, piece| {
        if !open[piece as usize] {
            voxels.fill(label);
        }
    });
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ALL_CONNECTIVITIES, flood, masks};
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    fn cube(n: usize, label: impl FnMut([usize; 3]) -> u8) -> LabelVolume {
        LabelVolume::from_fn(Grid::with_spacing([n; 3], Spacing::isotropic(1.0).unwrap()).unwrap(), label)
    }

    #[test]
    fn a_bay_is_no_hole() {
        let bay = cube(3, |v| u8::from(v != [1, 1, 1] && v != [1, 1, 2]));
        assert_eq!(fill_holes(&bay, 1, Connectivity::Six), bay);
    }

    #[test]
    fn a_wall_with_open_edges_holds_six_connected_background_only() {
        // The six voxels around the centre: closed to steps through faces, open to those through edges.
        let wall = cube(3, |v| u8::from(v.iter().filter(|&&i| i == 1).count() == 2));
        let filled = fill_holes(&wall, 7, Connectivity::Six);
        assert_eq!(filled[[1, 1, 1]], 7);
        assert_eq!(filled.voxels().iter().filter(|&&v| v != 0).count(), 7);
        assert_eq!(fill_holes(&wall, 7, Connectivity::Eighteen), wall);
        assert_eq!(fill_holes(&wall, 7, Connectivity::TwentySix), wall);
    }

    #[test]
    fn what_floats_in_a_hole_keeps_its_label() {
        let mask = cube(7, |v| match v.iter().map(|&i| i.abs_diff(3)).max() {
            Some(3) => 1,
            Some(0) => 2,
            _ => 0,
        });
        let expected = cube(7, |v| if v == [3; 3] { 2 } else { 1 });
        assert_eq!(fill_holes(&mask, 1, Connectivity::Six), expected);
    }

    proptest! {
        #[test]
        fn holes_are_the_background_that_flooding_finds_enclosed(mask in masks([1..8, 1..8, 1..20])) {
            let background = mask.map(|label| u8::from(label == 0));
            for connectivity in ALL_CONNECTIVITIES {
                let (ids, sizes) = flood(&background, connectivity);
                let mut open = vec![false; sizes.len() + 1];
                let size = mask.size();
                for (i, &id) in ids.iter().enumerate() {
                    let v = [i % size[0], i / size[0] % size[1], i / size[0] / size[1]];
                    open[id as usize] |= (0..3).any(|a| v[a] == 0 || v[a] + 1 == size[a]);
                }
                let expected: Vec<u8> =
                    ids.iter().zip(mask.voxels()).map(|(&id, &v)| if id > 0 && !open[id as usize] { 9 } else { v }).collect();
                let filled = fill_holes(&mask, 9, connectivity);
                prop_assert_eq!(filled.voxels(), &expected[..]);
                prop_assert_eq!(fill_holes(&filled, 9, connectivity), filled);
            }
        }
    }
}
