//! How many steps there are to be, and which of them fit into the minutes that a training may take.
//!
//! A training of a given number of epochs has a fixed number of steps S, and step s of it stands at place s of
//! the learning rate's schedule. A training of M minutes measures what a step, a validation and a checkpoint
//! take and plans the largest S that fits. Where it then stands at a quarter, a half, three quarters, 7/8 and
//! 15/16 of the schedule it looks at the clock, and if the steps that are left would end more than 1 % too
//! early or too late, the end moves from L to L′: from step s₀ on, whose place is v₀, step s stands at
//! v₀ + (s − s₀) (S − v₀) / (L′ − s₀). So the learning rate never jumps, and always gets to its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Shares of the schedule after which the clock is looked at.
const LOOKS: [f64; 5] = [0.25, 0.5, 0.75, 0.875, 0.9375];

/// The end stays where it is if it would move by less than this share of the steps that are left.
const TOLERANCE: f64 = 0.01;

/// How many steps there are to be, and at which place of the schedule each stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepPlan {
    /// Steps as planned in the beginning: the schedule's length S.
    pub(crate) total: usize,
    /// Steps to make in all: where the end is now.
    pub(crate) last: usize,
    /// The step since which the end is there, s₀, and its place in the schedule, v₀.
    since: (usize, f64),
    /// How many of [`LOOKS`] lie behind.
    looks: usize,
}

impl StepPlan {
    /// A plan of `total` steps.
    pub(crate) fn new(total: usize) -> Self {
        Self { total, last: total, since: (0, 0.0), looks: 0 }
    }

    /// The place of step `step` in the schedule, from 0 to `total`.
    pub(crate) fn place(&self, step: usize) -> f64 {
        let (since, place) = self.since;
        let left = self.last.saturating_sub(since);
        if left == 0 {
            return self.total as f64;
        }
        place + (step as f64 - since as f64) * (self.total as f64 - place) / left as f64
    }

    /// Whether it is time to look at the clock after `steps` steps; once for each of [`LOOKS`].
    pub(crate) fn look_is_due(&mut self, steps: usize) -> bool {
        let share = self.place(steps) / self.total as f64;
        let passed = LOOKS.iter().filter(|&&look| share >= look).count();
        let due = passed > self.looks && steps < self.last;
        self.looks = self.looks.max(passed);
        due
    }

    /// Moves the end to step `last` when `steps` steps are made, unless it is nearly there already. Whether it
    /// moved.
    pub(crate) fn move_end(&mut self, steps: usize, last: usize) -> bool {
        let left = self.last.saturating_sub(steps) as f64;
        if (last as f64 - self.last as f64).abs() <= TOLERANCE * left {
            return false;
        }
        self.since = (steps, self.place(steps));
        self.last = last.max(steps);
        true
    }
}

/// What things took when they were last done, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Costs {
    /// Steps that were measured since the last decision, and what all of them took.
    pub(crate) steps: usize,
    pub(crate) stepping: f64,
    pub(crate) validation: f64,
    pub(crate) checkpoint: f64,
}

impl Costs {
    /// Takes in another step.
    pub(crate) fn step(&mut self, took: Duration) {
        self.steps += 1;
        self.stepping += took.as_secs_f64();
    }

    /// Later means are of later steps.
    pub(crate) fn forget_steps(&mut self) {
        (self.steps, self.stepping) = (0, 0.0);
    }

    fn of_a_step(&self) -> f64 {
        self.stepping / self.steps.max(1) as f64
    }
}

/// How often what happens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rhythm {
    pub(crate) steps_per_epoch: usize,
    /// Epochs; 0 for the last alone.
    pub(crate) validate_every: usize,
    /// Epochs; 0 for the last alone.
    pub(crate) checkpoint_every: usize,
    /// Seconds between checkpoints within epochs; 0 for none.
    pub(crate) checkpoint_seconds: f64,
}

