//! Mean, spread and extremes of a measure over cases, and which cases were left out.

use std::collections::BTreeMap;

use organseg_volume::Label;
use serde::{Deserialize, Serialize};

use crate::{CaseReport, LabelMetrics, METRIC_NAMES, Presence};

/// Mean, spread and extremes of a list of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation of the list itself: the divisor is n, as NumPy's default, not n − 1.
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Stats {
    /// Statistics of `values`; none for an empty list.
    ///
    /// ```
    /// use organseg_metrics::Stats;
    /// let stats = Stats::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
    /// assert_eq!((stats.mean, stats.std, stats.min, stats.max), (5.0, 2.0, 2.0, 9.0));
    /// assert!(Stats::of(&[]).is_none());
    /// ```
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        Some(Self {
            mean,
            std: variance.sqrt(),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// Why a case has no part in a mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The label is in neither mask: nothing was there to be found.
    InNeither,
    /// The measure is a distance, and one of the masks has no surface to measure to.
    InfiniteDistance,
}

/// A measure over all cases: [`Stats`] of those that count, and how many do not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Arithmetic mean over the `n` cases; like the next three NaN (JSON `null`) if `n` is 0.
    #[serde(with = "null_if_nan")]
    pub mean: f64,
    /// Standard deviation with divisor n.
    #[serde(with = "null_if_nan")]
    pub std: f64,
    /// Smallest value.
    #[serde(with = "null_if_nan")]
    pub min: f64,
    /// Largest value.
    #[serde(with = "null_if_nan")]
    pub max: f64,
    /// Cases in the mean.
    pub n: usize,
    /// Cases left out of it.
    pub n_skipped: usize,
    /// How many were left out for which reason; left out of JSON when `n_skipped` is 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<SkipReason, usize>,
}

/// Summary of each measure, by its name in [`METRIC_NAMES`], of one label.
pub type LabelSummaries = BTreeMap<String, Summary>;

/// Summarises each measure of each label over `cases`.
///
/// Left out, and counted with the reason: cases in which a label is in neither mask, from all means;
/// cases with an infinite distance, from that distance's mean. A label that a case does not list has no
/// part in the label's counts.
///
/// ```
/// use std::collections::BTreeMap;
/// use organseg_metrics::{CaseReport, evaluate, summarize};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([2, 2, 2], Spacing::isotropic(1.0)?)?;
/// let (full, empty) = (Volume::filled(grid, 1), Volume::filled(grid, 0));
/// let cases = [("hit", &full, &full), ("miss", &empty, &full), ("nothing", &empty, &empty)].map(
///     |(case, predicted, reference)| CaseReport {
///         case: case.to_owned(),
///         labels: evaluate(predicted, reference, &[1], 2.0).unwrap(),
///     },
/// );
/// let summary = &summarize(&cases)[&1];
/// assert_eq!((summary["dice"].mean, summary["dice"].n, summary["dice"].n_skipped), (0.5, 2, 1));
/// assert_eq!((summary["hd_mm"].mean, summary["hd_mm"].n, summary["hd_mm"].n_skipped), (0.0, 1, 2));
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn summarize(cases: &[CaseReport]) -> BTreeMap<Label, LabelSummaries> {
    let mut by_label: BTreeMap<Label, Vec<&LabelMetrics>> = BTreeMap::new();
    for case in cases {
        for (&label, metrics) in &case.labels {
            by_label.entry(label).or_default().push(metrics);
        }
    }
    by_label
        .into_iter()
        .map(|(label, rows)| {
            let names = METRIC_NAMES.iter().enumerate();
            (label, names.map(|(i, name)| ((*name).to_owned(), summary_of(&rows, i))).collect())
        })
        .collect()
}

/// Of each measure, by its name in [`METRIC_NAMES`], the mean over the labels of `summary` of their means: every label counts
/// alike, however many cases have it. Labels without a mean are left out; none where no label has one.
///
/// nnU-Net's `foreground_mean` is the same, over the cases in which the reference or the prediction has a label.
///
/// ```
/// use organseg_metrics::{CaseReport, evaluate, foreground_mean, summarize};
/// use organseg_volume::{Grid, Spacing, Volume};
/// let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
/// let reference = Volume::from_vec(grid, vec![1, 1, 2, 0])?;
/// let predicted = Volume::from_vec(grid, vec![1, 1, 0, 2])?;
/// let labels = evaluate(&predicted, &reference, &[1, 2], 0.0)?;
/// let mean = foreground_mean(&summarize(&[CaseReport { case: "one".into(), labels }]));
/// assert_eq!(mean["dice"], Some(0.5)); // of 1 and 0
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn foreground_mean(summary: &BTreeMap<Label, LabelSummaries>) -> BTreeMap<String, Option<f64>> {
    let of = |name: &str| {
        let means: Vec<f64> = summary
            .values()
            .filter_map(|label| Some(label.get(name)?.mean))
            .filter(|mean| !mean.is_nan())
            .collect();
        Stats::of(&means).map(|stats| stats.mean)
    };
    METRIC_NAMES.iter().map(|&name| (name.to_owned(), of(name))).collect()
}

/// Summary of the measure at `index` of [`METRIC_NAMES`].
fn summary_of(rows: &[&LabelMetrics], index: usize) -> Summary {
    let mut kept = Vec::new();
    let mut skipped = BTreeMap::new();
    for row in rows {
        let value = row.values()[index];
        if row.presence == Presence::Neither {
            *skipped.entry(SkipReason::InNeither).or_default() += 1;
        } else if !value.is_finite() {
            *skipped.entry(SkipReason::InfiniteDistance).or_default() += 1;
        } else {
            kept.push(value);
        }
    }
    let nothing = Stats { mean: f64::NAN, std: f64::NAN, min: f64::NAN, max: f64::NAN };
    let Stats { mean, std, min, max } = Stats::of(&kept).unwrap_or(nothing);
    Summary { mean, std, min, max, n: kept.len(), n_skipped: rows.len() - kept.len(), skipped }
}

/// JSON has no NaN: it is written as `null` and read back.
mod null_if_nan {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::case;

    #[test]
    fn statistics_of_one_value_have_no_spread() {
        assert_eq!(Stats::of(&[0.25]), Some(Stats { mean: 0.25, std: 0.0, min: 0.25, max: 0.25 }));
    }

    #[test]
    fn a_summary_says_how_many_cases_it_left_out_and_why() {
        let cases = [
            case("a", 0.8, 3.0, Presence::Both),
            case("b", 0.6, 5.0, Presence::Both),
            case("missed", 0.0, f64::INFINITY, Presence::ReferenceOnly),
            case("nothing", 1.0, 0.0, Presence::Neither),
        ];
        let summary = &summarize(&cases)[&1];
        let dice = &summary["dice"];
        assert!((dice.mean - 1.4 / 3.0).abs() < 1e-15);
        assert_eq!((dice.min, dice.max, dice.n, dice.n_skipped), (0.0, 0.8, 3, 1));
        assert_eq!(dice.skipped, BTreeMap::from([(SkipReason::InNeither, 1)]));
        let hd = &summary["hd_mm"];
        assert_eq!((hd.mean, hd.std, hd.n, hd.n_skipped), (4.0, 1.0, 2, 2));
        let reasons = [(SkipReason::InNeither, 1), (SkipReason::InfiniteDistance, 1)];
        assert_eq!(hd.skipped, BTreeMap::from(reasons));
    }

    #[test]
    fn the_foreground_mean_is_over_labels_that_have_one() {
        let with_two = |first: CaseReport, second: CaseReport| {
            let mut labels = first.labels;
            labels.extend(second.labels.into_values().map(|metrics| (2, metrics)));
            CaseReport { labels, ..first }
        };
        let missed = || case("b", 0.0, f64::INFINITY, Presence::ReferenceOnly);
        // Label 1 has two cases, label 2 one, whose distance is infinite.
        let cases = [
            with_two(case("a", 0.5, 3.0, Presence::Both), missed()),
            with_two(case("b", 1.0, 5.0, Presence::Both), case("b", 1.0, 0.0, Presence::Neither)),
        ];
        let mean = foreground_mean(&summarize(&cases));
        assert_eq!((mean["dice"], mean["hd_mm"]), (Some(0.375), Some(4.0)));
        let nothing = foreground_mean(&summarize(&[case("c", 1.0, 0.0, Presence::Neither)]));
        assert!(nothing.len() == METRIC_NAMES.len() && nothing.values().all(Option::is_none));
    }

    #[test]
    fn a_mean_over_no_case_is_null_in_json() {
        let summary = &summarize(&[case("nothing", 1.0, 0.0, Presence::Neither)])[&1]["dice"];
        let json = serde_json::to_string(summary).unwrap();
        assert_eq!(
            json,
            r#"{"mean":null,"std":null,"min":null,"max":null,"n":0,"n_skipped":1,"skipped":{"in_neither":1}}"#
        );
        assert!(serde_json::from_str::<Summary>(&json).unwrap().mean.is_nan());
    }
}
