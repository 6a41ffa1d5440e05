//! Looking a whole dataset over before it costs a night of training.
//!
//! Every file is read. For each case: size, spacing, orientation; whether image and label agree in size
//! and place, and if not, along which axis and by how much; which labels there are and whether the
//! dataset declares them; NaN and infinite voxels. For all: whether the numbers of the labels leave none out. What a header says that other programs read otherwise is
//! a warning: axes that are not at right angles, a sform and a qform that differ, neither of the two.

mod copy_labels;
mod fix;
mod report;

use std::path::Path;

use organseg_volume::{
    GEOMETRY_TOLERANCE_VOXELS, Grid, ImageInfo, Label, LabelVolume, Orientation, RIGHT_ANGLE_TOLERANCE,
    Volume, probe, read_image, read_labels, reoriented_grid,
};
use rayon::prelude::*;

pub use fix::{FixReport, Unfixable, fix_to};
pub use report::{CaseCheck, CheckReport, Problem};

use crate::dataset::{has_gaps, voxels_per_label};
use crate::{Case, Dataset};

/// Reads every case of `dataset` and reports what it finds. Cases that cannot be read are part of the
/// report; nothing is changed. Cases are read in parallel.
#[must_use]
pub fn check_dataset(dataset: &Dataset) -> CheckReport {
    let cases = dataset.cases.par_iter().map(|case| check_case(case, dataset)).collect();
    let (name, labels) = (dataset.name.clone(), dataset.labels.clone());
    let warnings = dataset.warnings.clone();
    let label_gaps = has_gaps(&labels);
    CheckReport { dataset: name, label_gaps, labels, ignore: dataset.ignore, warnings, cases }
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
    for file in [Some(&case.image), case.label.as_ref()].into_iter().flatten() {
        // A file that cannot be read has been reported.
        if let Ok(info) = probe(file) {
            check.problems.extend(ambiguities(file, &info));
        }
    }
    check
}

/// What other programs may read differently in a file's header.
fn ambiguities(file: &Path, info: &ImageInfo) -> Vec<Problem> {
    let mut found = Vec::new();
    let (file, cosine) = (file.to_path_buf(), info.orthogonality_residual);
    if info.affine_source == "pixdim" {
        found.push(Problem::NoOrientation { file: file.clone() });
    }
    if cosine > RIGHT_ANGLE_TOLERANCE {
        found.push(Problem::NotAtRightAngles { file: file.clone(), cosine });
    }
    let other = info.qform.and_then(|affine| Grid::new(info.grid.size(), affine).ok());
    if let Some((_, distance_voxels, distance_mm)) = other.and_then(|other| apart(&info.grid, &other)) {
        found.push(Problem::SformAndQformDiffer { file, distance_voxels, distance_mm });
    }
    found
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
    if check.voxels_per_label.keys().all(|&label| label == 0 || dataset.ignore == Some(label)) {
        check.problems.push(Problem::NoForeground);
    }
    let unknown: Vec<_> = check
        .voxels_per_label
        .iter()
        .filter(|&(&label, _)| !dataset.declares(label))
        .map(|(&label, &voxels)| Problem::UnknownLabel { label, voxels })
        .collect();
    check.problems.extend(unknown);
}

/// Where the label's grid leaves the image's, if it does.
fn compare_grids(image: &Grid, label: &Grid) -> Option<Problem> {
    if image.size() == label.size() {
        apart(image, label)?;
    }
    let [of_image, of_label] = [image, label].map(|grid| Orientation::of(grid.affine()));
    if of_image != of_label {
        let turned = reoriented_grid(label, of_image);

        if turned.size() == image.size() {
            let same_place = apart(image, &turned).is_none();
            let (image, label) = (of_image.to_string(), of_label.to_string());
            return Some(Problem::OrientationMismatch { image, label, same_place });
        }
    }
    if image.size() != label.size() {
        return Some(Problem::SizeMismatch { image: image.size(), label: label.size() });
    }
    let (axis, distance_voxels, distance_mm) = apart(image, label)?;
    Some(Problem::GeometryMismatch { axis, distance_voxels, distance_mm })
}

