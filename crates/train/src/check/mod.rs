//! Looking a whole dataset over before it costs a night of training.
//!
//! Every file is read. For each case: size, spacing, orientation; whether image and label agree in size
//! and place, and if not, along which axis and by how much; which labels there are and whether the
//! dataset declares them; NaN and infinite voxels.

mod fix;
mod report;

use std::path::Path;

use organseg_volume::{
    GEOMETRY_TOLERANCE_VOXELS, Grid, Label, LabelVolume, Orientation, Volume, read_image, read_labels,
};
use rayon::prelude::*;

pub use fix::{FixReport, Unfixable, fix_to};
pub use report::{CaseCheck, CheckReport, Problem};

use crate::dataset::voxels_per_label;
use crate::{Case, Dataset};

/// Reads every case of `dataset` and reports what it finds. Cases that cannot be read are part of the
/// report; nothing is changed. Cases are read in parallel.
#[must_use]
pub fn check_dataset(dataset: &Dataset) -> CheckReport {
    let cases = dataset.cases.par_iter().map(|case| check_case(case, dataset)).collect();
    CheckReport { dataset: dataset.name.clone(), labels: dataset.labels.clone(), cases }
}

fn check_case(case: &Case, dataset: &Dataset) -> CaseCheck {
    let mut check = CaseCheck {
        name: case.name.clone(),
        image: case.image.clone(),
        label: case.label.clone(),
        ..CaseCheck::default()
    };
    let image = keep(read_image(&case.image), &case.image, &mut check.problems);
    let label = match case.label_path() {
        Ok(path) => keep(read_labels(path), path, &mut check.problems),
        Err(error) => keep(Err(error), &case.image, &mut check.problems),
    };
    if let Some(image) = &image {
        describe_image(image, &mut check);
    }
    if let Some(label) = &label {
        describe_labels(label, dataset, &mut check);
    }
    if let (Some(image), Some(label)) = (&image, &label) {
        check.problems.extend(compare_grids(image.grid(), label.grid()));
    }
    check
}

/// The value, or a problem with `file` in its place.
fn keep<T, E: std::error::Error>(
    result: Result<T, E>,
    file: &Path,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    result
        .map_err(|error| {
            let mut reason = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                reason = format!("{reason}: {inner}");
                cause = inner.source();
            }
            problems.push(Problem::Unreadable { file: file.to_path_buf(), reason });
        })
        .ok()
}

fn describe_image(image: &Volume<f32>, check: &mut CaseCheck) {
    check.size = image.size();
    check.spacing_mm = image.grid().spacing().to_array();
    check.orientation = Orientation::of(image.grid().affine()).to_string();
    let (mut low, mut high, mut odd) = (f32::INFINITY, f32::NEG_INFINITY, 0);
    for &value in image.voxels() {
        if value.is_finite() {
            (low, high) = (low.min(value), high.max(value));
        } else {
            odd += 1;
        }
    }
    check.range = (low <= high).then_some([low, high]);
    if odd > 0 {
        check.problems.push(Problem::NonFinite { voxels: odd });
    }
}

fn describe_labels(label: &LabelVolume, dataset: &Dataset, check: &mut CaseCheck) {
    let present = (0..=Label::MAX).zip(voxels_per_label(label)).filter(|&(_, voxels)| voxels > 0);
    check.voxels_per_label = present.collect();
    let foreground = || check.voxels_per_label.iter().filter(|&(&label, _)| label > 0);
    if foreground().count() == 0 {
        check.problems.push(Problem::NoForeground);
    }
    let unknown: Vec<_> = foreground()
        .filter(|&(label, _)| !dataset.labels.contains_key(label))
        .map(|(&label, &voxels)| Problem::UnknownLabel { label, voxels })
        .collect();
    check.problems.extend(unknown);
}

