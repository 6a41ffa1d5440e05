//! How far the coarse stage is decimated, how deep a network is, and how large its patches are.

/// The paper's decimation along the finest axis.
const DECIMATION: usize = 4;

/// Voxels that the decimated median scan keeps along each axis at least: two halvings then leave four.
const COARSE_SCAN_VOXELS: usize = 16;

/// Voxels that the organ's box keeps along each axis at least; of fewer, the coarse stage sees no shape.
const COARSE_ORGAN_VOXELS: usize = 3;

/// Voxels that a network's deepest level keeps along the shortest axis at least. nnU-Net keeps four, but halves
/// each axis by itself.
const DEEPEST_VOXELS: usize = 3;

/// Halvings at most: 5 levels.
const MOST_HALVINGS: u32 = 4;

/// Channels of the first level; each level has twice those above it.
const FIRST_CHANNELS: usize = 16;

/// Decimation factors for a median scan of `size` voxels, `spacing_mm` apart, whose organ's box has `organ` voxels.
///
/// Along the finest axis the paper's 4, along others the power of two that brings the coarse spacing nearest to
/// that axis's; halved where too little would be left of scan or organ, but to 2 at the finest axis at least;
/// then doubled along the axis that is finest after decimation while the coarse scan has more than `max_voxels`
/// and enough is left of the organ.
pub(super) fn decimation(
    size: [usize; 3],
    spacing_mm: [f64; 3],
    organ: [usize; 3],
    max_voxels: usize,
) -> [usize; 3] {
    let finest = spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
    let power_of_two = |wanted: f64| 1usize << (wanted.log2().round().clamp(0.0, 10.0) as u32);
    let enough = |a: usize, factor: usize| organ[a] >= COARSE_ORGAN_VOXELS * factor;
    let mut factors = [0, 1, 2].map(|a| {
        let isotropic = |factor: usize| power_of_two(factor as f64 * finest / spacing_mm[a]);
        let (mut factor, least) = (isotropic(DECIMATION), isotropic(2));
        while factor > least && !(enough(a, factor) && size[a] >= COARSE_SCAN_VOXELS * factor) {
            factor /= 2;
        }
        factor
    });
    let coarse = |factors: [usize; 3]| voxels([0, 1, 2].map(|a| size[a].div_ceil(factors[a])));
    while coarse(factors) > max_voxels {
        let spacing = |a: usize| factors[a] as f64 * spacing_mm[a];
        let open = (0..3).filter(|&a| enough(a, 2 * factors[a]));
        let Some(axis) = open.min_by(|&a, &b| spacing(a).total_cmp(&spacing(b))) else { break };
        factors[axis] *= 2;
    }
    factors
}

/// Channels of the levels of a network that sees `size` voxels.
pub(super) fn channels(size: [usize; 3]) -> Vec<usize> {
    let shortest = size.into_iter().min().unwrap_or(1);
    let halvings = (1..=MOST_HALVINGS).take_while(|&h| shortest >= DEEPEST_VOXELS << h).count().max(1);
    (0..=halvings).map(|level| FIRST_CHANNELS << level).collect()
}

/// `size` rounded down to `multiple`, then shrunk along the axis that is longest in millimetres until it has no more
/// than `max_voxels`.
///
/// Down, not up: what is added to a scan teaches nothing and takes as long. In five minutes on MR of the hippocampus
/// (median 35×50×36, fold 1) patches of 32×48×32 led to a mean DSC of 0.879, of 40×56×40 to 0.869, of 24×40×24 to 0.874.
pub(super) fn patch_within(
    size: [usize; 3],
    spacing_mm: [f64; 3],
    multiple: usize,
    max_voxels: usize,
) -> [usize; 3] {
    let mut patch = size.map(|n| (n / multiple).max(1) * multiple);
    while voxels(patch) > max_voxels {
        let length = |a: usize| patch[a] as f64 * spacing_mm[a];
        let open = (0..3).filter(|&a| patch[a] > multiple);
        let Some(longest) = open.max_by(|&a, &b| length(a).total_cmp(&length(b))) else { break };
        patch[longest] -= multiple;
    }
    patch
}

pub(super) fn voxels(size: [usize; 3]) -> usize {
    size.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1 << 20;

    #[test]
    fn patches_are_multiples_and_fit() {
        assert_eq!(patch_within([35, 50, 36], [1.0; 3], 8, LIMIT), [32, 48, 32]);
        assert_eq!(patch_within([5, 8, 17], [1.0; 3], 8, LIMIT), [8, 8, 16]);
        for spacing in [[1.0, 1.0, 1.0], [0.8, 0.8, 2.5], [0.7, 0.7, 5.0]] {
            let patch = patch_within([512, 512, 240], spacing, 8, LIMIT);
            assert!(patch.iter().all(|n| n % 8 == 0) && voxels(patch) <= LIMIT, "{patch:?}");
            // As near to a cube in millimetres as steps of eight voxels allow.
            let length = [0, 1, 2].map(|a| patch[a] as f64 * spacing[a]);
            let step = 8.0 * spacing.into_iter().fold(0.0, f64::max);
            assert!(length.iter().all(|l| (l - length[0]).abs() <= step), "{length:?}");
        }
    }

    #[test]
    fn the_paper_s_scans_are_decimated_by_the_paper_s_factor() {
        assert_eq!(decimation([512, 512, 240], [0.86, 0.86, 1.0], [180, 110, 90], LIMIT), [4; 3]);
        // Thick slices are decimated less, until the scan fits.
        assert_eq!(decimation([512, 512, 95], [0.8, 0.8, 2.5], [190, 120, 35], LIMIT), [4, 4, 2]);
    }

    #[test]
    fn small_scans_and_thin_organs_are_decimated_by_two() {
        assert_eq!(decimation([35, 50, 36], [1.0; 3], [20, 30, 20], LIMIT), [2; 3]);
        assert_eq!(decimation([120, 120, 120], [1.0; 3], [40, 40, 8], LIMIT), [4, 4, 2]);
    }

    #[test]
    fn networks_are_as_deep_as_the_shortest_side_allows() {
        assert_eq!(channels([35, 50, 36]), [16, 32, 64, 128]);
        assert_eq!(channels([28, 24, 18]), [16, 32, 64]);
        assert_eq!(channels([200, 120, 100]), [16, 32, 64, 128, 256]);
        assert_eq!(channels([5, 5, 5]), [16, 32]);
    }
}
