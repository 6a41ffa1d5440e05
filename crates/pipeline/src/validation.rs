//! Validation cases as a stage sees them: how well its network does on each, and pictures of the worst.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::Device;
use organseg_metrics::labels_present;
use organseg_train::{TrainError, Validation, without_ignored};
use organseg_unet::Unet3d;
use organseg_volume::{Label, LabelVolume, percentiles};

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

/// The cases that the networks of a stage are measured on, as it sees them.
pub(crate) struct ValidationCases<'a> {
    cases: Vec<PreparedCase>,
    patch_size: Option<[usize; 3]>,
    /// Those of the model that one of the cases has.
    labels: Vec<Label>,
    /// The label of voxels that count neither way.
    ignore: Option<Label>,
    device: &'a Device,
    /// How well the last network did on each case, if it has been looked at.
    last: RefCell<Vec<Option<LabelDice>>>,
}

impl<'a> ValidationCases<'a> {
    /// Of `labels` those count that one of the cases has.
    pub(crate) fn new(
        cases: Vec<PreparedCase>,
        patch_size: Option<[usize; 3]>,
        labels: impl Iterator<Item = Label>,
        ignore: Option<Label>,
        device: &'a Device,
    ) -> Self {
        let present = labels_present(&cases.iter().map(|case| &case.labels).collect::<Vec<_>>());
        let labels: Vec<Label> = labels.filter(|label| present.contains(label)).collect();
        let last = RefCell::new(vec![None; cases.len()]);
        Self { cases, patch_size, labels, ignore, device, last }
    }

    /// Whether any label counts: if not, a network that finds nothing does as well as any other.
    pub(crate) fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Forgets how well the last network did, which is not the one that is kept.
    pub(crate) fn forget(&self) {
        self.last.borrow_mut().fill(None);
    }

    /// What `net` finds in case `case`, whole, and how much of it is right.
    fn look(&self, net: &Unet3d, case: usize) -> Result<(LabelVolume, LabelDice), PipelineError> {
        let case = &self.cases[case];
        let look = || {
            let found = match predict(net, &case.image, self.patch_size, self.device) {
                // A training may get over it: here it is a network that finds nothing.
                Err(error @ PipelineError::ScoresNotFinite { .. }) => {
                    eprintln!("warning: case {}: {error}", case.name);
                    LabelVolume::filled(*case.image.grid(), 0)
                }
                found => found?,
            };
            let dice = LabelDice::of(&found, &case.labels, self.labels.iter(), self.ignore)?;
            Ok((found, dice))
        };
        look().map_err(|error: PipelineError| error.in_case(&case.name))
    }

    /// Writes `folder/STAGE-NUMBER-CASE.png` of the cases that had the lowest mean DSC, the worst first: slices with
    /// the outlines of the truth in green and of what `net` finds in red. Pictures of the stage from before go.
    pub(crate) fn draw_worst(&self, stage: &str, net: &Unet3d, folder: &Path) -> Result<(), PipelineError> {
        let io = |source| PipelineError::Io { path: folder.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(io)?;
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(&format!("{stage}-")) && name.ends_with(".png") {
                std::fs::remove_file(&path).map_err(|source| PipelineError::Io { path, source })?;
            }
        }
        let mut order = Vec::with_capacity(self.cases.len());
        for case in 0..self.cases.len() {
            // Nothing was left to look at where a finished training is resumed, or looks were forgotten.
            let last = self.last.borrow()[case].clone();
            let dice = last.map_or_else(|| self.look(net, case).map(|(_, dice)| dice), Ok)?;
            // Nothing there and nothing found: it can be no better.
            order.push((dice.mean.unwrap_or(1.0), case));
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (number, (_, i)) in order.into_iter().take(PICTURES).enumerate() {
            let (found, _) = self.look(net, i)?;
            let case = &self.cases[i];
            let range = percentiles(&case.image, &BLACK_AND_WHITE);
            let mut montage = Montage::with_window([range[0], range[1].max(range[0] + f32::EPSILON)]);
            let truth = without_ignored(case.labels.clone(), self.ignore);
            montage.add_row(&case.image, &[(&truth, TRUTH), (&found, FOUND)], SLICES);
            montage.save(&folder.join(format!("{stage}-{}-{}.png", number + 1, case.name)))?;
        }
        Ok(())
    }
}

impl Validation for ValidationCases<'_> {
    fn cases(&self) -> usize {
        self.cases.len()
    }

    fn dice(&self, net: &Unet3d, case: usize) -> Result<BTreeMap<Label, f64>, TrainError> {
        let (_, dice) = self.look(net, case).map_err(|e| TrainError::Validation { source: Box::new(e) })?;
        self.last.borrow_mut()[case] = Some(dice.clone());
        Ok(dice.labels)
    }
}