/// Where the label's grid leaves the image's, if it does.
fn compare_grids(image: &Grid, label: &Grid) -> Option<Problem> {
    if image.size() != label.size() {
        return Some(Problem::SizeMismatch { image: image.size(), label: label.size() });
    }
    let mut distance_voxels = [0.0f64; 3];
    for corner in 0..8usize {
        let index = [0, 1, 2].map(|a| if corner >> a & 1 == 1 { (image.size()[a] - 1) as f64 } else { 0.0 });
        let seen = image.world_to_voxel(label.voxel_to_world(index));
        for axis in 0..3 {
            distance_voxels[axis] = distance_voxels[axis].max((seen[axis] - index[axis]).abs());
        }
    }
    let axis = (0..3).max_by(|&a, &b| distance_voxels[a].total_cmp(&distance_voxels[b])).unwrap_or(0);
    if distance_voxels[axis] <= GEOMETRY_TOLERANCE_VOXELS {
        return None;
    }
    let spacing = image.spacing().to_array();
    let distance_mm = [0, 1, 2].map(|a| distance_voxels[a] * spacing[a]);
    Some(Problem::GeometryMismatch { axis: ['x', 'y', 'z'][axis], distance_voxels, distance_mm })
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use organseg_volume::{Affine, Spacing, write};

    use super::*;

    /// Slices of 5 mm, voxel (0, 0, 0) at `origin_mm`.
    pub(crate) fn grid(size: [usize; 3], origin_mm: [f64; 3]) -> Grid {
        let spacing = Spacing::new([1.0, 2.0, 5.0]).unwrap();
        Grid::new(size, Affine::from_spacing(spacing, origin_mm)).unwrap()
    }

    /// Four cases: `good`; `moved`, whose label lies 1 mm off along y and 2 mm along z, and whose image
    /// has a NaN; `short`, whose label has a slice too few and an undeclared value; `torn`, whose image
    /// is no NIfTI file.
    pub(crate) fn broken_dataset(root: &Path) -> Dataset {
        std::fs::create_dir_all(root.join("imagesTr")).unwrap();
        std::fs::create_dir_all(root.join("labelsTr")).unwrap();
        let manifest = r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1},
                           "file_ending": ".nii.gz", "numTraining": 4}"#;
        std::fs::write(root.join("dataset.json"), manifest).unwrap();
        let image_path = |name: &str| root.join(format!("imagesTr/{name}_0000.nii.gz"));
        let label_path = |name: &str| root.join(format!("labelsTr/{name}.nii.gz"));
        let home = grid([4, 3, 2], [0.0; 3]);
        let mut image = Volume::from_fn(home, |index| home.offset(index) as f32);
        let label = LabelVolume::from_fn(home, |[x, _, _]| u8::from(x == 1));
        for name in ["good", "short"] {
            write(image_path(name), &image).unwrap();
        }
        image[[0, 0, 0]] = f32::NAN;
        write(image_path("moved"), &image).unwrap();
        std::fs::write(image_path("torn"), "not an image").unwrap();
        for name in ["good", "torn"] {
            write(label_path(name), &label).unwrap();
        }
        let moved = label.clone().with_grid(grid([4, 3, 2], [0.0, 1.0, 2.0])).unwrap();
        write(label_path("moved"), &moved).unwrap();
        write(label_path("short"), &LabelVolume::filled(grid([4, 3, 1], [0.0; 3]), 7)).unwrap();
        Dataset::open(root).unwrap()
    }

    #[test]
    fn each_case_is_described_and_its_problems_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let report = check_dataset(&broken_dataset(folder.path()));
        let [good, moved, short, torn] = &report.cases[..] else { panic!("{report:?}") };

        assert_eq!((good.size, good.spacing_mm), ([4, 3, 2], [1.0, 2.0, 5.0]));
        assert_eq!((good.orientation.as_str(), good.range), ("RAS", Some([0.0, 23.0])));
        assert_eq!(good.voxels_per_label, BTreeMap::from([(0, 18), (1, 6)]));
        assert_eq!(good.problems, []);

        let [Problem::NonFinite { voxels: 1 }, Problem::GeometryMismatch { axis, distance_mm, .. }] =
            &moved.problems[..]
        else {
            panic!("{:?}", moved.problems)
        };
        // 1 mm is half a voxel along y; 2 mm are two fifths along z.
        assert_eq!(*axis, 'y');
        assert!((0..3).all(|a| (distance_mm[a] - [0.0, 1.0, 2.0][a]).abs() < 1e-5), "{distance_mm:?}");

        let unknown = Problem::UnknownLabel { label: 7, voxels: 12 };
        let sizes = Problem::SizeMismatch { image: [4, 3, 2], label: [4, 3, 1] };
        assert_eq!(short.problems, [unknown, sizes]);
        assert!(matches!(&torn.problems[..], [Problem::Unreadable { file, .. }] if *file == torn.image));
        assert!(!report.is_sound());
    }

    #[test]
    fn an_empty_label_is_a_warning_only() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = broken_dataset(folder.path());
        let label = dataset.case("good").unwrap().label.clone().unwrap();
        write(label, &LabelVolume::filled(grid([4, 3, 2], [0.0; 3]), 0)).unwrap();
        let good = &check_dataset(&dataset).cases[0];
        assert_eq!(good.problems, [Problem::NoForeground]);
        assert!(good.problems[0].is_warning());
    }
}
