//! From the class scores of a coarse grid to the labels of a fine one, without scores of the fine one.
//!
//! Label(i) = arg max over k of s_k(t), where t is where voxel i lies in the scores' grid and s_k is linear
//! between its centres along each axis (trilinear).
//!
//! Between eight neighbouring centres, a *cell*, a class lies between its smallest and its largest corner.
//! A class whose largest corner is below another's smallest corner cannot win anywhere in the cell. Where
//! that leaves one class, as it does away from the organs' borders, the cell's voxels are filled with it;
//! where it leaves two, the sign of their difference decides, and that is linear too: one interpolation
//! for both. So the work grows with the surface of the labels rather than with voxels times classes.
//!
//! Cells are worked off by their z, in parallel, each writing the planes that lie in it. Beyond scores and
//! labels there are a few rows of scores for each thread.

mod cells;
mod lead;
mod oblique;
mod slab;

use rayon::prelude::*;

use crate::resample::aligned;
use crate::simd::vectorized;
use crate::{Grid, LabelVolume, Orientation, Volume, VolumeError, reorient, reoriented_grid};

use cells::axis_cells;

/// Scores that are looked at together.
const PIECE: usize = 1 << 14;

/// Labels have eight bits.
const MAX_CLASSES: usize = 256;

/// The label of the highest score at each voxel of `target`, for `scores` on `score_grid`: class by class,
/// each x fastest, as the (C, D, H, W) output of a network lies in memory.
///
/// Scores are linear between the centres of their voxels; beyond the outermost centres the border's score
/// goes on, however far. Where classes are equally high, the smaller one is taken. Scores may be logits or
/// probabilities, which gives different labels between the centres.
///
/// The cost is that of writing the labels plus interpolation near the borders between classes. If the axes
/// of both grids run along the same lines, nothing but labels and a few rows is allocated; if they are
/// permuted, the scores are copied once; on oblique grids all classes are interpolated at every voxel.
///
/// ```
/// use organseg_volume::{Grid, Spacing, labels_from_scores};
/// let fine = Grid::with_spacing([6, 1, 1], Spacing::isotropic(1.0)?)?;
/// let coarse = fine.decimated([3, 1, 1])?; // two voxels, at 1 and 4
/// let scores = [0.0, 0.0, -1.5, 2.0]; // by how much the second class leads: −1.5, −1.5, −0.33, 0.83, 2, 2
/// let labels = labels_from_scores(&scores, 2, &coarse, &fine)?;
/// assert_eq!(labels.voxels(), [0, 0, 0, 1, 1, 1]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
///
/// # Errors
/// [`VolumeError::ClassCount`] for none or more than 256 classes, [`VolumeError::ScoreCount`] if there is
/// not one score for each class and voxel, [`VolumeError::InvalidScore`] for a NaN or an infinity.
pub fn labels_from_scores(
    scores: &[f32],
    classes: usize,
    score_grid: &Grid,
    target: &Grid,
) -> Result<LabelVolume, VolumeError> {
    check(scores, classes, score_grid)?;
    let own = Orientation::of(score_grid.affine());
    let orientation = own.in_order_of(Orientation::of(target.affine()));
    if own == orientation {
        return Ok(labels_of(scores, score_grid, target));
    }
    let mut turned = Vec::with_capacity(scores.len());
    for class in scores.chunks(score_grid.voxel_count()) {
        let class = Volume::from_vec(*score_grid, class.to_vec())?;
        turned.extend_from_slice(reorient(&class, orientation).voxels());
    }
    Ok(labels_of(&turned, &reoriented_grid(score_grid, orientation), target))
}

/// [`labels_from_scores`] for sound scores whose axes run along the target's.
fn labels_of(scores: &[f32], score_grid: &Grid, target: &Grid) -> LabelVolume {
    let map = score_grid.affine().inverse().after(target.affine());
    let (coarse, size) = (score_grid.size(), target.size());
    let mut labels = vec![0; target.voxel_count()];
    if let Some(axes) = aligned(&map) {
        let axes = [0, 1, 2].map(|a| axis_cells(axes[a], coarse[a], size[a]));
        let mut rest = labels.as_mut_slice();
        let mut slabs = Vec::with_capacity(axes[2].cells.len());
        for cell in &axes[2].cells {
            let (planes, after) = rest.split_at_mut(cell.voxels.len() * size[0] * size[1]);
            slabs.push((cell, planes));
            rest = after;
        }
        slabs.into_par_iter().for_each_init(
            || slab::Slab::new(scores, coarse, [&axes[0], &axes[1], &axes[2]], size),
            |slab, (cell, planes)| {
                vectorized(
                    #[inline(always)]
                    || slab.label(cell, planes),
                );
            },
        );
    } else {
        oblique::label(scores, coarse, &map, size, &mut labels);
    }
    Volume::from_vec(*target, labels).expect("one label for each of the target's voxels")
}

fn check(scores: &[f32], classes: usize, grid: &Grid) -> Result<(), VolumeError> {
    if !(1..=MAX_CLASSES).contains(&classes) {
        return Err(VolumeError::ClassCount { found: classes });
    }
    let (size, voxels) = (grid.size(), grid.voxel_count());
    let expected = classes.saturating_mul(voxels);
    if scores.len() != expected {
        return Err(VolumeError::ScoreCount { classes, size, found: scores.len(), expected });
    }
    // Whole pieces without a branch, which vectorises; the first bad one is then looked through.
    let sound = |piece: &[f32]| piece.iter().fold(true, |sound, score| sound & score.is_finite());
    let piece = scores.par_chunks(PIECE).position_first(|piece| !sound(piece));
    let bad = piece.and_then(|piece| (piece * PIECE..scores.len()).find(|&at| !scores[at].is_finite()));
    match bad {
        None => Ok(()),
        Some(at) => {
            let voxel = at % voxels;
            let voxel = [voxel % size[0], voxel / size[0] % size[1], voxel / (size[0] * size[1])];
            Err(VolumeError::InvalidScore { class: at / voxels, voxel, found: scores[at] })
        }
    }
}

#[cfg(test)]
mod tests;
