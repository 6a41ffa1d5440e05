//! How far the coarse stage is decimated, how deep a network is, and how large its patches are.

/// The paper's decimation along the finest axis.
const DECIMATION: usize = 4;

/// Voxels that the decimated median scan keeps along each axis at least: two halvings then leave four.
const COARSE_SCAN_VOXELS: usize = 16;

/// Voxels that the organ's box keeps along each axis at least; of fewer, the coarse stage sees no shape.
const COARSE_ORGAN_VOXELS: usize = 3;

/// Voxels that a network's deepest level keeps along an axis that is halved at least. nnU-Net keeps four.
const DEEPEST_VOXELS: usize = 3;

/// Voxels so many times as long as those of the finest axis are thick slices: they are not halved until the others have
/// caught up, as in nnU-Net.
pub(super) const THICK: f64 = 2.0;

/// Halvings at most: 5 levels.
const MOST_HALVINGS: usize = 4;

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

/// By how much each level but the first of a network that sees `size` voxels, `spacing_mm` apart, lowers the resolution.
///
/// Halved is every axis whose voxels are not thick slices by now, while each keeps [`DEEPEST_VOXELS`]. What were thick
/// slices at first may be too few to go on with and stay as they are from then on; two axes at least go on.
pub(super) fn strides(size: [usize; 3], spacing_mm: [f64; 3]) -> Vec<[usize; 3]> {
    let mut levels = Levels::new(size, spacing_mm);
    let strides: Vec<_> = std::iter::from_fn(|| levels.next()).take(MOST_HALVINGS).collect();
    if strides.is_empty() { vec![[2; 3]] } else { strides }
}

/// The same of a network of `levels` levels, whatever is left of the axes.
pub(super) fn strides_of_levels(size: [usize; 3], spacing_mm: [f64; 3], levels: usize) -> Vec<[usize; 3]> {
    let mut found = Levels::new(size, spacing_mm);
    (1..levels).map(|_| found.next().unwrap_or([2; 3])).collect()
}

/// The paper's margins around an organ: of the fine stage's crops and box 2, and of box 1, its 2 voxels of a grid
/// decimated by 4.
const MARGIN: f64 = 10.0;
const BOX1_MARGIN: f64 = 8.0;

/// Movement of a crop's sides, which the paper has not.
const JITTER: f64 = 4.0;

/// Margins and movement of the fine stage's boxes, along (x, y, z).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Margins {
    pub(super) crop: [usize; 3],
    pub(super) jitter: [usize; 3],
    /// In voxels decimated by the factors.
    pub(super) box1: [usize; 3],
}

impl Margins {
    /// The usual voxels, but of thick slices only as many as are as long, two at least (one for the movement); and for
    /// box 1 as many decimated ones as are as long, two at least.
    pub(super) fn new(spacing_mm: [f64; 3], factors: [usize; 3]) -> Self {
        let finest = spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
        let as_long = |voxels: f64, spacing: f64, least: usize| {
            // Less than rounding up turns into one more.
            ((voxels * finest / spacing - 1e-6).ceil() as usize).max(least)
        };
        let along = |voxels: f64, least: usize| {
            spacing_mm.map(|s| if s >= THICK * finest { as_long(voxels, s, least) } else { voxels as usize })
        };
        Self {
            crop: along(MARGIN, 2),
            jitter: along(JITTER, 1),
            box1: [0, 1, 2].map(|a| as_long(BOX1_MARGIN, spacing_mm[a] * factors[a] as f64, 2)),
        }
    }
}

/// Channels of the levels of a network of these strides.
pub(super) fn channels(strides: &[[usize; 3]]) -> Vec<usize> {
    (0..=strides.len()).map(|level| FIRST_CHANNELS << level).collect()
}

/// Goes down level by level.
struct Levels {
    size: [usize; 3],
    spacing_mm: [f64; 3],
    /// Whether its voxels are thick slices at first.
    thick: [bool; 3],
    halvings: [u32; 3],
}

