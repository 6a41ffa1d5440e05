//! From a scan to what the network sees, and from its labels back to the scan.
//!
//! Forward: axes to RAS by permutation and flips, then resampling to a spacing if one is set and the scan's is
//! another (linear for images, nearest for labels), then intensities. Back: without resampling the exact inverse of
//! the permutation and flips; with it, each voxel of the scan takes the label that most of what is around it has, or by as
//! much as its labels lead.

use organseg_volume::{
    Grid, Interpolation, Label, LabelVolume, Orientation, ReadLimits, Spacing, Volume, grid_that_covers,
    labels_from_leads, reorient, reorient_owned, reoriented_grid, resample,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Intensity, Modality, TrainError};

/// What is done with each scan before the network sees it.
///
/// ```
/// use organseg_train::Preprocessing;
/// use organseg_volume::{Affine, Grid, LabelVolume, Volume};
/// // An LPS scan of 3×2×1 voxels.
/// let lps = [[-1., 0., 0., 9.], [0., -1., 0., 9.], [0., 0., 1., 0.], [0., 0., 0., 1.]];
/// let grid = Grid::new([3, 2, 1], Affine::new(lps)?)?;
/// let scan = Volume::from_vec(grid, vec![-500.0, -100.0, 70.0, 240.0, 900.0, 0.0])?;
///
/// let preprocessing = Preprocessing::default();
/// let prepared = preprocessing.prepare(&scan)?;
/// assert_eq!(prepared.voxels()[1..], [1.0, 1.0, 0.5, 0.0, 0.0]);
///
/// let labels = prepared.map(|v| u8::from(v > 0.9));
/// let restored = preprocessing.restore_labels(&labels, &grid)?;
/// assert_eq!(restored.voxels(), [0, 0, 0, 1, 1, 0]);
/// assert_eq!(restored.grid(), &grid);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preprocessing {
    /// Spacing in millimetres along the RAS axes to resample to, on the [grid that covers](grid_that_covers) the scan;
    /// the scan's own if none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spacing_mm: Option<[f64; 3]>,
    /// A scan whose spacing differs from `spacing_mm` by no more than this factor along every axis keeps its own voxels:
    /// at least 1, where each other spacing is resampled.
    #[serde(skip_serializing_if = "keeps_no_other")]
    pub keep_within: f64,
    /// How intensities are changed.
    pub intensity: Intensity,
}

/// By so much two spacings may differ that are the same: files hold them in single precision, plans to seven digits.
const ROUNDING: f64 = 1e-6;

impl Default for Preprocessing {
    /// Each scan at its own spacing, in the window of the method.
    fn default() -> Self {
        Self { spacing_mm: None, keep_within: 1.0, intensity: Intensity::default() }
    }
}

/// What files of before `keep_within` say by leaving it out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out a reference")]
fn keeps_no_other(keep_within: &f64) -> bool {
    *keep_within == 1.0
}

impl Preprocessing {
    /// The default for images of `modality`: at their own spacing, intensities by [`Intensity::for_modality`].
    #[must_use]
    pub fn for_modality(modality: &Modality) -> Self {
        Self::default().with_intensity(Intensity::for_modality(modality))
    }

    /// With this change of intensities.
    #[must_use]
    pub fn with_intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// With resampling to this spacing in millimetres.
    #[must_use]
    pub fn with_spacing_mm(mut self, spacing_mm: [f64; 3]) -> Self {
        self.spacing_mm = Some(spacing_mm);
        self
    }

