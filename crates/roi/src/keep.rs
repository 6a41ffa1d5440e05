//! Masks without their smaller pieces.
//!
//! A network's mask often has specks far from the organ; an organ is one piece. Each function returns a
//! mask on the same grid in which the kept voxels have the labels they had and all others are background.

use std::sync::atomic::{AtomicBool, Ordering};

use organseg_volume::{Label, LabelVolume};

use crate::pieces::Pieces;
use crate::runs::Selection;
use crate::{Connectivity, RoiError};

/// `mask` with only the largest connected piece of its foreground, whatever the labels within it; the first
/// in memory of those that are equally large. An empty mask stays empty.
///
/// ```
/// use organseg_roi::{Connectivity, largest_component};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([7, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 1, 0, 2, 1, 3, 0])?;
/// assert_eq!(largest_component(&mask, Connectivity::Six).voxels(), [0, 0, 0, 2, 1, 3, 0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn largest_component(mask: &LabelVolume, connectivity: Connectivity) -> LabelVolume {
    let pieces = Pieces::of(mask, Selection::IsNot(0), connectivity);
    let mut kept = LabelVolume::filled(*mask.grid(), 0);
    let largest = pieces.largest();
    copy_pieces(&pieces, mask, &mut kept, |piece| Some(piece) == largest);
    kept
}

/// `mask` with only the largest connected piece of each of its labels: for several organs, each one piece.
/// Of pieces that are equally large the first in memory is kept. Costs one look at the mask per label.
///
/// ```
/// use organseg_roi::{Connectivity, largest_component_of_each_label};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([7, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 1, 0, 2, 1, 3, 0])?;
/// let kept = largest_component_of_each_label(&mask, Connectivity::Six);
/// assert_eq!(kept.voxels(), [1, 1, 0, 2, 0, 3, 0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn largest_component_of_each_label(mask: &LabelVolume, connectivity: Connectivity) -> LabelVolume {
    let mut kept = LabelVolume::filled(*mask.grid(), 0);
    for label in labels_of(mask) {
        let pieces = Pieces::of(mask, Selection::Is(label), connectivity);
        let largest = pieces.largest();
        copy_pieces(&pieces, mask, &mut kept, |piece| Some(piece) == largest);
    }
    kept
}

/// `mask` without the connected pieces of its foreground, whatever the labels within them, that have fewer
/// than `min_voxels` voxels.
///
/// ```
/// use organseg_roi::{Connectivity, remove_small_components};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([7, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 1, 0, 2, 0, 3, 3])?;
/// let kept = remove_small_components(&mask, 2, Connectivity::Six);
/// assert_eq!(kept.voxels(), [1, 1, 0, 0, 0, 3, 3]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn remove_small_components(
    mask: &LabelVolume,
    min_voxels: usize,
    connectivity: Connectivity,
) -> LabelVolume {
    let pieces = Pieces::of(mask, Selection::IsNot(0), connectivity);
    let mut kept = LabelVolume::filled(*mask.grid(), 0);
    copy_pieces(&pieces, mask, &mut kept, |piece| pieces.sizes[piece as usize - 1] >= min_voxels);
    kept
}

/// `mask` without those connected pieces of each of its labels that have fewer than `min_voxels` voxels. Costs one look at
/// the mask per label.
///
/// ```
/// use organseg_roi::{Connectivity, remove_small_components_of_each_label};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([7, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 1, 2, 0, 0, 3, 3])?;
/// let kept = remove_small_components_of_each_label(&mask, 2, Connectivity::Six);
/// assert_eq!(kept.voxels(), [1, 1, 0, 0, 0, 3, 3]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn remove_small_components_of_each_label(
    mask: &LabelVolume,
    min_voxels: usize,
    connectivity: Connectivity,
) -> LabelVolume {
    let mut kept = LabelVolume::filled(*mask.grid(), 0);
    for label in labels_of(mask) {
        let pieces = Pieces::of(mask, Selection::Is(label), connectivity);
        copy_pieces(&pieces, mask, &mut kept, |piece| pieces.sizes[piece as usize - 1] >= min_voxels);
    }
    kept
}

/// `mask` with only the connected pieces of its foreground, whatever the labels within them, that share a
/// voxel with the foreground of `anchor`.
///
/// ```
/// use organseg_roi::{Connectivity, components_that_meet};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([7, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = LabelVolume::from_vec(grid, vec![1, 1, 0, 2, 1, 0, 3])?;
/// let anchor = LabelVolume::from_vec(grid, vec![0, 0, 1, 1, 0, 0, 0])?;
/// let kept = components_that_meet(&mask, &anchor, Connectivity::Six)?;
/// assert_eq!(kept.voxels(), [0, 0, 0, 2, 1, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RoiError::Volume`] if the two lie on different grids.
pub fn components_that_meet(
    mask: &LabelVolume,
    anchor: &LabelVolume,
    connectivity: Connectivity,
) -> Result<LabelVolume, RoiError> {
    mask.grid().check_same(anchor.grid())?;
    let pieces = Pieces::of(mask, Selection::IsNot(0), connectivity);
    let meets: Vec<AtomicBool> = (0..=pieces.sizes.len()).map(|_| AtomicBool::new(false)).collect();
    let mut kept = LabelVolume::filled(*mask.grid(), 0);
    pieces.paint(kept.voxels_mut(), |place, _, piece| {
        if anchor.voxels()[place].iter().any(|&label| label != 0) {
            meets[piece as usize].store(true, Ordering::Relaxed);
        }
    });
    copy_pieces(&pieces, mask, &mut kept, |piece| meets[piece as usize].load(Ordering::Relaxed));
    Ok(kept)
}

