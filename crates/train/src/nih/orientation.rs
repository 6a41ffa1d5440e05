//! In which orientation a label belongs to its scan: proved from the voxels, never assumed.
//!
//! Every way of laying the label's array on the scan that its size allows is scored (flips of each axis;
//! axes swapped where the sizes permit), by its *contrast* and its share of *soft tissue*: see
//! [`OrientationScore`]. The best is taken as proved only if
//!
//! 1. it is an organ's outline: its contrast and its share of soft tissue reach what [`OrientationRule`]
//!    asks for, and
//! 2. it is the only one: its contrast beats every other orientation's by the margin.
//!
//! If several are within the margin of the best, or the best is a faint outline, the verdict names them as
//! open; if it is none, nothing fits: another organ's or patient's mask, for instance.
//!
//! Contrast decides and not the share of soft tissue, because the abdomen is full of soft tissue: on a CT
//! without contrast agent, a fatty pancreas had 42 % of its voxels in 0…200 HU where it belongs and 86 %
//! with rows and columns reversed. Its contrast was 0.61 where it belongs and at most
//! 0.04 elsewhere.

use organseg_roi::BoundingBox;
use organseg_volume::{LabelVolume, Orientation, Volume, VolumeError, reorient, reoriented_grid};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::axis_map::{AxisMap, all_orientations};
use super::score::figures;
use crate::TrainError;

/// When an orientation counts as proved.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OrientationRule {
    /// Intensities that soft tissue may have, in Hounsfield units, both ends included. −50 to 200: noisy,
    /// fatty or full of contrast agent, but not fat, lung, gas or bone.
    pub soft_tissue_hu: [i16; 2],
    /// Intensities are clipped to this window before faces are looked at, in Hounsfield units, so that
    /// gas and bone do not outweigh everything else.
    pub window_hu: [i16; 2],
    /// How far apart, in millimetres, the two intensities of a face are taken where the grid is finer than
    /// that. On 0.75 mm voxels with noise of 25 HU and slices drawn up to 2 voxels off, a pancreas has a
    /// contrast of 0.36 with 5 mm and of 0.12 between neighbours.
    pub pair_distance_mm: f64,
    /// Least share of soft tissue in the mask.
    pub min_soft_tissue: f64,
    /// Least contrast of an orientation that is considered at all.
    pub min_contrast: f64,
    /// Least contrast of one that is proved.
    pub proof_contrast: f64,
    /// How much more contrast than any other orientation the proved one must have.
    pub margin: f64,
    /// How many cases of a set must be proved, all to the same answer, before that answer decides a case
    /// whose own voxels leave several.
    pub witnesses: usize,
}

impl Default for OrientationRule {
    /// On a real CT of 3 mm voxels, spleen, kidneys, liver, stomach and pancreas have contrasts of 0.61 to
    /// 0.86 where they belong, and of 0.15 at most in the seven other orientations. On 80 phantoms of 6 mm
    /// voxels, masks of some 230 voxels have 0.60 to 0.81 where they belong and 0.28 at most elsewhere, 0.36 less
    /// at least; laid on the scan of another phantom, 0.35 at most in any wrong orientation. (2.5 mm voxels: 0.65
    /// to 0.82, 0.23, 0.51, 0.24.) The organ's shape, not the number of voxels, decides how much
    /// comes about by chance.
    fn default() -> Self {
        Self {
            soft_tissue_hu: [-50, 200],
            window_hu: [-100, 240],
            pair_distance_mm: 5.0,
            min_soft_tissue: 0.5,
            min_contrast: 0.2,
            proof_contrast: 0.35,
            margin: 0.25,
            witnesses: 3,
        }
    }
}

/// How well one orientation fits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrientationScore {
    /// In which orientation the label's array would be stored.
    pub orientation: Orientation,
    /// Over the faces of the mask's surface, the cosine of the angle between the steps from inside to
    /// outside and a step of the same size everywhere: 1 for an organ brighter than all around it, 0 for
    /// a surface that is none in the scan, −1 for one darker than all around it.
    pub contrast: f64,
    /// Share of the mask's voxels that are soft tissue, 0 to 1.
    pub soft_tissue: f64,
}

