//! What a dataset is like: sizes, spacings, intensities of its organs, how large they are and where they lie.
//!
//! Every image and mask is read once. Sizes, spacings and places are along the axes that training sees, RAS: x
//! to the right, y to the front, z up.

use std::collections::BTreeMap;

use organseg_roi::{BoundingBox, Connectivity, connected_components, crop};
use organseg_volume::{Grid, Label, LabelVolume, Orientation, Spacing, Volume, percentiles, reorient};
use serde::{Deserialize, Serialize};

use crate::dataset::voxels_per_label;
use crate::{Dataset, Modality, TrainError, without_ignored};

/// At most so many voxels of a case enter the intensities, evenly spread over its foreground: enough for the
/// percentiles, and no large organ drowns the small ones of other cases. nnU-Net's number.
const INTENSITIES_PER_CASE: usize = 10_000;

/// What a dataset is like.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// What kind of images these are.
    pub modality: Modality,
    /// Names of the labels. An ignore label is none of them, and nothing below is of its voxels.
    pub labels: BTreeMap<Label, String>,
    /// Case by case.
    pub cases: Vec<CaseFingerprint>,
    /// Of the voxels above label 0; none if there are none.
    pub intensities: Option<IntensityRange>,
}

/// What one case is like, along RAS axes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseFingerprint {
    /// Its name.
    pub name: String,
    /// Voxels.
    pub size: [usize; 3],
    /// Distance between voxels.
    pub spacing_mm: [f64; 3],
    /// Size in voxels of the box around everything above label 0; none for a case without foreground.
    pub organ_size: Option<[usize; 3]>,
    /// Half of what is above label 0 lies in connected pieces of at most so many millilitres; none for a case without
    /// foreground. An organ with strays about it is as large as the organ, scattered lesions as small as lesions.
    pub piece_ml: Option<f64>,
    /// Share of the image's voxels that are exactly 0, as are all between them and the border along the image's first
    /// axis: what was cut away around a skull-stripped brain. Zeros among the noise of air are few of them.
    #[serde(default)]
    pub zero_background: f64,
    /// Of the labels that occur.
    pub labels: BTreeMap<Label, LabelExtent>,
}

/// How much of a label there is, and where.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelExtent {
    /// Its voxels.
    pub voxels: u64,
    /// The middle of its box, in millimetres along RAS axes from the image's first voxel.
    pub middle_mm: [f64; 3],
}

/// Percentiles of intensities.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntensityRange {
    /// Below which 0.5 % lie.
    pub low: f32,
    /// The median.
    pub median: f32,
    /// Below which 99.5 % lie.
    pub high: f32,
}

impl Fingerprint {
    /// Reads the cases called `names`.
    ///
    /// # Errors
    /// [`TrainError::Case`] with what [`crate::Case::load`] finds wrong, such as a label that the dataset does not
    /// declare.
    pub fn measure<S: AsRef<str>>(dataset: &Dataset, names: &[S]) -> Result<Self, TrainError> {
        let mut cases = Vec::with_capacity(names.len());
        let mut intensities = Vec::new();
        for name in names {
            let case = dataset.case(name.as_ref())?;
            let loaded = case.load(dataset).map_err(|error| error.in_case(&case.name))?;
            // What nobody annotated is no organ to be measured.
            let label = without_ignored(loaded.label, dataset.ignore);
            collect_intensities(&loaded.image, &label, &mut intensities);
            cases.push(describe(&case.name, &label, zero_background(&loaded.image)));
        }
        let intensities = range_of(intensities)?;
        let (modality, labels) = (dataset.modality.clone(), dataset.labels.clone());
        Ok(Self { modality, labels, cases, intensities })
    }

    /// Names of the cases in which everything is background.
    #[must_use]
    pub fn without_foreground(&self) -> Vec<&str> {
        let empty = self.cases.iter().filter(|case| case.organ_size.is_none());
        empty.map(|case| case.name.as_str()).collect()
    }
}

fn describe(name: &str, label: &LabelVolume, zero_background: f64) -> CaseFingerprint {
    let turned = reorient(label, Orientation::RAS);
    let spacing_mm = turned.grid().spacing().to_array();
    let counts = voxels_per_label(&turned);
    let labels = (1..=Label::MAX)
        .filter(|&label| counts[usize::from(label)] > 0)
        .filter_map(|label| {
            let place = BoundingBox::of_label(&turned, label)?;
            let middle = |a: usize| (place.min()[a] + place.max()[a] - 1) as f64 / 2.0 * spacing_mm[a];
            let extent = LabelExtent { voxels: counts[usize::from(label)], middle_mm: [0, 1, 2].map(middle) };
            Some((label, extent))
        })
        .collect();
    let place = BoundingBox::of_mask(&turned);
    let voxel_ml = spacing_mm.iter().product::<f64>() / 1000.0;
    CaseFingerprint {
        name: name.to_string(),
        size: turned.size(),
        spacing_mm,
        organ_size: place.map(|place| place.size()),
        piece_ml: place.map(|place| typical_piece(&crop(&turned, &place, 0)) as f64 * voxel_ml),
        zero_background,
        labels,
    }
}

/// The share of `image` that is exactly 0 from one of the two ends of its row on.
fn zero_background(image: &Volume<f32>) -> f64 {
    let row_length = image.size()[0];
    let zeros = |row: &[f32]| {
        let ahead = row.iter().take_while(|v| **v == 0.0).count();
        let behind = row.iter().rev().take_while(|v| **v == 0.0).count();
        (ahead + behind).min(row_length)
    };
    let count: usize = image.voxels().chunks(row_length).map(zeros).sum();
    count as f64 / image.voxels().len() as f64
}

