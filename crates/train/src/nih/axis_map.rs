//! Which axis of a label file runs along which axis of its scan, and which way.

use organseg_volume::Orientation;

/// For each axis of the label: the axis of the scan that it runs along, and whether it runs against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AxisMap {
    pub(super) axes: [(usize, bool); 3],
}

impl AxisMap {
    /// The map if the label's array is stored in orientation `label` and the scan's in `scan`.
    pub(super) fn between(label: Orientation, scan: Orientation) -> Self {
        let (label, scan) = (letters(label), letters(scan));
        let along = |letter: char| {
            let same = scan.iter().position(|&other| other == letter).map(|axis| (axis, false));
            same.or_else(|| scan.iter().position(|&other| opposite(other) == letter).map(|axis| (axis, true)))
        };
        Self { axes: label.map(|letter| along(letter).expect("an orientation has all three directions")) }
    }

    /// Where label voxel (0, 0, 0) lies in the memory of a scan of `size` voxels, and what a step along
    /// each of the label's axes adds.
    pub(super) fn walk(&self, size: [usize; 3]) -> (isize, [isize; 3]) {
        let strides = [1, size[0], size[0] * size[1]].map(|stride| stride as isize);
        let mut first = 0;
        let steps = self.axes.map(|(axis, reversed)| {
            if reversed {
                first += strides[axis] * (size[axis] as isize - 1);
                -strides[axis]
            } else {
                strides[axis]
            }
        });
        (first, steps)
    }

    /// What has to be done to the label, in words: `nothing`, `flip y`, `swap x and y, flip z`. The axes
    /// are the scan's: x along its rows (from column to column), y from row to row, z from slice to slice.
    pub(super) fn words(&self) -> String {
        let mut words = Vec::new();
        let order = self.axes.map(|(axis, _)| axis);
        match order {
            [0, 1, 2] => {}
            [1, 0, 2] => words.push("swap x and y".to_string()),
            [2, 1, 0] => words.push("swap x and z".to_string()),
            [0, 2, 1] => words.push("swap y and z".to_string()),
            _ => words.push(format!(
                "rotate the axes ({} {} {})",
                NAMES[order[0]], NAMES[order[1]], NAMES[order[2]]
            )),
        }
        let mut flipped: Vec<usize> =
            self.axes.iter().filter(|&&(_, reversed)| reversed).map(|&(axis, _)| axis).collect();
        flipped.sort_unstable();
        words.extend(flipped.into_iter().map(|axis| format!("flip {}", NAMES[axis])));
        if words.is_empty() { "nothing".into() } else { words.join(", ") }
    }
}

const NAMES: [char; 3] = ['x', 'y', 'z'];

/// All 48 ways in which the axes of an array can run through a patient.
pub(super) fn all_orientations() -> Vec<Orientation> {
    let mut all = Vec::with_capacity(48);
    for order in [[0, 1, 2], [1, 0, 2], [0, 2, 1], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        for flips in 0..8usize {
            let letter = |axis: usize| ["RL", "AP", "SI"][order[axis]].chars().nth(flips >> axis & 1);
            let text: String = (0..3).filter_map(letter).collect();
            all.push(text.parse().expect("one of each pair of letters is an orientation"));
        }
    }
    all
}

fn letters(orientation: Orientation) -> [char; 3] {
    let text = orientation.to_string();
    let mut letters = text.chars();
    [0, 1, 2].map(|_| letters.next().expect("an orientation has three letters"))
}

fn opposite(letter: char) -> char {
    match letter {
        'R' => 'L',
        'L' => 'R',
        'A' => 'P',
        'P' => 'A',
        'S' => 'I',
        _ => 'S',
    }
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing, Volume, reorient, reoriented_grid};

    use super::*;

    #[test]
    fn there_are_48_orientations_each_once() {
        let all = all_orientations();
        let distinct: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!((all.len(), distinct.len()), (48, 48));
    }

    #[test]
    fn the_walk_goes_where_reorienting_puts_the_voxels() {
        let grid = Grid::with_spacing([3, 4, 5], Spacing::isotropic(1.0).unwrap()).unwrap();
        let scan = Volume::from_fn(grid, |index| grid.offset(index) as i16);
        for orientation in all_orientations() {
            let stored = reorient(&scan, orientation);
            assert_eq!(stored.grid(), &reoriented_grid(&grid, orientation));
            let (first, steps) = AxisMap::between(orientation, Orientation::RAS).walk(scan.size());
            for z in 0..stored.size()[2] {
                for y in 0..stored.size()[1] {
                    for x in 0..stored.size()[0] {
                        let offset =
                            first + x as isize * steps[0] + y as isize * steps[1] + z as isize * steps[2];
                        assert_eq!(stored[[x, y, z]], offset as i16, "{orientation} {x} {y} {z}");
                    }
                }
            }
        }
    }

    #[test]
    fn words_say_what_to_do_in_the_scans_axes() {
        let words =
            |label: &str, scan: &str| AxisMap::between(label.parse().unwrap(), scan.parse().unwrap()).words();
        assert_eq!(words("LPS", "LPS"), "nothing");
        assert_eq!(words("LAS", "LPS"), "flip y");
        assert_eq!(words("LAI", "LPS"), "flip y, flip z");
        assert_eq!(words("PLS", "LPS"), "swap x and y");
        assert_eq!(words("ALI", "LPS"), "swap x and y, flip y, flip z");
        assert_eq!(words("PSL", "LPS"), "rotate the axes (y z x)");
    }
}
