//! How well a mask fits a scan in one orientation: two figures, both of which the right one must satisfy.
//!
//! *Soft tissue* is the share of the mask's voxels whose intensity is one that an organ can have.
//!
//! *Contrast* says whether the mask's surface is a surface in the scan. For every face between a voxel of
//! the mask and a neighbour outside, with intensities clipped to the abdominal window, d is the
//! intensity inside minus that outside; over the n faces
//!
//! contrast = Σ d / √(n Σ d²),
//!
//! the cosine of the angle between d and (1, …, 1). It is 1 if all faces step down by the same amount,
//! 0 if up and down are equally frequent, which is what a surface laid anywhere in an image gives,
//! whatever tissue it lies in. An organ lies in fat: most of its faces step down.
//!
//! On fine grids an edge is blurred over several voxels, and drawn a voxel off here and there. So the two
//! intensities of a face are taken [`OrientationRule::pair_distance_mm`](super::OrientationRule) apart
//! where the mask and the image reach so far, on the line through the face.

use organseg_roi::BoundingBox;
use organseg_volume::{LabelVolume, Volume};

use super::OrientationRule;
use super::axis_map::AxisMap;

/// The two figures of one orientation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    /// Share of the mask's voxels in the soft-tissue range, 0 to 1.
    pub(super) soft_tissue: f64,
    /// −1 to 1; 0 if the mask has no face inside the image.
    pub(super) contrast: f64,
}

/// The figures of the voxels of `label` that are not 0, all of which lie in `region`, laid on `scan` as
/// `map` says. The sizes must fit.
pub(super) fn figures(
    scan: &Volume<i16>,
    label: &LabelVolume,
    region: &BoundingBox,
    map: &AxisMap,
    rule: &OrientationRule,
) -> Figures {
    let walk = Walk::new(scan, label, map, rule);
    let [soft_low, soft_high] = rule.soft_tissue_hu;
    let (mut voxels, mut soft) = (0u64, 0u64);
    // Whole numbers: the sums are exact and depend on no order.
    let (mut faces, mut sum, mut squares) = (0u64, 0i64, 0i64);
    let [min, max] = [region.min(), region.max()].map(|corner| corner.map(|c| c as usize));
    for z in min[2]..max[2] {
        for y in min[1]..max[1] {
            for x in min[0]..max[0] {
                let at = [x, y, z];
                if !walk.is_inside(walk.label_offset(at)) {
                    continue;
                }
                voxels += 1;
                soft += u64::from((soft_low..=soft_high).contains(&walk.raw(walk.scan_offset(at))));
                for axis in 0..3 {
                    for forward in [false, true] {
                        if let Some(step_down) = walk.step_down(at, axis, forward) {
                            faces += 1;
                            sum += step_down;
                            squares += step_down * step_down;
                        }
                    }
                }
            }
        }
    }
    let length = (faces as f64 * squares as f64).sqrt();
    Figures {
        soft_tissue: if voxels > 0 { soft as f64 / voxels as f64 } else { 0.0 },
        contrast: if length > 0.0 { sum as f64 / length } else { 0.0 },
    }
}

/// Going through label and scan in step.
struct Walk<'a> {
    scan: &'a [i16],
    label: &'a [u8],
    size: [usize; 3],
    label_steps: [isize; 3],
    scan_first: isize,
    scan_steps: [isize; 3],
    /// For each axis of the label, how many voxels beyond the two of a face to look, on each side.
    reach: [usize; 3],
    window: [i16; 2],
}

impl<'a> Walk<'a> {
    fn new(scan: &'a Volume<i16>, label: &'a LabelVolume, map: &AxisMap, rule: &OrientationRule) -> Self {
        let size = label.size();
        let (scan_first, scan_steps) = map.walk(scan.size());
        let spacing = scan.grid().spacing().to_array();
        let reach = map.axes.map(|(axis, _)| {
            let between = (rule.pair_distance_mm / spacing[axis] - 1.0) / 2.0;
            between.max(0.0) as usize
        });
        Self {
            scan: scan.voxels(),
            label: label.voxels(),
            size,
            label_steps: [1, size[0], size[0] * size[1]].map(|stride| stride as isize),
            scan_first,
            scan_steps,
            reach,
            window: rule.window_hu,
        }
    }

    fn label_offset(&self, at: [usize; 3]) -> isize {
        (0..3).map(|axis| at[axis] as isize * self.label_steps[axis]).sum()
    }

    fn scan_offset(&self, at: [usize; 3]) -> isize {
        self.scan_first + (0..3).map(|axis| at[axis] as isize * self.scan_steps[axis]).sum::<isize>()
    }

    fn is_inside(&self, label_offset: isize) -> bool {
        self.label[label_offset as usize] != 0
    }

