//! From labels that lead by so much on one grid to labels on another.
//!
//! Label(i) = arg max over k of Σ over the eight centres c around i of w_c · lead_c · [label_c = k], where w_c are the weights
//! of linear interpolation along each axis.
//!
//! A lead is by how much a voxel's label is ahead of the next one, as a share: (p − q) / (p + q) for probabilities p and q.
//! Between two labels this is the interpolation of their difference: there p − q is the lead where the one is ahead, and its
//! negative where the other is. Two bytes a voxel do for any number of labels, where [`labels_from_scores`] takes four for
//! each label; only where three labels meet do the two differ.
//!
//! [`labels_from_scores`]: crate::labels_from_scores

use std::ops::Range;

use rayon::prelude::*;

use crate::resample::aligned;
use crate::{Affine, Grid, Label, LabelVolume, Orientation, Volume, VolumeError, reorient};

/// `labels` on `target`: the label of the largest interpolated lead at each voxel, the smaller one of two that are equal.
///
/// `leads` says by how much each label leads on the next one, 255 for no doubt; what is 0 counts as 1, so that on the same grid
/// labels stay what they are. Without leads all count alike: then the label that most of the surroundings have is taken, which
/// takes the steps off an outline and not its error. Beyond the outermost centres the border goes on, however far.
///
/// The cost is that of a look at both volumes and at eight neighbours for each voxel of the target near labels other
/// than background. Nothing but the result is allocated if the axes of both grids run along the same lines in the same order;
/// otherwise labels and leads are copied once.
///
/// # Errors
/// [`VolumeError::SizeMismatch`] or [`VolumeError::GeometryMismatch`] if labels and leads lie on different grids.
///
/// # Examples
/// ```
/// use organseg_volume::{Grid, LabelVolume, Spacing, Volume, labels_from_leads};
/// let fine = Grid::with_spacing([6, 1, 1], Spacing::isotropic(1.0)?)?;
/// let coarse = fine.decimated([3, 1, 1])?; // two voxels, at 1 and 4
/// let labels = LabelVolume::from_vec(coarse, vec![0, 1])?;
/// // The first is hardly background, the second surely label 1: the border lies near the first.
/// let leads = Volume::from_vec(coarse, vec![51, 255])?;
/// assert_eq!(labels_from_leads(&labels, Some(&leads), &fine)?.voxels(), [0, 0, 1, 1, 1, 1]);
/// assert_eq!(labels_from_leads(&labels, None, &fine)?.voxels(), [0, 0, 0, 1, 1, 1]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
pub fn labels_from_leads(
    labels: &LabelVolume,
    leads: Option<&Volume<u8>>,
    target: &Grid,
) -> Result<LabelVolume, VolumeError> {
    if let Some(leads) = leads {
        labels.grid().check_same(leads.grid())?;
    }
    let own = Orientation::of(labels.grid().affine());
    let orientation = own.in_order_of(Orientation::of(target.affine()));
    if own == orientation {
        return Ok(interpolated(labels, leads, target));
    }
    let turned = leads.map(|leads| reorient(leads, orientation));
    Ok(interpolated(&reorient(labels, orientation), turned.as_ref(), target))
}

/// [`labels_from_leads`] for labels whose axes run along the target's.
fn interpolated(labels: &LabelVolume, leads: Option<&Volume<u8>>, target: &Grid) -> LabelVolume {
    let map = labels.grid().affine().inverse().after(target.affine());
    let cells = Cells { labels: labels.voxels(), leads: leads.map(Volume::voxels), size: labels.size() };
    let mut found = LabelVolume::filled(*target, 0);
    let Some(labelled) = labelled(labels) else { return found };
    let [nx, ny, _] = target.size();
    let planes = found.voxels_mut().par_chunks_mut(nx * ny).enumerate();
    let Some(axes) = aligned(&map) else {
        planes.for_each(|(z, plane)| cells.label_oblique(&map, z, nx, plane));
        return found;
    };
    let axes = [0, 1, 2].map(|a| Axis::new(axes[a], labels.size()[a], target.size()[a], &labelled[a]));
    planes.filter(|(z, _)| axes[2].near.contains(z)).for_each(|(z, plane)| {
        for y in axes[1].near.clone() {
            let row = &mut plane[y * nx..(y + 1) * nx];
            for x in axes[0].near.clone() {
                row[x] = cells.label([axes[0].places[x], axes[1].places[y], axes[2].places[z]]);
            }
        }
    });
    found
}

/// The voxels along each axis from the first to the last that has a label; none where there is none.
fn labelled(labels: &LabelVolume) -> Option<[Range<usize>; 3]> {
    let [nx, ny, _] = labels.size();
    let of_row = |(row, voxels): (usize, &[Label])| {
        let first = voxels.iter().position(|&label| label != 0)?;
        let last = voxels.iter().rposition(|&label| label != 0)?;
        let (y, z) = (row % ny, row / ny);
        Some([first..last + 1, y..y + 1, z..z + 1])
    };
    let join = |a: [Range<usize>; 3], b: [Range<usize>; 3]| {
        [0, 1, 2].map(|i| a[i].start.min(b[i].start)..a[i].end.max(b[i].end))
    };
    labels.voxels().par_chunks(nx).enumerate().filter_map(of_row).reduce_with(join)
}

