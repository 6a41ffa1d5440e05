//! Every measure of one case, label by label.

use std::collections::BTreeMap;

use organseg_roi::BoundingBox;
use organseg_volume::{Label, LabelVolume};
use serde::{Deserialize, Serialize};

use crate::surface_distances::surface_distances_in;
use crate::{MetricError, Overlap};

/// In which of the two masks a label occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// In both: every measure means what its name says.
    Both,
    /// In the reference only: the organ was missed. Scores are 0, distances infinite.
    ReferenceOnly,
    /// In the prediction only: something was found where nothing is. Scores are 0, distances infinite.
    PredictionOnly,
    /// In neither: rightly nothing found. Scores are 1, distances 0, and summaries leave the case out.
    Neither,
}

/// How well one label of one case was segmented.
///
/// In JSON an infinite distance is `null` and is read back as infinite.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelMetrics {
    /// Dice coefficient 2 |R ∩ P| / (|R| + |P|), in `[0, 1]`.
    pub dice: f64,
    /// Jaccard index |R ∩ P| / |R ∪ P|, in `[0, 1]`.
    pub jaccard: f64,
    /// Part of the reference's voxels that was found, in `[0, 1]`.
    pub recall: f64,
    /// Part of the predicted voxels that is right, in `[0, 1]`.
    pub precision: f64,
    /// Hausdorff distance in millimetres.
    #[serde(with = "null_if_infinite")]
    pub hd_mm: f64,
    /// 95th percentile Hausdorff distance in millimetres, surface elements weighed by area.
    #[serde(with = "null_if_infinite")]
    pub hd95_mm: f64,
    /// Average symmetric surface distance in millimetres: the mean of the two directed means below.
    #[serde(with = "null_if_infinite")]
    pub assd_mm: f64,
    /// Mean distance in millimetres from the reference's surface to the prediction's.
    #[serde(with = "null_if_infinite")]
    pub asd_reference_to_prediction_mm: f64,
    /// Mean distance in millimetres from the prediction's surface to the reference's.
    #[serde(with = "null_if_infinite")]
    pub asd_prediction_to_reference_mm: f64,
    /// Part of both surfaces' area that is within the tolerance of the other, in `[0, 1]`.
    pub surface_dice: f64,
    /// Part of the reference's bounding box that the prediction's covers, in `[0, 1]`.
    pub box_recall: f64,
    /// Intersection over union of the two bounding boxes, in `[0, 1]`.
    pub box_iou: f64,
    /// Voxels of the label in the reference.
    pub reference_voxels: u64,
    /// Voxels of the label in the prediction.
    pub prediction_voxels: u64,
    /// Bounding box of the label in the reference, in voxels; none if it does not occur.
    pub reference_box: Option<BoundingBox>,
    /// Bounding box of the label in the prediction, in voxels; none if it does not occur.
    pub prediction_box: Option<BoundingBox>,
    /// In which of the two masks the label occurs.
    pub presence: Presence,
}

/// Names of the numbers in [`LabelMetrics`], in the order of [`LabelMetrics::values`]; the same in JSON
/// and CSV.
pub const METRIC_NAMES: [&str; 14] = [
    "dice",
    "jaccard",
    "recall",
    "precision",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    "asd_reference_to_prediction_mm",
    "asd_prediction_to_reference_mm",
    "surface_dice",
    "box_recall",
    "box_iou",
    "reference_voxels",
    "prediction_voxels",
];

impl LabelMetrics {
    /// The numbers, in the order of [`METRIC_NAMES`].
    #[must_use]
    pub fn values(&self) -> [f64; METRIC_NAMES.len()] {
        [
            self.dice,
            self.jaccard,
            self.recall,
            self.precision,
            self.hd_mm,
            self.hd95_mm,
            self.assd_mm,
            self.asd_reference_to_prediction_mm,
            self.asd_prediction_to_reference_mm,
            self.surface_dice,
            self.box_recall,
            self.box_iou,
            self.reference_voxels as f64,
            self.prediction_voxels as f64,
        ]
    }
}

