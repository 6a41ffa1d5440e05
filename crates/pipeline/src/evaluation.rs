//! How well a model does on cases whose truth is known: the figures of the paper's tables.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use organseg_metrics::{Overlap, Stats, clear_ignored};
use organseg_roi::BoundingBox;
use organseg_train::organ_box;
use organseg_volume::{Label, LabelVolume, Volume};
use serde::{Deserialize, Serialize};

use crate::evaluation_fields::{CaseFields, SummaryFields};
use crate::mask::Mask;
use crate::postprocess::postprocess;
use crate::report::Fallback;
use crate::training::oracle_box;
use crate::{Method, PipelineError, Segmenter};

/// The figures of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CaseFields")]
pub struct CaseResult {
    /// Its name.
    pub case: String,
    /// DSC of the answer.
    pub refined: LabelDice,
    /// What only two stages have.
    #[serde(flatten)]
    pub two_stages: Option<TwoStageResult>,
}

/// DSC of one mask. A label that neither the mask nor the truth has says nothing about either and is left out, as
/// `organseg evaluate` leaves it out of its means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelDice {
    /// Mean over the labels that are here; none where none is.
    pub mean: Option<f64>,
    /// Of each label that the mask or the truth has.
    pub labels: BTreeMap<Label, f64>,
}

/// The figures of the two stages in one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoStageResult {
    /// DSC of the upsampled coarse mask.
    pub coarse: LabelDice,
    /// DSC of the fine stage in the true box: what better boxes could at most give.
    pub oracle: LabelDice,
    /// Recall and IoU of box 1 against the box of the truth, 0 where it was not found; none where the truth has no
    /// organ.
    pub box1: Option<BoxResult>,
    /// The same of box 2.
    pub box2: Option<BoxResult>,
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
    /// The answer.
    pub refined: LabelVolume,
    /// The coarse mask, upsampled; none for a model of one stage.
    pub coarse: Option<LabelVolume>,
}

/// Segments `scan` and compares with `truth`, which lies on the same grid: masks there, as they are handed out, candidate
/// boxes on the prepared grid, where they are made. Voxels of `truth` that are `ignore`, the dataset's label for what
/// nobody annotated, count neither way, and the box of the truth is that of the rest.
///
/// # Errors
/// What preprocessing, the networks or the metrics meet.
pub fn evaluate_case(
    model: &Segmenter,
    case: &str,
    scan: &Volume<f32>,
    truth: &LabelVolume,
    ignore: Option<Label>,
) -> Result<(CaseResult, CaseMasks), PipelineError> {
    let config = model.config();
    if config.method == Method::Single {
        let found = model.segment(scan)?;
        let refined = LabelDice::of(&found.mask, truth, config.labels.keys(), ignore)?;
        let result = CaseResult { case: case.to_string(), refined, two_stages: None };
        return Ok((result, CaseMasks { refined: found.mask, coarse: None }));
    }
    let prepared = config.preprocessing.prepare(scan)?;
    let reference = config.preprocessing.prepare_labels(truth)?;
    let with_leads = config.preprocessing.is_resampled(prepared.grid(), scan.grid())?;
    let stages = model.two_stages_with(&prepared, with_leads)?;
    let oracle = match oracle_box(&reference, config.crop_margin_voxels.along(), ignore) {
        Some(place) => model.fine_mask(&prepared, &place, with_leads)?,
        None => Mask::empty(*prepared.grid(), false),
    };
    let back = |mask: Mask| mask.restored(&config.preprocessing, scan.grid());
    let voted = Mask { labels: stages.voted, leads: stages.voted_leads };
    let (refined, _) = postprocess(back(voted)?, model.prediction());
    let coarse = back(Mask { labels: stages.coarse, leads: None })?;
    let masks = CaseMasks { refined, coarse: Some(coarse) };
    let dice_of = |mask: &LabelVolume| LabelDice::of(mask, truth, config.labels.keys(), ignore);
    let true_box = organ_box(&reference, ignore);
    let covers = |found: Option<BoundingBox>| {
        let truth = true_box?;
        let of = |found: BoundingBox| BoxResult { recall: found.recall(&truth), iou: found.iou(&truth) };
        Some(found.map_or(BoxResult::default(), of))
    };
    let result = CaseResult {
        case: case.to_string(),
        refined: dice_of(&masks.refined)?,
        two_stages: Some(TwoStageResult {
            coarse: dice_of(masks.coarse.as_ref().expect("two stages have a coarse mask"))?,
            // Left as tidy as the answer, which it is to be compared with.
            oracle: dice_of(&postprocess(back(oracle)?, model.prediction()).0)?,
            box1: covers(stages.boxes.map(|b| b.box1)),
            box2: covers(stages.boxes.map(|b| b.box2)),
            fallback: stages.fallback,
        }),
    };
    Ok((result, masks))
}

