//! The loop of a training: epochs of steps, validation, checkpoints, and what is to be seen of them.
//!
//! ```text
//! plan the number of steps                                   once; into a checkpoint if it was measured
//! until all are made:
//!     step; every so many minutes a checkpoint
//!     end of the epoch: validate, record, next epoch         a run that is stopped before goes on here
//!     checkpoint
//! ```
//! The record is on the disk before the checkpoint that counts the epoch as done: what is resumed takes out
//! the records of epochs that it runs again, and finds all others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use organseg_unet::Unet3d;
use organseg_volume::Label;

use crate::budget::{Rhythm, StepPlan};
use crate::checkpoint::Checkpoint;
use crate::history::{append_history, rewind_history};
use crate::tensorboard::{EventFile, now};
use crate::trainer::StepOutcome;
use crate::view::View;
use crate::{PrefetchLoader, Sample, SampleSource, StopSignal, TrainConfig, TrainError, Trainer, Validation};

/// How many steps' samples the loader may be ahead of the network.
const STEPS_AHEAD: usize = 4;

/// Steps before those that are measured: the first ones find no memory to use again.
const WARMING_STEPS: usize = 2;

/// So many steps are measured, or fewer if they take [`MEASURE_SHARE`] of the time there is.
const MEASURED_STEPS: std::ops::RangeInclusive<usize> = 2..=10;
const MEASURE_SHARE: f64 = 0.02;

/// So many cases are predicted to see how long validation takes.
const MEASURED_CASES: usize = 3;

/// Share of the time left that is planned for: what is not in the plan, such as writing the finished model, has
/// the rest.
const PLANNED_SHARE: f64 = 0.99;

/// What a run may do besides training.
#[derive(Clone, Debug, Default)]
pub struct RunOptions<'a> {
    /// Where checkpoints, history and event files go; without it nothing is written.
    pub folder: Option<&'a Path>,
    /// Ends the run after the step, or the validation case, at hand.
    pub stop: StopSignal,
    /// What the stage has taken before, reading its cases: it counts as time of the training.
    pub spent: Duration,
}

/// How many samples the loader may be ahead of the network.
fn samples_ahead(config: &TrainConfig) -> usize {
    STEPS_AHEAD * config.batch * config.accumulate
}

