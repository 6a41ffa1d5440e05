//! Connected pieces of a mask, numbered.
//!
//! Cost: one look at each voxel, one step for each run of foreground in a row, and the memory of a `u32`
//! per voxel for the numbers. Functions that only keep or drop pieces, such as
//! [`largest_component`](crate::largest_component), do without the numbers.

use organseg_volume::{LabelVolume, Volume};

use crate::Connectivity;
use crate::pieces::{Pieces, largest};
use crate::runs::Selection;

/// The connected pieces of a mask, numbered from 1 in the order of their first voxels in memory (x
/// fastest).
#[derive(Clone, Debug)]
pub struct Components {
    labels: Volume<u32>,
    sizes: Vec<usize>,
}

impl Components {
    /// The number of the piece that each voxel belongs to, 0 for background; on the mask's grid.
    #[must_use]
    pub fn labels(&self) -> &Volume<u32> {
        &self.labels
    }

    /// What [`Components::labels`] shows, without a copy.
    #[must_use]
    pub fn into_labels(self) -> Volume<u32> {
        self.labels
    }

    /// Voxels of each piece; piece i is entry i − 1.
    #[must_use]
    pub fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// The number of the largest piece, the first of those that are equally large; none in an empty mask.
    #[must_use]
    pub fn largest(&self) -> Option<u32> {
        largest(&self.sizes)
    }
}