/// What the voxels say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Verdict {
    /// One orientation fits, and fits better than all others by the margin.
    Proved {
        /// In which the label's array is stored.
        orientation: Orientation,
    },
    /// Several fit, and the best of them is not the best by the margin; or one, too faint to be proved.
    Open {
        /// Those within the margin of the best, the best first.
        orientations: Vec<Orientation>,
    },
    /// The best is no organ's outline.
    NoFit,
}

/// Where the label's header puts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HeaderClaim {
    /// On exactly the scan's grid, stored in this orientation.
    OnGrid {
        /// In which the label's array is stored, if the header is right.
        orientation: Orientation,
    },
    /// Elsewhere: whatever the header says of the orientation, it cannot be right.
    OffGrid {
        /// Largest distance of a corner from the scan's, in voxels of the scan.
        distance_voxels: f64,
    },
}

/// Everything that was found out about the orientation of a label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrientationProof {
    /// In which orientation the scan is stored.
    pub scan: Orientation,
    /// Voxels of the mask.
    pub voxels: u64,
    /// What the voxels say.
    pub verdict: Verdict,
    /// What the label's header says.
    pub header: HeaderClaim,
    /// Every orientation that the label's size allows, the one of most contrast first.
    pub scores: Vec<OrientationScore>,
}

impl OrientationRule {
    /// Refuses what cannot be a rule.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        let refuse = |field, found: String, expected| Err(TrainError::Config { field, found, expected });
        let share = "a number from 0 to 1";
        for (field, [low, high]) in [("soft_tissue_hu", self.soft_tissue_hu), ("window_hu", self.window_hu)] {
            if low >= high {
                return refuse(field, format!("[{low}, {high}]"), "two Hounsfield units, the lower first");
            }
        }
        for (field, value) in [
            ("min_soft_tissue", self.min_soft_tissue),
            ("min_contrast", self.min_contrast),
            ("proof_contrast", self.proof_contrast),
            ("margin", self.margin),
        ] {
            if !(0.0..=1.0).contains(&value) {
                return refuse(field, value.to_string(), share);
            }
        }
        if !(self.pair_distance_mm.is_finite() && self.pair_distance_mm >= 0.0) {
            return refuse("pair_distance_mm", self.pair_distance_mm.to_string(), "a length in millimetres");
        }
        if self.witnesses == 0 {
            return refuse("witnesses", "0".into(), "at least 1");
        }
        Ok(())
    }

    fn is_outline(&self, score: &OrientationScore) -> bool {
        score.contrast >= self.min_contrast && score.soft_tissue >= self.min_soft_tissue
    }

    fn verdict(&self, scores: &[OrientationScore]) -> Verdict {
        let Some(best) = scores.first().filter(|best| self.is_outline(best)) else { return Verdict::NoFit };
        let close = scores.iter().filter(|score| best.contrast - score.contrast < self.margin);
        let close: Vec<_> = close.map(|score| score.orientation).collect();
        match close[..] {
            [orientation] if best.contrast >= self.proof_contrast => Verdict::Proved { orientation },
            _ => Verdict::Open { orientations: close },
        }
    }
}

impl OrientationProof {
    /// What has to be done to a label stored in `orientation` for it to lie on the scan, in the scan's
    /// axes: `nothing`, `flip y`, `swap x and y, flip z`.
    #[must_use]
    pub fn flips(&self, orientation: Orientation) -> String {
        AxisMap::between(orientation, self.scan).words()
    }

    /// The score of one orientation.
    #[must_use]
    pub fn score(&self, orientation: Orientation) -> Option<&OrientationScore> {
        self.scores.iter().find(|score| score.orientation == orientation)
    }
}

