//! What is to be seen of a training: on a terminal a bar with loss, DSC, learning rate, waiting and time left,
//! and the two curves below it; elsewhere a line an epoch.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::EpochRecord;
use crate::state::TrainingState;

/// Characters of a curve.
const CURVE_WIDTH: usize = 24;

/// The view of one stage.
pub(crate) struct View {
    stage: String,
    bar: ProgressBar,
    losses: Vec<f64>,
    dices: Vec<f64>,
    /// When this run began, and after how many steps.
    began: Option<(Instant, usize)>,
}

impl View {
    /// The view of stage `stage`, of which `past` is done.
    pub(crate) fn new(stage: &str, past: &[EpochRecord]) -> Self {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{wide_msg}\n{wide_bar} {percent}%\n{prefix}")
            .expect("the template is valid");
        bar.set_style(style);
        let mut view = Self {
            stage: stage.to_string(),
            bar,
            losses: past.iter().map(|epoch| epoch.loss).collect(),
            dices: past.iter().filter_map(EpochRecord::mean_dice).collect(),
            began: None,
        };
        view.show_curves();
        view
    }

    /// Says what was planned for the time that there is.
    pub(crate) fn planned(&self, steps: usize, steps_per_epoch: usize) {
        let epochs = steps.div_ceil(steps_per_epoch);
        self.print(&format!("{:>7} {steps} steps in {epochs} epochs fit into the time", self.stage));
    }

    /// Shows where the training stands after a step.
    pub(crate) fn step(&mut self, state: &TrainingState, steps_per_epoch: usize) {
        let last = state.plan.as_ref().map_or(0, |plan| plan.last);
        let (began, before) = *self.began.get_or_insert_with(|| (Instant::now(), state.steps));
        let made = state.steps.saturating_sub(before);
        let left = (made > 0)
            .then(|| began.elapsed().as_secs_f64() / made as f64 * last.saturating_sub(state.steps) as f64);
        let dice = self.dices.last().map_or(String::new(), |dice| format!("  DSC {dice:.3}"));
        self.bar.set_length(last as u64);
        self.bar.set_position(state.steps as u64);
        self.bar.set_message(format!(
            "{:>7} epoch {}/{}  loss {:.4}{dice}  rate {:.1e}  waiting {:.1} %  {} left",
            self.stage,
            state.epoch + 1,
            last.div_ceil(steps_per_epoch),
            state.sums.loss(),
            state.learning_rate,
            100.0 * state.waited / state.seconds.max(1e-9),
            left.map_or("?".to_string(), clock),
        ));
    }

    /// Shows what came of an epoch; `state` is that of the beginning of the next.
    pub(crate) fn epoch_done(&mut self, record: &EpochRecord, state: &TrainingState, steps_per_epoch: usize) {
        let last = state.plan.as_ref().map_or(0, |plan| plan.last);
        let mut line = format!(
            "{:>7} epoch {:>3}/{}  loss {:.4}  rate {:.1e}  waited {:.1} %  {:.1} s",
            record.stage,
            record.epoch + 1,
            last.div_ceil(steps_per_epoch),
            record.loss,
            record.learning_rate,
            100.0 * record.wait_share,
            record.seconds
        );
        for (label, dice) in record.validation_dice.iter().flatten() {
            line.push_str(&format!("  DSC[{label}] {dice:.4}"));
        }
        self.losses.push(record.loss);
        self.dices.extend(record.mean_dice());
        self.print(&line);
        self.show_curves();
    }

    /// The last lines.
    pub(crate) fn done(&mut self, state: &TrainingState) {
        self.bar.finish_and_clear();
        let early = match &state.best {
            Some(best) if state.stopped_early => {
                format!(", no progress since epoch {}, whose weights are kept", best.epoch + 1)
            }
            _ => String::new(),
        };
        eprintln!(
            "{:>7} {} steps in {} epochs, {}; the network waited for samples {:.1} % of the time{early}",
            self.stage,
            state.steps,
            state.epoch,
            clock(state.seconds),
            100.0 * state.waited / state.seconds.max(1e-9),
        );
        eprintln!("{:>7} {}", self.stage, self.curves());
    }

    fn curves(&self) -> String {
        let curve = |name: &str, values: &[f64]| match values.last() {
            Some(last) => format!("{name} {} {last:.4}", sparkline(values, CURVE_WIDTH)),
            None => String::new(),
        };
        format!("{}  {}", curve("loss", &self.losses), curve("DSC", &self.dices))
    }

    fn show_curves(&mut self) {
        self.bar.set_prefix(format!("{:>7} {}", "", self.curves()));
    }

    /// Prints `line` above the bar, if there is one.
    fn print(&self, line: &str) {
        if self.bar.is_hidden() { eprintln!("{line}") } else { self.bar.println(line) }
    }
}

/// Seconds as `h:mm:ss` or `m:ss`.
fn clock(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.clamp(0.0, 1e9)).as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// `values` as a row of no more than `width` blocks, the lowest for the smallest value and the highest for
/// the largest. More values than blocks are averaged, in runs of nearly one length.
fn sparkline(values: &[f64], width: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let n = values.len().min(width);
    let means: Vec<f64> = (0..n)
        .map(|i| &values[i * values.len() / n..(i + 1) * values.len() / n])
        .map(|run| run.iter().sum::<f64>() / run.len() as f64)
        .collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let high = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let scale = if high > low { 7.0 / (high - low) } else { 0.0 };
    means.iter().map(|value| BLOCKS[((value - low) * scale).round() as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_from_the_lowest_to_the_highest_block() {
        assert_eq!(sparkline(&[0.0, 1.0, 2.0, 7.0, 3.5], 24), "▁▂▃█▅");
        assert_eq!(sparkline(&[2.0, 4.0, 6.0, 6.0, 9.0, 9.0], 3), "▁▅█");
        assert_eq!(sparkline(&[0.3], 24), "▁");
        assert_eq!(sparkline(&[], 24), "");
    }

    #[test]
    fn times_are_read_as_on_a_clock() {
        let found = [0.0, 59.9, 61.0, 3600.0, 36_125.0].map(clock);
        assert_eq!(found, ["0:00", "0:59", "1:01", "1:00:00", "10:02:05"]);
    }
}
