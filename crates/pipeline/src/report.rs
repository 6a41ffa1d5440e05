//! What happened between a scan and its mask, for people and programs.

use std::collections::BTreeMap;

use organseg_roi::BoundingBox;
use organseg_volume::{Grid, Label, LabelVolume, Orientation, reoriented_grid};
use serde::{Deserialize, Serialize};

use crate::CandidateBoxes;

/// Why the fine network was shown the whole scan instead of the candidate boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fallback {
    /// The coarse network found nothing.
    CoarseMaskEmpty,
    /// The organ that the fine network found in box 2 reaches its border inside the scan.
    OrganCutByBox,
}

impl std::fmt::Display for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CoarseMaskEmpty => {
                "the coarse stage found nothing, so the fine one looked at the whole scan, though it knows the \
                 surroundings of organs alone: look at the mask twice"
            }
            Self::OrganCutByBox => {
                "the candidate box cuts the organ, so the fine stage looked at the whole scan"
            }
        })
    }
}

/// From here on a piece is worth a warning where it is left out: a lesion of a centimetre. Single stray voxels are less.
pub(crate) const NOTABLE_ML: f64 = 0.5;

/// A scan with voxels more than so many times as long as those of the model's scans shows too little of an organ for what
/// is interpolated between them to make up for it.
const MUCH_COARSER: f64 = 2.0;

/// From which spacing to which a scan was resampled, in millimetres along the RAS axes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resampled {
    /// The scan's own.
    pub from_mm: [f64; 3],
    /// The one that the model works at.
    pub to_mm: [f64; 3],
}

impl Resampled {
    /// How the scan on `scan` became one on `prepared`; none if its voxels are its own.
    pub(crate) fn between(scan: &Grid, prepared: &Grid) -> Option<Self> {
        let turned = reoriented_grid(scan, Orientation::RAS);
        let same = turned.check_same(prepared).is_ok();
        (!same).then(|| Self { from_mm: turned.spacing().to_array(), to_mm: prepared.spacing().to_array() })
    }

    /// What a person should know of it, an axis a line.
    fn warnings(&self) -> impl Iterator<Item = String> {
        let Self { from_mm, to_mm } = *self;
        (0..3).filter(move |&a| from_mm[a] > MUCH_COARSER * to_mm[a]).map(move |a| {
            format!(
                "its voxels are {} mm apart along {}, {:.1} times as far as the {} mm that the model was trained at: what \
                 lies between them was interpolated",
                short(from_mm[a]),
                ["x (right)", "y (front)", "z (up)"][a],
                from_mm[a] / to_mm[a],
                short(to_mm[a])
            )
        })
    }
}

/// To three significant digits, for people.
fn short(mm: f64) -> f64 {
    let scale = 10f64.powi(2 - mm.log10().floor() as i32);
    (mm * scale).round() / scale
}

/// What happened between a scan and its mask. Boxes are in voxels of the scan's own grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentationReport {
    /// Box 1, if the coarse stage found something.
    pub box1: Option<BoundingBox>,
    /// Box 2, if the coarse stage found something.
    pub box2: Option<BoundingBox>,
    /// Why the whole scan was looked at, if it was.
    pub fallback: Option<Fallback>,
    /// What the coarse stage found outside both boxes, in millilitres, where the fine one looked in boxes and therefore never saw
    /// it: small pieces far from the organs, mostly strays.
    #[serde(default)]
    pub coarse_left_out_ml: f64,
    /// From which spacing to which the scan was resampled, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resampled: Option<Resampled>,
    /// What was found of each label.
    pub labels: BTreeMap<Label, LabelReport>,
}

/// What was found of one label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelReport {
    /// Its name.
    pub name: String,
    /// Its voxels.
    pub voxels: usize,
    /// Its volume in millilitres.
    pub volume_ml: f64,
    /// Millilitres of it that were found and left out of the mask, for [`keep_largest`](crate::PredictionConfig::keep_largest) or
    /// [`least_volume_ml`](crate::PredictionConfig::least_volume_ml).
    #[serde(default)]
    pub dropped_ml: f64,
}

impl SegmentationReport {
    /// Of a `mask` of which so many voxels of each label were `dropped`.
    pub(crate) fn of_single(
        mask: &LabelVolume,
        dropped: &[usize],
        prepared: &Grid,
        names: &BTreeMap<Label, String>,
    ) -> Self {
        Self::of_two((mask, dropped), None, None, 0.0, prepared, names)
    }

    pub(crate) fn of_two(
        (mask, dropped): (&LabelVolume, &[usize]),
        boxes: Option<CandidateBoxes>,
        fallback: Option<Fallback>,
        coarse_left_out_ml: f64,
        prepared: &Grid,
        names: &BTreeMap<Label, String>,
    ) -> Self {
        let back = |b: BoundingBox| box_on_other_grid(&b, prepared, mask.grid());
        Self {
            box1: boxes.and_then(|b| back(b.box1)),
            box2: boxes.and_then(|b| back(b.box2)),
            fallback,
            coarse_left_out_ml,
            resampled: Resampled::between(mask.grid(), prepared),
            labels: count(mask, dropped, names),
        }
    }

