//! How far the surface of one mask lies from the surface of another: Hausdorff distance, its
//! percentiles, mean distances, surface Dice.
//!
//! Both surfaces are cut into elements with an area (see `surface`); each element has the Euclidean
//! distance to the nearest element of the other surface. Everything below weighs elements by area, as
//! the `surface-distance` package does (Nikolov et al. 2018), so that a figure does not depend on how
//! finely the voxels happen to sample a surface.
//!
//! Empty masks: two empty masks agree (distances 0, surface Dice 1); if exactly one is empty the
//! distances are infinite and the surface Dice is 0.

use organseg_roi::BoundingBox;
use organseg_volume::{Label, LabelVolume};

use crate::MetricError;
use crate::distance_transform::squared_distances;
use crate::surface::{Region, Surface};
use crate::surface_area::area_by_code;

/// Distances from the elements of one surface to another surface, sorted from near to far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DirectedDistances {
    distances_mm: Vec<f64>,
    areas_mm2: Vec<f64>,
}

impl DirectedDistances {
    /// Distance of each surface element in millimetres, ascending; infinite if the other surface is empty.
    #[must_use]
    pub fn distances_mm(&self) -> &[f64] {
        &self.distances_mm
    }

    /// Area of each surface element in square millimetres, in the order of the distances.
    #[must_use]
    pub fn areas_mm2(&self) -> &[f64] {
        &self.areas_mm2
    }

    /// Area of the whole surface in square millimetres; 0 if the mask is empty.
    #[must_use]
    pub fn total_area_mm2(&self) -> f64 {
        self.areas_mm2.iter().sum()
    }

    /// Area in square millimetres of the part that is no further than `tolerance_mm` from the other surface.
    #[must_use]
    pub fn area_within_mm2(&self, tolerance_mm: f64) -> f64 {
        let near = self.distances_mm.partition_point(|&d| d <= tolerance_mm);
        self.areas_mm2[..near].iter().sum()
    }

    /// True if there is no surface to measure from.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.distances_mm.is_empty()
    }

    fn max_mm(&self) -> Option<f64> {
        self.distances_mm.last().copied()
    }

    fn mean_mm(&self) -> Option<f64> {
        // Not through a product: an infinite distance must stay infinite.
        let moment: f64 = self.distances_mm.iter().zip(&self.areas_mm2).map(|(d, a)| d * a).sum();
        (!self.is_empty()).then(|| moment / self.total_area_mm2())
    }

    /// The first distance at which the area so far is at least `percent` of the whole.
    fn percentile_mm(&self, percent: f64) -> Option<f64> {
        let total = self.total_area_mm2();
        let mut so_far = 0.0;
        let reached = self.areas_mm2.iter().position(|area| {
            so_far += area;
            so_far / total >= percent / 100.0
        });
        reached.map(|i| self.distances_mm[i]).or(self.max_mm())
    }
}

/// Distances between the surfaces of a reference and a prediction, both ways.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SurfaceDistances {
    /// From each element of the reference's surface to the prediction's.
    pub reference_to_prediction: DirectedDistances,
    /// From each element of the prediction's surface to the reference's.
    pub prediction_to_reference: DirectedDistances,
}

impl SurfaceDistances {
    /// Hausdorff distance in millimetres: the longest of all distances, both ways.
    #[must_use]
    pub fn hausdorff_mm(&self) -> f64 {
        self.larger(DirectedDistances::max_mm)
    }

    /// Robust Hausdorff distance in millimetres: the larger of the two directed percentiles.
    ///
    /// A directed percentile is the first distance, going from near to far, at which at least `percent`
    /// of the surface's area is reached; no interpolation. `percent` is clamped to `[0, 100]`, and 100
    /// is the Hausdorff distance.
    #[must_use]
    pub fn percentile_mm(&self, percent: f64) -> f64 {
        if percent >= 100.0 { self.hausdorff_mm() } else { self.larger(|d| d.percentile_mm(percent)) }
    }