impl LabelDice {
    /// Of `mask` against `reference`, for each of `labels`, over the voxels of `reference` that are not `ignore`.
    pub(crate) fn of<'a>(
        mask: &LabelVolume,
        reference: &LabelVolume,
        labels: impl Iterator<Item = &'a Label>,
        ignore: Option<Label>,
    ) -> Result<Self, PipelineError> {
        let mut mask = Cow::Borrowed(mask);
        if let Some(ignore) = ignore {
            clear_ignored(mask.to_mut(), reference, ignore)?;
        }
        let mut found = BTreeMap::new();
        for &label in labels {
            let overlap = Overlap::of_label(&mask, reference, label)?;
            if !overlap.is_empty() {
                found.insert(label, overlap.dice());
            }
        }
        Ok(Self::mean_of(found))
    }

    fn mean_of(labels: BTreeMap<Label, f64>) -> Self {
        let mean = (!labels.is_empty()).then(|| labels.values().sum::<f64>() / labels.len() as f64);
        Self { mean, labels }
    }
}

/// The figures of several cases together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "SummaryFields")]
pub struct ResultSummary {
    /// DSC of the answers.
    pub refined: DiceStats,
    /// What only two stages have.
    #[serde(flatten)]
    pub two_stages: Option<TwoStageSummary>,
}

/// The figures of the two stages together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TwoStageSummary {
    /// DSC of the coarse masks.
    pub coarse: DiceStats,
    /// DSC of the fine stage in the true boxes.
    pub oracle: DiceStats,
    /// Coverage by box 1.
    pub box1: BoxStats,
    /// Coverage by box 2.
    pub box2: BoxStats,
    /// Cases in which the fine stage had to look at the whole scan.
    pub fallbacks: usize,
}

/// Spread of a DSC over the cases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiceStats {
    /// Of the mean over the labels, over the cases that have one.
    pub dice: Stats,
    /// Of each label, over the cases in which the mask or the truth has it.
    pub labels: BTreeMap<Label, Stats>,
}

/// Spread of how a box covers the true one, over the cases that have one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoxStats {
    /// |B ∩ B̂| / |B|.
    pub recall: Stats,
    /// |B ∩ B̂| / |B ∪ B̂|.
    pub iou: Stats,
}

impl ResultSummary {
    /// Mean, spread and extremes of each figure over `results`; none where no case has a label, in its truth or
    /// in what was found. Figures of two stages are there if every case has them.
    #[must_use]
    pub fn of(results: &[CaseResult]) -> Option<Self> {
        let refined: Vec<_> = results.iter().map(|result| &result.refined).collect();
        let two_stages: Option<Vec<_>> = results.iter().map(|result| result.two_stages.as_ref()).collect();
        Some(Self { refined: DiceStats::of(&refined)?, two_stages: two_stages.and_then(|two| summary(&two)) })
    }

    /// A table for people: percentages, mean ± standard deviation, minimum and maximum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut rows = Vec::new();
        let mut add = |name: &str, stats: &DiceStats| {
            rows.push((name.to_string(), stats.dice));
            if stats.labels.len() > 1 {
                let of_labels = stats.labels.iter();
                rows.extend(of_labels.map(|(label, stats)| (format!("  of label {label}"), *stats)));
            }
        };
        if let Some(two) = &self.two_stages {
            add("coarse DSC", &two.coarse);
            add("refined DSC", &self.refined);
            add("DSC in the true box", &two.oracle);
            let boxes = [
                ("box 1 recall", two.box1.recall),
                ("box 1 IoU", two.box1.iou),
                ("box 2 recall", two.box2.recall),
                ("box 2 IoU", two.box2.iou),
            ];
            rows.extend(boxes.map(|(name, stats)| (name.to_string(), stats)));
        } else {
            add("DSC", &self.refined);
        }
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
        if let Some(two) = self.two_stages.as_ref().filter(|two| two.fallbacks > 0) {
            text.push_str(&format!("the fine stage looked at the whole scan in {} cases\n", two.fallbacks));
        }
        text
    }
}

impl DiceStats {
    fn of(cases: &[&LabelDice]) -> Option<Self> {
        let dice = Stats::of(&cases.iter().filter_map(|case| case.mean).collect::<Vec<_>>())?;
        let of_label = |&label: &Label| {
            let values: Vec<f64> = cases.iter().filter_map(|case| case.labels.get(&label).copied()).collect();
            Some((label, Stats::of(&values)?))
        };
        let labels: BTreeSet<&Label> = cases.iter().flat_map(|case| case.labels.keys()).collect();
        Some(Self { dice, labels: labels.into_iter().filter_map(of_label).collect() })
    }
}