    /// What a person should know before trusting the mask, a line each; empty if all is well.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.resampled.iter().flat_map(Resampled::warnings).collect();
        lines.extend(self.fallback.iter().map(ToString::to_string));
        if self.coarse_left_out_ml >= NOTABLE_ML {
            lines.push(format!(
                "{:.1} ml that the coarse stage found lie outside the candidate boxes and are left out: small pieces far \
                 from the rest (`min_component_share = 0` in model.toml keeps all)",
                self.coarse_left_out_ml
            ));
        }
        for found in self.labels.values().filter(|found| found.voxels == 0) {
            lines.push(format!("no {} was found", found.name));
        }
        lines
    }
}

fn count(
    mask: &LabelVolume,
    dropped: &[usize],
    names: &BTreeMap<Label, String>,
) -> BTreeMap<Label, LabelReport> {
    let mut voxels = [0usize; 256];
    for &label in mask.voxels() {
        voxels[usize::from(label)] += 1;
    }
    let voxel_ml = voxel_ml(mask.grid());
    names
        .iter()
        .map(|(&label, name)| {
            let voxels = voxels[usize::from(label)];
            let (volume_ml, dropped_ml) =
                (voxels as f64 * voxel_ml, dropped[usize::from(label)] as f64 * voxel_ml);
            let found = LabelReport { name: name.clone(), voxels, volume_ml, dropped_ml };
            (label, found)
        })
        .collect()
}

/// Volume of a voxel in millilitres, by the affine's determinant: the spacing's product is another for sheared grids.
pub(crate) fn voxel_ml(grid: &Grid) -> f64 {
    grid.affine().determinant().abs() / 1000.0
}

/// The smallest box of whole voxels of `to` that covers `b`, a box of `from`, within `to`.
fn box_on_other_grid(b: &BoundingBox, from: &Grid, to: &Grid) -> Option<BoundingBox> {
    /// A voxel face that rounding moves by less than this stays where it is.
    const ROUNDING_VOXELS: f64 = 1e-3;
    let world_to_voxel = to.affine().inverse();
    let (mut min, mut max) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for corner in 0..8usize {
        // Voxel faces lie half a voxel from the centres.
        let face =
            [0, 1, 2].map(|a| (if corner >> a & 1 == 1 { b.max()[a] } else { b.min()[a] }) as f64 - 0.5);
        let seen = world_to_voxel.apply(from.affine().apply(face));
        for a in 0..3 {
            min[a] = min[a].min(seen[a] + 0.5);
            max[a] = max[a].max(seen[a] + 0.5);
        }
    }
    let min = min.map(|v| (v + ROUNDING_VOXELS).floor() as i64);
    let max = max.map(|v| (v - ROUNDING_VOXELS).ceil() as i64);
    BoundingBox::new(min, max).ok()?.clamp_to(to.size())
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Affine, Spacing, Volume, reorient};

    #[test]
    fn thick_slices_are_told_with_both_spacings() {
        let grid = |spacing| Grid::with_spacing([4, 4, 4], Spacing::new(spacing).unwrap()).unwrap();
        let report = |scan, model| {
            let mask = LabelVolume::filled(grid(scan), 1);
            SegmentationReport::of_single(
                &mask,
                &[0; 256],
                &grid(model),
                &BTreeMap::from([(1, "organ".to_string())]),
            )
        };
        let thick = report([0.8, 0.8, 5.0], [0.8, 0.8, 1.25]);
        assert_eq!(thick.resampled, Some(Resampled { from_mm: [0.8, 0.8, 5.0], to_mm: [0.8, 0.8, 1.25] }));
        let [line] = &thick.warnings()[..] else { panic!("{:?}", thick.warnings()) };
        assert!(line.contains("5 mm apart along z (up), 4.0 times as far as the 1.25 mm"), "{line}");
        // Twice as thick is a warning no more than finer voxels are.
        let twice = report([0.8, 0.8, 2.5], [1.6, 0.8, 1.25]);
        assert!(twice.resampled.is_some() && twice.warnings().is_empty(), "{:?}", twice.warnings());
        assert_eq!(report([0.8; 3], [0.8; 3]).resampled, None);
    }

    #[test]
    fn a_box_follows_its_voxels_to_a_flipped_grid() {
        let affine = Affine::new([
            [0.0, -0.7, 0.1, 3.0],
            [0.8, 0.0, 0.0, -5.0],
            [0.0, 0.05, -2.5, 9.0],
            [0.0, 0.0, 0.0, 1.0],
        ])
        .unwrap();
        let scan = Grid::new([30, 20, 10], affine).unwrap();
        let b = BoundingBox::new([4, 6, 2], [9, 18, 5]).unwrap();
        let mask = Volume::from_fn(scan, |v| u8::from(b.contains(v.map(|i| i as i64))));
        let turned = reorient(&mask, Orientation::RAS);
        let there = BoundingBox::of_mask(&turned).unwrap();
        assert_eq!(box_on_other_grid(&there, turned.grid(), &scan), Some(b));
    }
}