/// Measures each of `labels` in `predicted` against `reference`; surface Dice at `tolerance_mm`.
///
/// Labels are measured one by one, each as a mask of its own; a label in neither volume is reported as
/// such ([`Presence::Neither`]). Costs two passes over both volumes per label, and 8 bytes of memory per
/// voxel of the box around both masks.
///
/// # Errors
/// [`MetricError::GridMismatch`] if the two volumes are not on the same grid,
/// [`MetricError::InvalidTolerance`] if the tolerance is negative, infinite or NaN.
///
/// # Examples
/// ```
/// use organseg_metrics::evaluate;
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([8, 4, 4], Spacing::isotropic(1.0)?)?;
/// // A slab of four voxels, and a prediction that is one voxel too thin.
/// let reference = Volume::from_fn(grid, |[x, _, _]| u8::from((2..6).contains(&x)));
/// let predicted = Volume::from_fn(grid, |[x, _, _]| u8::from((2..5).contains(&x)));
/// let metrics = &evaluate(&predicted, &reference, &[1], 2.0)?[&1];
/// assert_eq!(metrics.dice, 2.0 * 3.0 / (4.0 + 3.0));
/// assert_eq!(metrics.hd_mm, 1.0);
/// assert_eq!(metrics.surface_dice, 1.0);
/// assert_eq!(metrics.box_recall, 0.75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate(
    predicted: &LabelVolume,
    reference: &LabelVolume,
    labels: &[Label],
    tolerance_mm: f64,
) -> Result<BTreeMap<Label, LabelMetrics>, MetricError> {
    if !(tolerance_mm.is_finite() && tolerance_mm >= 0.0) {
        return Err(MetricError::InvalidTolerance { tolerance_mm });
    }
    reference.grid().check_same(predicted.grid())?;
    labels
        .iter()
        .map(|&label| Ok((label, evaluate_label(predicted, reference, label, tolerance_mm)?)))
        .collect()
}

fn evaluate_label(
    predicted: &LabelVolume,
    reference: &LabelVolume,
    label: Label,
    tolerance_mm: f64,
) -> Result<LabelMetrics, MetricError> {
    let overlap = Overlap::of_label(predicted, reference, label)?;
    let reference_box = BoundingBox::of_label(reference, label);
    let prediction_box = BoundingBox::of_label(predicted, label);
    let (presence, box_recall, box_iou) = match (&reference_box, &prediction_box) {
        (Some(r), Some(p)) => (Presence::Both, p.recall(r), p.iou(r)),
        (Some(_), None) => (Presence::ReferenceOnly, 0.0, 0.0),
        (None, Some(_)) => (Presence::PredictionOnly, 0.0, 0.0),
        (None, None) => (Presence::Neither, 1.0, 1.0),
    };
    let distances = surface_distances_in(predicted, reference, label, [reference_box, prediction_box]);
    Ok(LabelMetrics {
        dice: overlap.dice(),
        jaccard: overlap.jaccard(),
        recall: overlap.recall(),
        precision: overlap.precision(),
        hd_mm: distances.hausdorff_mm(),
        hd95_mm: distances.percentile_mm(95.0),
        assd_mm: distances.average_symmetric_mm(),
        asd_reference_to_prediction_mm: distances.mean_reference_to_prediction_mm(),
        asd_prediction_to_reference_mm: distances.mean_prediction_to_reference_mm(),
        surface_dice: distances.surface_dice(tolerance_mm),
        box_recall,
        box_iou,
        reference_voxels: overlap.reference_voxels,
        prediction_voxels: overlap.prediction_voxels,
        reference_box,
        prediction_box,
        presence,
    })
}

