//! Validation cases as a stage sees them: how well its network does on each, and pictures of the worst.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use organseg_unet::Unet3d;
use organseg_volume::{Label, percentiles};

use crate::evaluation::LabelDice;
use crate::source::PreparedCase;
use crate::{Montage, PipelineError, predict};

/// Pictures of so many cases are made.
const PICTURES: usize = 4;

/// Slices a picture.
const SLICES: usize = 4;

/// Outlines of the truth and of what was found.
const TRUTH: [u8; 3] = [60, 220, 60];
const FOUND: [u8; 3] = [255, 70, 70];

/// Percentiles of the intensities that are drawn black and white.
const BLACK_AND_WHITE: [f64; 2] = [0.5, 99.5];

/// DSC of each validation case, in their order.
pub(crate) struct Validation(Vec<LabelDice>);

impl Validation {
    /// What `net` finds in each of `cases`, whole, compared with the truth.
    pub(crate) fn of(
        net: &Unet3d,
        cases: &[PreparedCase],
        patch: Option<[usize; 3]>,
        labels: &[Label],
        device: &Device,
    ) -> Result<Self, PipelineError> {
        let dice = |case: &PreparedCase| {
            LabelDice::of(&predict(net, &case.image, patch, device)?, &case.labels, labels.iter())
        };
        Ok(Self(cases.iter().map(dice).collect::<Result<_, _>>()?))
    }

    /// Mean DSC of each label.
    pub(crate) fn mean(&self) -> BTreeMap<Label, f64> {
        let mut means = BTreeMap::new();
        for (&label, &dice) in self.0.iter().flat_map(|case| &case.labels) {
            *means.entry(label).or_insert(0.0) += dice / self.0.len() as f64;
        }
        means
    }

    /// Writes `folder/STAGE-NUMBER-CASE.png` of the cases with the lowest mean DSC, the worst first: slices with the
    /// outlines of the truth in green and of what `net` finds in red. Pictures of the stage from before go.
    pub(crate) fn draw_worst(
        &self,
        stage: &str,
        net: &Unet3d,
        cases: &[PreparedCase],
        patch: Option<[usize; 3]>,
        device: &Device,
        folder: &Path,
    ) -> Result<(), PipelineError> {
        let io = |source| PipelineError::Io { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(&format!("{stage}-")) && name.ends_with(".png") {
                std::fs::remove_file(&path).map_err(|source| PipelineError::Io { path, source })?;
            }
        }
        let mut order: Vec<usize> = (0..cases.len()).collect();
        order.sort_by(|&a, &b| self.0[a].mean.total_cmp(&self.0[b].mean));
        for (number, case) in order.into_iter().take(PICTURES).map(|i| &cases[i]).enumerate() {
            let found = predict(net, &case.image, patch, device)?;
            let range = percentiles(&case.image, &BLACK_AND_WHITE);
            let mut montage = Montage::with_window([range[0], range[1].max(range[0] + f32::EPSILON)]);
            montage.add_row(&case.image, &[(&case.labels, TRUTH), (&found, FOUND)], SLICES);
            montage.save(&folder.join(format!("{stage}-{}-{}.png", number + 1, case.name)))?;
        }
        Ok(())
    }
}
