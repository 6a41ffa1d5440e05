//! What is done with a finished mask, on the scan's own grid, if it is asked for.
//!
//! Per label, so that organs do not decide on each other: first pieces go, then holes are filled, also those that pieces
//! left behind.

use organseg_roi::{
    Connectivity, fill_holes_of_each_label, largest_component_of_each_label,
    remove_small_components_of_each_label,
};
use organseg_volume::LabelVolume;

use crate::PredictionConfig;
use crate::report::voxel_ml;

/// `mask` as `prediction` wants it, and how many voxels of each label were left out on the way, by label.
pub(crate) fn postprocess(mask: LabelVolume, prediction: &PredictionConfig) -> (LabelVolume, Vec<usize>) {
    let mut dropped = vec![0; 256];
    let least = least_voxels(prediction.least_volume_ml, voxel_ml(mask.grid()));
    let mut kept = mask;
    if prediction.keep_largest {
        kept = replace(&kept, &mut dropped, |m| largest_component_of_each_label(m, Connectivity::TwentySix));
    }
    if least > 1 {
        kept = replace(&kept, &mut dropped, |m| {
            remove_small_components_of_each_label(m, least, Connectivity::TwentySix)
        });
    }
    if prediction.fill_holes {
        kept = fill_holes_of_each_label(&kept);
    }
    (kept, dropped)
}

/// Voxels of `voxel_ml` millilitres that make up `least_ml`. A volume of so many voxels is not to be lost to rounding.
fn least_voxels(least_ml: f64, voxel_ml: f64) -> usize {
    const ROUNDING: f64 = 1e-9;
    (least_ml / voxel_ml * (1.0 - ROUNDING)).ceil() as usize
}

/// What `change` leaves of `mask`; `dropped` counts the rest by label.
fn replace(
    mask: &LabelVolume,
    dropped: &mut [usize],
    change: impl FnOnce(&LabelVolume) -> LabelVolume,
) -> LabelVolume {
    let kept = change(mask);
    for (&before, _) in mask.voxels().iter().zip(kept.voxels()).filter(|&(before, after)| before != after) {
        dropped[usize::from(before)] += 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    /// Voxels of 0.125 ml: label 1 hollow, with a stray, label 2 in two pieces.
    fn mask() -> LabelVolume {
        let grid = Grid::with_spacing([12, 5, 5], Spacing::isotropic(5.0).unwrap()).unwrap();
        LabelVolume::from_fn(grid, |[x, y, z]| match (x, y, z) {
            (2, 2, 2) => 0,
            (1..=3, 1..=3, 1..=3) => 1,
            (6, 0, 0) => 1,
            (8, 1..=4, 1) => 2,
            (11, 1..=2, 1) => 2,
            _ => 0,
        })
    }

    fn found(prediction: PredictionConfig) -> ([usize; 3], usize, usize) {
        let (kept, dropped) = postprocess(mask(), &prediction);
        let count = |label: u8| kept.voxels().iter().filter(|&&v| v == label).count();
        ([count(0), count(1), count(2)], dropped[1], dropped[2])
    }

    #[test]
    fn nothing_is_done_that_nobody_asked_for() {
        assert_eq!(postprocess(mask(), &PredictionConfig::default()), (mask(), vec![0; 256]));
    }

    #[test]
    fn each_label_keeps_its_largest_piece() {
        let prediction = PredictionConfig::default().with_keep_largest(true);
        assert_eq!(found(prediction), ([270, 26, 4], 1, 2));
    }

    #[test]
    fn pieces_of_the_least_volume_stay_and_smaller_ones_go() {
        let least = |ml| found(PredictionConfig::default().with_least_volume_ml(ml));
        assert_eq!(least(0.25), ([268, 26, 6], 1, 0));
        assert_eq!(least(0.26), ([270, 26, 4], 1, 2));
        assert_eq!(least(0.51), ([274, 26, 0], 1, 6));
        assert_eq!(least(0.1), ([267, 27, 6], 0, 0));
        // A whole number of voxels that is none in floating point.
        assert_eq!(least_voxels(0.3, 0.1), 3);
        assert_eq!(least_voxels(0.0, 0.1), 0);
    }

    #[test]
    fn holes_are_filled_and_are_no_loss() {
        let prediction = PredictionConfig::default().with_fill_holes(true);
        assert_eq!(found(prediction), ([266, 28, 6], 0, 0));
        let both = prediction.with_keep_largest(true).with_least_volume_ml(1.0);
        assert_eq!(found(both), ([273, 27, 0], 1, 6));
    }
}
