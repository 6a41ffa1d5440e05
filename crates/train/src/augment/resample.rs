//! A sample read from its image at the places that a field names, in one pass.
//!
//! Intensities are interpolated linearly. A label is the one with the largest share of the eight voxels around
//! the place, each weighed as in linear interpolation; the smaller of equal ones.
//!
//! What can be seen is the image and the patch together: where the patch reaches outside the image it is filled
//! as [`crate::Sample::cut`] fills it, and a place outside both shows the outermost voxel of the two. So a rotated
//! patch shows what lies around it in the image, and an organ that touches the border of both stays whole.

use organseg_roi::BoundingBox;
use organseg_volume::{Label, LabelVolume, Volume};

use super::transform::{Field, RowPlaces};
use crate::Sample;

/// What is read.
pub(super) struct Source<'a> {
    image: &'a [f32],
    labels: &'a [Label],
    size: [i64; 3],
    /// First and last index along each axis that can be seen.
    seen: [[i64; 2]; 3],
    fill: f32,
}

impl<'a> Source<'a> {
    /// `image` and `labels`, which have one size, and the patch `place`, with `fill` where that reaches outside.
    pub(super) fn new(
        image: &'a Volume<f32>,
        labels: &'a LabelVolume,
        place: &BoundingBox,
        fill: f32,
    ) -> Self {
        let size = image.size().map(|n| n as i64);
        let seen = [0, 1, 2].map(|a| [place.min()[a].min(0), place.max()[a].max(size[a]) - 1]);
        Self { image: image.voxels(), labels: labels.voxels(), size, seen, fill }
    }

    /// The sample of `size` voxels at the places of `field`.
    pub(super) fn read(&self, field: &Field<'_>, size: [usize; 3]) -> Sample {
        let voxels = size.iter().product();
        let (mut image, mut labels) = (Vec::with_capacity(voxels), Vec::with_capacity(voxels));
        let mut places = RowPlaces::default();
        for (z, y) in (0..size[2]).flat_map(|z| (0..size[1]).map(move |y| (z, y))) {
            field.row(y, z, &mut places);
            let [x, y, z] = &places.along;
            for ((&x, &y), &z) in x.iter().zip(y).zip(z) {
                let (value, label) = self.at([x, y, z]);
                image.push(value);
                labels.push(label);
            }
        }
        Sample { image, labels, size }
    }

    fn at(&self, place: [f32; 3]) -> (f32, Label) {
        let (mut low, mut part) = ([0; 3], [0.0; 3]);
        for a in 0..3 {
            let [first, last] = self.seen[a];
            // From the first index on, so that cutting off the fraction rounds down.
            let place = (place[a] - first as f32).clamp(0.0, (last - first) as f32);
            let floor = place as i32;
            (low[a], part[a]) = (i64::from(floor) + first, place - floor as f32);
        }
        let inside = (0..3).all(|a| low[a] >= 0 && low[a] + 1 < self.size[a]);
        let (values, labels) = if inside { self.cell(low) } else { self.cell_at_border(low) };
        (linear(&values, part), if labels == [labels[0]; 8] { labels[0] } else { heaviest(&labels, part) })
    }

    /// The eight voxels of the cell whose lowest voxel is `low`, all inside the image, x fastest.
    fn cell(&self, low: [i64; 3]) -> ([f32; 8], [Label; 8]) {
        let [nx, ny, _] = self.size.map(|n| n as usize);
        let [x, y, z] = low.map(|v| v as usize);
        let start = x + nx * (y + ny * z);
        let rows = [start, start + nx, start + nx * ny, start + nx * ny + nx];
        let (mut values, mut labels) = ([0.0; 8], [0; 8]);
        for (i, row) in rows.into_iter().enumerate() {
            values[2 * i..2 * i + 2].copy_from_slice(&self.image[row..row + 2]);
            labels[2 * i..2 * i + 2].copy_from_slice(&self.labels[row..row + 2]);
        }
        (values, labels)
    }

    /// The same where some are outside the image, or beyond what can be seen.
    fn cell_at_border(&self, low: [i64; 3]) -> ([f32; 8], [Label; 8]) {
        let (mut values, mut labels) = ([self.fill; 8], [0; 8]);
        for corner in 0..8 {
            let at = [0, 1, 2].map(|a| (low[a] + (corner >> a & 1)).min(self.seen[a][1]));
            if (0..3).all(|a| (0..self.size[a]).contains(&at[a])) {
                let offset = (at[0] + self.size[0] * (at[1] + self.size[1] * at[2])) as usize;
                (values[corner as usize], labels[corner as usize]) =
                    (self.image[offset], self.labels[offset]);
            }
        }
        (values, labels)
    }
}

