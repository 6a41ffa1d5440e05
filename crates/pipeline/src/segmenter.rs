//! A trained model that turns scans into masks on the scan's own grid.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use organseg_conv3d::blocked::release_memory;
use organseg_roi::{BoundingBox, Connectivity, components_that_meet, crop, paste};
use organseg_unet::{Unet3d, UnetError, weights};
use organseg_volume::{Grid, LabelVolume, Volume, decimate_mean};
use rayon::prelude::*;

use crate::ensemble::check_alike;
use crate::looks::{Found, Looks, Placed, most_probable_mean};
use crate::main_pieces::main_pieces;
use crate::mask::Mask;
use crate::model::{Method, ModelConfig, StageConfig, weights_path};
use crate::postprocess::postprocess;
use crate::predict::{LARGE_BYTES, View};
use crate::prediction::{Boxes, Combine, PredictionConfig, WhenEmpty};
use crate::report::{Fallback, SegmentationReport, voxel_ml};
use crate::sums_memory::check_sums_fit;
use crate::tiles::Probabilities;
use crate::{CandidateBoxes, PipelineError, candidate_boxes};

/// A model in memory, ready to segment.
pub struct Segmenter {
    /// Of each model.
    configs: Vec<ModelConfig>,
    prediction: PredictionConfig,
    networks: Networks,
    device: Device,
}

/// The networks of each stage, one of each model; the mean of their probabilities counts.
enum Networks {
    Two { coarse: Vec<Unet3d>, fine: Vec<Unet3d> },
    Single(Vec<Unet3d>),
}

/// What a model says of one scan. All masks lie on the scan's own grid.
#[derive(Clone, Debug)]
pub struct Segmentation {
    /// The answer.
    pub mask: LabelVolume,
    /// The coarse mask, upsampled; none for a model of one stage.
    pub coarse: Option<LabelVolume>,
    /// What happened on the way.
    pub report: SegmentationReport,
}

/// A scan as the networks of a model want it, and the grid that its mask will have.
pub struct PreparedScan {
    volume: Volume<f32>,
    grid: Grid,
}

/// What the networks of a model see in a scan, where they looked: not yet a mask on the scan's own grid.
pub struct Sighting {
    seen: Seen,
    prepared: Grid,
    grid: Grid,
}

enum Seen {
    Once(Box<Mask>),
    Twice(Box<Looks>),
}

/// What the two stages say of a preprocessed scan; all masks on the preprocessed grid.
#[derive(Clone, Debug)]
pub struct TwoStages {
    /// The coarse mask upsampled to full resolution.
    pub coarse: LabelVolume,
    /// The candidate boxes; none if the coarse mask is empty.
    pub boxes: Option<CandidateBoxes>,
    /// The fine network's masks from the boxes that are used, box 1 first, 0 outside; one where it looked at the
    /// whole scan.
    pub refined: Vec<LabelVolume>,
    /// The answer: the voxelwise majority of refined and coarse masks, with the refined label where those that say organ agree
    /// on no label, or as [`PredictionConfig`] says.
    pub voted: LabelVolume,
    /// By how much its labels lead, where they are to be put on another grid.
    pub(crate) voted_leads: Option<Volume<u8>>,
    /// Why the fine network looked at the whole scan, if it did.
    pub fallback: Option<Fallback>,
}