/// The labels in `mask`, without background.
fn labels_of(mask: &LabelVolume) -> impl Iterator<Item = Label> {
    let mut present = [false; 256];
    mask.voxels().iter().for_each(|&label| present[usize::from(label)] = true);
    (1..=Label::MAX).filter(move |&label| present[usize::from(label)])
}

fn copy_pieces(
    pieces: &Pieces,
    mask: &LabelVolume,
    kept: &mut LabelVolume,
    wanted: impl Fn(u32) -> bool + Sync,
) {
    pieces.paint(kept.voxels_mut(), |place, voxels, piece| {
        if wanted(piece) {
            voxels.copy_from_slice(&mask.voxels()[place]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{ALL_CONNECTIVITIES, flood, masks};
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    fn line(labels: &[u8]) -> LabelVolume {
        let grid = Grid::with_spacing([labels.len(), 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        LabelVolume::from_vec(grid, labels.to_vec()).unwrap()
    }

    #[test]
    fn of_equally_large_pieces_the_first_is_kept() {
        let mask = line(&[0, 1, 1, 0, 1, 1]);
        assert_eq!(largest_component(&mask, Connectivity::Six), line(&[0, 1, 1, 0, 0, 0]));
        assert_eq!(largest_component_of_each_label(&mask, Connectivity::Six), line(&[0, 1, 1, 0, 0, 0]));
    }

    #[test]
    fn a_piece_of_exactly_the_minimal_size_stays() {
        let mask = line(&[1, 1, 0, 2, 1, 3, 0]);
        assert_eq!(remove_small_components(&mask, 2, Connectivity::Six), mask);
        assert_eq!(remove_small_components(&mask, 3, Connectivity::Six), line(&[0, 0, 0, 2, 1, 3, 0]));
        assert_eq!(remove_small_components(&mask, 4, Connectivity::Six), line(&[0; 7]));
        assert_eq!(remove_small_components(&mask, 0, Connectivity::Six), mask);
    }

    #[test]
    fn an_empty_mask_stays_empty() {
        let empty = line(&[0; 9]);
        assert_eq!(largest_component(&empty, Connectivity::Six), empty);
        assert_eq!(largest_component_of_each_label(&empty, Connectivity::Six), empty);
        assert_eq!(remove_small_components(&empty, 1, Connectivity::Six), empty);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_flooding_finds(mask in masks([1..9, 1..9, 1..20]), min_voxels in 0usize..20) {
            for connectivity in ALL_CONNECTIVITIES {
                let (ids, sizes) = flood(&mask, connectivity);
                let kept = |wanted: &dyn Fn(u32) -> bool| {
                    let voxels = ids.iter().zip(mask.voxels());
                    voxels.map(|(&id, &v)| if id > 0 && wanted(id) { v } else { 0 }).collect::<Vec<_>>()
                };
                let most = sizes.iter().copied().max().unwrap_or(0);
                let largest = sizes.iter().position(|&n| n == most).map(|i| i as u32 + 1);
                let expected = kept(&|id| Some(id) == largest);
                let found = largest_component(&mask, connectivity);
                prop_assert_eq!(found.voxels(), &expected[..]);
                let expected = kept(&|id| sizes[id as usize - 1] >= min_voxels);
                let found = remove_small_components(&mask, min_voxels, connectivity);
                prop_assert_eq!(found.voxels(), &expected[..]);
            }
        }

        #[test]
        fn what_meets_the_anchor_is_what_flooding_finds(
            (mask, anchor) in (1usize..9, 1usize..9, 1usize..20).prop_flat_map(|(x, y, z)| {
                let sizes = || [x..x + 1, y..y + 1, z..z + 1];
                (masks(sizes()), masks(sizes()))
            }),
        ) {
            let anchor = anchor.map(|label| u8::from(label == 3));
            for connectivity in ALL_CONNECTIVITIES {
                let (ids, _) = flood(&mask, connectivity);
                let found = components_that_meet(&mask, &anchor, connectivity).unwrap();
                for (v, &id) in ids.iter().enumerate() {
                    let meets = ids.iter().zip(anchor.voxels()).any(|(&other, &a)| other == id && a != 0);
                    let expected = if id > 0 && meets { mask.voxels()[v] } else { 0 };
                    prop_assert_eq!(found.voxels()[v], expected);
                }
            }
        }

        #[test]
        fn each_label_keeps_what_it_would_alone(mask in masks([1..9, 1..9, 1..12]), min_voxels in 0usize..9) {
            for connectivity in ALL_CONNECTIVITIES {
                let kept = largest_component_of_each_label(&mask, connectivity);
                let large = remove_small_components_of_each_label(&mask, min_voxels, connectivity);
                for label in 1..=3 {
                    let only = |m: &LabelVolume| m.map(|v| if v == label { v } else { 0 });
                    prop_assert_eq!(only(&kept), largest_component(&only(&mask), connectivity));
                    let alone = remove_small_components(&only(&mask), min_voxels, connectivity);
                    prop_assert_eq!(only(&large), alone);
                }
            }
        }
    }
}