/// Scores every orientation in which the array of `label` fits `scan`, and judges whether one is proved.
/// The label's own grid decides nothing; what it claims is reported beside the scores.
///
/// Needs no memory beyond the two volumes. A mask of 100 000 voxels takes a few milliseconds an
/// orientation.
///
/// # Errors
/// [`TrainError::Volume`] with [`VolumeError::SizeMismatch`] if the sizes differ in more than the order of
/// the axes; [`TrainError::NoForeground`] for a label without a voxel; [`TrainError::Config`] for a rule
/// that is none.
///
/// ```
/// use organseg_train::nih::{OrientationRule, Verdict, prove_orientation};
/// use organseg_volume::{Grid, LabelVolume, Spacing};
/// // An organ in a corner of a piece of fat.
/// let grid = Grid::with_spacing([9, 8, 7], Spacing::isotropic(2.0)?)?;
/// let truth = LabelVolume::from_fn(grid, |[x, y, z]| u8::from(x < 4 && y < 3 && z < 3 && x + y + z > 1));
/// let scan = truth.map(|organ| if organ == 1 { 90 } else { -90i16 });
/// // Its mask, rows reversed, under a header that says nothing of it.
/// let label = LabelVolume::from_fn(grid, |[x, y, z]| truth[[x, 7 - y, z]]);
/// let proof = prove_orientation(&scan, &label, &OrientationRule::default())?;
/// assert_eq!(proof.scores.len(), 8);
/// assert_eq!(proof.verdict, Verdict::Proved { orientation: "RPS".parse()? });
/// assert_eq!(proof.flips("RPS".parse()?), "flip y");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn prove_orientation(
    scan: &Volume<i16>,
    label: &LabelVolume,
    rule: &OrientationRule,
) -> Result<OrientationProof, TrainError> {
    rule.check()?;
    let stored = Orientation::of(scan.grid().affine());
    let fitting: Vec<_> = fitting_orientations(scan.size(), stored, label.size());
    if fitting.is_empty() {
        return Err(VolumeError::SizeMismatch { expected: scan.size(), found: label.size() }.into());
    }
    let region = BoundingBox::of_mask(label).ok_or(TrainError::NoForeground)?;
    let score = |&orientation: &Orientation| {
        let map = AxisMap::between(orientation, stored);
        let found = figures(scan, label, &region, &map, rule);
        let (contrast, soft_tissue) = (rounded(found.contrast), rounded(found.soft_tissue));
        OrientationScore { orientation, contrast, soft_tissue }
    };
    let mut scores: Vec<_> = fitting.par_iter().map(score).collect();
    // Stable: among equals the order of the candidates stays.
    scores.sort_by(|a, b| b.contrast.total_cmp(&a.contrast));
    Ok(OrientationProof {
        scan: stored,
        voxels: label.voxels().iter().filter(|&&label| label != 0).count() as u64,
        verdict: rule.verdict(&scores),
        header: header_claim(scan, label, &fitting),
        scores,
    })
}

/// The orientations in which an array of `label` voxels covers a scan of `scan` voxels, stored as `stored`.
pub(super) fn fitting_orientations(
    scan: [usize; 3],
    stored: Orientation,
    label: [usize; 3],
) -> Vec<Orientation> {
    let fits = |orientation: &Orientation| {
        let map = AxisMap::between(*orientation, stored);
        (0..3).all(|axis| scan[map.axes[axis].0] == label[axis])
    };
    all_orientations().into_iter().filter(fits).collect()
}

/// The label, whose array is stored in `orientation`, on exactly the grid of `scan`.
///
/// # Errors
/// [`VolumeError::SizeMismatch`] if the array does not fit in this orientation.
pub(super) fn lay_on_scan(
    label: LabelVolume,
    orientation: Orientation,
    scan: &Volume<i16>,
) -> Result<LabelVolume, VolumeError> {
    let placed = label.with_grid(reoriented_grid(scan.grid(), orientation))?;
    let turned = reorient(&placed, Orientation::of(scan.grid().affine()));
    // The same grid but for the rounding of going there and back.
    turned.with_grid(*scan.grid())
}

fn header_claim(scan: &Volume<i16>, label: &LabelVolume, fitting: &[Orientation]) -> HeaderClaim {
    let claimed = Orientation::of(label.grid().affine());
    let expected = reoriented_grid(scan.grid(), claimed);
    if fitting.contains(&claimed) && expected.check_same(label.grid()).is_ok() {
        return HeaderClaim::OnGrid { orientation: claimed };
    }
    HeaderClaim::OffGrid { distance_voxels: rounded(expected.corner_distance_voxels(label.grid())) }
}