impl Rhythm {
    /// The largest number of steps in all whose rest takes no more than `seconds`, when (epochs, steps) `made`
    /// are behind; one more step at least.
    pub(crate) fn last_step_within(&self, seconds: f64, made: (usize, usize), costs: &Costs) -> usize {
        let steps = made.1;
        let most = (seconds.max(0.0) / costs.of_a_step().max(1e-6)) as usize;
        let (mut fits, mut too_many) = (1, most.max(1) + 1);
        // What more steps take is never less.
        while fits + 1 < too_many {
            let middle = fits + (too_many - fits) / 2;
            if self.seconds(made, steps + middle, costs) <= seconds {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        steps + fits
    }

    /// What it takes to get to the end at step `last` when (epochs, steps) `made` are behind.
    fn seconds(&self, (ended, steps): (usize, usize), last: usize, costs: &Costs) -> f64 {
        let epochs = last.div_ceil(self.steps_per_epoch);
        let times = |every: usize| match every {
            0 => 1,
            n => epochs / n - ended.min(epochs) / n + usize::from(!epochs.is_multiple_of(n)),
        };
        let stepping = (last - steps) as f64 * costs.of_a_step();
        let within =
            if self.checkpoint_seconds > 0.0 { (stepping / self.checkpoint_seconds).floor() } else { 0.0 };
        stepping
            + times(self.validate_every) as f64 * costs.validation
            + (times(self.checkpoint_every) as f64 + within) * costs.checkpoint
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_plan_that_nobody_touches_puts_step_s_at_place_s() {
        let mut plan = StepPlan::new(40);
        assert!((0..=40).all(|s| plan.place(s) == s as f64));
        let looks: Vec<_> = (0..=40).filter(|&s| plan.look_is_due(s)).collect();
        assert_eq!(looks, [10, 20, 30, 35, 38]);
    }

    #[test]
    fn validations_and_checkpoints_count() {
        let rhythm =
            Rhythm { steps_per_epoch: 10, validate_every: 2, checkpoint_every: 1, checkpoint_seconds: 0.0 };
        let costs = Costs { steps: 4, stepping: 4.0, validation: 5.0, checkpoint: 0.5 };
        // Epochs 1 to 5, the last one half; validated after 2, 4 and 5.
        assert_eq!(rhythm.seconds((0, 0), 45, &costs), 45.0 + 3.0 * 5.0 + 5.0 * 0.5);
        // Two epochs and a half are over.
        assert_eq!(rhythm.seconds((2, 25), 40, &costs), 15.0 + 5.0 + 2.0 * 0.5);
        assert_eq!(rhythm.last_step_within(62.5, (0, 0), &costs), 45);
        assert_eq!(rhythm.last_step_within(62.4, (0, 0), &costs), 44);
        assert_eq!(rhythm.last_step_within(-3.0, (0, 7), &costs), 8, "one step is always made");
        let often = Rhythm { checkpoint_seconds: 4.0, ..rhythm };
        assert_eq!(often.seconds((0, 0), 10, &costs), 10.0 + 5.0 + 3.0 * 0.5);
    }

    proptest! {
        #[test]
        fn as_many_steps_are_planned_as_fit(
            steps_per_epoch in 1usize..30, validate_every in 0usize..5, checkpoint_every in 0usize..4,
            validation in 0.0..20.0, from in 0usize..200, seconds in 1.0..500.0,
        ) {
            let rhythm = Rhythm { steps_per_epoch, validate_every, checkpoint_every, checkpoint_seconds: 30.0 };
            let costs = Costs { steps: 10, stepping: 7.0, validation, checkpoint: 0.3 };
            let made = (from / steps_per_epoch, from);
            let last = rhythm.last_step_within(seconds, made, &costs);
            prop_assert!(last == from + 1 || rhythm.seconds(made, last, &costs) <= seconds);
            prop_assert!(rhythm.seconds(made, last + 1, &costs) > seconds);
        }

        #[test]
        fn wherever_the_end_moves_the_place_never_jumps_and_gets_to_the_end(
            total in 20usize..500, moves in prop::collection::vec((0.05..0.9f64, 0.3..2.5f64), 0..4),
        ) {
            let mut plan = StepPlan::new(total);
            let mut now = 0;
            for (when, factor) in moves {
                now += ((plan.last - now) as f64 * when) as usize;
                let before = plan.place(now);
                let last = now + 1 + ((plan.last - now) as f64 * factor) as usize;
                plan.move_end(now, last);
                prop_assert!((plan.place(now) - before).abs() < 1e-9);
            }
            prop_assert!((now..plan.last).all(|s| plan.place(s) < plan.place(s + 1)));
            prop_assert!((plan.place(plan.last) - total as f64).abs() < 1e-9);
        }
    }
}