    /// With scans left as they are whose spacing differs from the one to resample to by no more than this factor.
    #[must_use]
    pub fn with_keep_within(mut self, factor: f64) -> Self {
        self.keep_within = factor;
        self
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the field.
    pub fn check(&self) -> Result<(), TrainError> {
        if let Some(spacing_mm) = self.spacing_mm.filter(|&spacing_mm| Spacing::new(spacing_mm).is_err()) {
            return Err(TrainError::Config {
                field: "preprocessing.spacing_mm",
                found: format!("{spacing_mm:?}"),
                expected: "three positive finite numbers of millimetres",
            });
        }
        if self.keep_within.is_finite() && self.keep_within >= 1.0 {
            return Ok(());
        }
        Err(TrainError::Config {
            field: "preprocessing.keep_within",
            found: self.keep_within.to_string(),
            expected: "a finite factor of at least 1",
        })
    }

    /// The spacing in millimetres at which a scan is seen whose own, along the RAS axes, is `own_mm`.
    ///
    /// ```
    /// use organseg_train::Preprocessing;
    /// let preprocessing = Preprocessing::default().with_spacing_mm([0.8, 0.8, 2.5]).with_keep_within(1.1);
    /// assert_eq!(preprocessing.working_spacing_mm([0.85, 0.85, 2.5]), [0.85, 0.85, 2.5]);
    /// assert_eq!(preprocessing.working_spacing_mm([0.8, 0.8, 5.0]), [0.8, 0.8, 2.5]);
    /// ```
    #[must_use]
    pub fn working_spacing_mm(&self, own_mm: [f64; 3]) -> [f64; 3] {
        let Some(wanted) = self.spacing_mm else { return own_mm };
        let factor = |a: usize| (own_mm[a] / wanted[a]).max(wanted[a] / own_mm[a]);
        let keeps = (0..3).all(|a| factor(a) <= self.keep_within + ROUNDING);
        if keeps { own_mm } else { wanted }
    }

    /// The image as the network sees it, in RAS.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an impossible spacing, [`TrainError::Volume`] for an impossible window,
    /// [`TrainError::ResampledTooLarge`] for a scan that would need more memory than the machine has.
    pub fn prepare(&self, image: &Volume<f32>) -> Result<Volume<f32>, TrainError> {
        self.prepare_turned(reorient(image, Orientation::RAS))
    }

    /// [`Preprocessing::prepare`] for one who does not need the image any more: where neither axes change
    /// places nor voxels are resampled, it needs no memory beside the image's own.
    ///
    /// # Errors
    /// As [`Preprocessing::prepare`].
    pub fn prepare_owned(&self, image: Volume<f32>) -> Result<Volume<f32>, TrainError> {
        self.prepare_turned(reorient_owned(image, Orientation::RAS))
    }

    fn prepare_turned(&self, mut image: Volume<f32>) -> Result<Volume<f32>, TrainError> {
        if let Some(grid) = self.resampled_grid(image.grid())? {
            check_memory(image.grid(), &grid, size_of::<f32>(), ReadLimits::default())?;
            image = resample(&image, &grid, Interpolation::Linear, smallest(&image));
        }
        self.intensity.apply_in_place(&mut image)?;
        Ok(image)
    }

    /// Labels on the grid on which [`Preprocessing::prepare`] puts their image.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an impossible spacing.
    pub fn prepare_labels(&self, labels: &LabelVolume) -> Result<LabelVolume, TrainError> {
        let turned = reorient(labels, Orientation::RAS);
        match self.resampled_grid(turned.grid())? {
            None => Ok(turned),
            Some(grid) => {
                check_memory(turned.grid(), &grid, size_of::<Label>(), ReadLimits::default())?;
                Ok(resample(&turned, &grid, Interpolation::Nearest, 0))
            }
        }
    }

    /// The grid on which [`Preprocessing::prepare`] puts an image that lies on `grid`.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an impossible spacing.
    pub fn prepared_grid(&self, grid: &Grid) -> Result<Grid, TrainError> {
        let turned = reoriented_grid(grid, Orientation::RAS);
        Ok(self.resampled_grid(&turned)?.unwrap_or(turned))
    }

    /// The way back: `labels` on the prepared grid of the scan whose own grid is `original`, put on
    /// that grid: bit for bit where nothing was resampled, by [`labels_from_leads`] where it was.
    ///
    /// # Errors
    /// [`TrainError::Volume`] if nothing was resampled and the two grids are of different scans.
    pub fn restore_labels(&self, labels: &LabelVolume, original: &Grid) -> Result<LabelVolume, TrainError> {
        if self.is_only_turned(labels.grid(), original)? {
            // The affine went there and back and may have picked up rounding: take the scan's own.
            Ok(reorient(labels, Orientation::of(original.affine())).with_grid(*original)?)
        } else {
            Ok(labels_from_leads(labels, None, original)?)
        }
    }

    /// [`Preprocessing::restore_labels`] for one who does not need `labels` any more; without a second
    /// volume where neither axes change places nor voxels are resampled.
    ///
    /// # Errors
    /// As [`Preprocessing::restore_labels`].
    pub fn restore_labels_owned(
        &self,
        labels: LabelVolume,
        original: &Grid,
    ) -> Result<LabelVolume, TrainError> {
        if self.is_only_turned(labels.grid(), original)? {
            Ok(reorient_owned(labels, Orientation::of(original.affine())).with_grid(*original)?)
        } else {
            Ok(labels_from_leads(&labels, None, original)?)
        }
    }

    /// [`Preprocessing::restore_labels_owned`] for labels of which is known by how much they lead. Without resampling that
    /// changes nothing.
    ///
    /// # Errors
    /// As [`Preprocessing::restore_labels`], and for leads on another grid than the labels'.
    pub fn restore_leading_labels(
        &self,
        labels: LabelVolume,
        leads: &Volume<u8>,
        original: &Grid,
    ) -> Result<LabelVolume, TrainError> {
        if self.is_only_turned(labels.grid(), original)? {
            return self.restore_labels_owned(labels, original);
        }
        Ok(labels_from_leads(&labels, Some(leads), original)?)
    }

    /// Whether the scan whose own grid is `original` was resampled to get to `prepared`, or only turned.
    ///
    /// # Errors
    /// As [`Preprocessing::restore_labels`].
    pub fn is_resampled(&self, prepared: &Grid, original: &Grid) -> Result<bool, TrainError> {
        Ok(!self.is_only_turned(prepared, original)?)
    }

    /// Whether `prepared` is `original` but for the order and direction of its axes, and nothing was resampled.
    fn is_only_turned(&self, prepared: &Grid, original: &Grid) -> Result<bool, TrainError> {
        if self.resampled_grid(&reoriented_grid(original, Orientation::RAS))?.is_some() {
            return Ok(false);
        }
        original.check_same(&reoriented_grid(prepared, Orientation::of(original.affine())))?;
        Ok(true)
    }

    /// The grid to resample an image on `grid` to, if it is another.
    fn resampled_grid(&self, grid: &Grid) -> Result<Option<Grid>, TrainError> {
        self.check()?;
        let own_mm = grid.spacing().to_array();
        let working_mm = self.working_spacing_mm(own_mm);
        if working_mm == own_mm {
            return Ok(None);
        }
        let target = grid_that_covers(grid, Spacing::new(working_mm)?)?;
        Ok(grid.check_same(&target).is_err().then_some(target))
    }
}

/// Checks that an image with voxels of `bytes` bytes on `from` and the same on `to`, which are there together, are within
/// `limits`: the spacing in a header may be wrong by a factor of a thousand, and memory that is not there ends a program.
fn check_memory(from: &Grid, to: &Grid, bytes: usize, limits: ReadLimits) -> Result<(), TrainError> {
    let voxels = (from.voxel_count() as u64).saturating_add(to.voxel_count() as u64);
    let (bytes, limit) = (voxels.saturating_mul(bytes as u64), limits.max_bytes);
    if bytes <= limit {
        return Ok(());
    }
    let (from_mm, from, to) = (from.spacing().to_array(), from.size(), to.size());
    Err(TrainError::ResampledTooLarge { from, from_mm, to, bytes, limit })
}

fn smallest(image: &Volume<f32>) -> f32 {
    image.voxels().par_iter().copied().reduce(|| f32::INFINITY, f32::min)
}

#[cfg(test)]
mod tests {
    use organseg_volume::Affine;

