//! A repaired copy of a dataset.
//!
//! What is repaired, and how: a label of the image's size and axes that lies elsewhere is put on the image's
//! grid, since it was drawn on the image and its header is what went wrong; a label that lies on the image with its
//! voxels in another order gets them in the image's; NaN and infinite voxels become the image's smallest finite value,
//! as if nothing had been measured there. Where the numbers of the labels leave some out they are numbered anew, in masks
//! and `dataset.json`; where two labels have one name, or one has the background's, it gets its number added.
//! Different sizes, axes that differ in more than order, undeclared labels and
//! unreadable files need a person: such cases are left out and listed.

use std::collections::BTreeMap;
use std::path::Path;

use organseg_volume::{
    Label, Orientation, Volume, WriteConfig, probe, read, read_labels, reorient_owned, write, write_smallest,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::copy_labels::CopyLabels;
use super::{CaseCheck, CheckReport, Problem};
use crate::{Case, Dataset, TrainError};

/// What [`fix_to`] did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FixReport {
    /// Names of the cases copied as they were.
    pub copied: Vec<String>,
    /// Names of the cases repaired, and what was wrong with each.
    pub fixed: BTreeMap<String, Vec<Problem>>,
    /// The cases left out.
    pub unfixable: Vec<Unfixable>,
    /// Labels that have another number in the copy, with that; all if the numbers left some out, else none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renumbered: BTreeMap<Label, Label>,
    /// Labels of the copy that have another name there, with that, for another label had it too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<Label, String>,
}

/// A case that was left out of the repaired copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unfixable {
    /// Its name.
    pub name: String,
    /// What is wrong that cannot be repaired.
    pub problems: Vec<Problem>,
}

/// Writes a repaired copy of `dataset`, of which `report` was made, to the folder `target` in nnU-Net v2
/// layout. The copy is made beside `target` and renamed when it is whole.
///
/// # Errors
/// [`TrainError::OutputNotEmpty`] if `target` holds something; [`TrainError::EmptyDataset`] if no case
/// can be kept; [`TrainError::Io`] or [`TrainError::Volume`] for what cannot be read or written.
pub fn fix_to(
    dataset: &Dataset,
    report: &CheckReport,
    target: impl AsRef<Path>,
) -> Result<FixReport, TrainError> {
    let target = target.as_ref();
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| TrainError::Io { path, source }
    };
    let exists = target.exists();
    if exists && std::fs::read_dir(target).map_err(io(target))?.next().is_some() {
        return Err(TrainError::OutputNotEmpty { path: target.to_path_buf() });
    }
    let mut result = FixReport::default();
    let mut kept = Vec::new();
    for check in &report.cases {
        let hopeless: Vec<Problem> =
            check.problems.iter().filter(|p| !p.is_warning() && !p.is_fixable()).cloned().collect();
        match dataset.case(&check.name) {
            Ok(case) if hopeless.is_empty() => kept.push((case, check)),
            _ => result.unfixable.push(Unfixable { name: check.name.clone(), problems: hopeless }),
        }
    }
    if kept.is_empty() {
        let expected = "at least one case without problems that cannot be fixed".to_string();
        return Err(TrainError::EmptyDataset { path: dataset.root.clone(), expected });
    }

    let parent = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io(parent))?;
    let draft = tempfile::Builder::new().prefix(".organseg-fix-").tempdir_in(parent).map_err(io(parent))?;
    // Inside the draft, whose own permissions are the owner's alone.
    let root = draft.path().join("dataset");
    for folder in ["imagesTr", "labelsTr"] {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder).map_err(io(&folder))?;
    }
    let manifest = root.join("dataset.json");
    let labels = CopyLabels::of(dataset);
    std::fs::write(&manifest, manifest_text(dataset, &labels, kept.len())).map_err(io(&manifest))?;
    for (case, check) in kept {
        let problems: Vec<Problem> = check.problems.iter().filter(|p| p.is_fixable()).cloned().collect();
        write_case(case, check, &labels, &root)?;
        if problems.is_empty() {
            result.copied.push(check.name.clone());
        } else {
            result.fixed.insert(check.name.clone(), problems);
        }
    }
    if exists {
        std::fs::remove_dir(target).map_err(io(target))?;
    }
    std::fs::rename(&root, target).map_err(io(target))?;
    (result.renumbered, result.renamed) = (labels.renumbered, labels.renamed);
    Ok(result)
}

fn write_case(case: &Case, check: &CaseCheck, labels: &CopyLabels, root: &Path) -> Result<(), TrainError> {
    let image_path = root.join(format!("imagesTr/{}_0000.nii.gz", case.name));
    let label_path = root.join(format!("labelsTr/{}.nii.gz", case.name));
    let has_gaps = check.problems.iter().any(|p| matches!(p, Problem::NonFinite { .. }));
    let grid = if !has_gaps && case.image.to_string_lossy().ends_with(".nii.gz") {
        std::fs::copy(&case.image, &image_path)
            .map_err(|source| TrainError::Io { path: image_path, source })?;
        probe(&case.image)?.grid
    } else {
        // Doubles hold every value but those of the largest integers, which are an error.
        let image: Volume<f64> = read(&case.image)?;
        write_smallest(&image_path, &filled(&image), &WriteConfig::default())?;
        probe(&case.image)?.grid
    };
    let mut label = labels.renumber(read_labels(case.label_path()?)?);
    if check.problems.iter().any(|p| matches!(p, Problem::OrientationMismatch { .. })) {
        // The image's header on voxels in another order would mirror them.
        label = reorient_owned(label, Orientation::of(grid.affine()));
    }
    write(label_path, &label.with_grid(grid)?)?;
    Ok(())
}

