//! A trained model that turns scans into masks on the scan's own grid.

use std::path::Path;

use candle_core::{DType, Device};
use candle_nn::{VarBuilder, VarMap};
use organseg_roi::{BoundingBox, Connectivity, connected_components, crop, majority_vote, paste};
use organseg_unet::{Unet3d, UnetConfig, weights};
use organseg_volume::{LabelVolume, Volume, decimate_mean, upsample_nearest};

use crate::model::{Method, ModelConfig, weights_path};
use crate::predict::predict;
use crate::report::{Fallback, SegmentationReport};
use crate::{CandidateBoxes, PipelineError, candidate_boxes};

/// A model in memory, ready to segment.
pub struct Segmenter {
    config: ModelConfig,
    networks: Networks,
    device: Device,
}

enum Networks {
    Two { coarse: Unet3d, fine: Unet3d },
    Single(Unet3d),
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

/// What the two stages say of a preprocessed scan; all masks on the preprocessed grid.
#[derive(Clone, Debug)]
pub struct TwoStages {
    /// The coarse mask upsampled to full resolution.
    pub coarse: LabelVolume,
    /// The candidate boxes; none if the coarse mask is empty.
    pub boxes: Option<CandidateBoxes>,
    /// The fine network's masks from box 1 and box 2, 0 outside.
    pub refined: [LabelVolume; 2],
    /// The voxelwise majority of the three.
    pub voted: LabelVolume,
    /// Why the fine network looked at the whole scan, if it did.
    pub fallback: Option<Fallback>,
}

impl Segmenter {
    /// The model in `folder`: `model.toml` and the weights of its stages.
    ///
    /// # Errors
    /// What is missing or wrong in the folder, naming the file and, in a weights file, the tensor.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, PipelineError> {
        let config = ModelConfig::load(folder)?;
        let net =
            |name: &str, network: &UnetConfig| load_network(&weights_path(folder, name), network, device);
        let networks = match config.method {
            Method::Two => Networks::Two {
                coarse: net("coarse", &config.network_of(&config.coarse))?,
                fine: net("fine", &config.network_of(&config.fine))?,
            },
            Method::Single => Networks::Single(net("single", &config.network_of(&config.single))?),
        };
        Ok(Self { config, networks, device: device.clone() })
    }

    /// How the model was made.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Segments `scan`; the masks have exactly its size and affine.
    ///
    /// # Errors
    /// [`PipelineError::NotFinite`] for a scan with voxels that are NaN or infinite,
    /// [`PipelineError::Train`] for one that cannot be resampled to the model's spacing.
    pub fn segment(&self, scan: &Volume<f32>) -> Result<Segmentation, PipelineError> {
        let voxels = scan.voxels().iter().filter(|v| !v.is_finite()).count();
        if voxels > 0 {
            return Err(PipelineError::NotFinite { voxels });
        }
        let prepared = self.config.preprocessing.prepare(scan)?;
        let back = |mask: &LabelVolume| self.config.preprocessing.restore_labels(mask, scan.grid());
        match &self.networks {
            Networks::Single(net) => {
                let mask = predict(net, &prepared, self.config.single.patch_size, &self.device)?;
                let mask = back(&mask)?;
                let report = SegmentationReport::of_single(&mask, &self.config.labels);
                Ok(Segmentation { mask, coarse: None, report })
            }
            Networks::Two { .. } => {
                let stages = self.two_stages(&prepared)?;
                let mask = back(&stages.voted)?;
                let report = SegmentationReport::of_two(
                    &mask,
                    &stages,
                    prepared.grid(),
                    scan.grid(),
                    &self.config.labels,
                );
                Ok(Segmentation { mask, coarse: Some(back(&stages.coarse)?), report })
            }
        }
    }

    /// Runs both stages on a scan that [`ModelConfig::preprocessing`] has prepared.
    ///
    /// # Errors
    /// [`PipelineError::Config`] for a model of one stage.
    pub fn two_stages(&self, prepared: &Volume<f32>) -> Result<TwoStages, PipelineError> {
        let Networks::Two { coarse: net, .. } = &self.networks else {
            return Err(PipelineError::Config {
                field: "method".into(),
                found: "single".into(),
                expected: "two, for the two stages to be run",
            });
        };
        let (grid, factors) = (prepared.grid(), self.config.decimation);
        let low = decimate_mean(prepared, factors)?;
        let low_mask = predict(net, &low, self.config.coarse.patch_size, &self.device)?;
        let coarse = upsample_nearest(&low_mask, factors, grid)?;
        let Some(boxes) = candidate_boxes(&low_mask, factors, grid, &self.config.boxes)? else {
            let whole = self.fine(prepared, &BoundingBox::of_grid(grid))?;
            return Ok(TwoStages {
                coarse,
                boxes: None,
                voted: whole.clone(),
                refined: [whole.clone(), whole],
                fallback: Some(Fallback::CoarseMaskEmpty),
            });
        };
        let refined = [self.fine(prepared, &boxes.box1)?, self.fine(prepared, &boxes.box2)?];
        if touches_inner_face(&refined[1], &boxes.box2) {
            let whole = self.fine(prepared, &BoundingBox::of_grid(grid))?;
            let whole = pieces_that_meet(&whole, &refined[1]);
            let voted = majority_vote(&[&whole, &whole, &coarse])?;
            return Ok(TwoStages {
                coarse,
                boxes: Some(boxes),
                refined: [whole.clone(), whole],
                voted,
                fallback: Some(Fallback::OrganCutByBox),
            });
        }
        let voted = majority_vote(&[&refined[0], &refined[1], &coarse])?;
        Ok(TwoStages { coarse, boxes: Some(boxes), refined, voted, fallback: None })
    }