impl Segmenter {
    /// The model in `folder`: `model.toml` and the weights of its stages. On a GPU the numbers between the layers are
    /// those that it was trained with.
    ///
    /// # Errors
    /// What is missing or wrong in the folder, naming the file and, in a weights file, the tensor.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, PipelineError> {
        Self::load_ensemble(&[folder.to_path_buf()], device)
    }

    /// The models in `folders` as one: in each stage, the mean of their networks' class probabilities, voxel by voxel,
    /// takes the place of one network's. They prepare and see scans in one way, as models of one plan do; their networks
    /// may differ in shape and training. [`model_folders`](crate::model_folders) finds those of a cross-validation.
    ///
    /// They are asked as the first one's `model.toml` says; flips go along the axes that all of them mirrored in training.
    /// n models take n times the time; all their networks lie on the device together, and run one after the other.
    ///
    /// # Errors
    /// As [`Segmenter::load`]; [`PipelineError::Ensemble`] for models that do not go together,
    /// [`PipelineError::NoModels`] for none.
    ///
    /// # Examples
    /// ```no_run
    /// use organseg_pipeline::{Device, Segmenter, model_folders};
    ///
    /// let folds = model_folders("cross-validation".as_ref())?;
    /// let model = Segmenter::load_ensemble(&folds, &Device::Cpu)?;
    /// # Ok::<(), organseg_pipeline::PipelineError>(())
    /// ```
    pub fn load_ensemble(folders: &[PathBuf], device: &Device) -> Result<Self, PipelineError> {
        let configs =
            folders.iter().map(|folder| ModelConfig::load(folder)).collect::<Result<Vec<_>, _>>()?;
        check_alike(&configs, folders)?;
        let nets = |name: &str, stage: fn(&ModelConfig) -> &StageConfig| -> Result<_, PipelineError> {
            let models = configs.iter().zip(folders);
            models.map(|(config, folder)| load_stage(config, stage(config), name, folder, device)).collect()
        };
        let first = configs.first().ok_or(PipelineError::NoModels)?;
        let networks = match first.method {
            Method::Two => {
                Networks::Two { coarse: nets("coarse", |c| &c.coarse)?, fine: nets("fine", |c| &c.fine)? }
            }
            Method::Single => Networks::Single(nets("single", |c| &c.single)?),
        };
        Ok(Self { prediction: first.prediction, configs, networks, device: device.clone() })
    }

    /// The same model asked in another way than its `model.toml` says.
    #[must_use]
    pub fn with_prediction(mut self, prediction: PredictionConfig) -> Self {
        self.prediction = prediction;
        self
    }

    /// How it is asked.
    pub(crate) fn prediction(&self) -> &PredictionConfig {
        &self.prediction
    }

    /// How the model was made; of several, the first.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.configs[0]
    }

    /// Segments `scan`; the masks have exactly its size and affine.
    ///
    /// # Errors
    /// [`PipelineError::NotFinite`] for a scan with voxels that are NaN or infinite,
    /// [`PipelineError::Train`] for one that cannot be resampled to the model's spacing.
    pub fn segment(&self, scan: &Volume<f32>) -> Result<Segmentation, PipelineError> {
        check_finite(scan)?;
        let volume = self.config().preprocessing.prepare(scan)?;
        self.finish(self.look(PreparedScan { volume, grid: *scan.grid() })?)
    }

    /// [`Segmenter::segment`] for one who does not need the scan any more: the networks then run beside one
    /// copy of it, the prepared one, instead of two.
    ///
    /// # Errors
    /// As [`Segmenter::segment`].
    pub fn segment_owned(&self, scan: Volume<f32>) -> Result<Segmentation, PipelineError> {
        self.finish(self.look(self.prepare(scan)?)?)
    }

    /// `scan` as the networks want it: the first of the three steps of [`Segmenter::segment_owned`]. It needs the CPU alone, as
    /// [`Segmenter::finish`] does, so that both can run for other scans while a GPU has one.
    ///
    /// # Errors
    /// As [`Segmenter::segment`].
    pub fn prepare(&self, scan: Volume<f32>) -> Result<PreparedScan, PipelineError> {
        check_finite(&scan)?;
        let grid = *scan.grid();
        Ok(PreparedScan { volume: self.config().preprocessing.prepare_owned(scan)?, grid })
    }

    /// What the networks see in a scan: the second step, and the one that the model's device works for.
    ///
    /// # Errors
    /// [`PipelineError::Candle`] if a network cannot take the scan, [`PipelineError::SumsTooLarge`] if its class probabilities
    /// cannot lie in memory.
    pub fn look(&self, scan: PreparedScan) -> Result<Sighting, PipelineError> {
        let PreparedScan { volume, grid } = scan;
        // Masks that need only be turned come back as they are.
        let with_leads = self.config().preprocessing.is_resampled(volume.grid(), &grid)?;
        let seen = match &self.networks {
            Networks::Single(nets) => {
                let view = self.view(|model| &model.single, with_leads);
                Seen::Once(Box::new(view.mask(nets, &volume)?))
            }
            Networks::Two { coarse, fine } => {
                Seen::Twice(Box::new(self.look_twice(coarse, fine, &volume, with_leads)?))
            }
        };
        release_if_large(&volume);
        Ok(Sighting { seen, prepared: *volume.grid(), grid })
    }

    /// The masks on the scan's own grid, the answer without what [`PredictionConfig`] wants to have left out of it, and the
    /// report: the third step. The prepared scan is gone by now, before the first
    /// mask of its size is made.
    ///
    /// # Errors
    /// [`PipelineError::Train`] if a mask cannot be resampled.
    pub fn finish(&self, sighting: Sighting) -> Result<Segmentation, PipelineError> {
        let Sighting { seen, prepared, grid } = sighting;
        let preprocessing = &self.config().preprocessing;
        let back = |mask: Mask| mask.restored(preprocessing, &grid);
        let names = &self.config().labels;
        match seen {
            Seen::Once(mask) => {
                let (mask, dropped) = postprocess(back(*mask)?, &self.prediction);
                let report = SegmentationReport::of_single(&mask, &dropped, &prepared, names);
                Ok(Segmentation { mask, coarse: None, report })
            }
            Seen::Twice(looks) => {
                let coarse = preprocessing.restore_labels_owned(looks.coarse(&prepared)?, &grid)?;
                let (boxes, fallback) = (looks.boxes, looks.fallback);
                let left_out_ml = looks.left_out() as f64 * voxel_ml(looks.low_mask.grid());
                let (mask, dropped) = postprocess(back(looks.answer(&prepared)?)?, &self.prediction);
                let found = (&mask, &dropped[..]);
                let report =
                    SegmentationReport::of_two(found, boxes, fallback, left_out_ml, &prepared, names);
                Ok(Segmentation { mask, coarse: Some(coarse), report })
            }
        }
    }

    /// Runs both stages on a scan that [`ModelConfig::preprocessing`] has prepared.
    ///
    /// # Errors
    /// [`PipelineError::Config`] for a model of one stage.
    pub fn two_stages(&self, prepared: &Volume<f32>) -> Result<TwoStages, PipelineError> {
        self.two_stages_with(prepared, false)
    }

    /// [`Segmenter::two_stages`], with leads if they are wanted.
    pub(crate) fn two_stages_with(
        &self,
        prepared: &Volume<f32>,
        with_leads: bool,
    ) -> Result<TwoStages, PipelineError> {
        let (coarse, fine) = self.both("two, for the two stages to be run")?;
        let looks = self.look_twice(coarse, fine, prepared, with_leads)?;
        let grid = prepared.grid();
        let (coarse, refined) = (looks.coarse(grid)?, looks.refined(grid)?);
        let (boxes, fallback) = (looks.boxes, looks.fallback);
        let Mask { labels: voted, leads: voted_leads } = looks.answer(grid)?;
        Ok(TwoStages { coarse, boxes, refined, voted, voted_leads, fallback })
    }

    /// What the coarse network finds in a prepared scan, on the decimated grid: the stage on its own.
    /// [`candidate_boxes`] makes boxes of it.
    ///
    /// # Errors
    /// [`PipelineError::Config`] for a model of one stage.
    pub fn coarse(&self, prepared: &Volume<f32>) -> Result<LabelVolume, PipelineError> {
        let (coarse, _) = self.both("two, for the coarse stage to be run")?;
        self.find_coarse(coarse, prepared)
    }

    /// What the fine network finds in `place`, on the whole grid: the stage on its own, for boxes from
    /// elsewhere, such as the true one as an upper bound.
    ///
    /// # Errors
    /// [`PipelineError::Config`] for a model of one stage.
    pub fn fine(&self, prepared: &Volume<f32>, place: &BoundingBox) -> Result<LabelVolume, PipelineError> {
        Ok(self.fine_mask(prepared, place, false)?.labels)
    }

    /// [`Segmenter::fine`], with leads if they are wanted.
    pub(crate) fn fine_mask(
        &self,
        prepared: &Volume<f32>,
        place: &BoundingBox,
        with_leads: bool,
    ) -> Result<Mask, PipelineError> {
        let (_, fine) = self.both("two, for the fine stage to be run")?;
        let found = self.fine_within(fine, prepared, place, with_leads)?;
        let mut mask = Mask::empty(*prepared.grid(), found.leads.is_some());
        mask.paste(&found, place)?;
        Ok(mask)
    }

    /// The networks of the two stages, for one who expects them.
    fn both(&self, expected: &'static str) -> Result<(&[Unet3d], &[Unet3d]), PipelineError> {
        match &self.networks {
            Networks::Two { coarse, fine } => Ok((coarse, fine)),
            Networks::Single(_) => {
                Err(PipelineError::Config { field: "method".into(), found: "single".into(), expected })
            }
        }
    }

    /// The coarse mask, on the decimated grid.
    fn find_coarse(&self, coarse: &[Unet3d], prepared: &Volume<f32>) -> Result<LabelVolume, PipelineError> {
        let low = decimate_mean(prepared, self.config().decimation)?;
        Ok(self.view(|model| &model.coarse, false).mask(coarse, &low)?.labels)
    }

    /// Both stages, each mask where its network looked.
    fn look_twice(
        &self,
        coarse: &[Unet3d],
        fine: &[Unet3d],
        prepared: &Volume<f32>,
        with_leads: bool,
    ) -> Result<Looks, PipelineError> {
        let (grid, factors) = (prepared.grid(), self.config().decimation);
        let whole = BoundingBox::of_grid(grid);
        let low_mask = self.find_coarse(coarse, prepared)?;
        let boxes = candidate_boxes(&low_mask, factors, grid, &self.config().boxes)?;
        let looks = |found, fallback| Looks { low_mask, factors, boxes, found, fallback };
        let Some(CandidateBoxes { box1, box2 }) = boxes else {
            if self.prediction.when_empty == WhenEmpty::Accept {
                return Ok(looks(Found::InScan(Mask::empty(*grid, false)), None));
            }
            let found = self.fine_within(fine, prepared, &whole, with_leads)?;
            return Ok(looks(Found::InScan(found), Some(Fallback::CoarseMaskEmpty)));
        };
        let found = self.look_in_boxes(fine, prepared, [box1, box2], with_leads)?;
        if !found.widest().is_some_and(|(mask, place)| touches_inner_face(&mask.labels, place, grid.size())) {
            return Ok(looks(found, None));
        }
        let widest = found.into_widest();
        let Mask { labels, leads } = self.fine_within(fine, prepared, &whole, with_leads)?;
        release_if_large(prepared);
        let mut anchor = LabelVolume::filled(*grid, 0);
        if let Some((mask, place)) = widest {
            paste(&mut anchor, &mask.labels, &place)?;
        }
        // The leads of what goes stay, and matter nowhere: no piece that is kept lies beside it.
        let labels = components_that_meet(&labels, &anchor, Connectivity::TwentySix)?;
        Ok(looks(Found::InScan(Mask { labels, leads }), Some(Fallback::OrganCutByBox)))
    }

    /// What the fine network finds in those of the candidate boxes that are used.
    fn look_in_boxes(
        &self,
        fine: &[Unet3d],
        prepared: &Volume<f32>,
        [box1, box2]: [BoundingBox; 2],
        with_leads: bool,
    ) -> Result<Found, PipelineError> {
        let alone = |place: BoundingBox| -> Result<Found, PipelineError> {
            let answer = self.fine_within(fine, prepared, &place, with_leads)?;
            let labels = Mask { labels: answer.labels.clone(), leads: None };
            Ok(Found::Settled { answer: (answer, place), masks: vec![(labels, place)] })
        };
        match (self.prediction.boxes, self.prediction.combine) {
            (Boxes::Box1, _) => alone(box1),
            (Boxes::Box2, _) => alone(box2),
            (Boxes::Both, Combine::Vote) => {
                let first = self.fine_within(fine, prepared, &box1, with_leads)?;
                // Small scans, and organs that fill one, have one box: a second look would find the same.
                let second = if box2 == box1 {
                    first.clone()
                } else {
                    self.fine_within(fine, prepared, &box2, with_leads)?
                };
                Ok(Found::InBoxes(Box::new([(first, box1), (second, box2)])))
            }
            (Boxes::Both, Combine::Mean) => {
                let view = self.view(|model| &model.fine, with_leads);
                let look = |place: &BoundingBox| view.probabilities(fine, &crop(prepared, place, 0.0));
                // The mean of a thing and itself is the thing.
                let different = [box1, box2].into_iter().take(if box1 == box2 { 1 } else { 2 });
                let voxels = different.clone().map(|place| place.size().into_iter().product::<usize>());
                check_sums_fit(self.config().classes(), voxels.sum())?;
                let looks = different.map(|place| look(&place)).collect::<Result<Vec<_>, _>>()?;
                let (first, second) = (&looks[0], looks.last().unwrap_or(&looks[0]));
                let places = [(first, &box1), (second, &box2)];
                let answer = most_probable_mean(places, prepared.grid(), with_leads)?;
                let mask = |found: &Probabilities, place: BoundingBox| -> Result<Placed, PipelineError> {
                    let part = prepared.grid().cropped(place.min(), place.size())?;
                    Ok((Mask::from_vecs(part, (found.most_probable(), None))?, place))
                };
                let masks = vec![mask(first, box1)?, mask(second, box2)?];
                Ok(Found::Settled { answer, masks })
            }
        }
    }

    /// What the fine network finds in `place`, on the grid of that part of the scan.
    fn fine_within(
        &self,
        fine: &[Unet3d],
        prepared: &Volume<f32>,
        place: &BoundingBox,
        with_leads: bool,
    ) -> Result<Mask, PipelineError> {
        let view = self.view(|model| &model.fine, with_leads);
        if *place == BoundingBox::of_grid(prepared.grid()) {
            return view.mask(fine, prepared);
        }
        view.mask(fine, &crop(prepared, place, 0.0))
    }

    /// How the networks of a stage are shown their image: mirrored along the axes that the training of all mirrored.
    fn view(&self, stage: fn(&ModelConfig) -> &StageConfig, with_leads: bool) -> View<'_> {
        let mirrored = |axis: usize| {
            let mut augments = self.configs.iter().map(|model| &stage(model).train.augment);
            augments.all(|augment| augment.mirror_probability > 0.0 && augment.mirror_axes[axis])
        };
        let flips = [0, 1, 2].map(|axis| self.prediction.flips && mirrored(axis));
        View { patch: stage(self.config()).patch_size, flips, with_leads, device: &self.device }
    }
}

