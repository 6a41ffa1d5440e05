//! A report as a table for people.

use std::fmt::Write;

use organseg_volume::Label;

use crate::{EvaluationReport, LabelMetrics, LabelSummaries, Presence, SkipReason, Summary};

/// A column: its head, the measure's name, what it is multiplied by, decimals.
struct Column {
    head: &'static str,
    metric: &'static str,
    value: fn(&LabelMetrics) -> f64,
    scale: f64,
    decimals: usize,
}

const fn percent(head: &'static str, metric: &'static str, value: fn(&LabelMetrics) -> f64) -> Column {
    Column { head, metric, value, scale: 100.0, decimals: 2 }
}

const fn millimetres(head: &'static str, metric: &'static str, value: fn(&LabelMetrics) -> f64) -> Column {
    Column { head, metric, value, scale: 1.0, decimals: 2 }
}

/// What a line of a terminal holds; the rest is in JSON and CSV.
const COLUMNS: [Column; 10] = [
    percent("DSC %", "dice", |m| m.dice),
    percent("Jaccard %", "jaccard", |m| m.jaccard),
    percent("recall %", "recall", |m| m.recall),
    percent("precision %", "precision", |m| m.precision),
    millimetres("HD mm", "hd_mm", |m| m.hd_mm),
    millimetres("HD95 mm", "hd95_mm", |m| m.hd95_mm),
    millimetres("ASSD mm", "assd_mm", |m| m.assd_mm),
    percent("surface DSC %", "surface_dice", |m| m.surface_dice),
    percent("box recall %", "box_recall", |m| m.box_recall),
    percent("box IoU %", "box_iou", |m| m.box_iou),
];

impl EvaluationReport {
    /// The report as a table: a line for each label of each case, then mean, standard deviation, smallest
    /// and largest value for each label, then, where there are several, the mean over the labels, then what the means leave out
    /// and why. Fractions are in per cent.
    ///
    /// ```
    /// use organseg_metrics::{CaseReport, EvaluationReport, evaluate};
    /// use organseg_volume::{Grid, Spacing, Volume};
    /// let grid = Grid::with_spacing([4, 4, 4], Spacing::isotropic(1.0)?)?;
    /// let mask = Volume::filled(grid, 1);
    /// let labels = evaluate(&mask, &mask, &[1], 2.0)?;
    /// let report = EvaluationReport::new(vec![CaseReport { case: "one".to_owned(), labels }]);
    /// let text = report.to_text();
    /// assert!(text.lines().nth(1).unwrap().starts_with("one       1  100.00"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut rows = vec![header()];
        for case in &self.cases {
            for (&label, metrics) in &case.labels {
                rows.push(row(
                    &case.case,
                    &label.to_string(),
                    |c| (c.value)(metrics),
                    note(metrics.presence),
                ));
            }
        }
        type Pick = fn(&Summary) -> f64;
        let picks: [(&str, Pick); 4] =
            [("mean", |s| s.mean), ("std", |s| s.std), ("min", |s| s.min), ("max", |s| s.max)];
        for (&label, summaries) in &self.summary {
            for (name, pick) in picks {
                rows.push(row(name, &label.to_string(), |c| pick(&summaries[c.metric]), ""));
            }
        }
        // Of one label it is that label's mean.
        if self.summary.len() > 1 {
            let mean = |c: &Column| self.foreground_mean.get(c.metric).copied().flatten().unwrap_or(f64::NAN);
            rows.push(row("foreground mean", "all", mean, ""));
        }
        let mut text = aligned(&rows);
        for (label, summaries) in &self.summary {
            text += &what_is_left_out(*label, summaries);
        }
        text
    }
}

fn header() -> Vec<String> {
    let heads = COLUMNS.iter().map(|c| c.head);
    ["case", "label"].into_iter().chain(heads).map(str::to_owned).collect()
}

/// Cells of one line; the note, if any, is an extra cell.
fn row(name: &str, label: &str, value: impl Fn(&Column) -> f64, note: &str) -> Vec<String> {
    let numbers = COLUMNS.iter().map(|column| match value(column) * column.scale {
        number if number.is_nan() => "-".to_owned(),
        number => format!("{number:.*}", column.decimals),
    });
    let mut cells = vec![name.to_owned(), label.to_owned()];
    cells.extend(numbers);
    if !note.is_empty() {
        cells.push(note.to_owned());
    }
    cells
}