/// A trainer on its way to the end.
pub(crate) struct Run<'a> {
    trainer: &'a mut Trainer,
    source: &'a Arc<dyn SampleSource>,
    validation: &'a dyn Validation,
    options: &'a RunOptions<'a>,
    steps_per_epoch: usize,
    /// Up to when time has been put down in the trainer's state.
    booked: Instant,
    saved: Instant,
    view: View,
    events: Option<EventFile>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        trainer: &'a mut Trainer,
        source: &'a Arc<dyn SampleSource>,
        validation: &'a dyn Validation,
        options: &'a RunOptions<'a>,
    ) -> Result<Self, TrainError> {
        let samples = source.samples_per_epoch();
        let stage = trainer.stage.clone();
        if samples == 0 {
            return Err(TrainError::NoSamples { stage });
        }
        let there = trainer.state.samples_per_epoch;
        if trainer.state.plan.is_some() && there != samples {
            return Err(TrainError::OtherSamples { stage, there, here: samples });
        }
        trainer.state.samples_per_epoch = samples;
        if !trainer.state.is_finished() {
            trainer.state.seconds += options.spent.as_secs_f64();
        }
        let (mut past, mut events) = (Vec::new(), None);
        if let Some(folder) = options.folder {
            past = rewind_history(&folder.join("history.jsonl"), &stage, trainer.state.epoch)?;
            let folder = folder.join("tensorboard").join(&stage);
            let file = EventFile::create(&folder, &past);
            events = Some(file.map_err(|source| TrainError::Io { path: folder, source })?);
        }
        let (view, now) = (View::new(&stage, &past), Instant::now());
        let steps_per_epoch = samples.div_ceil(trainer.config.batch * trainer.config.accumulate);
        Ok(Self {
            trainer,
            source,
            validation,
            options,
            steps_per_epoch,
            booked: now,
            saved: now,
            view,
            events,
        })
    }

    pub(crate) fn finish(mut self) -> Result<(), TrainError> {
        if self.options.stop.is_set() {
            return Err(self.stop()?);
        }
        self.plan()?;
        let mut loader = self.loader();
        while !self.trainer.state.is_finished() {
            while self.trainer.state.step < self.steps_of_epoch() {
                if self.options.stop.is_set() {
                    return Err(self.stop()?);
                }
                self.step(&mut loader)?;
                self.look_at_the_clock()?;
                let limit = self.trainer.config.checkpoint_minutes * 60.0;
                if limit > 0.0 && self.saved.elapsed().as_secs_f64() >= limit {
                    self.save()?;
                }
            }
            self.end_epoch()?;
        }
        self.view.done(&self.trainer.state);
        Ok(())
    }

    /// Samples from where the training stands on, across the ends of epochs, so that the network need not
    /// wait for the first ones of an epoch.
    fn loader(&self) -> PrefetchLoader<Sample> {
        let (source, samples) = (Arc::clone(self.source), self.trainer.state.samples_per_epoch);
        let config = &self.trainer.config;
        let state = &self.trainer.state;
        let made = (state.step * config.batch * config.accumulate).min(samples);
        let draw = move |index: usize| source.sample(index / samples, index % samples);
        let ahead = samples_ahead(config);
        PrefetchLoader::new(state.epoch * samples + made..usize::MAX, draw, config.loader_threads, ahead)
    }

    /// Steps of the epoch at hand: the last one may be cut short.
    fn steps_of_epoch(&self) -> usize {
        let state = &self.trainer.state;
        let last = state.plan.as_ref().map_or(0, |plan| plan.last);
        self.steps_per_epoch.min(last.saturating_sub(state.steps - state.step))
    }

    /// The range of sample indices of step `step` of an epoch.
    fn samples_of(&self, step: usize) -> Range<usize> {
        let per_step = self.trainer.config.batch * self.trainer.config.accumulate;
        step * per_step..((step + 1) * per_step).min(self.trainer.state.samples_per_epoch)
    }

    fn step(&mut self, loader: &mut PrefetchLoader<Sample>) -> Result<(), TrainError> {
        let started = Instant::now();
        let waited = loader.wait_seconds();
        let step = self.trainer.state.step;
        let first = self.trainer.state.epoch * self.trainer.state.samples_per_epoch;
        let range = self.samples_of(step);
        let range = first + range.start..first + range.end;
        let samples = self.draw(loader, range.clone())?;
        let waited = loader.wait_seconds() - waited;
        self.trainer.state.epoch_waited += waited;
        self.trainer.state.waited += waited;
        let rate = self.trainer.rate();
        self.trainer.state.learning_rate = rate;
        match self.trainer.step(&samples, rate) {
            Ok(StepOutcome::NotFinite(what)) => return Err(self.not_finite(what, step)),
            Ok(_) => {}
            Err(error) => return Err(self.failed_on(&samples, range, error)),
        }
        self.trainer.state.costs.step(started.elapsed());
        self.book();
        self.view.step(&self.trainer.state, self.steps_per_epoch);
        Ok(())
    }

    /// The next samples of `loader`; `indices`, counted through the epochs, are theirs.
    fn draw(
        &self,
        loader: &mut PrefetchLoader<Sample>,
        indices: Range<usize>,
    ) -> Result<Vec<Sample>, TrainError> {
        let mut samples = Vec::with_capacity(indices.len());
        for (index, sample) in indices.zip(loader) {
            let failed = |error| self.failed(&format!("drawing a sample of {}", self.case_at(index)), error);
            samples.push(sample.map_err(failed)?);
        }
        Ok(samples)
    }

    /// Which case sample `index`, counted through the epochs, is of.
    fn case_at(&self, index: usize) -> String {
        let samples = self.trainer.state.samples_per_epoch;
        format!("case {}", self.source.describe(index / samples, index % samples))
    }

    /// `error` of a step on `samples`, whose indices are counted through the epochs.
    fn failed_on(&self, samples: &[Sample], indices: Range<usize>, error: TrainError) -> TrainError {
        let of = |(index, sample): (usize, &Sample)| {
            let [x, y, z] = sample.size;
            format!("{}: {x} × {y} × {z} voxels", self.case_at(index))
        };
        let shown: Vec<_> = indices.zip(samples).map(of).collect();
        let at_once = self.trainer.config.batch.min(samples.len());
        self.failed(
            &format!("a step on {} samples ({}), {at_once} at once,", samples.len(), shown.join(", ")),
            error,
        )
    }

    /// `error` with what was being done and where.
    fn failed(&self, doing: &str, error: TrainError) -> TrainError {
        TrainError::Running {
            stage: self.trainer.stage.clone(),
            doing: doing.into(),
            epoch: self.trainer.state.epoch,
            step: self.trainer.state.step,
            kept: self.kept().into(),
            source: Box::new(error),
        }
    }

    /// Which weights there are from before.
    fn kept(&self) -> String {
        match self.checkpoint_path().filter(|path| path.exists()) {
            Some(path) => format!("the last good weights are in {}", path.display()),
            None => "no checkpoint had been written".to_string(),
        }
    }

    fn not_finite(&self, what: &'static str, step: usize) -> TrainError {
        let learning_rate = self.trainer.state.learning_rate;
        let (stage, epoch) = (self.trainer.stage.clone(), self.trainer.state.epoch);
        let cases: Vec<_> = self.samples_of(step).map(|i| self.source.describe(epoch, i)).collect();
        let (cases, kept) = (cases.join(", ").into(), self.kept().into());
        TrainError::NotFinite { stage, what, epoch, step, cases, learning_rate, kept }
    }

    /// Looks at the validation cases if it is time to, puts the epoch down and goes on to the next.
    fn end_epoch(&mut self) -> Result<(), TrainError> {
        let state = &self.trainer.state;
        let (epoch, step) = (state.epoch, state.step);
        let last = state.plan.as_ref().is_some_and(|plan| state.steps >= plan.last);
        let every = |n: usize| last || (n > 0 && (epoch + 1).is_multiple_of(n));
        if !self.trainer.is_finite()? {
            return Err(self.not_finite("network", step.saturating_sub(1)));
        }
        let validated = every(self.trainer.config.validate_every) && self.validation.cases() > 0;
        if validated {
            // What a kill during a long validation would lose.
            let unsaved = self.saved.elapsed().as_secs_f64() + self.trainer.state.costs.validation;
            let limit = self.trainer.config.checkpoint_minutes * 60.0;
            if limit > 0.0 && unsaved >= limit {
                self.save()?;
            }
            let started = Instant::now();
            let Some(dice) = self.validate(self.validation.cases())? else {
                return Err(self.stop()?);
            };
            self.trainer.state.costs.validation = started.elapsed().as_secs_f64();
            if self.trainer.state.validated(dice, self.trainer.config.patience) {
                self.trainer.keep_as_best()?;
            }
        }
        self.book();
        let record = self.trainer.record(validated, now());
        let stopped_early = self.trainer.state.stopped_early;
        self.trainer.state.close_epoch();
        if let Some(folder) = self.options.folder {
            append_history(&folder.join("history.jsonl"), &record)?;
        }
        if let Some(events) = &mut self.events {
            let path = || self.options.folder.unwrap_or(Path::new("")).join("tensorboard");
            events.append(&record).map_err(|source| TrainError::Io { path: path(), source })?;
        }
        self.view.epoch_done(&record, &self.trainer.state, self.steps_per_epoch);
        if stopped_early || every(self.trainer.config.checkpoint_every) {
            self.save()?;
        }
        Ok(())
    }

    /// Mean DSC of each label over those of the first `cases` validation cases that have it; none if it was asked to
    /// stop.
    fn validate(&self, cases: usize) -> Result<Option<BTreeMap<Label, f64>>, TrainError> {
        let net: Unet3d = self.trainer.frozen()?;
        let mut found: BTreeMap<Label, Vec<f64>> = BTreeMap::new();
        for case in 0..cases {
            if self.options.stop.is_set() {
                return Ok(None);
            }
            let look = || format!("looking at validation case {} of {cases}", case + 1);
            let dice = self.validation.dice(&net, case).map_err(|error| self.failed(&look(), error))?;
            for (label, dice) in dice {
                found.entry(label).or_default().push(dice);
            }
        }
        let mean = |dices: Vec<f64>| dices.iter().sum::<f64>() / dices.len() as f64;
        Ok(Some(found.into_iter().map(|(label, dices)| (label, mean(dices))).collect()))
    }

    /// Writes a checkpoint and says where the training was stopped.
    fn stop(&mut self) -> Result<TrainError, TrainError> {
        self.save()?;
        let state = &self.trainer.state;
        let saved = self.checkpoint_path().map_or(String::new(), |p| format!(", saved in {}", p.display()));
        Ok(TrainError::Stopped {
            stage: self.trainer.stage.clone(),
            epoch: state.epoch,
            step: state.step,
            saved,
        })
    }

    fn checkpoint_path(&self) -> Option<PathBuf> {
        self.options.folder.map(|folder| Checkpoint::path(folder, &self.trainer.stage))
    }

    fn save(&mut self) -> Result<(), TrainError> {
        self.book();
        let started = Instant::now();
        if let Some(path) = self.checkpoint_path() {
            if !self.trainer.is_finite()? {
                let step = self.trainer.state.step.saturating_sub(1);
                return Err(self.not_finite("network", step));
            }
            self.trainer.checkpoint()?.save(&path)?;
        }
        self.saved = Instant::now();
        self.trainer.state.costs.checkpoint = started.elapsed().as_secs_f64();
        Ok(())
    }

    /// Puts down the time since the last call.
    fn book(&mut self) {
        let now = Instant::now();
        let seconds = (now - self.booked).as_secs_f64();
        self.trainer.state.epoch_seconds += seconds;
        self.trainer.state.seconds += seconds;
        self.booked = now;
    }

    fn rhythm(&self) -> Rhythm {
        let config = &self.trainer.config;
        Rhythm {
            steps_per_epoch: self.steps_per_epoch,
            validate_every: config.validate_every,
            checkpoint_every: config.checkpoint_every,
            checkpoint_seconds: config.checkpoint_minutes * 60.0,
        }
    }

    /// Seconds that are left of [`crate::TrainConfig::minutes`].
    fn seconds_left(&self) -> f64 {
        self.trainer.config.minutes * 60.0 - self.trainer.state.seconds
    }

    /// Plans the number of steps, unless a checkpoint brought a plan along.
    fn plan(&mut self) -> Result<(), TrainError> {
        if self.trainer.state.plan.is_none() {
            if self.trainer.config.minutes > 0.0 {
                self.measure()?;
                let steps = self.steps_that_fit();
                self.trainer.state.plan = Some(StepPlan::new(steps));
                // The epoch begins now.
                self.trainer.state.epoch_seconds = 0.0;
                // Whatever happens from here on, what is resumed has the same plan.
                self.save()?;
                self.view.planned(steps, self.steps_per_epoch);
            } else {
                let steps = self.trainer.config.epochs * self.steps_per_epoch;
                self.trainer.state.plan = Some(StepPlan::new(steps));
            }
        }
        Ok(())
    }

    fn steps_that_fit(&self) -> usize {
        let state = &self.trainer.state;
        let seconds = PLANNED_SHARE * self.seconds_left();
        self.rhythm().last_step_within(seconds, (state.epoch, state.steps), &state.costs)
    }

    /// Finds out what things take, on a network that is thrown away afterwards.
    fn measure(&mut self) -> Result<(), TrainError> {
        let mut other = self.trainer.afresh()?;
        other.state.samples_per_epoch = self.trainer.state.samples_per_epoch;
        let limit = MEASURE_SHARE * self.trainer.config.minutes * 60.0;
        let mut loader = self.loader();
        let per_step = self.samples_of(0).len();
        let mut index = self.trainer.state.epoch * self.trainer.state.samples_per_epoch
            + self.samples_of(self.trainer.state.step).start;
        let started = Instant::now();
        for number in 0..WARMING_STEPS + MEASURED_STEPS.end() {
            let enough = number >= WARMING_STEPS + MEASURED_STEPS.start();
            if self.options.stop.is_set() {
                return Err(self.stop()?);
            }
            if enough && started.elapsed().as_secs_f64() > limit {
                break;
            }
            let step = Instant::now();
            let indices = index..index + per_step;
            let samples = self.draw(&mut loader, indices.clone())?;
            index += per_step;
            // What comes out does not matter; nor does the rate, as long as the numbers stay numbers.
            other
                .step(&samples, 1e-6 * self.trainer.config.learning_rate)
                .map_err(|error| self.failed_on(&samples, indices, error))?;
            if number >= WARMING_STEPS {
                self.trainer.state.costs.step(step.elapsed());
            }
        }
        let cases = self.validation.cases().min(MEASURED_CASES);
        let started = Instant::now();
        if self.validate(cases)?.is_none() {
            return Err(self.stop()?);
        }
        let share = self.validation.cases() as f64 / cases.max(1) as f64;
        self.trainer.state.costs.validation = started.elapsed().as_secs_f64() * share;
        self.save()
    }

    /// Moves the end of the training if it is time to look at the clock and the plan does not fit any more.
    fn look_at_the_clock(&mut self) -> Result<(), TrainError> {
        if self.trainer.config.minutes == 0.0 {
            return Ok(());
        }
        let steps = self.trainer.state.steps;
        let due = self.trainer.state.plan.as_mut().is_some_and(|plan| plan.look_is_due(steps));
        if !due {
            return Ok(());
        }
        let last = if self.seconds_left() > 0.0 { self.steps_that_fit() } else { steps };
        self.trainer.state.costs.forget_steps();
        let moved = self.trainer.state.plan.as_mut().is_some_and(|plan| plan.move_end(steps, last));
        // As with the first plan: whoever goes on from here has the same end.
        if moved { self.save() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_is_ahead_by_whole_steps_however_many_batches_they_have() {
        let config = TrainConfig { batch: 2, accumulate: 16, ..TrainConfig::default() };
        assert_eq!(samples_ahead(&config), STEPS_AHEAD * 32);
    }
}