/// JSON has no infinity: it is written as `null` and read back.
mod null_if_infinite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::INFINITY))
    }
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing, Volume};

    use super::*;

    fn cube(label: u8, from: usize) -> LabelVolume {
        let grid = Grid::with_spacing([12, 6, 6], Spacing::new([1.0, 1.0, 2.0]).unwrap()).unwrap();
        Volume::from_fn(grid, |[x, y, z]| {
            let inside = (from..from + 4).contains(&x) && (1..5).contains(&y) && (1..5).contains(&z);
            if inside { label } else { 0 }
        })
    }

    #[test]
    fn shifted_cubes_have_the_overlap_and_boxes_of_their_shift() {
        let metrics = &evaluate(&cube(3, 2), &cube(3, 1), &[3], 0.5).unwrap()[&3];
        assert_eq!(metrics.presence, Presence::Both);
        assert_eq!((metrics.dice, metrics.jaccard), (0.75, 0.6));
        assert_eq!((metrics.recall, metrics.precision), (0.75, 0.75));
        assert_eq!((metrics.box_recall, metrics.box_iou), (0.75, 0.6));
        assert_eq!((metrics.hd_mm, metrics.hd95_mm), (1.0, 1.0));
        assert_eq!((metrics.reference_voxels, metrics.prediction_voxels), (64, 64));
        assert_eq!(metrics.assd_mm, metrics.asd_prediction_to_reference_mm);
        // The four long sides coincide but for their outermost row, the two caps are 1 mm apart.
        assert!(metrics.surface_dice > 0.4 && metrics.surface_dice < 0.8);
    }

    #[test]
    fn a_missed_label_scores_zero_at_an_infinite_distance_and_is_null_in_json() {
        for (predicted, reference, presence) in [
            (cube(1, 0), cube(2, 0), Presence::ReferenceOnly),
            (cube(2, 0), cube(1, 0), Presence::PredictionOnly),
        ] {
            let metrics = &evaluate(&predicted, &reference, &[2], 2.0).unwrap()[&2];
            assert_eq!(metrics.presence, presence);
            assert_eq!((metrics.dice, metrics.surface_dice, metrics.box_iou), (0.0, 0.0, 0.0));
            assert_eq!((metrics.hd_mm, metrics.hd95_mm, metrics.assd_mm), {
                (f64::INFINITY, f64::INFINITY, f64::INFINITY)
            });
            let json = serde_json::to_value(metrics).unwrap();
            assert!(json["hd95_mm"].is_null());
            assert_eq!(serde_json::from_value::<LabelMetrics>(json).unwrap(), *metrics);
        }
    }

    #[test]
    fn a_label_in_neither_mask_is_perfect_and_says_so() {
        let metrics = &evaluate(&cube(1, 0), &cube(1, 0), &[9], 2.0).unwrap()[&9];
        assert_eq!(metrics.presence, Presence::Neither);
        assert_eq!(
            (metrics.dice, metrics.surface_dice, metrics.box_recall, metrics.hd_mm),
            (1.0, 1.0, 1.0, 0.0)
        );
    }

    #[test]
    fn names_in_json_are_the_names_of_the_values() {
        let metrics = &evaluate(&cube(1, 0), &cube(1, 3), &[1], 2.0).unwrap()[&1];
        let json = serde_json::to_value(metrics).unwrap();
        for (name, value) in METRIC_NAMES.iter().zip(metrics.values()) {
            assert_eq!(json[name].as_f64(), Some(value), "{name}");
        }
    }

    #[test]
    fn bad_tolerances_and_other_grids_are_refused() {
        let cube = cube(1, 0);
        for tolerance_mm in [-1.0, f64::NAN, f64::INFINITY] {
            let error = evaluate(&cube, &cube, &[1], tolerance_mm).unwrap_err();
            assert!(matches!(error, MetricError::InvalidTolerance { .. }), "{error}");
        }
        let other = Grid::with_spacing([12, 6, 6], Spacing::isotropic(1.0).unwrap()).unwrap();
        let error = evaluate(&Volume::filled(other, 1), &cube, &[], 1.0).unwrap_err();
        assert!(matches!(error, MetricError::GridMismatch { .. }), "{error}");
    }
}