impl Levels {
    fn new(size: [usize; 3], spacing_mm: [f64; 3]) -> Self {
        let finest = spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
        Self {
            size,
            spacing_mm,
            thick: spacing_mm.map(|spacing| spacing >= THICK * finest),
            halvings: [0; 3],
        }
    }

    /// The stride to the next level; none if there is none.
    fn next(&mut self) -> Option<[usize; 3]> {
        let enough = [0, 1, 2].map(|a| self.size[a] >= DEEPEST_VOXELS << (self.halvings[a] + 1));
        if enough.iter().filter(|&&enough| enough).count() < 2 || (0..3).any(|a| !enough[a] && !self.thick[a])
        {
            return None;
        }
        let now = |a: usize| self.spacing_mm[a] * f64::from(1u32 << self.halvings[a]);
        let finest = (0..3).filter(|&a| enough[a]).map(now).fold(f64::INFINITY, f64::min);
        let halved = [0, 1, 2].map(|a| enough[a] && now(a) < THICK * finest);
        (0..3).for_each(|a| self.halvings[a] += u32::from(halved[a]));
        Some(halved.map(|halved| if halved { 2 } else { 1 }))
    }
}

/// `size` rounded down to `multiples`, then shrunk along the axis that is longest in millimetres until it has no more
/// than `max_voxels`.
///
/// Down, not up: what is added to a scan teaches nothing and takes as long. In five minutes on MR of the hippocampus
/// (median 35×50×36, fold 1) patches of 32×48×32 led to a mean DSC of 0.879, of 40×56×40 to 0.869, of 24×40×24 to 0.874.
pub(super) fn patch_within(
    size: [usize; 3],
    spacing_mm: [f64; 3],
    multiples: [usize; 3],
    max_voxels: usize,
) -> [usize; 3] {
    let mut patch = [0, 1, 2].map(|a| (size[a] / multiples[a]).max(1) * multiples[a]);
    while voxels(patch) > max_voxels {
        let length = |a: usize| patch[a] as f64 * spacing_mm[a];
        let open = (0..3).filter(|&a| patch[a] > multiples[a]);
        let Some(longest) = open.max_by(|&a, &b| length(a).total_cmp(&length(b))) else { break };
        patch[longest] -= multiples[longest];
    }
    patch
}

/// Voxels so many times as long as those of the finest axis, along an axis with less than one of so many of the voxels of
/// the longest, are slices that samples are not turned out of. nnU-Net's number, which looks at the voxels alone.
const TOO_THICK_TO_TURN: f64 = 3.0;

