//! k-fold cross-validation of the two-stage method, with the paper's three tables.

use std::path::Path;

use candle_core::Device;
use organseg_metrics::Stats;
use organseg_train::{Dataset, Splits, StopSignal};
use serde::{Deserialize, Serialize};

use crate::evaluation::{CaseResult, ResultSummary, evaluate_case};
use crate::training::{Stages, TrainRequest, train};
use crate::{ModelConfig, PipelineError, Segmenter};

/// Results of all folds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// A fold's results, each on the cases it did not train on.
    pub folds: Vec<FoldResult>,
    /// Over the cases of all folds.
    pub summary: ResultSummary,
}

/// Results of one fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FoldResult {
    /// Case by case.
    pub cases: Vec<CaseResult>,
    /// Over its cases.
    pub summary: ResultSummary,
}

/// Trains and tests a two-stage model on each split of `splits`; the models go to `folder/fold_K`. Folds
/// that are there already are taken up where they stopped.
///
/// # Errors
/// What training or testing a fold meets, naming the case.
pub fn cross_validate(
    dataset: &Dataset,
    splits: &Splits,
    config: &ModelConfig,
    folder: &Path,
    device: &Device,
    stop: &StopSignal,
) -> Result<CrossValidation, PipelineError> {
    let mut folds = Vec::new();
    for (k, split) in splits.folds().iter().enumerate() {
        let model = folder.join(format!("fold_{k}"));
        train(&TrainRequest {
            dataset,
            split,
            config,
            stages: Stages::Both,
            folder: &model,
            resume: true,
            device,
            stop: stop.clone(),
        })?;
        let segmenter = Segmenter::load(&model, device)?;
        let mut cases = Vec::new();
        for name in &split.val {
            let loaded = dataset.case(name)?.load(dataset)?;
            let (result, _) = evaluate_case(&segmenter, name, &loaded.image, &loaded.label)
                .map_err(|error| error.in_case(name))?;
            cases.push(result);
        }
        let summary = ResultSummary::of(&cases).expect("training refused a split without validation cases");
        folds.push(FoldResult { cases, summary });
    }
    let all: Vec<_> = folds.iter().flat_map(|fold| fold.cases.iter().cloned()).collect();
    let summary = ResultSummary::of(&all).expect("there are at least two folds");
    Ok(CrossValidation { summary, folds })
}

impl CrossValidation {
    /// The paper's three tables: DSC by fold and stage, box recall and IoU by fold, summary.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from("Table 1. DSC in %, by fold and stage (mean ± sd, min, max)\n");
        text.push_str(&format!("{:<6} {:<30} {:<30}\n", "fold", "coarse", "refined"));
        for (k, fold) in self.folds.iter().enumerate() {
            let (coarse, refined) = (&fold.summary.coarse.dice, &fold.summary.refined.dice);
            text.push_str(&format!("{k:<6} {:<30} {:<30}\n", spread(coarse), spread(refined)));
        }
        text.push_str("\nTable 2. Candidate boxes in %, by fold (mean ± sd)\n");
        text.push_str(&format!(
            "{:<6} {:<16} {:<16} {:<16} {:<16}\n",
            "fold", "box 1 recall", "box 1 IoU", "box 2 recall", "box 2 IoU"
        ));
        for (k, fold) in self.folds.iter().enumerate() {
            let s = &fold.summary;
            let columns = [&s.box1.recall, &s.box1.iou, &s.box2.recall, &s.box2.iou]
                .map(|s| format!("{:<16}", mean(s)));
            text.push_str(&format!("{k:<6} {}\n", columns.join(" ")));
        }
        text.push_str("\nTable 3. All folds\n");
        text.push_str(&self.summary.to_text());
        text
    }
}

fn mean(stats: &Stats) -> String {
    format!("{:.2} ± {:.2}", 100.0 * stats.mean, 100.0 * stats.std)
}

fn spread(stats: &Stats) -> String {
    format!("{}, {:.2}, {:.2}", mean(stats), 100.0 * stats.min, 100.0 * stats.max)
}