fn note(presence: Presence) -> &'static str {
    match presence {
        Presence::Both => "",
        Presence::ReferenceOnly => "missed: the prediction is empty",
        Presence::PredictionOnly => "spurious: the reference is empty",
        Presence::Neither => "in neither mask, not in the means",
    }
}

/// Cells in columns: the first to the left, numbers to the right, notes as they come.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = COLUMNS.len() + 2;
    let width = |column: usize| rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            match i {
                0 => line += &format!("{cell:<width$}", width = widths[0]),
                _ if i < columns => line += &format!("  {cell:>width$}", width = widths[i]),
                _ => line += &format!("  {cell}"),
            }
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn what_is_left_out(label: Label, summaries: &LabelSummaries) -> String {
    let mut text = String::new();
    let skipped =
        |metric: &str, reason: SkipReason| summaries[metric].skipped.get(&reason).copied().unwrap_or(0);
    let counted = |n: usize| if n == 1 { "1 case".to_owned() } else { format!("{n} cases") };
    let neither = skipped("dice", SkipReason::InNeither);
    if neither > 0 {
        writeln!(text, "label {label}: {} left out of all means: in neither mask", counted(neither))
            .expect("writing to a string cannot fail");
    }
    let infinite = skipped("hd_mm", SkipReason::InfiniteDistance);
    if infinite > 0 {
        writeln!(
            text,
            "label {label}: {} left out of the distances' means: one mask is empty",
            counted(infinite)
        )
        .expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::case;

    #[test]
    fn the_table_lists_cases_then_the_summary_then_what_it_leaves_out() {
        let report = EvaluationReport::new(vec![
            case("phantom_000", 0.8, 8.0, Presence::Both),
            case("b", 0.0, f64::INFINITY, Presence::ReferenceOnly),
            case("c", 1.0, 0.0, Presence::Neither),
        ]);
        let expected = "\
case         label   DSC %  Jaccard %  recall %  precision %  HD mm  HD95 mm  ASSD mm  surface DSC %  box recall %  box IoU %
phantom_000      1   80.00      66.67     80.00        80.00   8.00     4.00     2.00          80.00        100.00      50.00
b                1    0.00       0.00      0.00         0.00    inf      inf      inf           0.00        100.00      50.00  missed: the prediction is empty
c                1  100.00     100.00    100.00       100.00   0.00     0.00     0.00         100.00        100.00      50.00  in neither mask, not in the means
mean             1   40.00      33.33     40.00        40.00   8.00     4.00     2.00          40.00        100.00      50.00
std              1   40.00      33.33     40.00        40.00   0.00     0.00     0.00          40.00          0.00       0.00
min              1    0.00       0.00      0.00         0.00   8.00     4.00     2.00           0.00        100.00      50.00
max              1   80.00      66.67     80.00        80.00   8.00     4.00     2.00          80.00        100.00      50.00
label 1: 1 case left out of all means: in neither mask
label 1: 1 case left out of the distances' means: one mask is empty
";
        assert_eq!(report.to_text(), expected);
    }

    #[test]
    fn several_labels_have_a_mean_over_them() {
        let mut two = case("a", 0.5, 8.0, Presence::Both);
        let missed = case("a", 0.0, f64::INFINITY, Presence::ReferenceOnly);
        two.labels.extend(missed.labels.into_values().map(|metrics| (7, metrics)));
        let text = EvaluationReport::new(vec![two]).to_text();
        let line = text.lines().find(|line| line.starts_with("foreground mean")).unwrap();
        let cells: Vec<&str> = line.split_whitespace().skip(2).collect();
        assert_eq!(cells[..6], ["all", "25.00", "16.67", "25.00", "25.00", "8.00"], "{text}");
    }

    #[test]
    fn an_empty_report_is_a_header() {
        assert_eq!(EvaluationReport::default().to_text().lines().count(), 1);
    }
}
