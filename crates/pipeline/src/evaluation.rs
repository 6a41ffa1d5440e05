//! How well a two-stage model does on cases whose truth is known: the figures of the paper's tables.

use std::collections::BTreeMap;

use organseg_metrics::{Stats, dice};
use organseg_roi::BoundingBox;
use organseg_volume::{Label, LabelVolume, Volume};
use serde::{Deserialize, Serialize};

use crate::report::Fallback;
use crate::training::oracle_box;
use crate::{PipelineError, Segmenter};

/// The figures of one case. DSC are means over the labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseResult {
    /// Its name.
    pub case: String,
    /// DSC of the upsampled coarse mask.
    pub coarse_dice: f64,
    /// DSC of the voted mask.
    pub refined_dice: f64,
    /// DSC of the fine stage in the true box: what better boxes could at most give.
    pub oracle_dice: f64,
    /// DSC of the voted mask by label.
    pub refined_dice_by_label: BTreeMap<Label, f64>,
    /// Recall and IoU of box 1 against the box of the truth; 0 where there is no box.
    pub box1: BoxResult,
    /// The same of box 2.
    pub box2: BoxResult,
    /// Why the whole scan was looked at, if it was.
    pub fallback: Option<Fallback>,
}

/// How a candidate box covers the true one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BoxResult {
    /// |B ∩ B̂| / |B|.
    pub recall: f64,
    /// |B ∩ B̂| / |B ∪ B̂|.
    pub iou: f64,
}

/// A case's masks on its own grid, to be written or looked at.
#[derive(Clone, Debug)]
pub struct CaseMasks {
    /// The voted mask.
    pub refined: LabelVolume,
    /// The coarse mask, upsampled.
    pub coarse: LabelVolume,
}

/// Segments `scan` with both stages and compares with `truth`, which lies on the same grid.
///
/// # Errors
/// What preprocessing, the networks or the metrics meet.
pub fn evaluate_case(
    model: &Segmenter,
    case: &str,
    scan: &Volume<f32>,
    truth: &LabelVolume,
) -> Result<(CaseResult, CaseMasks), PipelineError> {
    let config = model.config();
    let prepared = config.preprocessing.prepare(scan)?;
    let reference = config.preprocessing.prepare_labels(truth)?;
    let stages = model.two_stages(&prepared)?;
    let oracle = match oracle_box(&reference, config.crop_margin_voxels) {
        Some(place) => model.fine(&prepared, &place)?,
        None => LabelVolume::filled(*prepared.grid(), 0),
    };
    let by_label = |mask: &LabelVolume| -> Result<BTreeMap<Label, f64>, PipelineError> {
        config.labels.keys().map(|&label| Ok((label, dice(mask, &reference, label)?))).collect()
    };
    let mean = |by_label: &BTreeMap<Label, f64>| by_label.values().sum::<f64>() / by_label.len() as f64;
    let true_box = BoundingBox::of_mask(&reference);
    let covers = |found: Option<BoundingBox>| match (found, true_box) {
        (Some(found), Some(truth)) => BoxResult { recall: found.recall(&truth), iou: found.iou(&truth) },
        _ => BoxResult::default(),
    };
    let refined = by_label(&stages.voted)?;
    let result = CaseResult {
        case: case.to_string(),
        coarse_dice: mean(&by_label(&stages.coarse)?),
        refined_dice: mean(&refined),
        oracle_dice: mean(&by_label(&oracle)?),
        refined_dice_by_label: refined,
        box1: covers(stages.boxes.map(|b| b.box1)),
        box2: covers(stages.boxes.map(|b| b.box2)),
        fallback: stages.fallback,
    };
    let back = |mask: &LabelVolume| config.preprocessing.restore_labels(mask, scan.grid());
    let masks = CaseMasks { refined: back(&stages.voted)?, coarse: back(&stages.coarse)? };
    Ok((result, masks))
}

/// The figures of several cases together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultSummary {
    /// DSC of the coarse masks.
    pub coarse: DiceStats,
    /// DSC of the voted masks.
    pub refined: DiceStats,
    /// DSC of the fine stage in the true boxes.
    pub oracle: DiceStats,
    /// Coverage by box 1.
    pub box1: BoxStats,
    /// Coverage by box 2.
    pub box2: BoxStats,
    /// Cases in which the fine stage had to look at the whole scan.
    pub fallbacks: usize,
}

/// Spread of a DSC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiceStats {
    /// Over the cases.
    pub dice: Stats,
}

/// Spread of how a box covers the true one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxStats {
    /// |B ∩ B̂| / |B|.
    pub recall: Stats,
    /// |B ∩ B̂| / |B ∪ B̂|.
    pub iou: Stats,
}

impl ResultSummary {
    /// Mean, spread and extremes of each figure over `results`; none without a case.
    #[must_use]
    pub fn of(results: &[CaseResult]) -> Option<Self> {
        if results.is_empty() {
            return None;
        }
        let stats = |of: &dyn Fn(&CaseResult) -> f64| {
            Stats::of(&results.iter().map(of).collect::<Vec<_>>()).expect("there is a case")
        };
        let boxes = |of: &dyn Fn(&CaseResult) -> BoxResult| BoxStats {
            recall: stats(&|r| of(r).recall),
            iou: stats(&|r| of(r).iou),
        };
        Some(Self {
            coarse: DiceStats { dice: stats(&|r| r.coarse_dice) },
            refined: DiceStats { dice: stats(&|r| r.refined_dice) },
            oracle: DiceStats { dice: stats(&|r| r.oracle_dice) },
            box1: boxes(&|r| r.box1),
            box2: boxes(&|r| r.box2),
            fallbacks: results.iter().filter(|r| r.fallback.is_some()).count(),
        })
    }

    /// A table for people: percentages, mean ± standard deviation, minimum and maximum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let rows = [
            ("coarse DSC", &self.coarse.dice),
            ("refined DSC", &self.refined.dice),
            ("DSC in the true box", &self.oracle.dice),
            ("box 1 recall", &self.box1.recall),
            ("box 1 IoU", &self.box1.iou),
            ("box 2 recall", &self.box2.recall),
            ("box 2 IoU", &self.box2.iou),
        ];
        let mut text = format!("{:<20} {:>15} {:>7} {:>7}\n", "in %", "mean ± sd", "min", "max");
        for (name, stats) in rows {
            text.push_str(&format!(
                "{name:<20} {:>7.2} ± {:>5.2} {:>7.2} {:>7.2}\n",
                100.0 * stats.mean,
                100.0 * stats.std,
                100.0 * stats.min,
                100.0 * stats.max
            ));
        }
        if self.fallbacks > 0 {
            text.push_str(&format!("the fine stage looked at the whole scan in {} cases\n", self.fallbacks));
        }
        text
    }
}