/// Linear interpolation between the corners of a cell.
fn linear(values: &[f32; 8], part: [f32; 3]) -> f32 {
    let between = |a: f32, b: f32, axis: usize| a + part[axis] * (b - a);
    let row = |i: usize| between(values[i], values[i + 1], 0);
    between(between(row(0), row(2), 1), between(row(4), row(6), 1), 2)
}

/// The label with the largest sum of weights, the smallest of several.
fn heaviest(labels: &[Label; 8], part: [f32; 3]) -> Label {
    let weight = |corner: usize| -> f32 {
        (0..3).map(|a| if corner >> a & 1 == 1 { part[a] } else { 1.0 - part[a] }).product()
    };
    let weights: [f32; 8] = std::array::from_fn(weight);
    let (mut best, mut most) = (Label::MAX, -1.0);
    for &label in labels {
        let sum: f32 = labels.iter().zip(weights).filter(|(l, _)| **l == label).map(|(_, w)| w).sum();
        if sum > most || (sum == most && label < best) {
            (best, most) = (label, sum);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::super::transform::Transform;
    use super::*;

    const UNIT: [f64; 3] = [1.0; 3];

    /// A ramp that is linear in all three axes, with label 1 in the upper half of x.
    fn ramp(size: [usize; 3]) -> (Volume<f32>, LabelVolume) {
        let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |[x, y, z]| (x + 10 * y + 100 * z) as f32);
        (image, LabelVolume::from_fn(grid, |[x, _, _]| u8::from(2 * x >= size[0])))
    }

    fn turn(angles_degrees: [f64; 3]) -> Transform {
        Transform { angles_degrees, scale: [1.0; 3], mirrored: [false; 3], elastic: None }
    }

    fn read_at(
        (image, labels): &(Volume<f32>, LabelVolume),
        place: &BoundingBox,
        spacing_mm: [f64; 3],
        transform: &Transform,
    ) -> Sample {
        let size = place.size();
        let centre = [0, 1, 2].map(|a| place.min()[a] as f64 + (size[a] - 1) as f64 / 2.0);
        Source::new(image, labels, place, -1.0).read(&transform.field(size, centre, spacing_mm), size)
    }

    fn read(case: &(Volume<f32>, LabelVolume), spacing_mm: [f64; 3], transform: &Transform) -> Sample {
        read_at(case, &BoundingBox::of_grid(case.0.grid()), spacing_mm, transform)
    }

    #[test]
    fn no_rotation_and_no_scaling_change_nothing() {
        let case = ramp([5, 4, 6]);
        let sample = read(&case, UNIT, &turn([0.0; 3]));
        assert_eq!((&sample.image[..], &sample.labels[..]), (case.0.voxels(), case.1.voxels()));
    }

    #[test]
    fn a_quarter_turn_about_z_moves_x_to_y() {
        let case = ramp([5, 5, 2]);
        let turned = read(&case, UNIT, &turn([0.0, 0.0, 90.0]));
        for (z, y, x) in (0..2).flat_map(|z| (0..5).flat_map(move |y| (0..5).map(move |x| (z, y, x)))) {
            // (x, y) of the source comes to (−y, x) around the centre.
            let (found, expected) = (turned.image[x + 5 * (y + 5 * z)], case.0[[y, 4 - x, z]]);
            assert!((found - expected).abs() < 1e-3, "{x} {y}: {found}, expected {expected}");
        }
    }

    #[test]
    fn magnification_spreads_from_the_centre() {
        let case = ramp([9, 9, 9]);
        let result = read(&case, UNIT, &Transform { scale: [2.0; 3], ..turn([0.0; 3]) });
        // Two voxels from the centre shows what was one voxel from it.
        let at = |[x, y, z]: [usize; 3]| result.image[x + 9 * (y + 9 * z)];
        assert!((at([6, 2, 4]) - case.0[[5, 3, 4]]).abs() < 1e-3);
        assert!((at([4, 4, 4]) - case.0[[4, 4, 4]]).abs() < 1e-3);
    }

    #[test]
    fn within_slices_a_turn_and_a_magnification_leave_the_slice() {
        // A quarter turn about z, twice as large within the plane: (x, y) comes from (y, −x) / 2, z from z.
        let case = ramp([9, 9, 5]);
        let in_plane = Transform { scale: [2.0, 2.0, 1.0], ..turn([0.0, 0.0, 90.0]) };
        let result = read(&case, [1.0, 1.0, 5.0], &in_plane);
        for (z, (x, y)) in (0..5).flat_map(|z| [(8, 4), (4, 0), (6, 2)].map(|at| (z, at))) {
            let expected = case.0[[4 + y / 2 - 2, 4 + 2 - x / 2, z]];
            let found = result.image[x + 9 * (y + 9 * z)];
            assert!((found - expected).abs() < 1e-3, "{x} {y} {z}: {found}, expected {expected}");
        }
    }

    #[test]
    fn rotation_is_rigid_in_millimetres() {
        // Slices twice as far apart: a quarter turn about x takes two voxels along y to one along z.
        let case = ramp([1, 9, 5]);
        let turned = read(&case, [1.0, 1.0, 2.0], &turn([90.0, 0.0, 0.0]));
        assert!((turned.image[4 + 9 * 3] - case.0[[0, 6, 2]]).abs() < 1e-3);
    }

    #[test]
    fn mirroring_in_the_field_is_the_reversal_of_an_axis() {
        let case = ramp([5, 4, 6]);
        for axis in 0..3 {
            let mut mirrored = [false; 3];
            mirrored[axis] = true;
            let sample = read(&case, UNIT, &Transform { mirrored, ..turn([0.0; 3]) });
            let expected = Volume::from_fn(*case.0.grid(), |mut at| {
                at[axis] = case.0.size()[axis] - 1 - at[axis];
                case.0[at]
            });
            assert_eq!(sample.image, expected.voxels());
        }
    }

    #[test]
    fn labels_follow_the_image() {
        let turned = read(&ramp([12, 12, 4]), UNIT, &turn([0.0, 0.0, 180.0]));
        for (index, &label) in turned.labels.iter().enumerate() {
            assert_eq!(label, u8::from(index % 12 < 6));
        }
    }

    #[test]
    fn the_label_with_the_largest_share_of_a_cell_wins() {
        // 3 has two corners near the place and 1 has four far away; 0 and 2 one each.
        let labels = [3, 1, 3, 1, 0, 1, 2, 1];
        assert_eq!(heaviest(&labels, [0.1, 0.5, 0.1]), 3);
        assert_eq!(heaviest(&labels, [0.9, 0.5, 0.5]), 1);
        assert_eq!(heaviest(&[2, 1, 2, 1, 2, 1, 2, 1], [0.5; 3]), 1, "the smaller of equals");
    }

    #[test]
    fn a_turned_patch_shows_what_lies_around_it_in_the_image() {
        let case = ramp([21, 21, 3]);
        let place = BoundingBox::new([6, 6, 0], [15, 15, 3]).unwrap();
        let turned = read_at(&case, &place, UNIT, &turn([0.0, 0.0, 45.0]));
        // The corner lies 4 √2 voxels from the centre (10, 10), along −x or −y: outside the patch.
        let far = 4.0 * std::f32::consts::SQRT_2;
        for (offset, [x, y]) in [(0, [10.0 - far, 10.0]), (8 * 9, [10.0, 10.0 + far])] {
            let (found, expected) = (turned.image[offset], x + 10.0 * y);
            assert!((found - expected).abs() < 0.01, "{found}, expected {expected}");
        }
    }

    #[test]
    fn a_patch_beyond_the_image_is_filled_and_what_is_beyond_both_repeats() {
        let case = ramp([4, 4, 4]);
        let place = BoundingBox::new([0, 0, -2], [4, 4, 4]).unwrap();
        let sample = read_at(&case, &place, UNIT, &Transform { scale: [0.25; 3], ..turn([0.0; 3]) });
        // Along x nothing lies beyond the image: its border repeats. Along z there are two planes of fill.
        assert_eq!(sample.image[4 * 4 * 5], 300.0);
        assert_eq!((sample.image[0], sample.labels[3]), (-1.0, 0));
    }

    #[test]
    fn a_single_voxel_survives() {
        let grid = Grid::with_spacing([1; 3], Spacing::isotropic(1.0).unwrap()).unwrap();
        let case = (Volume::filled(grid, 3.0), LabelVolume::filled(grid, 2));
        let sample = read(&case, UNIT, &Transform { scale: [0.7; 3], ..turn([20.0, 30.0, 40.0]) });
        assert_eq!((sample.image, sample.labels), (vec![3.0], vec![2]));
    }
}