    fn raw(&self, scan_offset: isize) -> i16 {
        self.scan[scan_offset as usize]
    }

    fn clipped(&self, scan_offset: isize) -> i64 {
        i64::from(self.raw(scan_offset).clamp(self.window[0], self.window[1]))
    }

    /// Intensity inside minus outside, across the face of mask voxel `at` in one direction along `axis`;
    /// none if the neighbour is in the mask too or beyond the image.
    fn step_down(&self, at: [usize; 3], axis: usize, forward: bool) -> Option<i64> {
        let sign = if forward { 1 } else { -1 };
        // Voxels from here to the last of the image, in each of the two directions.
        let (ahead, behind) = if forward {
            (self.size[axis] - 1 - at[axis], at[axis])
        } else {
            (at[axis], self.size[axis] - 1 - at[axis])
        };
        let (label_step, scan_step) = (sign * self.label_steps[axis], sign * self.scan_steps[axis]);
        let (label_at, scan_at) = (self.label_offset(at), self.scan_offset(at));
        if ahead == 0 || self.is_inside(label_at + label_step) {
            return None;
        }
        let (mut inner, mut outer) = (0, 1);
        while (inner as usize) < self.reach[axis].min(behind)
            && self.is_inside(label_at - (inner + 1) * label_step)
        {
            inner += 1;
        }
        while (outer as usize) < (self.reach[axis] + 1).min(ahead)
            && !self.is_inside(label_at + (outer + 1) * label_step)
        {
            outer += 1;
        }
        Some(self.clipped(scan_at - inner * scan_step) - self.clipped(scan_at + outer * scan_step))
    }
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Orientation, Spacing};

    use super::*;

    /// A ball of 3 voxels' radius around `centre`.
    fn ball(grid: Grid, centre: [f64; 3]) -> LabelVolume {
        LabelVolume::from_fn(grid, |index| {
            let squared: f64 = (0..3).map(|a| (index[a] as f64 - centre[a]).powi(2)).sum();
            u8::from(squared <= 9.0)
        })
    }

    fn grid(spacing_mm: f64) -> Grid {
        Grid::with_spacing([16, 14, 12], Spacing::isotropic(spacing_mm).unwrap()).unwrap()
    }

    fn of(scan: &Volume<i16>, label: &LabelVolume) -> Figures {
        let map = AxisMap::between(Orientation::RAS, Orientation::RAS);
        figures(scan, label, &BoundingBox::of_mask(label).unwrap(), &map, &OrientationRule::default())
    }

    #[test]
    fn an_organ_in_fat_has_contrast_1_and_is_soft_tissue() {
        let label = ball(grid(1.0), [7.0, 7.0, 6.0]);
        let scan = label.map(|inside| if inside == 1 { 90 } else { -90i16 });
        assert_eq!(of(&scan, &label), Figures { soft_tissue: 1.0, contrast: 1.0 });
    }

    #[test]
    fn a_mask_within_one_tissue_has_none() {
        let label = ball(grid(1.0), [7.0, 7.0, 6.0]);
        let uniform = Volume::filled(*label.grid(), 60);
        assert_eq!(of(&uniform, &label), Figures { soft_tissue: 1.0, contrast: 0.0 });
        // Across a slope, one side steps up as much as the other steps down.
        let slope = Volume::from_fn(*label.grid(), |[x, _, _]| 10 * x as i16);
        assert_eq!(of(&slope, &label).contrast, 0.0);
    }

    #[test]
    fn an_edge_blurred_over_three_voxels_counts_in_full_on_a_fine_grid() {
        let sharp = ball(grid(1.0), [7.0, 7.0, 6.0]);
        // Half of the step lies one voxel inside the drawn border, half one voxel outside.
        let label = LabelVolume::from_fn(*sharp.grid(), |[x, _, _]| u8::from(x < 8));
        let scan = Volume::from_fn(*sharp.grid(), |[x, _, _]| match x {
            0..7 => 90,
            7 | 8 => 0,
            _ => -90i16,
        });
        assert_eq!(of(&scan, &label).contrast, 1.0);
        // On a coarse grid a face's own two voxels are far enough apart; here they are equal.
        let coarse = |volume: Volume<i16>| volume.with_grid(grid(4.0)).unwrap();
        let label = label.with_grid(grid(4.0)).unwrap();
        assert_eq!(of(&coarse(scan), &label).contrast, 0.0);
    }

    #[test]
    fn faces_beyond_the_image_do_not_count() {
        let everything = LabelVolume::filled(grid(1.0), 1);
        let scan = Volume::filled(*everything.grid(), 60);
        assert_eq!(of(&scan, &everything), Figures { soft_tissue: 1.0, contrast: 0.0 });
    }
}