/// Gives back what the networks have left in their pool if `prepared` is a large scan, to make room for masks of
/// its size.
fn release_if_large(prepared: &Volume<f32>) {
    if size_of_val(prepared.voxels()) > LARGE_BYTES {
        release_memory();
    }
}

fn check_finite(scan: &Volume<f32>) -> Result<(), PipelineError> {
    let voxels = scan.voxels().par_iter().filter(|v| !v.is_finite()).count();
    if voxels > 0 { Err(PipelineError::NotFinite { voxels }) } else { Ok(()) }
}

/// The network of stage `name` of the model in `folder`, as plain tensors: prediction keeps no graph.
fn load_stage(
    config: &ModelConfig,
    stage: &StageConfig,
    name: &str,
    folder: &Path,
    device: &Device,
) -> Result<Unet3d, PipelineError> {
    let path = weights_path(folder, name);
    let wrong = |error: UnetError| PipelineError::from(error).in_model(&path);
    let network = config.network_of(stage);
    let tensors = weights::load(&path, device)?;
    weights::check_network(&tensors, &network, &path).map_err(|error| match error {
        UnetError::Config { .. } => wrong(error),
        error => error.into(),
    })?;
    let net = Unet3d::new(&network, VarBuilder::from_tensors(tensors, DType::F32, device)).map_err(wrong)?;
    net.with_numbers_between_layers(stage.train.precision.number()).map_err(wrong)
}

