//! k-fold cross-validation, with the paper's tables.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use candle_core::Device;
use organseg_metrics::Stats;
use organseg_train::{Dataset, Splits, StopSignal};
use serde::{Deserialize, Serialize};

use crate::ensemble::fold_name;
use crate::evaluation::{CaseResult, ResultSummary, evaluate_case};
use crate::training::{Stages, TrainRequest, any_organ, train};
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

/// Trains and tests a model on each split of `splits`; the models go to `folder/fold_K`. Folds that are there
/// already are taken up where they stopped: once trained, they can be tested with another
/// [`ModelConfig::prediction`] in the time that segmenting takes. `folder/splits.json` says which folds there are,
/// `folder/masks/CASE.nii.gz` is what was found in each case by the model that did not train on it, on the scan's own grid.
///
/// # Errors
/// What training or testing a fold meets, naming the case; [`PipelineError::Stopped`] if it was asked to stop
/// while it tested one; [`PipelineError::Config`] for a case that two folds hold back, whose figures would count twice, and
/// [`PipelineError::Resume`] if `folder` holds a cross-validation of other folds.
pub fn cross_validate(
    dataset: &Dataset,
    splits: &Splits,
    config: &ModelConfig,
    folder: &Path,
    device: &Device,
    stop: &StopSignal,
) -> Result<CrossValidation, PipelineError> {
    for (name, stage) in [("coarse", &config.coarse), ("fine", &config.fine), ("single", &config.single)] {
        if stage.train.patience > 0 {
            let (field, found) = (format!("{name}.train.patience"), stage.train.patience.to_string());
            let expected = "0: early stopping chooses the weights by the cases that a fold is tested on";
            return Err(PipelineError::Config { field, found, expected });
        }
        if let Some(start) = &stage.start {
            let (field, found) = (format!("{name}.start"), start.display().to_string());
            let expected = "nothing: those weights may know the cases that a fold holds back";
            return Err(PipelineError::Config { field, found, expected });
        }
    }
    if splits.folds().is_empty() {
        let (field, found) = ("splits".to_string(), "no fold".to_string());
        return Err(PipelineError::Config { field, found, expected: "one fold at least" });
    }
    let mut held_back = BTreeSet::new();
    if let Some(name) =
        splits.folds().iter().flat_map(|split| &split.val).find(|name| !held_back.insert(*name))
    {
        let (field, found) = ("splits".to_string(), format!("holding back case {name} twice"));
        return Err(PipelineError::Config { field, found, expected: "each case in one fold at most" });
    }
    // A fold without an organ to be tested on is not to be found out when those before it are trained.
    for (k, split) in splits.folds().iter().enumerate() {
        if !any_organ(dataset, &split.val)? {
            let stage = format!("test of fold {k}");
            return Err(PipelineError::NoForeground { stage, cases: split.val.len() });
        }
    }
    record_splits(splits, folder)?;
    let masks = folder.join("masks");
    std::fs::create_dir_all(&masks).map_err(|source| PipelineError::Io { path: masks.clone(), source })?;
    let mut folds = Vec::new();
    for (k, split) in splits.folds().iter().enumerate() {
        let model = folder.join(fold_name(k));
        train(&TrainRequest {
            dataset,
            split,
            config,
            stages: Stages::all_of(config.method),
            folder: &model,
            resume: true,
            device,
            stop: stop.clone(),
        })?;
        let segmenter = Segmenter::load(&model, device)?.with_prediction(config.prediction);
        let mut cases = Vec::new();
        for name in &split.val {
            if stop.is_set() {
                return Err(PipelineError::Stopped { fold: k, case: name.clone() });
            }
            let loaded = dataset.case(name)?.load(dataset)?;
            let (result, found) =
                evaluate_case(&segmenter, name, &loaded.image, &loaded.label, dataset.ignore)
                    .map_err(|error| error.in_case(name))?;
            organseg_volume::write(masks.join(format!("{name}.nii.gz")), &found.refined)?;
            cases.push(result);
        }
        let no_organ =
            || PipelineError::NoForeground { stage: format!("test of fold {k}"), cases: cases.len() };
        let summary = ResultSummary::of(&cases).ok_or_else(no_organ)?;
        folds.push(FoldResult { cases, summary });
    }
    let all: Vec<_> = folds.iter().flat_map(|fold| fold.cases.iter().cloned()).collect();
    let summary = ResultSummary::of(&all).expect("every fold has a case with an organ");
    Ok(CrossValidation { summary, folds })
}

