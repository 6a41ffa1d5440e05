//! The measures of many cases and their summary, as JSON and CSV. (As text: `table`.)

use std::collections::BTreeMap;

use organseg_volume::Label;
use serde::{Deserialize, Serialize};

use crate::{LabelMetrics, LabelSummaries, METRIC_NAMES, MetricError, Presence, foreground_mean, summarize};

/// The measures of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CaseReport {
    /// The case's name.
    pub case: String,
    /// Measures by label, as [`evaluate`](crate::evaluate) gives them.
    pub labels: BTreeMap<Label, LabelMetrics>,
}

/// The measures of many cases and their summary.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// The cases, in the order given.
    pub cases: Vec<CaseReport>,
    /// Summary of each measure over the cases, by label and name.
    pub summary: BTreeMap<Label, LabelSummaries>,
    /// Of each measure the mean over the labels of their means, as [`foreground_mean`] has it.
    #[serde(default)]
    pub foreground_mean: BTreeMap<String, Option<f64>>,
}

impl EvaluationReport {
    /// Report of `cases` with its summary.
    #[must_use]
    pub fn new(cases: Vec<CaseReport>) -> Self {
        let summary = summarize(&cases);
        let foreground_mean = foreground_mean(&summary);
        Self { cases, summary, foreground_mean }
    }

    /// The report as JSON, indented, with a newline at its end; infinite distances and means over no
    /// case are `null`.
    ///
    /// # Errors
    /// [`MetricError::Json`] if the serialiser fails, which it has no known reason to.
    pub fn to_json(&self) -> Result<String, MetricError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads what [`EvaluationReport::to_json`] wrote.
    ///
    /// # Errors
    /// [`MetricError::Json`] if `json` is not JSON or not of this shape.
    pub fn from_json(json: &str) -> Result<Self, MetricError> {
        Ok(serde_json::from_str(json)?)
    }

    /// The cases as CSV (RFC 4180 quoting, `\n` line ends): a header, then a line for each label of each
    /// case. Columns are `case`, `label`, [`METRIC_NAMES`], `presence`; an infinite distance is `inf`.
    #[must_use]
    pub fn to_csv(&self) -> String {
        let mut csv = format!("case,label,{},presence\n", METRIC_NAMES.join(","));
        for case in &self.cases {
            for (label, metrics) in &case.labels {
                let values = metrics.values().map(|v| v.to_string()).join(",");
                let presence = match metrics.presence {
                    Presence::Both => "both",
                    Presence::ReferenceOnly => "reference_only",
                    Presence::PredictionOnly => "prediction_only",
                    Presence::Neither => "neither",
                };
                csv += &format!("{},{label},{values},{presence}\n", csv_field(&case.case));
            }
        }
        csv
    }
}

/// A text as a CSV field: quoted if it has to be.
fn csv_field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A case of label 1 with a few made-up measures.
    pub(crate) fn case(name: &str, dice: f64, hd_mm: f64, presence: Presence) -> CaseReport {
        let metrics = LabelMetrics {
            dice,
            jaccard: dice / (2.0 - dice),
            recall: dice,
            precision: dice,
            hd_mm,
            hd95_mm: hd_mm / 2.0,
            assd_mm: hd_mm / 4.0,
            asd_reference_to_prediction_mm: hd_mm / 4.0,
            asd_prediction_to_reference_mm: hd_mm / 4.0,
            surface_dice: dice,
            box_recall: 1.0,
            box_iou: 0.5,
            reference_voxels: 1200,
            prediction_voxels: 1000,
            reference_box: None,
            prediction_box: None,
            presence,
        };
        CaseReport { case: name.to_owned(), labels: BTreeMap::from([(1, metrics)]) }
    }

    #[test]
    fn json_has_cases_and_summary_and_is_read_back() {
        let report = EvaluationReport::new(vec![
            case("a", 0.5, 8.0, Presence::Both),
            case("b", 0.0, f64::INFINITY, Presence::ReferenceOnly),
        ]);
        let json = report.to_json().unwrap();
        assert_eq!(EvaluationReport::from_json(&json).unwrap(), report);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["cases"][0]["case"], "a");
        assert_eq!(value["cases"][0]["labels"]["1"]["dice"], 0.5);
        assert!(value["cases"][1]["labels"]["1"]["hd_mm"].is_null());
        assert_eq!(value["summary"]["1"]["hd_mm"]["n_skipped"], 1);
        assert_eq!(value["summary"]["1"]["dice"]["mean"], 0.25);
        assert_eq!(value["foreground_mean"]["dice"], 0.25);
        // Reports of before there was one are read.
        let mut before = value;
        before.as_object_mut().unwrap().remove("foreground_mean");
        assert!(EvaluationReport::from_json(&before.to_string()).unwrap().foreground_mean.is_empty());
    }

    #[test]
    fn json_that_is_no_report_is_refused() {
        assert!(matches!(EvaluationReport::from_json("{}"), Err(MetricError::Json { .. })));
    }

    #[test]
    fn csv_has_a_line_per_case_and_quotes_awkward_names() {
        let cases = vec![
            case("a, \"left\"", 0.5, 8.0, Presence::Both),
            case("b", 0.0, f64::INFINITY, Presence::ReferenceOnly),
        ];
        let csv = EvaluationReport::new(cases).to_csv();
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(
            lines[0],
            "case,label,dice,jaccard,recall,precision,hd_mm,hd95_mm,assd_mm,\
             asd_reference_to_prediction_mm,asd_prediction_to_reference_mm,surface_dice,\
             box_recall,box_iou,reference_voxels,prediction_voxels,presence"
        );
        assert!(lines[1].starts_with("\"a, \"\"left\"\"\",1,0.5,"));
        assert_eq!(lines[2], "b,1,0,0,0,0,inf,inf,inf,inf,inf,0,1,0.5,1200,1000,reference_only");
        assert_eq!(lines.len(), 3);
    }
}