    use super::*;

    /// 6×5×4 voxels in none of the usual orders (axes towards inferior, left, posterior), with an
    /// origin that is not exact in binary.
    fn odd_grid() -> Grid {
        let rows =
            [[0.0, -1.5, 0.0, 10.1], [0.0, 0.0, -2.0, 20.2], [-2.5, 0.0, 0.0, 30.3], [0.0, 0.0, 0.0, 1.0]];
        Grid::new([6, 5, 4], Affine::new(rows).unwrap()).unwrap()
    }

    fn labels(grid: Grid) -> LabelVolume {
        LabelVolume::from_fn(grid, |index| (grid.offset(index) % 7 % 3) as u8)
    }

    #[test]
    fn without_resampling_labels_come_back_bit_for_bit() {
        let preprocessing = Preprocessing::default();
        let original = labels(odd_grid());
        let prepared = preprocessing.prepare_labels(&original).unwrap();
        assert_eq!(Orientation::of(prepared.grid().affine()), Orientation::RAS);
        assert_eq!(prepared.size(), [5, 4, 6]);
        assert_eq!(preprocessing.restore_labels(&prepared, original.grid()).unwrap(), original);
    }

    #[test]
    fn a_spacing_the_scan_has_already_changes_nothing() {
        let preprocessing = Preprocessing::default().with_spacing_mm([1.5, 2.0, 2.5]);
        let original = labels(odd_grid());
        let prepared = preprocessing.prepare_labels(&original).unwrap();
        assert_eq!(prepared, Preprocessing::default().prepare_labels(&original).unwrap());
        assert_eq!(preprocessing.restore_labels(&prepared, original.grid()).unwrap(), original);
    }