/// How far `other`, of the same size, lies from `grid` along each axis of that, in voxels and in millimetres,
/// and along which axis it is most voxels; nothing if it is within the tolerance.
fn apart(grid: &Grid, other: &Grid) -> Option<(char, [f64; 3], [f64; 3])> {
    let distance_voxels = grid.corner_distances_voxels(other);
    let axis = (0..3).max_by(|&a, &b| distance_voxels[a].total_cmp(&distance_voxels[b])).unwrap_or(0);
    let spacing = grid.spacing().to_array();
    let distance_mm = [0, 1, 2].map(|a| distance_voxels[a] * spacing[a]);
    let same = distance_voxels[axis] <= GEOMETRY_TOLERANCE_VOXELS;
    (!same).then_some((['x', 'y', 'z'][axis], distance_voxels, distance_mm))
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

    /// Overwrites numbers in the header of an uncompressed NIfTI-1 file.
    fn change_header(path: &Path, changes: &[(usize, f32)]) {
        let mut bytes = std::fs::read(path).unwrap();
        for &(at, value) in changes {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        std::fs::write(path, bytes).unwrap();
    }

    /// A case of 4×3×2 voxels, image and label uncompressed, as a CSV dataset.
    fn one_case(root: &Path) -> Dataset {
        let home = grid([4, 3, 2], [0.0; 3]);
        write(root.join("image.nii"), &Volume::filled(home, 1.0f32)).unwrap();
        write(root.join("label.nii"), &LabelVolume::filled(home, 1)).unwrap();
        std::fs::write(root.join("cases.csv"), "image,label\nimage.nii,label.nii\n").unwrap();
        Dataset::open(root.join("cases.csv")).unwrap()
    }

    /// Where a NIfTI-1 header has the qform's offset along y, and the sform's entry (0, 1).
    const QOFFSET_Y: usize = 272;
    const SROW_X_1: usize = 284;

    #[test]
    fn a_qform_elsewhere_is_a_warning_with_millimetres_per_axis() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = one_case(folder.path());
        assert_eq!(check_dataset(&dataset).cases[0].problems, []);
        // A thousandth of a voxel of 2 mm is rounding; a millimetre is not.
        let image = folder.path().join("image.nii");
        change_header(&image, &[(QOFFSET_Y, 0.001)]);
        assert_eq!(check_dataset(&dataset).cases[0].problems, []);
        change_header(&image, &[(QOFFSET_Y, 1.0)]);
        let report = check_dataset(&dataset);
        let expected = Problem::SformAndQformDiffer {
            file: image,
            distance_voxels: [0.0, 0.5, 0.0],
            distance_mm: [0.0, 1.0, 0.0],
        };
        assert_eq!(report.cases[0].problems, [expected]);
        assert!(report.is_sound(), "a warning");
        assert!(report.to_text().contains("(0.000, 1.000, 0.000) mm apart along (x, y, z)"));
    }

    #[test]
    fn a_file_without_sform_and_qform_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = one_case(folder.path());
        let image = folder.path().join("image.nii");
        let mut bytes = std::fs::read(&image).unwrap();
        bytes[252..256].fill(0);
        std::fs::write(&image, bytes).unwrap();
        let report = check_dataset(&dataset);
        assert_eq!(report.cases[0].problems, [Problem::NoOrientation { file: image }]);
        assert!(report.is_sound() && report.to_text().contains("left and right may be exchanged"));
    }

    #[test]
    fn a_sheared_sform_is_accepted_with_its_residual_as_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = one_case(folder.path());
        let (image, label) = (folder.path().join("image.nii"), folder.path().join("label.nii"));
        // The second axis is 2 mm long and leans towards the first by 2e-4 of a millimetre: a cosine of 1e-4
        // less a little, which passes; and by four times as much, which does not.
        for file in [&image, &label] {
            change_header(file, &[(SROW_X_1, 1.9e-4)]);
        }
        assert_eq!(check_dataset(&dataset).cases[0].problems, []);
        for file in [&image, &label] {
            // Without a qform: its code is the 16 bits at 252, before the sform's.
            change_header(file, &[(SROW_X_1, 8e-4)]);
            let mut bytes = std::fs::read(file).unwrap();
            bytes[252..254].fill(0);
            std::fs::write(file, bytes).unwrap();
        }
        let report = check_dataset(&dataset);
        let problems = &report.cases[0].problems;
        let [Problem::NotAtRightAngles { file, cosine }, Problem::NotAtRightAngles { .. }] = &problems[..]
        else {
            panic!("{problems:?}")
        };
        assert_eq!(file, &image);
        assert!((cosine - 4e-4).abs() < 1e-8, "{cosine}");
        assert!(report.is_sound() && report.to_text().contains("|cosine| up to 4.0e-4"));
    }

    #[test]
    fn the_ignore_label_is_declared_but_no_foreground() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = broken_dataset(folder.path());
        dataset.ignore = Some(7);
        let report = check_dataset(&dataset);
        let short = &report.cases[2].problems;
        assert!(matches!(short[..], [Problem::NoForeground, Problem::SizeMismatch { .. }]), "{short:?}");
        let text = report.to_text();
        assert!(text.contains("label 7 (ignore): in 1 cases, voxels 12\n"), "{text}");
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