/// A coordinate between two centres: the one before it, and the share of the one after.
type Place = (usize, f32);

/// Where `at` lies on an axis of `size` centres.
fn place(at: f64, size: usize) -> Place {
    let at = at.clamp(0.0, (size - 1) as f64);
    let low = (at as usize).min(size.saturating_sub(2));
    (low, (at - low as f64) as f32)
}

/// An axis of the target.
struct Axis {
    /// Where each of its voxels lies.
    places: Vec<Place>,
    /// The voxels that lie beside a label.
    near: Range<usize>,
}

impl Axis {
    /// For `voxels` voxels at the coordinates scale · i + offset of `size` centres, of which `labelled` have labels.
    fn new((scale, offset): (f64, f64), size: usize, voxels: usize, labelled: &Range<usize>) -> Self {
        let places: Vec<Place> = (0..voxels).map(|i| place(scale * i as f64 + offset, size)).collect();
        let is_near = |(low, _): &Place| low + 1 >= labelled.start && *low < labelled.end;
        let first = places.iter().position(is_near).unwrap_or(0);
        let last = places.iter().rposition(is_near).map_or(first, |last| last + 1);
        Self { places, near: first..last }
    }
}

/// Labels and leads between whose centres voxels lie.
struct Cells<'a> {
    labels: &'a [Label],
    leads: Option<&'a [u8]>,
    size: [usize; 3],
}

