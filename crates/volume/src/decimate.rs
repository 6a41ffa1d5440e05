//! Blocks of voxels become one voxel, and back onto the exact grid they came from.
//!
//! Along each axis R voxels make one; the last block has what is left. See
//! [`Grid::decimated`](crate::Grid::decimated) for the grid.

use rayon::prelude::*;

use crate::resample::means_of_blocks;
use crate::{Grid, Label, LabelVolume, Volume, VolumeError, Voxel};

/// Which label a block of voxels gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LabelRule {
    /// The most frequent one; the smallest of those that are equally frequent, but any before background.
    #[default]
    Majority,
    /// The most frequent one that is not background, if there is any; the smallest of those that are
    /// equally frequent. Nothing gets lost, and thin organs get thicker.
    Any,
    /// As `Majority`, but voxels of this label, which nobody annotated, have no vote: a block gets it only where it
    /// has no other voxels. One annotated slice in four is enough for all blocks of four slices to have a label.
    MajorityWithout(Label),
}

/// Each voxel the mean of the block of `factors` voxels that it stands for, as many as there are: what
/// [`resample`](crate::resample) with [`Interpolation::Area`](crate::Interpolation::Area) gives on the
/// decimated grid. Sums are in single precision, in a fixed order.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, decimate_mean};
/// let grid = Grid::with_spacing([5, 1, 1], Spacing::isotropic(1.0)?)?;
/// let volume = Volume::from_vec(grid, vec![1.0, 2.0, 5.0, 7.0, 9.0])?;
/// assert_eq!(decimate_mean(&volume, [2, 1, 1])?.voxels(), [1.5, 6.0, 9.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
///
/// # Errors
/// As [`Grid::decimated`].
pub fn decimate_mean(volume: &Volume<f32>, factors: [usize; 3]) -> Result<Volume<f32>, VolumeError> {
    let grid = volume.grid().decimated(factors)?;
    Volume::from_vec(grid, means_of_blocks(volume, factors))
}

/// Each voxel the label that `rule` picks from the block of `factors` voxels that it stands for.
///
/// # Errors
/// As [`Grid::decimated`].
pub fn decimate_labels(
    labels: &LabelVolume,
    factors: [usize; 3],
    rule: LabelRule,
) -> Result<LabelVolume, VolumeError> {
    decimate(labels, factors, |block: &mut [u8]| {
        if block.iter().all(|&label| label == block[0]) {
            return block[0];
        }
        block.sort_unstable();
        let mut best = (0, 0);
        for run in block.chunk_by(|a, b| a == b) {
            let passed_over = match rule {
                LabelRule::Majority => false,
                LabelRule::Any => run[0] == 0,
                LabelRule::MajorityWithout(label) => run[0] == label,
            };
            let beats_background = best.1 == 0 && run.len() == best.0;
            if !passed_over && (run.len() > best.0 || beats_background) {
                best = (run.len(), run[0]);
            }
        }
        best.1
    })
}

/// `volume` with `of` applied to each block.
fn decimate<T: Voxel>(
    volume: &Volume<T>,
    factors: [usize; 3],
    of: impl Fn(&mut [T]) -> T + Sync,
) -> Result<Volume<T>, VolumeError> {
    let grid = volume.grid().decimated(factors)?;
    let (old, new) = (volume.size(), grid.size());
    let mut voxels = vec![T::default(); grid.voxel_count()];
    voxels.par_chunks_mut(new[0] * new[1]).enumerate().for_each(|(z, plane)| {
        let mut block = Vec::with_capacity(factors.iter().product());
        let range = |i: usize, a: usize| i * factors[a]..((i + 1) * factors[a]).min(old[a]);
        for (i, voxel) in plane.iter_mut().enumerate() {
            let (xs, ys) = (range(i % new[0], 0), range(i / new[0], 1));
            block.clear();
            for z in range(z, 2) {
                for y in ys.clone() {
                    let row = old[0] * (y + old[1] * z);
                    block.extend_from_slice(&volume.voxels()[row + xs.start..row + xs.end]);
                }
            }
            *voxel = of(&mut block);
        }
    });
    Volume::from_vec(grid, voxels)
}