    /// Mean distance in millimetres from the reference's surface to the prediction's.
    #[must_use]
    pub fn mean_reference_to_prediction_mm(&self) -> f64 {
        self.or_one_empty(self.reference_to_prediction.mean_mm())
    }

    /// Mean distance in millimetres from the prediction's surface to the reference's.
    #[must_use]
    pub fn mean_prediction_to_reference_mm(&self) -> f64 {
        self.or_one_empty(self.prediction_to_reference.mean_mm())
    }

    /// Average symmetric surface distance in millimetres: the mean of the two directed means.
    ///
    /// Each surface has the same say, however large it is. (Some tools pool the elements of both
    /// surfaces instead, which gives the larger one, often the worse, more weight.)
    #[must_use]
    pub fn average_symmetric_mm(&self) -> f64 {
        0.5 * (self.mean_reference_to_prediction_mm() + self.mean_prediction_to_reference_mm())
    }

    /// Surface Dice in `[0, 1]`: the part of both surfaces' area that is no further than `tolerance_mm`
    /// from the other surface.
    #[must_use]
    pub fn surface_dice(&self, tolerance_mm: f64) -> f64 {
        if self.both_empty() {
            return 1.0;
        }
        let both = [&self.reference_to_prediction, &self.prediction_to_reference];
        let near: f64 = both.iter().map(|d| d.area_within_mm2(tolerance_mm)).sum();
        let all: f64 = both.iter().map(|d| d.total_area_mm2()).sum();
        near / all
    }

    fn both_empty(&self) -> bool {
        self.reference_to_prediction.is_empty() && self.prediction_to_reference.is_empty()
    }

    fn larger(&self, measure: impl Fn(&DirectedDistances) -> Option<f64>) -> f64 {
        let one_way = self.or_one_empty(measure(&self.reference_to_prediction));
        one_way.max(self.or_one_empty(measure(&self.prediction_to_reference)))
    }

    /// What a measure of an empty surface is: 0 if the other one is empty too, else infinite.
    fn or_one_empty(&self, measured: Option<f64>) -> f64 {
        measured.unwrap_or(if self.both_empty() { 0.0 } else { f64::INFINITY })
    }
}

/// Distances between the surfaces of `label` in `predicted` and in `reference`, both ways.
///
/// Distances are measured along the voxel axes with the grid's spacing, that is, axes are taken to be at
/// right angles. Time and memory (8 bytes a voxel) go with the box around both masks, not with the scan.
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid.
///
/// # Examples
/// ```
/// use organseg_metrics::surface_distances;
/// use organseg_volume::{Grid, Spacing, Volume};
/// // Two cubes of 4×4×4 voxels, one 3 voxels of 2 mm further along x.
/// let grid = Grid::with_spacing([10, 6, 6], Spacing::isotropic(2.0)?)?;
/// let cube = |x0| Volume::from_fn(grid, |[x, y, z]| {
///     u8::from((x0..x0 + 4).contains(&x) && (1..5).contains(&y) && (1..5).contains(&z))
/// });
/// let distances = surface_distances(&cube(4), &cube(1), 1)?;
/// assert_eq!(distances.hausdorff_mm(), 6.0);
/// assert_eq!(distances.surface_dice(6.0), 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn surface_distances(
    predicted: &LabelVolume,
    reference: &LabelVolume,
    label: Label,
) -> Result<SurfaceDistances, MetricError> {
    reference.grid().check_same(predicted.grid())?;
    let boxes = [BoundingBox::of_label(reference, label), BoundingBox::of_label(predicted, label)];
    Ok(surface_distances_in(predicted, reference, label, boxes))
}

