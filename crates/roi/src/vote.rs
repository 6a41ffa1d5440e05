//! Several masks of one scan made into one.
//!
//! The two refined masks and the upsampled coarse mask are combined voxel by voxel, two of three deciding
//! (Zhao et al., MICCAI 2019).

use organseg_volume::{Label, LabelVolume};
use rayon::prelude::*;

use crate::RoiError;

/// Voxels compared at once: masks of one organ agree almost everywhere, and such stretches are copied.
const BLOCK: usize = 128;

/// Each voxel the label that more than half of `masks` give it, background where there is none: of
/// three masks, the label that two agree on. The grid is the first mask's.
///
/// ```
/// use organseg_roi::majority_vote;
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mask = |v: [u8; 4]| LabelVolume::from_vec(grid, v.to_vec());
/// let (a, b, c) = (mask([1, 1, 0, 1])?, mask([1, 0, 0, 2])?, mask([1, 1, 1, 3])?);
/// assert_eq!(majority_vote(&[&a, &b, &c])?.voxels(), [1, 1, 0, 0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RoiError::NoMasks`] without masks, [`RoiError::Volume`] if they lie on different grids.
pub fn majority_vote(masks: &[&LabelVolume]) -> Result<LabelVolume, RoiError> {
    let (first, others) = masks.split_first().ok_or(RoiError::NoMasks)?;
    for mask in others {
        first.grid().check_same(mask.grid())?;
    }
    let [nx, ny, _] = first.size();
    let mut voted = LabelVolume::filled(*first.grid(), 0);
    voted.voxels_mut().par_chunks_mut(nx * ny).enumerate().for_each(|(z, voted)| {
        let slices = masks.iter().map(|mask| &mask.voxels()[z * nx * ny..][..nx * ny]);
        match slices.collect::<Vec<_>>()[..] {
            [a, b, c] => vote_of_three(a, b, c, voted),
            ref slices => vote_of_many(slices, voted),
        }
    });
    Ok(voted)
}

/// The common case, as a choice per voxel that the compiler turns into vector instructions.
fn vote_of_three(a: &[Label], b: &[Label], c: &[Label], voted: &mut [Label]) {
    for (((&a, &b), &c), voted) in a.iter().zip(b).zip(c).zip(voted) {
        *voted = if a == b || a == c {
            a
        } else if b == c {
            b
        } else {
            0
        };
    }
}

fn vote_of_many(slices: &[&[Label]], voted: &mut [Label]) {
    for (block, voted) in voted.chunks_mut(BLOCK).enumerate() {
        let here = block * BLOCK..block * BLOCK + voted.len();
        let agreed = &slices[0][here.clone()];
        if slices[1..].iter().all(|slice| &slice[here.clone()] == agreed) {
            voted.copy_from_slice(agreed);
        } else {
            for (voted, at) in voted.iter_mut().zip(here) {
                *voted = vote(slices, at);
            }
        }
    }
}

/// What more than half of `slices` say of the voxel `at`, in two walks: only the label that is left when
/// different ones are struck off in pairs can have a majority (Boyer & Moore 1981).
fn vote(slices: &[&[Label]], at: usize) -> Label {
    let (mut candidate, mut lead) = (0, 0usize);
    for slice in slices {
        let label = slice[at];
        if lead == 0 {
            candidate = label;
        }
        lead = if label == candidate { lead + 1 } else { lead - 1 };
    }
    let votes = slices.iter().filter(|slice| slice[at] == candidate).count();
    if 2 * votes > slices.len() { candidate } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};
    use proptest::prelude::*;

    fn line(labels: &[u8], spacing_mm: f64) -> LabelVolume {
        let spacing = Spacing::isotropic(spacing_mm).unwrap();
        let grid = Grid::with_spacing([labels.len(), 1, 1], spacing).unwrap();
        LabelVolume::from_vec(grid, labels.to_vec()).unwrap()
    }

    #[test]
    fn two_of_three_decide() {
        for case in 0..8u8 {
            let votes = [0, 1, 2].map(|i| case >> i & 1);
            let masks = votes.map(|v| line(&[v], 1.0));
            let expected = u8::from(votes.iter().sum::<u8>() >= 2);
            let voted = majority_vote(&[&masks[0], &masks[1], &masks[2]]).unwrap();
            assert_eq!(voted.voxels(), [expected], "{votes:?}");
        }
    }

    #[test]
    fn half_is_no_majority() {
        let (a, b) = (line(&[1, 1, 2], 1.0), line(&[1, 0, 1], 1.0));
        assert_eq!(majority_vote(&[&a, &b]).unwrap().voxels(), [1, 0, 0]);
        assert_eq!(majority_vote(&[&a, &b, &a, &b]).unwrap().voxels(), [1, 0, 0]);
    }

    #[test]
    fn one_mask_decides_alone() {
        let a = line(&[1, 0, 2], 1.0);
        assert_eq!(majority_vote(&[&a]).unwrap(), a);
    }

    #[test]
    fn no_masks_and_different_grids_are_refused() {
        assert!(matches!(majority_vote(&[]), Err(RoiError::NoMasks)));
        let (a, b) = (line(&[1, 0, 2], 1.0), line(&[1, 0, 2], 2.0));
        assert!(matches!(majority_vote(&[&a, &b]), Err(RoiError::Volume(_))));
        assert!(matches!(majority_vote(&[&a, &line(&[1, 0], 1.0)]), Err(RoiError::Volume(_))));
    }

    proptest! {
        #[test]
        fn the_label_counted_most_wins_with_more_than_half(
            votes in (1usize..6, 1usize..300).prop_flat_map(|(masks, voxels)| {
                prop::collection::vec(prop::collection::vec(0u8..3, voxels), masks)
            }),
        ) {
            let masks: Vec<_> = votes.iter().map(|v| line(v, 1.0)).collect();
            let voted = majority_vote(&masks.iter().collect::<Vec<_>>()).unwrap();
            for (x, &found) in voted.voxels().iter().enumerate() {
                let count = |label: u8| votes.iter().filter(|v| v[x] == label).count();
                let expected = (0..3).find(|&label| 2 * count(label) > votes.len()).unwrap_or(0);
                prop_assert_eq!(found, expected);
            }
        }
    }
}