/// The axis along which samples of `size` voxels, `spacing_mm` apart, are to be varied as slices; none if alike.
pub(super) fn axis_of_slices(size: [usize; 3], spacing_mm: [f64; 3]) -> Option<usize> {
    let finest = spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
    let coarsest = (0..3).max_by(|&a, &b| spacing_mm[a].total_cmp(&spacing_mm[b]))?;
    let longest = size.into_iter().max()?;
    let few = TOO_THICK_TO_TURN * (size[coarsest] as f64) < longest as f64;
    (few && spacing_mm[coarsest] > TOO_THICK_TO_TURN * finest).then_some(coarsest)
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
        assert_eq!(patch_within([35, 50, 36], [1.0; 3], [8; 3], LIMIT), [32, 48, 32]);
        assert_eq!(patch_within([5, 8, 17], [1.0; 3], [8; 3], LIMIT), [8, 8, 16]);
        assert_eq!(patch_within([320, 320, 21], [0.6, 0.6, 3.6], [16, 16, 4], LIMIT), [224, 224, 20]);
        for spacing in [[1.0, 1.0, 1.0], [0.8, 0.8, 2.5], [0.7, 0.7, 5.0]] {
            let patch = patch_within([512, 512, 240], spacing, [8; 3], LIMIT);
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
    fn margins_are_the_paper_s_but_no_longer_through_thick_slices_or_shorter_where_less_is_decimated() {
        let of = |spacing_mm, factors| Margins::new(spacing_mm, factors);
        for (spacing_mm, factors) in [([0.86, 0.86, 1.0], [4; 3]), ([2.5, 2.5, 2.75], [4; 3])] {
            let expected = Margins { crop: [10; 3], jitter: [4; 3], box1: [2; 3] };
            assert_eq!(of(spacing_mm, factors), expected);
        }
        let thick = Margins { crop: [10, 10, 2], jitter: [4, 4, 1], box1: [2, 2, 2] };
        assert_eq!(of([0.8, 0.8, 5.0], [4, 4, 1]), thick);
        assert_eq!(of([1.0; 3], [2; 3]).box1, [4; 3]);
        assert_eq!(
            of([0.8, 0.8, 2.5], [4, 4, 2]),
            Margins { crop: [10, 10, 4], jitter: [4, 4, 2], box1: [2; 3] }
        );
    }

    #[test]
    fn networks_are_as_deep_as_the_shortest_side_allows() {
        let of = |size| {
            let strides = strides(size, [1.0; 3]);
            assert!(strides.iter().all(|stride| *stride == [2; 3]), "{strides:?}");
            channels(&strides)
        };
        assert_eq!(of([35, 50, 36]), [16, 32, 64, 128]);
        assert_eq!(of([28, 24, 18]), [16, 32, 64]);
        assert_eq!(of([200, 120, 100]), [16, 32, 64, 128, 256]);
        assert_eq!(of([5, 5, 5]), [16, 32]);
    }

    #[test]
    fn samples_are_varied_as_slices_where_those_are_few_and_thick() {
        assert_eq!(axis_of_slices([256, 256, 20], [0.6, 0.6, 3.6]), Some(2));
        assert_eq!(axis_of_slices([12, 300, 300], [4.0, 1.0, 1.0]), Some(0));
        // Flat, but not of thick slices; thick slices, but many of them; the limits.
        assert_eq!(axis_of_slices([256, 256, 20], [1.0, 1.0, 1.0]), None);
        assert_eq!(axis_of_slices([96, 96, 48], [0.8, 0.8, 5.0]), None);
        assert_eq!(axis_of_slices([96, 96, 32], [1.0, 1.0, 5.0]), None);
        assert_eq!(axis_of_slices([96, 96, 31], [1.0, 1.0, 3.0]), None);
        assert_eq!(axis_of_slices([96, 96, 31], [1.0, 1.0, 3.1]), Some(2));
    }

    #[test]
    fn thick_slices_are_halved_when_the_pixels_have_caught_up_and_not_down_to_nothing() {
        // Prostate and heart in MR, abdominal CT in slices of 5 mm.
        let in_plane = [2, 2, 1];
        assert_eq!(strides([320, 320, 20], [0.6, 0.6, 3.6]), [in_plane, in_plane, [2; 3], [2; 3]]);
        assert_eq!(strides([256, 216, 10], [1.4, 1.4, 10.0]), [in_plane, in_plane, [2; 3], in_plane]);
        assert_eq!(strides([512, 512, 40], [0.8, 0.8, 5.0]), [in_plane, in_plane, [2; 3], [2; 3]]);
        // Slices along another axis.
        assert_eq!(strides([12, 300, 300], [4.0, 1.0, 1.0]), [[1, 2, 2], [1, 2, 2], [2; 3], [2; 3]][..]);
        // Slightly longer voxels are no thick slices.
        assert_eq!(strides([128, 128, 64], [0.8, 0.8, 1.5]), [[2; 3]; 4]);
        // A depth that somebody asked for.
        assert_eq!(strides_of_levels([256, 216, 10], [1.4, 1.4, 10.0], 3), [in_plane, in_plane]);
        assert_eq!(strides_of_levels([9, 9, 9], [1.0; 3], 4), [[2; 3]; 3]);
    }
}
