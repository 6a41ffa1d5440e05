//! Which connected pieces of a mask are organs and not strays.
//!
//! A piece counts if it has at least a share of the voxels that the largest piece has: in all, or of one label. So a small
//! organ far from a large one counts beside it, and each label's strays are measured by that label. Of a label that is not
//! in the scan the largest piece is a stray: what counts by its label alone has some volume.

use std::collections::BTreeMap;

use organseg_roi::{Connectivity, connected_components};
use organseg_volume::{Label, LabelVolume};

use crate::report::{NOTABLE_ML, voxel_ml};

/// `mask` with those pieces alone (26 neighbours, whatever the labels within them) that have `share` of the largest
/// one's voxels, or of some label `share` of the voxels of the piece that has most of it, and [`NOTABLE_ML`].
pub(crate) fn main_pieces(mask: &LabelVolume, share: f64) -> LabelVolume {
    let components = connected_components(mask, Connectivity::TwentySix);
    let ids = components.labels().voxels();
    let mut of_label: BTreeMap<(Label, u32), usize> = BTreeMap::new();
    for (&id, &label) in ids.iter().zip(mask.voxels()).filter(|&(&id, _)| id > 0) {
        *of_label.entry((label, id)).or_default() += 1;
    }
    let mut most: BTreeMap<Label, usize> = BTreeMap::new();
    for (&(label, _), &count) in &of_label {
        let most = most.entry(label).or_default();
        *most = count.max(*most);
    }
    let enough = |count: usize, most: usize| count as f64 >= share * most as f64;
    let largest = components.sizes().iter().copied().max().unwrap_or(0);
    let mut kept: Vec<bool> = components.sizes().iter().map(|&size| enough(size, largest)).collect();
    for (&(label, id), &count) in &of_label {
        let notable = count as f64 * voxel_ml(mask.grid()) >= NOTABLE_ML;
        kept[id as usize - 1] |= notable && enough(count, most[&label]);
    }
    let voxels = ids.iter().zip(mask.voxels());
    let voxels = voxels.map(|(&id, &label)| if id > 0 && kept[id as usize - 1] { label } else { 0 });
    LabelVolume::from_vec(*mask.grid(), voxels.collect()).expect("one label for each voxel of the grid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    /// Voxels of 1 ml.
    fn kept(voxels: &[u8], share: f64) -> Vec<u8> {
        kept_at(voxels, share, 10.0)
    }

    fn kept_at(voxels: &[u8], share: f64, spacing_mm: f64) -> Vec<u8> {
        let spacing = Spacing::isotropic(spacing_mm).unwrap();
        let grid = Grid::with_spacing([voxels.len(), 1, 1], spacing).unwrap();
        main_pieces(&LabelVolume::from_vec(grid, voxels.to_vec()).unwrap(), share).into_vec()
    }

    #[test]
    fn a_small_organ_is_kept_beside_a_large_one_and_its_own_strays_are_not() {
        let mask = [1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 0, 2, 0, 1, 0, 0];
        let main = [1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 2, 2, 0, 0, 0, 0, 0, 0];
        assert_eq!(kept(&mask, 0.5), main);
        assert_eq!(kept(&mask, 0.0), mask);
        // As small as a stray, it is one.
        let large = [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(kept_at(&mask, 0.5, 1.0), large);
    }

    #[test]
    fn a_piece_of_several_labels_is_one() {
        // The piece with most of label 2 is kept with its one voxel of label 1.
        assert_eq!(kept(&[1, 1, 1, 1, 0, 2, 1, 2, 0, 1], 0.6), [1, 1, 1, 1, 0, 2, 1, 2, 0, 0]);
        assert_eq!(kept(&[0, 0], 0.1), [0, 0]);
    }
}
