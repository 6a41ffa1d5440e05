//! Ctrl-C while networks are trained: the first ends it well, the second at once.

use anyhow::{Context, Result};
use organseg::pipeline::PipelineError;
use organseg::train::{StopSignal, TrainError};

/// Exit code of a training that was stopped by Ctrl-C, SIGTERM or SIGHUP: what shells give for Ctrl-C.
pub(crate) const EXIT_CODE: u8 = 130;

/// A training that was stopped, and how to go on.
#[derive(Debug)]
pub(crate) struct Interrupted(String);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Interrupted {}

/// A signal that Ctrl-C sets from now on.
pub(crate) fn stop_signal() -> Result<StopSignal> {
    let signal = StopSignal::default();
    let seen = signal.clone();
    ctrlc::set_handler(move || {
        if seen.set() {
            std::process::exit(i32::from(EXIT_CODE));
        }
        eprintln!("finishing what is at hand, a step or the reading of a case, then saving; Ctrl-C again ends at once");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(signal)
}

/// `done`, with [`Interrupted`] for a training that was stopped; `how_to_go_on` is told to the user.
pub(crate) fn or_interrupted<T>(done: Result<T, PipelineError>, how_to_go_on: &str) -> Result<T> {
    done.map_err(|error| match error {
        PipelineError::Train(stopped @ TrainError::Stopped { .. }) => {
            Interrupted(format!("{stopped}; {how_to_go_on}")).into()
        }
        stopped @ PipelineError::Stopped { .. } => Interrupted(format!("{stopped}; {how_to_go_on}")).into(),
        other => other.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_of_a_fold_that_was_stopped_is_an_interruption_that_says_how_to_go_on() {
        let stopped = PipelineError::Stopped { fold: 1, case: "a".into() };
        let error = or_interrupted::<()>(Err(stopped), "go on").expect_err("it was stopped");
        assert!(error.is::<Interrupted>());
        assert_eq!(error.to_string(), "fold 1: stopped before case a was tested; go on");
    }
}