/// `volume`, which lies on `original.decimated(factors)`, on `original`: each voxel the value of its
/// block.
///
/// # Errors
/// [`VolumeError::SizeMismatch`] or [`VolumeError::GeometryMismatch`] if it lies elsewhere.
pub fn upsample_nearest<T: Voxel>(
    volume: &Volume<T>,
    factors: [usize; 3],
    original: &Grid,
) -> Result<Volume<T>, VolumeError> {
    original.decimated(factors)?.check_same(volume.grid())?;
    let (coarse, full) = (volume.size(), original.size());
    let mut voxels = vec![T::default(); original.voxel_count()];
    voxels.par_chunks_mut(full[0] * full[1]).enumerate().for_each(|(z, plane)| {
        for (y, row) in plane.chunks_mut(full[0]).enumerate() {
            let source = coarse[0] * (y / factors[1] + coarse[1] * (z / factors[2]));
            let source = &volume.voxels()[source..source + coarse[0]];
            for (block, &value) in row.chunks_mut(factors[0]).zip(source) {
                block.fill(value);
            }
        }
    });
    Volume::from_vec(*original, voxels)
}

/// `volume`, which lies on `original.decimated(factors)`, on `original`, linear between the centres of
/// the blocks and constant beyond the outermost.
///
/// # Errors
/// As [`upsample_nearest`].
pub fn upsample_linear(
    volume: &Volume<f32>,
    factors: [usize; 3],
    original: &Grid,
) -> Result<Volume<f32>, VolumeError> {
    original.decimated(factors)?.check_same(volume.grid())?;
    // The two blocks around voxel i of an axis, and the share of the second. Without one it is the first again: zero
    // times what is not finite is not 0.
    let between = |i: usize, a: usize| {
        let last = volume.size()[a] - 1;
        let at = ((i as f64 - (factors[a] as f64 - 1.0) / 2.0) / factors[a] as f64).clamp(0.0, last as f64);
        let below = (at.floor() as usize).min(last);
        let share = (at - below as f64) as f32;
        (below, if share > 0.0 { (below + 1).min(last) } else { below }, share)
    };
    let [nx, ny, nz] = original.size();
    let along = [nx, ny, nz].map(|n| n).into_iter().enumerate();
    let taps: Vec<Vec<_>> = along.map(|(a, n)| (0..n).map(|i| between(i, a)).collect()).collect();
    let coarse = volume.size();
    let mut voxels = vec![0.0; original.voxel_count()];
    voxels.par_chunks_mut(nx * ny).zip(&taps[2]).for_each(|(plane, &(z0, z1, tz))| {
        let mut line = vec![0.0; coarse[0]];
        for (row, &(y0, y1, ty)) in plane.chunks_mut(nx).zip(&taps[1]) {
            let source =
                |y: usize, z: usize| &volume.voxels()[coarse[0] * (y + coarse[1] * z)..][..coarse[0]];
            let corners = [source(y0, z0), source(y1, z0), source(y0, z1), source(y1, z1)];
            for (x, value) in line.iter_mut().enumerate() {
                let near = corners[0][x] + ty * (corners[1][x] - corners[0][x]);
                let far = corners[2][x] + ty * (corners[3][x] - corners[2][x]);
                *value = near + tz * (far - near);
            }
            for (voxel, &(x0, x1, tx)) in row.iter_mut().zip(&taps[0]) {
                *voxel = line[x0] + tx * (line[x1] - line[x0]);
            }
        }
    });
    Volume::from_vec(*original, voxels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spacing;
    use proptest::prelude::*;

    fn grid(size: [usize; 3]) -> Grid {
        Grid::with_spacing(size, Spacing::new([0.7, 0.8, 2.5]).unwrap()).unwrap()
    }

    #[test]
    fn rules_for_labels_are_as_stated() {
        let labels = |v: Vec<u8>| LabelVolume::from_vec(grid([v.len(), 1, 1]), v).unwrap();
        let picked =
            |v: &[u8], rule| decimate_labels(&labels(v.to_vec()), [v.len(), 1, 1], rule).unwrap().voxels()[0];
        assert_eq!(picked(&[0, 0, 0, 1], LabelRule::Majority), 0);
        assert_eq!(picked(&[0, 0, 2, 2], LabelRule::Majority), 2, "any label before background");
        assert_eq!(picked(&[3, 3, 2, 2], LabelRule::Majority), 2, "the smallest of equals");
        assert_eq!(picked(&[0, 0, 0, 1], LabelRule::Any), 1);
        assert_eq!(picked(&[0, 3, 3, 1], LabelRule::Any), 3);
        assert_eq!(picked(&[0, 0, 0, 0], LabelRule::Any), 0);
        let annotated = LabelRule::MajorityWithout(9);
        assert_eq!(picked(&[9, 9, 0, 9], annotated), 0);
        assert_eq!(picked(&[9, 9, 9, 9, 0, 1], annotated), 1, "any label before background");
        assert_eq!(picked(&[0, 0, 9, 1, 9, 9], annotated), 0);
        assert_eq!(picked(&[9, 9, 9], annotated), 9, "nobody annotated any of them");
        for block in [[0, 0, 0, 1], [0, 0, 2, 2], [3, 3, 2, 2]] {
            assert_eq!(picked(&block, annotated), picked(&block, LabelRule::Majority));
        }
    }

    #[test]
    fn means_are_those_of_what_the_blocks_hold() {
        let full = grid([11, 7, 9]);
        let image = Volume::from_fn(full, |[x, y, z]| ((x * 37 + y * 101 + z * 53) % 211) as f32 - 100.3);
        let factors = [4, 3, 2];
        let mean = decimate_mean(&image, factors).unwrap();
        let expected = Volume::from_fn(full.decimated(factors).unwrap(), |block| {
            let range = |a: usize| block[a] * factors[a]..((block[a] + 1) * factors[a]).min(full.size()[a]);
            let block: Vec<f64> = range(2)
                .flat_map(|z| range(1).flat_map(move |y| range(0).map(move |x| [x, y, z])))
                .map(|voxel| f64::from(image[voxel]))
                .collect();
            (block.iter().sum::<f64>() / block.len() as f64) as f32
        });
        for (found, expected) in mean.voxels().iter().zip(expected.voxels()) {
            assert!((found - expected).abs() < 1e-4, "{found}, expected {expected}");
        }
    }

    #[test]
    fn a_voxel_that_is_not_finite_spoils_its_own_block_only() {
        for bad in [f32::NAN, f32::INFINITY] {
            for axis in 0..3 {
                let along = |n: usize, other: usize| [0, 1, 2].map(|a| if a == axis { n } else { other });
                let line = Volume::from_vec(grid(along(5, 1)), vec![1.0, 2.0, 5.0, bad, 9.0]).unwrap();
                let mean = decimate_mean(&line, along(2, 1)).unwrap();
                assert_eq!([mean.voxels()[0], mean.voxels()[2]], [1.5, 9.0]);
                assert!(!mean.voxels()[1].is_finite());
            }
        }
    }

    #[test]
    fn linear_upsampling_takes_nothing_from_a_block_of_weight_0() {
        for axis in 0..3 {
            let along = |n: usize| [0, 1, 2].map(|a| if a == axis { n } else { 1 });
            let full = grid(along(9));
            let blocks =
                Volume::from_vec(full.decimated(along(3)).unwrap(), vec![1.0, f32::NAN, 4.0]).unwrap();
            let up = upsample_linear(&blocks, along(3), &full).unwrap();
            let finite: Vec<usize> = (0..9).filter(|&i| up.voxels()[i].is_finite()).collect();
            // The centres of the outer blocks, and what lies beyond them.
            assert_eq!(finite, [0, 1, 7, 8]);
        }
    }

    #[test]
    fn linear_upsampling_reproduces_a_ramp_between_the_outer_blocks() {
        let full = grid([12, 9, 6]);
        let value = |v: [f64; 3]| 2.0 * v[0] - v[1] + 0.5 * v[2];
        let ramp = Volume::from_fn(full, |v| value(v.map(|i| i as f64)) as f32);
        let back = upsample_linear(&decimate_mean(&ramp, [3, 3, 2]).unwrap(), [3, 3, 2], &full).unwrap();
        for z in 1..5 {
            for y in 1..8 {
                for x in 1..11 {
                    assert!((back[[x, y, z]] - ramp[[x, y, z]]).abs() < 1e-4);
                }
            }
        }
    }

    #[test]
    fn a_volume_from_another_grid_is_refused() {
        let small = Volume::filled(grid([3, 3, 3]), 1u8);
        assert!(upsample_nearest(&small, [2; 3], &grid([6, 6, 6])).is_err(), "its spacing is the full one");
    }

    proptest! {
        #[test]
        fn decimating_what_was_upsampled_gives_it_back(
            size in prop::array::uniform3(1usize..9), factors in prop::array::uniform3(1usize..5),
        ) {
            let full = grid(size);
            let coarse = full.decimated(factors).unwrap();
            let labels = LabelVolume::from_fn(coarse, |[x, y, z]| ((x * 5 + y * 3 + z * 7) % 4) as u8);
            let up = upsample_nearest(&labels, factors, &full).unwrap();
            prop_assert_eq!(up.grid(), &full);
            for rule in [LabelRule::Majority, LabelRule::Any, LabelRule::MajorityWithout(3)] {
                prop_assert_eq!(&decimate_labels(&up, factors, rule).unwrap(), &labels);
            }
            let image = labels.map(f32::from);
            prop_assert_eq!(decimate_mean(&upsample_nearest(&image, factors, &full).unwrap(), factors).unwrap(), image);
        }
    }
}
