//! Background enclosed by foreground.

use std::sync::atomic::{AtomicU16, Ordering};

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

/// `mask` with every hole that one label encloses alone given that label: each piece of background, connected through
/// faces, that has no voxel on a face of the volume and whose neighbours through faces are all of one label. What lies
/// between several labels stays background: fat between organs is no hole in any of them.
///
/// ```
/// use organseg_roi::fill_holes_of_each_label;
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([6, 3, 3], Spacing::isotropic(1.0)?)?;
/// // A hole in label 2, and one between labels 2 and 5.
/// let mut mask = LabelVolume::from_fn(grid, |[x, _, _]| if x < 4 { 2 } else { 5 });
/// mask[[1, 1, 1]] = 0;
/// mask[[4, 1, 1]] = 0;
/// let filled = fill_holes_of_each_label(&mask);
/// assert_eq!((filled[[1, 1, 1]], filled[[4, 1, 1]]), (2, 0));
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn fill_holes_of_each_label(mask: &LabelVolume) -> LabelVolume {
    let background = Pieces::of(mask, Selection::Is(0), Connectivity::Six);
    let open = background.reach_border();
    let around: Vec<AtomicU16> = open.iter().map(|_| AtomicU16::new(NOTHING)).collect();
    let [nx, ny, _] = mask.size();
    let labels = mask.voxels();
    let mut filled = mask.clone();
    background.paint(filled.voxels_mut(), |place, _, piece| {
        if open[piece as usize] {
            return;
        }
        // Away from the faces of the volume, so that there are neighbours on all sides.
        let rows = [nx, nx * ny].into_iter().flat_map(|step| {
            let (before, after) =
                (place.start - step..place.end - step, place.start + step..place.end + step);
            labels[before].iter().chain(&labels[after])
        });
        let ends = [&labels[place.start - 1], &labels[place.end]];
        for &label in rows.chain(ends).filter(|&&label| label != 0) {
            see(&around[piece as usize], label);
        }
    });
    background.paint(filled.voxels_mut(), |_, voxels, piece| {
        if let Ok(label @ 1..) = Label::try_from(around[piece as usize].load(Ordering::Relaxed)) {
            voxels.fill(label);
        }
    });
    filled
}

/// What is around a piece, if it is not one label.
const NOTHING: u16 = 0;
const SEVERAL: u16 = 256;

/// Adds `label` to what is `around` a piece; in whatever order, it comes to the same.
fn see(around: &AtomicU16, label: Label) {
    let label = u16::from(label);
    let before = around.load(Ordering::Relaxed);
    if before == label || before == SEVERAL {
        return;
    }
    let seen = around.compare_exchange(NOTHING, label, Ordering::Relaxed, Ordering::Relaxed);
    if seen.is_err_and(|other| other != label) {
        around.store(SEVERAL, Ordering::Relaxed);
    }
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

    #[test]
    fn a_hole_with_something_else_in_it_is_left() {
        let mask = cube(7, |v| match v.iter().map(|&i| i.abs_diff(3)).max() {
            Some(2..) => 1,
            Some(0) => 2,
            _ => 0,
        });
        assert_eq!(fill_holes_of_each_label(&mask), mask);
        let hollow = mask.map(|label| u8::from(label == 1));
        assert_eq!(fill_holes_of_each_label(&hollow), cube(7, |_| 1));
    }

    proptest! {
        /// Masks of many and of few labels, and dense ones, which have holes.
        #[test]
        fn holes_of_each_label_are_those_that_flooding_finds(
            mask in masks([3..8, 3..8, 3..12]), labels in 1u8..4, seed in 0usize..7,
        ) {
            let mask = LabelVolume::from_fn(*mask.grid(), |v| {
                let sparse = mask[v] == 0 && (v[0] + 2 * v[1] + 3 * v[2] + seed) % 3 > 0;
                if sparse { 1 } else { mask[v].min(labels) }
            });
            let (ids, sizes) = flood(&mask.map(|label| u8::from(label == 0)), Connectivity::Six);
            let size = mask.size();
            let mut neighbours = vec![std::collections::BTreeSet::new(); sizes.len() + 1];
            for (i, &id) in ids.iter().enumerate().filter(|&(_, &id)| id > 0) {
                let v = [i % size[0], i / size[0] % size[1], i / size[0] / size[1]];
                for (a, forward) in (0..3).flat_map(|a| [(a, false), (a, true)]) {
                    let mut next = v;
                    next[a] = if forward { v[a] + 1 } else { v[a].wrapping_sub(1) };
                    // Beyond the volume is something that no label is.
                    let label = if next[a] < size[a] { i32::from(mask[next]) } else { -1 };
                    if label != 0 {
                        neighbours[id as usize].insert(label);
                    }
                }
            }
            let label_of = |id: u32| match neighbours[id as usize].iter().copied().collect::<Vec<_>>()[..] {
                [label] if label > 0 => label as u8,
                _ => 0,
            };
            let expected: Vec<u8> =
                ids.iter().zip(mask.voxels()).map(|(&id, &v)| if id > 0 { label_of(id) } else { v }).collect();
            let filled = fill_holes_of_each_label(&mask);
            prop_assert_eq!(filled.voxels(), &expected[..]);
        }

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