    /// What the fine network finds in `place`, on the whole grid: the stage on its own, for boxes from
    /// elsewhere, such as the true one as an upper bound.
    ///
    /// # Errors
    /// [`PipelineError::Config`] for a model of one stage.
    pub fn fine(&self, prepared: &Volume<f32>, place: &BoundingBox) -> Result<LabelVolume, PipelineError> {
        let Networks::Two { fine, .. } = &self.networks else {
            return Err(PipelineError::Config {
                field: "method".into(),
                found: "single".into(),
                expected: "two, for the fine stage to be run",
            });
        };
        let patch = self.config.fine.patch_size;
        let found = predict(fine, &crop(prepared, place, 0.0), patch, &self.device)?;
        let mut mask = LabelVolume::filled(*prepared.grid(), 0);
        paste(&mut mask, &found, place)?;
        Ok(mask)
    }
}

/// The network of shape `network` with the weights in the file at `path`, as plain tensors: prediction
/// keeps no graph.
fn load_network(path: &Path, network: &UnetConfig, device: &Device) -> Result<Unet3d, PipelineError> {
    let tensors = weights::load(path, device)?;
    let shapes = VarMap::new();
    Unet3d::new(network, VarBuilder::from_varmap(&shapes, DType::F32, device))?;
    weights::check(&tensors, &weights::tensors_of(&shapes)?, path)?;
    Ok(Unet3d::new(network, VarBuilder::from_tensors(tensors, DType::F32, device))?)
}

/// Whether the largest connected piece of `mask`, which lies within `place`, reaches a face of `place`
/// that is not a face of the scan: the organ may go on beyond it.
fn touches_inner_face(mask: &LabelVolume, place: &BoundingBox) -> bool {
    let components = connected_components(mask, Connectivity::TwentySix);
    let Some(id) = components.largest() else { return false };
    let Some(organ) = BoundingBox::of_voxels(components.labels(), |label| label == id) else { return false };
    let size = mask.size();
    (0..3).any(|a| {
        (organ.min()[a] == place.min()[a] && place.min()[a] > 0)
            || (organ.max()[a] == place.max()[a] && place.max()[a] < size[a] as i64)
    })
}

/// The connected pieces of `mask` that share a voxel with `anchor`.
fn pieces_that_meet(mask: &LabelVolume, anchor: &LabelVolume) -> LabelVolume {
    let components = connected_components(mask, Connectivity::TwentySix);
    let ids = components.labels().voxels();
    let mut meets = vec![false; components.sizes().len() + 1];
    for (&id, &label) in ids.iter().zip(anchor.voxels()) {
        meets[id as usize] |= label != 0;
    }
    let voxels = ids
        .iter()
        .zip(mask.voxels())
        .map(|(&id, &label)| if meets[id as usize] { label } else { 0 })
        .collect();
    LabelVolume::from_vec(*mask.grid(), voxels).expect("one voxel for each of the mask's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    fn grid() -> Grid {
        Grid::with_spacing([20, 20, 20], Spacing::isotropic(1.0).unwrap()).unwrap()
    }

    fn bar(from: usize, to: usize) -> LabelVolume {
        LabelVolume::from_fn(grid(), |[x, y, z]| u8::from(x >= from && x < to && y == 10 && z == 10))
    }

    #[test]
    fn an_organ_that_reaches_the_box_is_cut_and_one_that_reaches_the_scan_is_not() {
        let place = BoundingBox::new([0, 5, 5], [15, 15, 15]).unwrap();
        assert!(touches_inner_face(&bar(10, 15), &place));
        assert!(!touches_inner_face(&bar(0, 14), &place), "the scan ends there");
        assert!(!touches_inner_face(&bar(3, 3), &place), "nothing there");
    }

    #[test]
    fn only_pieces_of_the_organ_are_taken_from_the_whole_scan() {
        let mut whole = bar(2, 18);
        whole[[0, 0, 0]] = 1;
        assert_eq!(pieces_that_meet(&whole, &bar(5, 6)), bar(2, 18));
    }
}
