//! From the coarse mask to the two boxes in which the fine network looks.
//!
//! Box 1 is the box of the coarse mask Ŷ^R, grown by 2 coarse voxels and then multiplied by R. Box 2 is
//! the box of Ŷ^R after upsampling by R, grown by 10 voxels. Both are clamped to the scan. (Zhao et al.,
//! MICCAI 2019.)

use organseg_roi::BoundingBox;
use organseg_volume::{Grid, LabelVolume};
use serde::{Deserialize, Serialize};

use crate::main_pieces::main_pieces;
use crate::{Margin, PipelineError};

/// How the candidate boxes are made; the margins are the paper's by default, which keeps all pieces.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoxConfig {
    /// Voxels of the coarse grid by which box 1 is grown on every side before it is scaled.
    pub box1_margin_coarse_voxels: Margin,
    /// Voxels of the full grid by which box 2 is grown on every side.
    pub box2_margin_voxels: Margin,
    /// Connected pieces (26 neighbours) of the coarse mask smaller than this share of the largest, and with less than this
    /// share of what the piece with most of a label has of it, or than half a millilitre of it, are
    /// left out of the boxes: one false voxel far away would otherwise blow both up. 0 keeps all.
    pub min_component_share: f64,
}

impl Default for BoxConfig {
    fn default() -> Self {
        Self { box1_margin_coarse_voxels: 2.into(), box2_margin_voxels: 10.into(), min_component_share: 0.1 }
    }
}

/// The two boxes, in voxels of the full grid, inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateBoxes {
    /// From the coarse grid.
    pub box1: BoundingBox,
    /// From the upsampled mask.
    pub box2: BoundingBox,
}

/// The candidate boxes of `coarse_mask`, which lies on `full.decimated(factors)`; none if it is empty.
///
/// # Errors
/// [`PipelineError::Volume`] if the mask lies on another grid.
///
/// # Examples
/// ```
/// use organseg_pipeline::{BoxConfig, candidate_boxes};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let full = Grid::with_spacing([64, 64, 64], Spacing::isotropic(1.0)?)?;
/// let mut mask = LabelVolume::filled(full.decimated([4; 3])?, 0);
/// mask[[8, 8, 8]] = 1; // voxels 32..36 of the full grid
/// let boxes = candidate_boxes(&mask, [4; 3], &full, &BoxConfig::default())?.expect("not empty");
/// assert_eq!((boxes.box1.min(), boxes.box1.max()), ([24; 3], [44; 3]));
/// assert_eq!((boxes.box2.min(), boxes.box2.max()), ([22; 3], [46; 3]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn candidate_boxes(
    coarse_mask: &LabelVolume,
    factors: [usize; 3],
    full: &Grid,
    config: &BoxConfig,
) -> Result<Option<CandidateBoxes>, PipelineError> {
    full.decimated(factors)?.check_same(coarse_mask.grid())?;
    let main = main_pieces(coarse_mask, config.min_component_share);
    let Some(coarse) = BoundingBox::of_mask(&main) else { return Ok(None) };
    let inside = |b: BoundingBox| b.clamp_to(full.size()).expect("a box around voxels of the scan meets it");
    let box1 = coarse.grow(config.box1_margin_coarse_voxels.along()).scale(factors);
    // Upsampled voxel i is that of block ⌊i / R⌋: the box of the upsampled mask is known without making it.
    let box2 = inside(coarse.scale(factors)).grow(config.box2_margin_voxels.along());
    Ok(Some(CandidateBoxes { box1: inside(box1), box2: inside(box2) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::Spacing;

    fn full() -> Grid {
        Grid::with_spacing([50, 40, 30], Spacing::isotropic(1.0).unwrap()).unwrap()
    }

    #[test]
    fn an_empty_mask_has_no_boxes() {
        let mask = LabelVolume::filled(full().decimated([4; 3]).unwrap(), 0);
        assert!(candidate_boxes(&mask, [4; 3], &full(), &BoxConfig::default()).unwrap().is_none());
    }

    #[test]
    fn box_2_is_that_of_the_mask_upsampled_also_in_blocks_that_the_scan_cuts_short() {
        let (full, factors) = (full(), [4, 3, 7]);
        for voxel in [[0, 0, 0], [12, 13, 4], [5, 6, 2]] {
            let mut mask = LabelVolume::filled(full.decimated(factors).unwrap(), 0);
            mask[voxel] = 1;
            let config = BoxConfig { box2_margin_voxels: 0.into(), ..BoxConfig::default() };
            let boxes = candidate_boxes(&mask, factors, &full, &config).unwrap().unwrap();
            let upsampled = organseg_volume::upsample_nearest(&mask, factors, &full).unwrap();
            assert_eq!(Some(boxes.box2), BoundingBox::of_mask(&upsampled));
        }
    }

    #[test]
    fn boxes_are_clamped_to_the_scan() {
        let mask = LabelVolume::filled(full().decimated([4; 3]).unwrap(), 1);
        let boxes = candidate_boxes(&mask, [4; 3], &full(), &BoxConfig::default()).unwrap().unwrap();
        let scan = BoundingBox::of_grid(&full());
        assert_eq!((boxes.box1, boxes.box2), (scan, scan));
    }

    #[test]
    fn a_stray_voxel_does_not_move_the_boxes() {
        let mut mask = LabelVolume::filled(full().decimated([2; 3]).unwrap(), 0);
        for z in 8..12 {
            for x in 10..14 {
                mask[[x, 10, z]] = 1;
            }
        }
        let config = BoxConfig::default();
        let before = candidate_boxes(&mask, [2; 3], &full(), &config).unwrap();
        mask[[0, 0, 0]] = 1;
        assert_eq!(candidate_boxes(&mask, [2; 3], &full(), &config).unwrap(), before);
        mask[[0, 0, 0]] = 2;
        assert_eq!(candidate_boxes(&mask, [2; 3], &full(), &config).unwrap(), before);
        // A second organ there does.
        let mut two = mask.clone();
        for (x, y, z) in (0..64).map(|i| (i % 4, i / 4 % 4, i / 16)) {
            two[[x, y, z]] = 2;
        }
        assert_ne!(candidate_boxes(&two, [2; 3], &full(), &config).unwrap(), before);
        mask[[0, 0, 0]] = 1;
        let all = BoxConfig { min_component_share: 0.0, ..config };
        assert_ne!(candidate_boxes(&mask, [2; 3], &full(), &all).unwrap(), before);
    }
}