    #[test]
    fn labels_resampled_finer_come_back_bit_for_bit() {
        // A third of the spacing: the centre of each voxel is that of the middle one of three.
        let preprocessing = Preprocessing::default().with_spacing_mm([0.5, 2.0 / 3.0, 2.5 / 3.0]);
        let original = labels(odd_grid());
        let prepared = preprocessing.prepare_labels(&original).unwrap();
        assert_eq!(prepared.size(), [15, 12, 18]);
        assert_eq!(preprocessing.restore_labels(&prepared, original.grid()).unwrap(), original);
    }

    #[test]
    fn a_scan_within_the_factor_keeps_its_voxels_and_no_other_does() {
        let original = labels(odd_grid());
        let of = |spacing_mm| Preprocessing::default().with_spacing_mm(spacing_mm).with_keep_within(1.1);
        // The scan has 1.5, 2.0 and 2.5 mm: 1.1 times as much and as little along each axis.
        for kept in [[1.65, 2.2, 2.75], [1.5 / 1.1, 2.0 / 1.1, 2.5 / 1.1], [1.4, 2.1, 2.5]] {
            let prepared = of(kept).prepare_labels(&original).unwrap();
            assert_eq!(prepared, Preprocessing::default().prepare_labels(&original).unwrap(), "{kept:?}");
            assert_eq!(of(kept).restore_labels(&prepared, original.grid()).unwrap(), original);
            let other = LabelVolume::filled(odd_grid().cropped([0; 3], [6, 5, 3]).unwrap(), 0);
            assert!(of(kept).restore_labels(&other, original.grid()).is_err(), "of another scan");
        }
        for resampled in [[1.66, 2.0, 2.5], [1.5, 1.8, 2.5]] {
            let prepared = of(resampled).prepared_grid(original.grid()).unwrap();
            let spacing = prepared.spacing().to_array();
            assert!((0..3).all(|a| (spacing[a] - resampled[a]).abs() < 1e-9), "{spacing:?}");
        }
    }

    #[test]
    fn a_scan_that_would_not_fit_into_memory_is_refused() {
        let image = Volume::filled(odd_grid(), 0.0f32);
        let fine = Preprocessing::default().with_spacing_mm([1e-4; 3]);
        let error = fine.prepare(&image).unwrap_err().to_string();
        assert!(
            error.contains("[5, 4, 6] voxels of [1.5, 2.0, 2.5] mm") && error.contains("bytes of memory"),
            "{error}"
        );
        assert!(fine.prepare_labels(&labels(odd_grid())).is_err());
        let (from, to) = (*image.grid(), image.grid().cropped([0; 3], [6, 5, 8]).unwrap());
        let limits = |max_bytes| ReadLimits { max_bytes };
        assert!(check_memory(&from, &to, 4, limits(4 * (120 + 240))).is_ok());
        assert!(check_memory(&from, &to, 4, limits(4 * (120 + 240) - 1)).is_err());
    }

    #[test]
    fn an_impossible_factor_or_spacing_is_named() {
        let preprocessing = Preprocessing::default().with_spacing_mm([1.0; 3]);
        for factor in [0.9, 0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = preprocessing.with_keep_within(factor).prepared_grid(&odd_grid()).unwrap_err();
            let message = error.to_string();
            assert!(
                message.contains("`preprocessing.keep_within` is") && message.contains("at least 1"),
                "{message}"
            );
        }
        let error = Preprocessing::default().with_spacing_mm([1.0, 0.0, 1.0]).check().unwrap_err();
        assert!(error.to_string().contains("`preprocessing.spacing_mm` is [1.0, 0.0, 1.0]"), "{error}");
    }

    #[test]
    fn a_spacing_that_is_almost_the_scans_keeps_its_voxels() {
        let grid = Grid::with_spacing([200, 3, 300], Spacing::new([1.00002, 1.0, 0.8003]).unwrap()).unwrap();
        let prepared =
            Preprocessing::default().with_spacing_mm([1.0, 1.0, 0.8]).prepared_grid(&grid).unwrap();
        assert_eq!(prepared.size(), [200, 3, 300]);
        // The middle stays, the ends move by less than a quarter of a voxel.
        let moved = prepared.corner_distances_voxels(&grid);
        assert!(moved.iter().all(|&m| m < 0.25), "{moved:?}");
    }