/// The connected pieces of the foreground of `mask`, whatever its labels: voxels of different labels that
/// touch are one piece.
///
/// ```
/// use organseg_roi::{Connectivity, connected_components};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([4, 2, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 0, 0, 1, 0, 1, 0, 1])?;
/// assert_eq!(connected_components(&mask, Connectivity::Six).sizes(), [1, 2, 1]);
/// // The first voxel touches the one diagonally below it.
/// let pieces = connected_components(&mask, Connectivity::TwentySix);
/// assert_eq!(pieces.sizes(), [2, 2]);
/// assert_eq!(pieces.labels().voxels(), [1, 0, 0, 2, 0, 1, 0, 2]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
///
/// # Panics
/// If the foreground has 2³² stretches along x or more: masks of at least 8 GiB.
#[must_use]
pub fn connected_components(mask: &LabelVolume, connectivity: Connectivity) -> Components {
    let pieces = Pieces::of(mask, Selection::IsNot(0), connectivity);
    let mut labels = Volume::filled(*mask.grid(), 0u32);
    pieces.paint(labels.voxels_mut(), |_, voxels, piece| voxels.fill(piece));
    Components { labels, sizes: pieces.sizes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ALL_CONNECTIVITIES, flood, masks, same_pieces};
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    fn cube(size: [usize; 3], inside: impl FnMut([usize; 3]) -> bool) -> LabelVolume {
        let mut inside = inside;
        let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
        LabelVolume::from_fn(grid, |v| u8::from(inside(v)))
    }

    #[test]
    fn voxels_that_share_a_face_an_edge_or_a_corner_touch_as_the_connectivity_says() {
        for (other, touches) in
            [([1, 1, 2], [true; 3]), ([2, 1, 0], [false, true, true]), ([0, 2, 2], [false, false, true])]
        {
            let mask = cube([3; 3], |v| v == [1, 1, 1] || v == other);
            for (connectivity, touches) in ALL_CONNECTIVITIES.into_iter().zip(touches) {
                let expected = if touches { 1 } else { 2 };
                assert_eq!(
                    connected_components(&mask, connectivity).sizes().len(),
                    expected,
                    "{other:?} {connectivity:?}"
                );
            }
        }
    }

    #[test]
    fn a_checkerboard_is_single_voxels_by_faces_and_one_piece_by_edges() {
        let mask = cube([5, 4, 20], |[x, y, z]| (x + y + z) % 2 == 0);
        assert_eq!(connected_components(&mask, Connectivity::Six).sizes(), [1; 200]);
        assert_eq!(connected_components(&mask, Connectivity::Eighteen).sizes(), [200]);
        assert_eq!(connected_components(&mask, Connectivity::TwentySix).sizes(), [200]);
    }

    #[test]
    fn arms_that_meet_only_in_the_last_plane_are_one_piece() {
        // Every column is a piece of its own until the plane that joins them all, many slabs further on.
        let mask = cube([70, 3, 40], |[x, y, z]| z == 39 || (x % 2 == 0 && y % 2 == 0));
        for connectivity in ALL_CONNECTIVITIES {
            let found = connected_components(&mask, connectivity);
            assert_eq!(found.sizes(), [70 * 39 + 70 * 3]);
            assert_eq!(found.largest(), Some(1));
        }
    }

    #[test]
    fn an_empty_mask_has_no_pieces_and_a_full_one_has_one() {
        let empty = connected_components(&cube([4, 5, 6], |_| false), Connectivity::Six);
        assert_eq!((empty.sizes(), empty.largest()), (&[][..], None));
        let full = connected_components(&cube([4, 5, 6], |_| true), Connectivity::Six);
        assert_eq!((full.sizes(), full.largest()), (&[120][..], Some(1)));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let mask = cube([65, 30, 50], |[x, y, z]| (x * 7 + y * 13 + z * 5 + x * y * z) % 11 < 4);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| connected_components(&mask, Connectivity::Eighteen))
        };
        let (one, four) = (with(1), with(4));
        assert_eq!(one.labels(), four.labels());
        assert_eq!(one.sizes(), four.sizes());
    }

    proptest! {
        #[test]
        fn pieces_are_those_of_flooding(mask in masks([1..9, 1..9, 1..20])) {
            for connectivity in ALL_CONNECTIVITIES {
                let found = connected_components(&mask, connectivity);
                let (ids, sizes) = flood(&mask, connectivity);
                prop_assert_eq!(found.labels().voxels(), &ids[..]);
                prop_assert_eq!(found.sizes(), &sizes[..]);
            }
        }

        #[test]
        fn pieces_of_long_rows_are_those_of_flooding(mask in masks([60..140, 1..4, 1..4])) {
            for connectivity in ALL_CONNECTIVITIES {
                let found = connected_components(&mask, connectivity);
                let (ids, sizes) = flood(&mask, connectivity);
                prop_assert_eq!(found.labels().voxels(), &ids[..]);
                prop_assert_eq!(found.sizes(), &sizes[..]);
            }
        }

        #[test]
        fn other_labels_leave_the_pieces_as_they_are(mask in masks([1..9, 1..9, 1..12]), swap in 1u8..=255) {
            let relabelled = mask.map(|label| if label == 0 { 0 } else { label.wrapping_mul(2) ^ swap | 1 });
            for connectivity in ALL_CONNECTIVITIES {
                let (a, b) = (connected_components(&mask, connectivity), connected_components(&relabelled, connectivity));
                prop_assert_eq!(a.labels(), b.labels());
                prop_assert_eq!(a.sizes(), b.sizes());
            }
        }

        #[test]
        fn a_mirrored_mask_has_the_mirrored_pieces(mask in masks([1..9, 1..9, 1..20]), axis in 0usize..3) {
            let size = mask.size();
            let mirror = |mut v: [usize; 3]| { v[axis] = size[axis] - 1 - v[axis]; v };
            let mirrored = LabelVolume::from_fn(*mask.grid(), |v| mask[mirror(v)]);
            for connectivity in ALL_CONNECTIVITIES {
                let there = connected_components(&mirrored, connectivity);
                let back = Volume::from_fn(*mask.grid(), |v| there.labels()[mirror(v)]);
                let found = connected_components(&mask, connectivity);
                prop_assert!(same_pieces(found.labels().voxels(), back.voxels()));
            }
        }

        #[test]
        fn more_neighbours_never_make_more_pieces(mask in masks([1..9, 1..9, 1..12])) {
            let [six, eighteen, all] = ALL_CONNECTIVITIES.map(|c| connected_components(&mask, c));
            prop_assert!(six.sizes().len() >= eighteen.sizes().len());
            prop_assert!(eighteen.sizes().len() >= all.sizes().len());
            let foreground = mask.voxels().iter().filter(|&&label| label != 0).count();
            for found in [six, eighteen, all] {
                prop_assert_eq!(found.sizes().iter().sum::<usize>(), foreground);
            }
        }
    }
}