impl Cells<'_> {
    /// The label at a place along (x, y, z).
    fn label(&self, at: [Place; 3]) -> Label {
        let steps = [1, self.size[0], self.size[0] * self.size[1]];
        let base: usize = (0..3).map(|a| at[a].0 * steps[a]).sum();
        // Of an axis of one voxel that is both centres.
        let next = [0, 1, 2].map(|a| if self.size[a] > 1 { steps[a] } else { 0 });
        let corner = |c: usize| base + (c & 1) * next[0] + (c >> 1 & 1) * next[1] + (c >> 2) * next[2];
        let first = self.labels[base];
        if (1..8).all(|c| self.labels[corner(c)] == first) {
            return first;
        }
        let mut sums = [(0, 0.0f32); 8];
        let mut different = 0;
        for c in 0..8 {
            let here = corner(c);
            let (label, lead) = (self.labels[here], self.leads.map_or(1, |leads| leads[here].max(1)));
            let share = |a: usize| if c >> a & 1 == 1 { at[a].1 } else { 1.0 - at[a].1 };
            let term = share(0) * share(1) * share(2) * f32::from(lead);
            match sums[..different].iter_mut().find(|(other, _)| *other == label) {
                Some((_, sum)) => *sum += term,
                None => {
                    sums[different] = (label, term);
                    different += 1;
                }
            }
        }
        let ahead =
            |a: (Label, f32), b: (Label, f32)| if b.1 > a.1 || (b.1 == a.1 && b.0 < a.0) { b } else { a };
        sums[1..different].iter().copied().fold(sums[0], ahead).0
    }

    /// The labels of plane `z`, of rows of `nx` voxels, through any `map`.
    fn label_oblique(&self, map: &Affine, z: usize, nx: usize, plane: &mut [Label]) {
        for (v, label) in plane.iter_mut().enumerate() {
            let at = map.apply([(v % nx) as f64, (v / nx) as f64, z as f64]);
            *label = self.label([0, 1, 2].map(|a| place(at[a], self.size[a])));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interpolation, Spacing, labels_from_scores, reoriented_grid, resample};
    use proptest::prelude::*;

    /// Labels without a pattern below `classes`, in runs, and leads.
    fn noise(grid: Grid, classes: usize, seed: usize) -> (LabelVolume, Volume<u8>) {
        let mixed = |i: usize| (i * 7919 + seed * 104_729 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let labels =
            LabelVolume::from_fn(grid, |[x, y, z]| (mixed(x / 2 + 31 * (y / 2) + 997 * z) % classes) as u8);
        let leads = Volume::from_fn(grid, |at| (mixed(grid.offset(at)) % 255 + 1) as u8);
        (labels, leads)
    }

    /// The definition by way of scores: a class has a lead where it is the label, and 0 elsewhere.
    fn agrees(
        (labels, leads): &(LabelVolume, Volume<u8>),
        classes: usize,
        target: &Grid,
    ) -> Result<(), TestCaseError> {
        let scores: Vec<f32> = (0..classes)
            .flat_map(|class| {
                let voxels = labels.voxels().iter().zip(leads.voxels());
                voxels.map(
                    move |(&label, &lead)| if usize::from(label) == class { f32::from(lead) } else { 0.0 },
                )
            })
            .collect();
        let expected = labels_from_scores(&scores, classes, labels.grid(), target).unwrap();
        let found = labels_from_leads(labels, Some(leads), target).unwrap();
        prop_assert_eq!(found.grid(), target);
        let different = found.voxels().iter().zip(expected.voxels()).filter(|(a, b)| a != b).count();
        // Where two are equal to rounding, either will do.
        prop_assert!(different * 200 <= found.voxels().len(), "{} of {}", different, found.voxels().len());
        Ok(())
    }

    fn grid(size: [usize; 3], spacing: [f64; 3]) -> Grid {
        Grid::with_spacing(size, Spacing::new(spacing).unwrap()).unwrap()
    }

    proptest! {
        #[test]
        fn they_are_the_labels_of_scores_that_are_leads(
            size in prop::array::uniform3(1usize..7),
            target_size in prop::array::uniform3(1usize..14),
            spacing in prop::array::uniform3(0.2f64..3.0),
            origin in prop::array::uniform3(-3.0f64..3.0),
            orientation in prop::sample::select(vec!["RAS", "LPS", "RPI", "SAR", "PIL", "ASL"]),
            classes in 1usize..5,
            seed in 0usize..1000,
        ) {
            let affine = Affine::from_spacing(Spacing::new(spacing).unwrap(), origin);
            let target = reoriented_grid(&Grid::new(target_size, affine).unwrap(), orientation.parse().unwrap());
            agrees(&noise(grid(size, [0.7, 0.8, 2.5]), classes, seed), classes, &target)?;
        }

        #[test]
        fn oblique_targets_too(angle in 0.01f64..1.5, seed in 0usize..1000) {
            let (s, c) = angle.sin_cos();
            let rows = [[c, -s, 0.0, -1.0], [s, c, 0.0, 0.5], [0.0, 0.1, 0.9, -0.5], [0.0, 0.0, 0.0, 1.0]];
            let target = Grid::new([9, 8, 7], Affine::new(rows).unwrap()).unwrap();
            agrees(&noise(grid([5, 6, 4], [0.7, 0.8, 2.5]), 3, seed), 3, &target)?;
        }
    }

    #[test]
    fn on_the_same_grid_labels_stay_what_they_are_whatever_their_leads() {
        let (labels, leads) = noise(grid([9, 7, 5], [1.0, 2.0, 3.0]), 4, 3);
        let hardly = leads.map(|lead| lead % 2);
        for leads in [None, Some(&leads), Some(&hardly)] {
            assert_eq!(labels_from_leads(&labels, leads, labels.grid()).unwrap(), labels);
        }
    }

    #[test]
    fn leads_of_another_grid_are_refused() {
        let (labels, _) = noise(grid([3, 3, 3], [1.0; 3]), 2, 1);
        let leads = Volume::filled(grid([3, 3, 2], [1.0; 3]), 1);
        assert!(labels_from_leads(&labels, Some(&leads), labels.grid()).is_err());
    }

    /// A ball that a network at 2 mm sees with probabilities that fall off over 2 mm, put on a grid of 1 mm.
    #[test]
    fn a_ball_is_rounder_than_by_nearest_labels() {
        let fine = grid([56; 3], [1.0; 3]);
        let coarse = crate::grid_with_spacing(&fine, Spacing::isotropic(2.0).unwrap()).unwrap();
        // From their common corner on.
        let at = |voxel: [usize; 3], mm: f64| voxel.map(|v| (v as f64 + 0.5) * mm);
        let centre = [28.3, 27.85, 28.0];
        let inside = |p: [f64; 3], radius: f64| {
            radius - (0..3).map(|a| (p[a] - centre[a]).powi(2)).sum::<f64>().sqrt()
        };
        for (radius, least) in [(6.0, 0.95), (12.0, 0.98), (20.0, 0.99)] {
            let truth = LabelVolume::from_fn(fine, |v| u8::from(inside(at(v, 1.0), radius) > 0.0));
            let depth = |v| inside(at(v, 2.0), radius);
            let labels = LabelVolume::from_fn(coarse, |v| u8::from(depth(v) > 0.0));
            let leads = Volume::from_fn(coarse, |v| (255.0 * (depth(v) / 2.0).tanh().abs()).round() as u8);
            let dice = |mask: LabelVolume| {
                let both = mask.voxels().iter().zip(truth.voxels()).filter(|&(&a, &b)| a + b == 2).count();
                let count = |mask: &LabelVolume| mask.voxels().iter().filter(|&&v| v == 1).count();
                2.0 * both as f64 / (count(&mask) + count(&truth)) as f64
            };
            let nearest = dice(resample(&labels, &fine, Interpolation::Nearest, 0));
            let alone = dice(labels_from_leads(&labels, None, &fine).unwrap());
            let leading = dice(labels_from_leads(&labels, Some(&leads), &fine).unwrap());
            println!(
                "radius {radius} mm: DSC {nearest:.4} nearest, {alone:.4} labels alone, {leading:.4} with leads"
            );
            assert!(alone > nearest && leading > alone && leading > least);
        }
    }
}