    /// Whatever the spacing, what is labelled everywhere comes back everywhere: no slice at an end is lost.
    #[test]
    fn no_centre_of_the_scan_is_beyond_the_working_grid() {
        let original = LabelVolume::filled(odd_grid(), 1);
        let image = original.map(f32::from);
        for step in 1..60 {
            let spacing = [step as f64 * 0.13, 7.9 - step as f64 * 0.13, 0.3 + step as f64 * 0.07];
            let preprocessing = Preprocessing::default()
                .with_spacing_mm(spacing)
                .with_intensity(Intensity::Window { low: 0.0, high: 1.0 });
            let prepared = preprocessing.prepare_labels(&original).unwrap();
            assert_eq!(
                preprocessing.restore_labels(&prepared, original.grid()).unwrap(),
                original,
                "{spacing:?}"
            );
            assert!(
                prepared.voxels().iter().all(|&label| label == 1),
                "{spacing:?}: a centre beyond the scan"
            );
            let seen = preprocessing.prepare(&image).unwrap();
            assert!(seen.voxels().iter().all(|&v| (v - 1.0).abs() < 1e-6), "{spacing:?}");
        }
    }

    #[test]
    fn image_and_labels_end_on_one_grid() {
        let grid = odd_grid();
        let image = Volume::from_fn(grid, |[x, y, z]| (x * y * z) as f32);
        for preprocessing in [
            Preprocessing::default(),
            Preprocessing::default()
                .with_spacing_mm([2.0; 3])
                .with_intensity(Intensity::ZScore { nonzero: false }),
        ] {
            let prepared = preprocessing.prepare(&image).unwrap();
            let labels = preprocessing.prepare_labels(&labels(grid)).unwrap();
            assert_eq!(prepared.grid(), labels.grid());
            assert_eq!(prepared.grid(), &preprocessing.prepared_grid(&grid).unwrap());
        }
    }

    #[test]
    fn giving_the_volume_away_changes_no_bit() {
        let image = Volume::from_fn(odd_grid(), |[x, y, z]| (x * y * z) as f32);
        for preprocessing in [Preprocessing::default(), Preprocessing::default().with_spacing_mm([2.0; 3])] {
            let prepared = preprocessing.prepare(&image).unwrap();
            assert_eq!(preprocessing.prepare_owned(image.clone()).unwrap(), prepared);
            let found = prepared.map(|v| u8::from(v > 0.5));
            let restored = preprocessing.restore_labels(&found, image.grid()).unwrap();
            assert_eq!(preprocessing.restore_labels_owned(found.clone(), image.grid()).unwrap(), restored);
            let alike = Volume::filled(*found.grid(), 9);
            let leading = preprocessing.restore_leading_labels(found, &alike, image.grid()).unwrap();
            assert_eq!(leading, restored);
        }
    }

    #[test]
    fn labels_of_another_scan_are_refused() {
        let other = Grid::with_spacing([6, 5, 4], Spacing::isotropic(1.0).unwrap()).unwrap();
        let error = Preprocessing::default().restore_labels(&labels(other), &odd_grid()).unwrap_err();
        assert!(matches!(error, TrainError::Volume(_)), "{error}");
    }

    #[test]
    fn settings_survive_json_and_defaults_fill_in() {
        let preprocessing =
            Preprocessing::for_modality(&Modality::Other("MRI".into())).with_spacing_mm([1.0, 1.0, 2.0]);
        let text = serde_json::to_string(&preprocessing).unwrap();
        assert_eq!(text, r#"{"spacing_mm":[1.0,1.0,2.0],"intensity":{"kind":"z_score"}}"#);
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), preprocessing);
        assert_eq!(serde_json::from_str::<Preprocessing>("{}").unwrap(), Preprocessing::default());
        let kept = preprocessing.with_keep_within(1.1);
        let text = serde_json::to_string(&kept).unwrap();
        assert!(text.contains(r#""keep_within":1.1"#), "{text}");
        assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), kept);
        assert_eq!(Preprocessing::for_modality(&Modality::Ct), Preprocessing::default());
    }
}