fn summary(results: &[&TwoStageResult]) -> Option<TwoStageSummary> {
    let stats = |of: &dyn Fn(&BoxResult) -> f64, which: fn(&TwoStageResult) -> Option<&BoxResult>| {
        Stats::of(&results.iter().filter_map(|result| which(result)).map(of).collect::<Vec<_>>())
    };
    let boxes = |which: fn(&TwoStageResult) -> Option<&BoxResult>| {
        Some(BoxStats { recall: stats(&|b| b.recall, which)?, iou: stats(&|b| b.iou, which)? })
    };
    Some(TwoStageSummary {
        coarse: DiceStats::of(&results.iter().map(|result| &result.coarse).collect::<Vec<_>>())?,
        oracle: DiceStats::of(&results.iter().map(|result| &result.oracle).collect::<Vec<_>>())?,
        box1: boxes(|result| result.box1.as_ref())?,
        box2: boxes(|result| result.box2.as_ref())?,
        fallbacks: results.iter().filter(|result| result.fallback.is_some()).count(),
    })
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing};

    use super::*;

    #[test]
    fn dice_counts_no_voxel_that_nobody_annotated() {
        let grid = Grid::with_spacing([8, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let line = |voxels: [u8; 8]| LabelVolume::from_vec(grid, voxels.to_vec()).unwrap();
        let reference = line([0, 1, 1, 2, 3, 3, 3, 0]);
        let found = line([1, 1, 0, 2, 1, 2, 0, 0]);
        let dice = |ignore| LabelDice::of(&found, &reference, [1, 2].iter(), ignore).unwrap().labels;
        assert_eq!(dice(Some(3)), BTreeMap::from([(1, 2.0 / 4.0), (2, 1.0)]));
        assert_eq!(dice(None), BTreeMap::from([(1, 2.0 / 5.0), (2, 2.0 / 3.0)]));
    }

    #[test]
    fn a_label_that_is_nowhere_is_left_out_of_the_means() {
        let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let of = |found: [u8; 4], truth: [u8; 4]| {
            let [found, truth] = [found, truth].map(|v| LabelVolume::from_vec(grid, v.to_vec()).unwrap());
            LabelDice::of(&found, &truth, [1, 2].iter(), None).unwrap()
        };
        let half = of([1, 1, 0, 0], [0, 1, 1, 0]);
        assert_eq!((half.mean, half.labels.len()), (Some(0.5), 1));
        // Found where it is not: that counts.
        assert_eq!(of([1, 2, 0, 0], [1, 0, 0, 0]).mean, Some(0.5));
        let nowhere = of([0; 4], [0; 4]);
        assert_eq!((nowhere.mean, nowhere.labels.len()), (None, 0));
        let both = of([2, 1, 1, 0], [2, 1, 1, 0]);
        let stats = DiceStats::of(&[&nowhere, &half, &both]).unwrap();
        assert_eq!((stats.dice.mean, stats.labels[&1].mean, stats.labels[&2].mean), (0.75, 0.75, 1.0));
        assert_eq!(DiceStats::of(&[&nowhere]), None);
    }

    fn case(dice: [f64; 2], two_stages: bool) -> CaseResult {
        let of = |dice: [f64; 2]| LabelDice::mean_of(BTreeMap::from([(1, dice[0]), (2, dice[1])]));
        let boxes = Some(BoxResult { recall: dice[0], iou: dice[1] });
        let two = TwoStageResult {
            coarse: of([0.25, 0.5]),
            oracle: of(dice),
            box1: boxes,
            box2: boxes,
            fallback: None,
        };
        CaseResult { case: "a".into(), refined: of(dice), two_stages: two_stages.then_some(two) }
    }

    #[test]
    fn figures_are_means_over_cases_of_each_label_and_of_the_labels_means() {
        let summary = ResultSummary::of(&[case([0.5, 1.0], true), case([1.0, 0.75], true)]).unwrap();
        assert_eq!((summary.refined.dice.mean, summary.refined.dice.min), (0.8125, 0.75));
        assert_eq!(summary.refined.labels[&1].mean, 0.75);
        assert_eq!(summary.refined.labels[&2].mean, 0.875);
        let two = summary.two_stages.as_ref().unwrap();
        assert_eq!((two.box1.recall.mean, two.coarse.labels[&2].mean), (0.75, 0.5));
        let text = summary.to_text();
        assert!(text.contains("of label 2") && text.contains("box 2 IoU"), "{text}");
    }

    #[test]
    fn a_single_stage_has_no_boxes() {
        let summary = ResultSummary::of(&[case([0.5, 1.0], false)]).unwrap();
        assert!(summary.two_stages.is_none() && !summary.to_text().contains("box"));
        assert!(ResultSummary::of(&[]).is_none());
    }
}