/// A piece with so large a share of a label's largest may be an organ of its own: the other kidney.
const ORGAN_SHARE: f64 = 0.5;

/// Whether an organ in `mask`, which fills `place` in a scan of `size` voxels, reaches a
/// face of `place` that is not a face of the scan, and may go on beyond it.
fn touches_inner_face(mask: &LabelVolume, place: &BoundingBox, size: [usize; 3]) -> bool {
    let is_inner = |a: usize| place.min()[a] > 0 || place.max()[a] < size[a] as i64;
    if !(0..3).any(is_inner) {
        return false;
    }
    let Some(organ) = BoundingBox::of_mask(&main_pieces(mask, ORGAN_SHARE)) else { return false };
    (0..3).any(|a| {
        (organ.min()[a] == 0 && place.min()[a] > 0)
            || (organ.max()[a] == mask.size()[a] as i64 && place.max()[a] < size[a] as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    fn grid() -> Grid {
        Grid::with_spacing([20, 20, 20], Spacing::isotropic(10.0).unwrap()).unwrap()
    }

    fn bar(from: usize, to: usize) -> LabelVolume {
        LabelVolume::from_fn(grid(), |[x, y, z]| u8::from(x >= from && x < to && y == 10 && z == 10))
    }

    fn cut_by(mask: &LabelVolume, place: &BoundingBox) -> bool {
        touches_inner_face(&crop(mask, place, 0), place, mask.size())
    }

    #[test]
    fn a_second_organ_that_reaches_the_box_is_cut_and_a_stray_piece_is_not() {
        let place = BoundingBox::new([0, 5, 5], [15, 15, 15]).unwrap();
        let with = |from: usize, label: u8| {
            LabelVolume::from_fn(grid(), |[x, y, z]| {
                let large = x < 9 && y == 10 && z == 10;
                if large { 1 } else { label * u8::from(x >= from && y == 7 && z == 7) }
            })
        };
        assert!(cut_by(&with(13, 2), &place), "another label");
        assert!(cut_by(&with(10, 1), &place), "another one of the same label");
        assert!(!cut_by(&with(13, 1), &place), "less than half of it");
    }

    #[test]
    fn an_organ_that_reaches_the_box_is_cut_and_one_that_reaches_the_scan_is_not() {
        let place = BoundingBox::new([0, 5, 5], [15, 15, 15]).unwrap();
        assert!(cut_by(&bar(10, 15), &place));
        assert!(!cut_by(&bar(0, 14), &place), "the scan ends there");
        assert!(!cut_by(&bar(3, 3), &place), "nothing there");
    }
}