/// Voxels of the connected piece of `mask` with which, from the smallest on, half of its voxels are counted.
fn typical_piece(mask: &LabelVolume) -> usize {
    let mut sizes = connected_components(mask, Connectivity::TwentySix).sizes().to_vec();
    sizes.sort_unstable();
    let (half, mut counted) = (sizes.iter().sum::<usize>().div_ceil(2), 0);
    let reaches_half = |size: &&usize| {
        counted += **size;
        counted >= half
    };
    sizes.iter().find(reaches_half).copied().unwrap_or(0)
}

fn collect_intensities(image: &Volume<f32>, label: &LabelVolume, into: &mut Vec<f32>) {
    let foreground = || image.voxels().iter().zip(label.voxels()).filter(|(_, label)| **label > 0);
    let step = foreground().count().div_ceil(INTENSITIES_PER_CASE).max(1);
    into.extend(foreground().step_by(step).map(|(value, _)| *value));
}

fn range_of(intensities: Vec<f32>) -> Result<Option<IntensityRange>, TrainError> {
    if intensities.is_empty() {
        return Ok(None);
    }
    let line = Grid::with_spacing([intensities.len(), 1, 1], Spacing::isotropic(1.0)?)?;
    let found = percentiles(&Volume::from_vec(line, intensities)?, &[0.5, 50.0, 99.5]);
    Ok(Some(IntensityRange { low: found[0], median: found[1], high: found[2] }))
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Affine, read_labels, write};

    use super::*;

    /// A dataset of three cases in `folder`: two with organs of the labels 1 and 2, one without.
    fn dataset(folder: &std::path::Path) -> Dataset {
        for part in ["imagesTr", "labelsTr"] {
            std::fs::create_dir(folder.join(part)).unwrap();
        }
        let manifest = r#"{"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1, "b": 2},
                           "file_ending": ".nii.gz"}"#;
        std::fs::write(folder.join("dataset.json"), manifest).unwrap();
        // Stored with x to the left: to be turned.
        let rows = [[-2.0, 0.0, 0.0, 30.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
        let grid = Grid::new([20, 12, 8], Affine::new(rows).unwrap()).unwrap();
        let image = Volume::from_fn(grid, |[x, _, _]| x as f32);
        for (name, organs) in [("one", true), ("two", true), ("none", false)] {
            let label = LabelVolume::from_fn(grid, |[x, y, z]| match (x, y, z) {
                (15..19, 2..5, 1..3) if organs => 1,
                (3, 8, 6) if organs => 2,
                _ => 0,
            });
            write(folder.join(format!("imagesTr/{name}_0000.nii.gz")), &image).unwrap();
            write(folder.join(format!("labelsTr/{name}.nii.gz")), &label).unwrap();
        }
        Dataset::open(folder).unwrap()
    }

    #[test]
    fn sizes_places_and_intensities_are_measured_along_ras() {
        let folder = tempfile::tempdir().unwrap();
        let found = Fingerprint::measure(&dataset(folder.path()), &["one", "none"]).unwrap();
        assert_eq!(found.without_foreground(), ["none"]);
        let one = &found.cases[0];
        assert_eq!((one.size, one.spacing_mm), ([20, 12, 8], [2.0, 1.0, 3.0]));
        // Voxels 3 to 18 along x, 2 to 8 along y, 1 to 6 along z.
        assert_eq!(one.organ_size, Some([16, 7, 6]));
        // Label 1 lies in voxels 15 to 18 of 20: 1 to 4 from the other end.
        assert_eq!(one.labels[&1], LabelExtent { voxels: 24, middle_mm: [5.0, 3.0, 4.5] });
        assert_eq!(found.cases[1].labels, BTreeMap::new());
        // 4 · 3 · 2 voxels of 6 mm³, and one by itself.
        assert_eq!((one.piece_ml, found.cases[1].piece_ml), (Some(24.0 * (6.0 / 1000.0)), None));
        let range = found.intensities.unwrap();
        assert!(range.low >= 3.0 && range.low < 15.0 && range.high == 18.0, "{range:?}");
    }

    #[test]
    fn zeros_are_background_from_the_border_on() {
        let grid = Grid::with_spacing([5, 2, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
        let rows = [[0., 0., 1., 0., 0.], [1., 0., 0., 0., 1.], [0.; 5], [0., 2., 0., 3., -1.]];
        let image = Volume::from_vec(grid, rows.concat()).unwrap();
        assert_eq!(zero_background(&image), (4.0 + 0.0 + 5.0 + 1.0) / 20.0);
    }

    #[test]
    fn what_nobody_annotated_is_measured_as_background() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = dataset(folder.path());
        let names = ["one", "two", "none"];
        let plain = Fingerprint::measure(&dataset, &names).unwrap();
        dataset.ignore = Some(3);
        for case in &dataset.cases {
            let path = case.label_path().unwrap();
            let mut label = read_labels(path).unwrap();
            let far = |[x, y, z]: [usize; 3]| x < 2 || y == 11 || z == 0;
            let ignored = LabelVolume::from_fn(*label.grid(), |at| 3 * Label::from(far(at)));
            for (label, &ignored) in label.voxels_mut().iter_mut().zip(ignored.voxels()) {
                *label = if *label == 0 { ignored } else { *label };
            }
            write(path, &label).unwrap();
        }
        assert_eq!(Fingerprint::measure(&dataset, &names).unwrap(), plain);
    }

    #[test]
    fn a_label_that_the_dataset_does_not_declare_is_named_with_case_and_count() {
        let folder = tempfile::tempdir().unwrap();
        let mut dataset = dataset(folder.path());
        dataset.labels.remove(&2);
        let error = Fingerprint::measure(&dataset, &["two"]).unwrap_err().to_string();
        for word in ["case two", "two.nii.gz", "label 2 in 1 voxels", "[0, 1]"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