/// The image with its smallest finite value where it has none.
fn filled(image: &Volume<f64>) -> Volume<f64> {
    let finite = image.voxels().iter().copied().filter(|v| v.is_finite());
    let lowest = finite.fold(f64::INFINITY, f64::min);
    let fill = if lowest.is_finite() { lowest } else { 0.0 };
    image.map(|v| if v.is_finite() { v } else { fill })
}

fn manifest_text(dataset: &Dataset, labels: &CopyLabels, cases: usize) -> String {
    let manifest = json!({
        "name": dataset.name,
        "channel_names": {"0": dataset.modality.to_string()},
        "labels": labels.named,
        "numTraining": cases,
        "file_ending": ".nii.gz",
    });
    serde_json::to_string_pretty(&manifest).expect("names and numbers are valid JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Affine, Grid, LabelVolume, Spacing, reorient};

    use super::super::check_dataset;
    use super::super::tests::{broken_dataset, grid};
    use super::*;

    #[test]
    fn what_can_be_fixed_is_and_the_rest_is_listed() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = broken_dataset(&folder.path().join("broken"));
        dataset.ignore = Some(3);
        let report = check_dataset(&dataset);
        let target = folder.path().join("new").join("fixed");
        let done = fix_to(&dataset, &report, &target).unwrap();
        assert_eq!(done.copied, ["good"]);
        assert_eq!(done.fixed.keys().collect::<Vec<_>>(), ["moved"]);
        assert_eq!(done.unfixable.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["short", "torn"]);
        assert_eq!(done.unfixable[0].problems.len(), 2);

        let fixed = Dataset::open(&target).unwrap();
        assert_eq!(fixed.names(), ["good", "moved"]);
        assert_eq!((&fixed.labels, &fixed.modality), (&dataset.labels, &dataset.modality));
        assert_eq!(fixed.ignore, dataset.ignore);
        assert!(check_dataset(&fixed).is_sound());
        let moved = fixed.case("moved").unwrap().load(&fixed).unwrap();
        // The NaN has become the smallest of the other values, 1 to 23.
        assert_eq!(moved.image[[0, 0, 0]], 1.0);
        assert_eq!(moved.image[[3, 2, 1]], 23.0);
        assert_eq!(moved.label.voxels().iter().filter(|&&l| l == 1).count(), 6);
        let bytes = |dataset: &Dataset| std::fs::read(&dataset.case("good").unwrap().image).unwrap();
        assert_eq!(bytes(&fixed), bytes(&dataset));
        // Nothing else is left behind.
        assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1);
    }

    /// Opens a dataset of one case whose mask holds each of 0 to 3, 9 and 255, with these labels.
    fn with_labels(root: &Path, labels: &str) -> Dataset {
        for folder in ["imagesTr", "labelsTr"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("dataset.json"), format!(r#"{{"labels": {labels}}}"#)).unwrap();
        let grid = grid([6, 1, 1], [0.0; 3]);
        write(root.join("imagesTr/a.nii.gz"), &Volume::filled(grid, 1.0f32)).unwrap();
        let mask = LabelVolume::from_vec(grid, vec![0, 1, 2, 3, 9, 255]).unwrap();
        write(root.join("labelsTr/a.nii.gz"), &mask).unwrap();
        Dataset::open(root).unwrap()
    }

    #[test]
    fn labels_with_a_gap_are_numbered_anew_and_keep_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let labels = r#"{"background": 0, "a": 1, "b": 2, "c": 3, "far": 9, "ignore": 255}"#;
        let dataset = with_labels(&folder.path().join("old"), labels);
        let report = check_dataset(&dataset);
        assert!(report.cases[0].problems.is_empty() && !report.is_sound());
        let text = report.to_text();
        assert!(
            text.contains("error: the labels are 1 (a), 2 (b), 3 (c), 9 (far), expected 1 to 4"),
            "{text}"
        );
        assert!(text.contains("1 errors (1 of them can be fixed), 0 warnings"), "{text}");
        let done = fix_to(&dataset, &report, folder.path().join("new")).unwrap();
        assert_eq!(done.renumbered, BTreeMap::from([(9, 4), (255, 5)]));
        let fixed = Dataset::open(folder.path().join("new")).unwrap();
        fixed.check_label_numbers().unwrap();
        assert_eq!((fixed.labels[&4].as_str(), fixed.labels.len(), fixed.ignore), ("far", 4, Some(5)));
        assert!(check_dataset(&fixed).is_sound());
        assert_eq!(fixed.cases[0].load(&fixed).unwrap().label.voxels(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn labels_of_one_name_and_one_called_background_stay_labels() {
        let folder = tempfile::tempdir().unwrap();
        let labels = r#"{"0": "none", "1": "kidney", "2": "kidney", "3": "background", "9": "tumour",
                         "255": "kidney (label 2)"}"#;
        let dataset = with_labels(&folder.path().join("old"), labels);
        let done = fix_to(&dataset, &check_dataset(&dataset), folder.path().join("new")).unwrap();
        let new_names = [(2, "kidney (label 2) (label 2)"), (3, "background (label 3)")];
        assert_eq!(done.renamed, new_names.map(|(label, name)| (label, name.to_string())).into());
        let fixed = Dataset::open(folder.path().join("new")).unwrap();
        let expected = [
            (1, "kidney"),
            (2, "kidney (label 2) (label 2)"),
            (3, "background (label 3)"),
            (4, "tumour"),
            (5, "kidney (label 2)"),
        ];
        assert_eq!(fixed.labels, expected.map(|(label, name)| (label, name.to_string())).into());
    }

    #[test]
    fn a_full_folder_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = broken_dataset(folder.path());
        let report = check_dataset(&dataset);
        let error = fix_to(&dataset, &report, folder.path()).unwrap_err();
        assert!(matches!(error, TrainError::OutputNotEmpty { .. }), "{error}");
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        assert!(fix_to(&dataset, &report, &empty).is_ok());
    }

    #[test]
    fn with_nothing_to_keep_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = broken_dataset(&folder.path().join("broken"));
        let mut report = check_dataset(&dataset);
        report.cases.retain(|case| case.name == "torn");
        let target = folder.path().join("fixed");
        let error = fix_to(&dataset, &report, &target).unwrap_err();
        assert!(matches!(error, TrainError::EmptyDataset { .. }), "{error}");
        assert!(!target.exists());
    }

    /// A dataset of one case whose mask was drawn in the world and stored in another order.
    fn stored_in_another_order(root: &Path, label_from: &str, moved_mm: f64) -> (Dataset, Volume<f64>) {
        for folder in ["imagesTr", "labelsTr"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        let manifest = r#"{"channel_names": {"0": "MR"}, "labels": {"background": 0, "organ": 1},
                           "file_ending": ".nrrd", "numTraining": 1}"#;
        std::fs::write(root.join("dataset.json"), manifest).unwrap();
        let grid = grid([4, 3, 2], [0.0; 3]);
        // Values that single precision does not hold.
        let image = Volume::from_fn(grid, |index| 16_777_217.0 + grid.offset(index) as f64);
        let mask = LabelVolume::from_fn(grid, |[x, y, z]| u8::from(x == 3 && y <= 1 && z == 0));
        let label = reorient(&mask, label_from.parse().unwrap());
        let moved = Affine::from_spacing(Spacing::isotropic(1.0).unwrap(), [moved_mm, 0.0, 0.0]);
        let affine = moved.after(label.grid().affine());
        let moved = Grid::new(label.size(), affine).unwrap();
        let label = label.with_grid(moved).unwrap();
        write(root.join("imagesTr/case_0000.nrrd"), &image).unwrap();
        write(root.join("labelsTr/case.nrrd"), &label).unwrap();
        (Dataset::open(root).unwrap(), image)
    }

    #[test]
    fn a_mask_in_another_order_keeps_its_place_in_the_world() {
        // RAS is the image's own; ALI has its axes in other places too.
        for order in ["LPS", "LAS", "ALI"] {
            let folder = tempfile::tempdir().unwrap();
            let (dataset, image) = stored_in_another_order(&folder.path().join("old"), order, 0.0);
            let report = check_dataset(&dataset);
            let [Problem::OrientationMismatch { label, same_place: true, .. }] =
                &report.cases[0].problems[..]
            else {
                panic!("{:?}", report.cases[0].problems)
            };
            assert_eq!(label, order);
            let target = folder.path().join("new");
            fix_to(&dataset, &report, &target).unwrap();
            let fixed = Dataset::open(&target).unwrap();
            assert!(check_dataset(&fixed).is_sound());
            let case = fixed.case("case").unwrap();
            let label = read_labels(case.label_path().unwrap()).unwrap();
            let organ = |[x, y, z]: [usize; 3]| u8::from(x == 3 && y <= 1 && z == 0);
            assert_eq!(label.voxels(), LabelVolume::from_fn(*image.grid(), organ).voxels());
            assert_eq!(read::<f64>(&case.image).unwrap().voxels(), image.voxels());
        }
    }

    #[test]
    fn a_mask_in_another_order_and_place_is_left_to_a_person() {
        let folder = tempfile::tempdir().unwrap();
        let (dataset, _) = stored_in_another_order(&folder.path().join("old"), "LPS", 1.0);
        let report = check_dataset(&dataset);
        assert!(
            matches!(report.cases[0].problems[..], [Problem::OrientationMismatch { same_place: false, .. }]),
            "{:?}",
            report.cases[0].problems
        );
        let error = fix_to(&dataset, &report, folder.path().join("new")).unwrap_err();
        assert!(matches!(error, TrainError::EmptyDataset { .. }), "{error}");
    }
}