/// Writes `folder/splits.json`, or checks that the one there says the same.
fn record_splits(splits: &Splits, folder: &Path) -> Result<(), PipelineError> {
    let path = folder.join("splits.json");
    if path.exists() {
        if Splits::read(&path)? != *splits {
            let reason = "it divides the cases in another way; ask for the same dataset, --folds, --split-seed, --groups or \
                          --splits, or choose another folder";
            return Err(PipelineError::Resume { path, reason: reason.into() });
        }
        return Ok(());
    }
    // Folds of before there was a file for all of them.
    for (k, split) in splits.folds().iter().enumerate() {
        let path = folder.join(fold_name(k)).join("splits.json");
        if path.is_file() && Splits::read(&path)?.folds() != std::slice::from_ref(split) {
            let reason = format!("it divides the cases otherwise than fold {k} is to");
            return Err(PipelineError::Resume { path, reason });
        }
    }
    let written = std::fs::create_dir_all(folder).and_then(|()| {
        organseg_volume::write_atomically(&path, |file| file.write_all(splits.to_json().as_bytes()))
    });
    written.map_err(|source| PipelineError::Io { path, source })
}

impl CrossValidation {
    /// The paper's tables: DSC by fold, and for two stages box recall and IoU by fold; a summary.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::from("Table 1. DSC in %, by fold (mean ± sd, min, max)\n");
        let two = self.summary.two_stages.is_some();
        let heads: Vec<String> = self.summary.refined.labels.keys().map(|l| format!("label {l}")).collect();
        let columns = |cells: Vec<String>| {
            cells
                .iter()
                .map(|cell| format!("{cell:<30}"))
                .collect::<Vec<_>>()
                .join(" ")
                .trim_end()
                .to_string()
        };
        let mut head = vec![if two { "refined".to_string() } else { "all labels".to_string() }];
        if two {
            head.insert(0, "coarse".into());
        }
        let several = heads.len() > 1;
        if several {
            head.extend(heads);
        }
        text.push_str(&format!("{:<6} {}\n", "fold", columns(head)));
        for (k, fold) in self.folds.iter().enumerate() {
            let none = || "-".to_string();
            let mut cells = Vec::new();
            if two {
                cells
                    .push(fold.summary.two_stages.as_ref().map_or_else(none, |two| spread(&two.coarse.dice)));
            }
            cells.push(spread(&fold.summary.refined.dice));
            if several {
                // A fold may have had nothing of a label.
                let of = &fold.summary.refined.labels;
                let labels = self.summary.refined.labels.keys();
                cells.extend(labels.map(|label| of.get(label).map_or_else(none, spread)));
            }
            text.push_str(&format!("{k:<6} {}\n", columns(cells)));
        }
        if two {
            text.push_str("\nTable 2. Candidate boxes in %, by fold (mean ± sd)\n");
            text.push_str(&format!(
                "{:<6} {:<16} {:<16} {:<16} {:<16}\n",
                "fold", "box 1 recall", "box 1 IoU", "box 2 recall", "box 2 IoU"
            ));
        }
        for (k, fold) in self.folds.iter().enumerate() {
            let Some(two) = &fold.summary.two_stages else { continue };
            let columns = [&two.box1.recall, &two.box1.iou, &two.box2.recall, &two.box2.iou]
                .map(|s| format!("{:<16}", mean(s)));
            text.push_str(&format!("{k:<6} {}\n", columns.join(" ")));
        }
        text.push_str(&format!("\nTable {}. All folds\n", if two { 3 } else { 2 }));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::evaluation::LabelDice;

    #[test]
    fn a_fold_without_a_label_has_no_figure_in_its_column() {
        let fold = |labels: &[(u8, f64)]| {
            let labels: BTreeMap<u8, f64> = labels.iter().copied().collect();
            let refined = LabelDice { mean: Some(0.5), labels };
            let cases = vec![CaseResult { case: "a".into(), refined, two_stages: None }];
            FoldResult { summary: ResultSummary::of(&cases).unwrap(), cases }
        };
        let folds = vec![fold(&[(1, 0.25), (3, 0.75)]), fold(&[(1, 0.5), (2, 0.125), (3, 1.0)])];
        let all: Vec<_> = folds.iter().flat_map(|fold| fold.cases.clone()).collect();
        let text = CrossValidation { summary: ResultSummary::of(&all).unwrap(), folds }.to_text();
        let lines: Vec<&str> = text.lines().collect();
        let [all, first, second, third] =
            ["all labels", "label 1", "label 2", "label 3"].map(|head| lines[1].find(head).unwrap());
        let cell = |at: usize| lines[2][at..].split_whitespace().next().unwrap();
        assert_eq!([all, first, second, third].map(cell), ["50.00", "25.00", "-", "75.00"], "{text}");
    }
}