/// As [`surface_distances`], on the same grid and with the boxes of reference and prediction known.
pub(crate) fn surface_distances_in(
    predicted: &LabelVolume,
    reference: &LabelVolume,
    label: Label,
    [reference_box, prediction_box]: [Option<BoundingBox>; 2],
) -> SurfaceDistances {
    let around = match (reference_box, prediction_box) {
        (Some(a), Some(b)) => a.union(&b),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return SurfaceDistances::default(),
    };
    let region = Region { start: around.min().map(|v| v as usize), size: around.size() };
    let spacing_mm = reference.grid().spacing().to_array();
    let areas = area_by_code(spacing_mm);
    let reference = Surface::of_label(reference, label, region, &areas);
    let predicted = Surface::of_label(predicted, label, region, &areas);
    SurfaceDistances {
        reference_to_prediction: directed(&reference, &predicted, region, spacing_mm),
        prediction_to_reference: directed(&predicted, &reference, region, spacing_mm),
    }
}

/// Distance from each element of `from` to the nearest of `to`, sorted; equal distances by area, so that
/// sums do not depend on the order in which elements were found.
fn directed(from: &Surface, to: &Surface, region: Region, spacing_mm: [f64; 3]) -> DirectedDistances {
    if from.corners.is_empty() {
        return DirectedDistances::default();
    }
    let squared = squared_distances(region.corners(), spacing_mm, &to.corners);
    let mut elements: Vec<(f64, f64)> =
        from.corners.iter().zip(&from.areas_mm2).map(|(&corner, &area)| (squared[corner], area)).collect();
    elements.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let (distances_mm, areas_mm2) =
        elements.into_iter().map(|(squared, area)| (squared.sqrt(), area)).unzip();
    DirectedDistances { distances_mm, areas_mm2 }
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing, Volume};
    use proptest::prelude::*;

    use super::*;

    fn volume(size: [usize; 3], spacing_mm: [f64; 3], inside: impl Fn([usize; 3]) -> bool) -> LabelVolume {
        let grid = Grid::with_spacing(size, Spacing::new(spacing_mm).unwrap()).unwrap();
        Volume::from_fn(grid, |voxel| u8::from(inside(voxel)))
    }

    fn ball(centre: [f64; 3], radius: f64) -> LabelVolume {
        volume([40, 40, 40], [1.0; 3], |v| {
            (0..3).map(|a| (v[a] as f64 - centre[a]).powi(2)).sum::<f64>() <= radius * radius
        })
    }

    #[test]
    fn a_mask_is_at_distance_zero_from_itself() {
        let ball = ball([20.0; 3], 9.0);
        let distances = surface_distances(&ball, &ball, 1).unwrap();
        assert_eq!(distances.hausdorff_mm(), 0.0);
        assert_eq!(distances.average_symmetric_mm(), 0.0);
        assert_eq!(distances.surface_dice(0.0), 1.0);
    }

    #[test]
    fn a_shifted_ball_has_the_shift_as_hausdorff_distance() {
        let distances = surface_distances(&ball([23.0, 20.0, 20.0], 9.0), &ball([20.0; 3], 9.0), 1).unwrap();
        assert_eq!(distances.hausdorff_mm(), 3.0);
        assert_eq!(distances.prediction_to_reference.max_mm(), Some(3.0));
        assert_eq!(distances.surface_dice(3.0), 1.0);
    }

    #[test]
    fn a_cube_in_a_larger_one_is_the_gap_away_face_on_and_more_at_edges_and_corners() {
        let cube =
            |from: usize, to: usize| volume([12; 3], [1.0; 3], |v| v.iter().all(|&i| i >= from && i < to));
        let distances = surface_distances(&cube(1, 11), &cube(3, 9), 1).unwrap();
        let gap = 2.0;
        assert!(distances.reference_to_prediction.distances_mm().iter().all(|&d| d == gap));
        assert_eq!(distances.mean_reference_to_prediction_mm(), gap);
        // The larger cube's corners look at the smaller one's corners.
        assert_eq!(distances.hausdorff_mm(), (3.0 * gap * gap).sqrt());
        let mean = distances.mean_prediction_to_reference_mm();
        assert!(mean > gap && mean < (2.0 * gap * gap).sqrt(), "{mean}");
        assert_eq!(distances.average_symmetric_mm(), (gap + mean) / 2.0);
    }

    #[test]
    fn concentric_balls_are_their_radii_apart_everywhere() {
        let distances = surface_distances(&ball([20.0; 3], 14.0), &ball([20.0; 3], 9.0), 1).unwrap();
        // A voxelised sphere is rough by up to about half a voxel diagonal, at either radius.
        let roughness = 3f64.sqrt();
        for one_way in [&distances.reference_to_prediction, &distances.prediction_to_reference] {
            assert!(one_way.distances_mm().iter().all(|d| (d - 5.0).abs() < roughness));
            let mean = one_way.mean_mm().unwrap();
            assert!((mean - 5.0).abs() < 1.0, "{mean}");
        }
        // 4 π r² is not met better than this: facets of few directions make the surface rougher than it is.
        let area = distances.reference_to_prediction.total_area_mm2();
        let sphere = 4.0 * std::f64::consts::PI * 81.0;
        assert!((area / sphere - 1.0).abs() < 0.1, "{area} and {sphere}");
        assert_eq!(distances.surface_dice(5.0 - roughness), 0.0);
        assert_eq!(distances.surface_dice(5.0 + roughness), 1.0);
    }

    #[test]
    fn spacing_is_taken_axis_by_axis() {
        let spacing_mm = [0.5, 1.0, 4.0];
        for (axis, expected) in [(0, 1.0), (1, 2.0), (2, 8.0)] {
            let rod = |shift: usize| {
                volume([5, 5, 5], spacing_mm, |v| {
                    (0..3).all(|a| v[a] == 1 + if a == axis { shift } else { 0 })
                })
            };
            // One voxel, shifted by two.
            let distances = surface_distances(&rod(2), &rod(0), 1).unwrap();
            assert_eq!(distances.hausdorff_mm(), expected);
        }
    }

    #[test]
    fn percentiles_weigh_by_area() {
        let distances =
            DirectedDistances { distances_mm: vec![0.0, 1.0, 2.0, 3.0], areas_mm2: vec![1.0, 2.0, 1.0, 4.0] };
        let percentiles =
            [0.0, 12.5, 12.6, 37.5, 50.0, 51.0, 100.0].map(|p| distances.percentile_mm(p).unwrap());
        assert_eq!(percentiles, [0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
        assert_eq!(distances.mean_mm(), Some((2.0 + 2.0 + 12.0) / 8.0));
        assert_eq!(distances.area_within_mm2(1.0), 3.0);
    }

    #[test]
    fn one_empty_mask_is_infinitely_far_and_two_are_at_distance_zero() {
        let (full, empty) = (volume([3; 3], [1.0; 3], |_| true), volume([3; 3], [1.0; 3], |_| false));
        for (a, b) in [(&full, &empty), (&empty, &full)] {
            let distances = surface_distances(a, b, 1).unwrap();
            assert_eq!(distances.hausdorff_mm(), f64::INFINITY);
            assert_eq!(distances.percentile_mm(95.0), f64::INFINITY);
            assert_eq!(distances.average_symmetric_mm(), f64::INFINITY);
            assert_eq!(distances.surface_dice(2.0), 0.0);
        }
        let distances = surface_distances(&empty, &empty, 1).unwrap();
        assert_eq!(distances.hausdorff_mm(), 0.0);
        assert_eq!(distances.average_symmetric_mm(), 0.0);
        assert_eq!(distances.surface_dice(2.0), 1.0);
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (a, b) = (ball([20.3, 18.9, 21.7], 11.2), ball([17.1, 20.2, 19.4], 13.8));
        let with_threads = |n: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            pool.install(|| surface_distances(&a, &b, 1).unwrap())
        };
        assert_eq!(with_threads(1), with_threads(3));
    }

    /// Corners and areas of the surface, from the definition: every corner asks its eight voxels.
    fn slow_surface(mask: &LabelVolume) -> Vec<([usize; 3], f64)> {
        let [nx, ny, nz] = mask.size();
        let areas = area_by_code(mask.grid().spacing().to_array());
        let mut elements = Vec::new();
        for corner in (0..(nx + 1) * (ny + 1) * (nz + 1))
            .map(|i| [i % (nx + 1), i / (nx + 1) % (ny + 1), i / ((nx + 1) * (ny + 1))])
        {
            let code: usize = (0..8usize)
                .filter(|bit| {
                    let voxel = [0, 1, 2].map(|a| (corner[a] + (bit >> a & 1)).wrapping_sub(1));
                    (0..3).all(|a| voxel[a] < mask.size()[a]) && mask[voxel] == 1
                })
                .map(|bit| 1 << bit)
                .sum();
            if code != 0 && code != 255 {
                elements.push((corner, areas[code]));
            }
        }
        elements
    }

    fn slow_directed(from: &LabelVolume, to: &LabelVolume) -> Vec<(f64, f64)> {
        let spacing_mm = from.grid().spacing().to_array();
        let to = slow_surface(to);
        let apart = |a: [usize; 3], b: [usize; 3]| {
            (0..3).map(|i| (a[i].abs_diff(b[i]) as f64 * spacing_mm[i]).powi(2)).sum::<f64>().sqrt()
        };
        let mut elements: Vec<(f64, f64)> = slow_surface(from)
            .into_iter()
            .map(|(p, area)| (to.iter().map(|(q, _)| apart(p, *q)).fold(f64::INFINITY, f64::min), area))
            .collect();
        elements.sort_by(|a, b| a.partial_cmp(b).unwrap());
        elements
    }

    proptest! {
        #[test]
        fn distances_equal_those_of_a_search_through_all_pairs(
            size in [1usize..7, 1usize..7, 1usize..7],
            spacing_mm in [0.4f64..3.0, 0.4f64..3.0, 0.4f64..5.0],
            bits in proptest::collection::vec(0u8..16, 216),
        ) {
            // A quarter of the voxels in each mask.
            let index = |v: [usize; 3]| v[0] + 6 * (v[1] + 6 * v[2]);
            let reference = volume(size, spacing_mm, |v| bits[index(v)] & 3 == 0);
            let predicted = volume(size, spacing_mm, |v| bits[index(v)] >> 2 == 0);
            let distances = surface_distances(&predicted, &reference, 1).unwrap();
            for (fast, slow) in [
                (&distances.reference_to_prediction, slow_directed(&reference, &predicted)),
                (&distances.prediction_to_reference, slow_directed(&predicted, &reference)),
            ] {
                prop_assert_eq!(fast.distances_mm().len(), slow.len());
                for (fast, (slow, _)) in fast.distances_mm().iter().zip(&slow) {
                    prop_assert!(fast == slow || (fast - slow).abs() < 1e-9);
                }
                let area: f64 = slow.iter().map(|(_, area)| area).sum();
                prop_assert!((fast.total_area_mm2() - area).abs() < 1e-9);
            }
            // Swapping the masks swaps the two ways and leaves what is symmetric.
            let swapped = surface_distances(&reference, &predicted, 1).unwrap();
            prop_assert_eq!(&swapped.reference_to_prediction, &distances.prediction_to_reference);
            prop_assert_eq!(swapped.hausdorff_mm(), distances.hausdorff_mm());
            prop_assert!(distances.percentile_mm(95.0) <= distances.hausdorff_mm());
        }

        #[test]
        fn moving_both_masks_changes_nothing(shift in [0usize..4, 0usize..4, 0usize..4], bits in any::<u64>()) {
            let masks = |shift: [usize; 3]| [0, 27].map(|first| volume([7, 7, 7], [0.7, 1.0, 2.0], |v| {
                let local = [0, 1, 2].map(|a| v[a].wrapping_sub(shift[a]));
                local.iter().all(|&i| i < 3) && bits >> (first + local[0] + 3 * (local[1] + 3 * local[2])) & 1 == 1
            }));
            let [a, b] = masks([0; 3]);
            let [c, d] = masks(shift);
            prop_assert_eq!(surface_distances(&a, &b, 1).unwrap(), surface_distances(&c, &d, 1).unwrap());
        }
    }
}