/// To six decimals: what is judged is what the report says, and it reads back as it was written.
pub(super) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use organseg_phantom::{PhantomConfig, generate};
    use organseg_volume::{Affine, Grid, Spacing};
    use proptest::prelude::*;

    use super::*;

    /// A scan and its true mask, stored LPS as DICOM slices are.
    fn phantom(size: [usize; 3], seed: u64) -> (Volume<i16>, LabelVolume) {
        let made = generate(&PhantomConfig::default().with_size(size), seed).unwrap();
        let lps = "LPS".parse().unwrap();
        (reorient(&made.image, lps).map(|hu| hu as i16), reorient(&made.labels, lps))
    }

    /// The array of `truth` as it is stored in `orientation`, under a header that says nothing.
    fn stored(truth: &LabelVolume, orientation: Orientation) -> LabelVolume {
        let turned = reorient(truth, orientation);
        let grid = Grid::with_spacing(turned.size(), Spacing::isotropic(1.0).unwrap()).unwrap();
        turned.with_grid(grid).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_planted_flip_of_a_phantoms_mask_is_found(seed in 0u64..1000, which in 0usize..16) {
            // Square slices: rows and columns may be swapped as well.
            let (scan, truth) = phantom([72, 72, 54], seed);
            let candidates = fitting_orientations(scan.size(), "LPS".parse().unwrap(), truth.size());
            prop_assert_eq!(candidates.len(), 16);
            let label = stored(&truth, candidates[which]);
            let proof = prove_orientation(&scan, &label, &OrientationRule::default()).unwrap();
            prop_assert_eq!(&proof.verdict, &Verdict::Proved { orientation: candidates[which] });
            prop_assert_eq!(lay_on_scan(label, candidates[which], &scan).unwrap(), truth);
        }

        #[test]
        fn the_mask_of_another_patient_is_never_proved_in_the_wrong_orientation(seed in 0u64..1000) {
            // Organs lie about where they lie in anybody: the right orientation may win, no other.
            let (scan, _) = phantom([72, 66, 54], seed);
            let (_, other) = phantom([72, 66, 54], seed + 1);
            let proof = prove_orientation(&scan, &other, &OrientationRule::default()).unwrap();
            if let Verdict::Proved { orientation } = proof.verdict {
                prop_assert_eq!(orientation.to_string(), "LPS");
            }
        }
    }

    #[test]
    fn in_a_cube_all_48_orientations_are_tried() {
        let (scan, truth) = phantom([40, 40, 40], 3);
        let label = stored(&truth, "SLA".parse().unwrap());
        let proof = prove_orientation(&scan, &label, &OrientationRule::default()).unwrap();
        assert_eq!(proof.scores.len(), 48);
        assert_eq!(proof.verdict, Verdict::Proved { orientation: "SLA".parse().unwrap() });
    }

    #[test]
    fn a_body_that_is_its_own_mirror_image_leaves_left_and_right_open() {
        let (scan, truth) = phantom([48, 44, 36], 5);
        let mirrored = |[x, y, z]: [usize; 3]| [x.min(47 - x), y, z];
        let scan = Volume::from_fn(*scan.grid(), |at| scan[mirrored(at)]);
        // One side only: the mask can be told from its mirror image, its place cannot.
        let label = LabelVolume::from_fn(*truth.grid(), |at| if at[0] < 24 { truth[at] } else { 0 });
        let proof = prove_orientation(&scan, &label, &OrientationRule::default()).unwrap();
        let Verdict::Open { orientations } = &proof.verdict else { panic!("{proof:?}") };
        let names: Vec<_> = orientations.iter().map(ToString::to_string).collect();
        assert!(names.contains(&"LPS".into()) && names.contains(&"RPS".into()), "{names:?}");
    }

    #[test]
    fn a_faint_outline_is_open_even_if_it_is_the_only_one() {
        let score = |name: &str, contrast| OrientationScore {
            orientation: name.parse().unwrap(),
            contrast,
            soft_tissue: 0.9,
        };
        let rule = OrientationRule::default();
        let orientation = "LPS".parse().unwrap();
        let verdict = |contrast| rule.verdict(&[score("LPS", contrast), score("LAS", 0.05)]);
        assert_eq!(verdict(0.36), Verdict::Proved { orientation });
        assert_eq!(verdict(0.34), Verdict::Open { orientations: vec![orientation] });
        assert_eq!(verdict(0.19), Verdict::NoFit);
        let gas = OrientationScore { soft_tissue: 0.4, ..score("LPS", 0.9) };
        assert_eq!(rule.verdict(&[gas, score("LAS", 0.05)]), Verdict::NoFit);
        assert_eq!(rule.verdict(&[score("LPS", 0.8), score("LAS", 0.5)]), Verdict::Proved { orientation });
        let close = rule.verdict(&[score("LPS", 0.8), score("LAS", 0.6), score("RAS", 0.3)]);
        let orientations = vec![orientation, "LAS".parse().unwrap()];
        assert_eq!(close, Verdict::Open { orientations });
    }

    #[test]
    fn a_mask_that_is_no_organs_outline_fits_nowhere() {
        let (scan, _) = phantom([48, 44, 36], 5);
        let box_somewhere = |[x, y, z]: [usize; 3]| {
            u8::from((12..30).contains(&x) && (8..24).contains(&y) && (4..20).contains(&z))
        };
        let label = LabelVolume::from_fn(*scan.grid(), box_somewhere);
        let proof = prove_orientation(&scan, &label, &OrientationRule::default()).unwrap();
        assert_eq!(proof.verdict, Verdict::NoFit, "{proof:?}");
    }

    #[test]
    fn the_header_is_believed_only_where_it_puts_the_label_on_the_scan() {
        let (scan, truth) = phantom([48, 44, 36], 7);
        let claim = |grid: Grid| {
            let label = truth.clone().with_grid(grid).unwrap();
            let proof = prove_orientation(&scan, &label, &OrientationRule::default()).unwrap();
            // Whatever the header says, the voxels say the same.
            assert_eq!(proof.verdict, Verdict::Proved { orientation: "LPS".parse().unwrap() });
            proof.header
        };
        let on_grid = |name: &str| HeaderClaim::OnGrid { orientation: name.parse().unwrap() };
        assert_eq!(claim(*truth.grid()), on_grid("LPS"));
        assert_eq!(claim(reoriented_grid(scan.grid(), "LAS".parse().unwrap())), on_grid("LAS"));
        let spacing = scan.grid().spacing();
        let bare = Grid::new(truth.size(), Affine::from_spacing(spacing, [0.0; 3])).unwrap();
        let HeaderClaim::OffGrid { distance_voxels } = claim(bare) else { panic!("it is elsewhere") };
        assert!(distance_voxels > 10.0, "{distance_voxels}");
    }

    #[test]
    fn other_sizes_empty_masks_and_senseless_rules_are_errors() {
        let (scan, truth) = phantom([48, 44, 36], 1);
        let rule = OrientationRule::default();
        let grid = Grid::with_spacing([48, 44, 35], Spacing::isotropic(1.0).unwrap()).unwrap();
        let error = prove_orientation(&scan, &LabelVolume::filled(grid, 1), &rule).unwrap_err();
        assert_eq!(error.to_string(), "sizes differ: expected [48, 44, 36], found [48, 44, 35]");
        let empty = LabelVolume::filled(*scan.grid(), 0);
        assert!(matches!(prove_orientation(&scan, &empty, &rule), Err(TrainError::NoForeground)));
        for (rule, field) in [
            (OrientationRule { window_hu: [240, -100], ..rule }, "window_hu"),
            (OrientationRule { margin: f64::NAN, ..rule }, "margin"),
            (OrientationRule { pair_distance_mm: -1.0, ..rule }, "pair_distance_mm"),
            (OrientationRule { witnesses: 0, ..rule }, "witnesses"),
        ] {
            let error = prove_orientation(&scan, &truth, &rule).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn organs_of_a_real_ct_are_proved() {
        let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        let data = std::env::var_os("ORGANSEG_DATA").map_or(beside, Into::into).join("ct_abdomen");
        if !data.is_dir() {
            eprintln!("skipped: no CT data beside the checkout");
            return;
        }
        let scan: Volume<i16> = organseg_volume::read(data.join("ct_3mm_30slices.nii.gz")).unwrap();
        let organs = organseg_volume::read_labels(data.join("organs_3mm_30slices.nii.gz")).unwrap();
        // Spleen, kidneys, liver, stomach, pancreas: 644 to 38634 voxels of 3 mm.
        for organ in [1, 2, 3, 5, 6, 7] {
            let truth = organs.map(|label| u8::from(label == organ));
            for orientation in fitting_orientations(scan.size(), Orientation::RAS, truth.size()) {
                let label = stored(&truth, orientation);
                let proof = prove_orientation(&scan, &label, &OrientationRule::default()).unwrap();
                assert_eq!(proof.verdict, Verdict::Proved { orientation }, "organ {organ}: {proof:?}");
            }
        }
    }
}
