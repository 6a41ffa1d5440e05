//! A network being trained: its weights, its optimizer, and a step. [`crate::run`] has the loop.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use organseg_unet::{LossParts, TrainingPass, Unet3d, UnetConfig, batch_loss, initialize, weights};
use organseg_volume::Label;
use serde::{Deserialize, Serialize};

use crate::average::Average;
use crate::checkpoint::{Checkpoint, weights_in};
use crate::difference::differences;
use crate::optimizer::Optimizer;
use crate::run::{Run, RunOptions};
use crate::state::TrainingState;
use crate::{EpochRecord, Precision, Sample, TrainConfig, TrainError};

/// Where training samples come from.
pub trait SampleSource: Send + Sync {
    /// Samples an epoch.
    fn samples_per_epoch(&self) -> usize;

    /// Sample `index` of epoch `epoch`; the same arguments give the same sample, in whatever order and
    /// thread they are asked for.
    ///
    /// # Errors
    /// Whatever reading or cutting it meets.
    fn sample(&self, epoch: usize, index: usize) -> Result<Sample, TrainError>;

    /// What sample `index` of epoch `epoch` is called in an error message.
    fn describe(&self, epoch: usize, index: usize) -> String;
}

/// What a network is measured on while it is trained.
pub trait Validation {
    /// How many cases there are; with none nothing is measured, and records say so.
    fn cases(&self) -> usize;

    /// DSC that `net` has on case `case` for each label that is in its truth or is found. A label that is in no
    /// case's truth is best left out: a single voxel would decide which network is the best.
    ///
    /// # Errors
    /// Whatever predicting or comparing meets.
    fn dice(&self, net: &Unet3d, case: usize) -> Result<BTreeMap<Label, f64>, TrainError>;
}

/// No validation: no cases.
impl Validation for () {
    fn cases(&self) -> usize {
        0
    }

    fn dice(&self, _: &Unet3d, _: usize) -> Result<BTreeMap<Label, f64>, TrainError> {
        Ok(BTreeMap::new())
    }
}

/// A network being trained.
pub struct Trainer {
    pub(crate) stage: String,
    pub(crate) config: TrainConfig,
    net: Unet3d,
    variables: VarMap,
    optimizer: Optimizer,
    average: Option<Average>,
    /// The weights that did best on the validation cases, if early stopping keeps them.
    best: HashMap<String, Tensor>,
    pub(crate) state: TrainingState,
    device: Device,
}

impl Trainer {
    /// A freshly initialised network. `stage` (`coarse`, `fine`, `single`) names it in files and
    /// messages.
    ///
    /// # Errors
    /// [`TrainError::Config`] or [`TrainError::Unet`] for a configuration that cannot be run.
    pub fn new(
        stage: &str,
        network: &UnetConfig,
        config: &TrainConfig,
        device: &Device,
    ) -> Result<Self, TrainError> {
        config.check()?;
        config.loss.check(network.classes)?;
        let variables = VarMap::new();
        if config.precision != Precision::F32 && !device.is_cuda() {
            let found = config.precision.number().as_str().to_string();
            let expected = "f32: fewer bits are for GPUs";
            return Err(TrainError::Config { field: "precision", found, expected });
        }
        let net = Unet3d::new(network, VarBuilder::from_varmap(&variables, DType::F32, device))?
            .with_numbers_between_layers(config.precision.number())?;
        initialize(&variables, config.seed)?;
        let optimizer = Optimizer::new(config.optimizer, &variables);
        let decay = config.average_decay;
        let average = if decay > 0.0 { Some(Average::new(decay, &variables)?) } else { None };
        Ok(Self {
            stage: stage.to_string(),
            config: config.clone(),
            net,
            variables,
            optimizer,
            average,
            best: HashMap::new(),
            state: TrainingState::default(),
            device: device.clone(),
        })
    }

    /// Starts with the weights in the file at `path`, a model's or a checkpoint's, instead of random ones. To be called
    /// before the first step.
    ///
    /// # Errors
    /// [`TrainError::Unet`] or [`TrainError::Checkpoint`], naming the file, if it cannot be read or holds the weights of
    /// another network, saying which tensor differs; the trainer is unchanged then.
    pub fn start_from(&mut self, path: &Path) -> Result<(), TrainError> {
        let tensors = weights_in(path, &self.device)?;
        weights::check(&tensors, &self.weights()?, path)?;
        let data = self.variables.data().lock().expect("no thread panicked while holding the variables");
        for (name, variable) in data.iter() {
            variable.set(&tensors[name])?;
        }
        drop(data);
        if let Some(average) = &mut self.average {
            average.restore(&tensors)?;
        }
        Ok(())
    }

    /// Another trainer of the same network from its beginning.
    pub(crate) fn afresh(&self) -> Result<Self, TrainError> {
        Self::new(&self.stage, self.net.config(), &self.config, &self.device)
    }

    /// Whether nothing is left to be done: every step is made, or early stopping ended the training.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state.is_finished()
    }

    /// Steps made.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.state.steps
    }

    /// Epochs begun.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.state.epoch + usize::from(self.state.step > 0)
    }

    /// Minutes that the training took; what was lost when a run broke off is not in them.
    #[must_use]
    pub fn minutes(&self) -> f64 {
        self.state.seconds / 60.0
    }

    /// Mean DSC of each label over the validation cases, as the weights of [`Trainer::result`] have it, and the
    /// epoch, from 0, that they are from; none before the first look at those cases.
    #[must_use]
    pub fn validated(&self) -> Option<(usize, &BTreeMap<Label, f64>)> {
        let look = self.state.best.as_ref().or(self.state.last.as_ref())?;
        Some((look.epoch, &look.dice))
    }

    /// What the training comes to, by name: with early stopping the weights that did best on the validation
    /// cases, otherwise the running average of the weights if there is one, otherwise the weights as they are.
    ///
    /// # Errors
    /// [`TrainError::Unet`] or [`TrainError::Candle`] if they cannot be copied.
    pub fn result(&self) -> Result<HashMap<String, Tensor>, TrainError> {
        if self.best.is_empty() { self.smoothed() } else { Ok(self.best.clone()) }
    }

    /// The running average of the weights, or the weights as they are if none is taken.
    fn smoothed(&self) -> Result<HashMap<String, Tensor>, TrainError> {
        match &self.average {
            Some(average) => Ok(average.copy()?),
            None => self.weights(),
        }
    }

    /// The weights as they are, by name.
    fn weights(&self) -> Result<HashMap<String, Tensor>, TrainError> {
        Ok(weights::tensors_of(&self.variables)?)
    }

    /// The network as it is now, with averaged weights if there are any, for prediction: later steps leave it
    /// alone, and it keeps no graph.
    ///
    /// # Errors
    /// [`TrainError::Unet`] if the weights cannot be copied.
    pub fn frozen(&self) -> Result<Unet3d, TrainError> {
        let vb = VarBuilder::from_tensors(self.smoothed()?, DType::F32, &self.device);
        let number = self.config.precision.number();
        Ok(Unet3d::new(self.net.config(), vb)?.with_numbers_between_layers(number)?)
    }

    /// Keeps the weights of [`Trainer::frozen`] as the best.
    pub(crate) fn keep_as_best(&mut self) -> Result<(), TrainError> {
        self.best = self.smoothed()?;
        Ok(())
    }

    /// Whether every weight is a number.
    pub(crate) fn is_finite(&self) -> Result<bool, TrainError> {
        let data = self.variables.data().lock().expect("no thread panicked while holding the variables");
        for variable in data.values() {
            // A sum over |x| is finite only if every x is.
            let sum = variable.to_dtype(DType::F64)?.abs()?.sum_all()?.to_scalar::<f64>()?;
            if !sum.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes on from the checkpoint at `path`.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if it is of another stage or configuration, saying what differs, and
    /// [`TrainError::Unet`] if its tensors are not this network's; the trainer is unchanged then.
    pub fn resume(&mut self, path: &Path) -> Result<(), TrainError> {
        let found = Checkpoint::load(path, &self.device)?;
        let refuse = |reason: String| Err(TrainError::Checkpoint { path: path.to_path_buf(), reason });
        if found.stage != self.stage {
            return refuse(format!("it is of stage `{}`, expected `{}`", found.stage, self.stage));
        }
        let there: Decisive = match serde_json::from_str(&found.config) {
            Ok(config) => config,
            Err(error) => return refuse(format!("its configuration cannot be read ({error})")),
        };
        let different = differences(&there, &self.decisive());
        if !different.is_empty() {
            return refuse(format!("it was started with another configuration: {different}"));
        }
        let expected = self.weights()?;
        weights::check(&found.weights, &expected, path)?;
        if found.average.is_empty() == self.average.is_some() {
            return refuse("it has no running average of the weights, or one too many".into());
        }
        for tensors in [&found.average, &found.best] {
            if !tensors.is_empty() {
                weights::check(tensors, &expected, path)?;
            }
        }
        let Some(made) = found.state.steps.checked_sub(found.state.left_out) else {
            return refuse(format!("{} of {} steps were left out", found.state.left_out, found.state.steps));
        };
        self.optimizer.restore(&found.optimizer, made as u64).or_else(|error| refuse(error.to_string()))?;
        let data = self.variables.data().lock().expect("no thread panicked while holding the variables");
        for (name, variable) in data.iter() {
            variable.set(&found.weights[name])?;
        }
        drop(data);
        if let Some(average) = &mut self.average {
            average.restore(&found.average)?;
        }
        self.best = found.best;
        self.state = found.state;
        Ok(())
    }

    /// What it is if somebody asks it to stop before [`Trainer::run`]: nothing was done, and nothing is to be saved.
    #[must_use]
    pub fn stopped_before_training(&self) -> TrainError {
        let (stage, TrainingState { epoch, step, .. }) = (self.stage.clone(), &self.state);
        TrainError::Stopped { stage, epoch: *epoch, step: *step, saved: String::new() }
    }

    /// Trains to the end, from wherever it stands. With a folder, [`RunOptions`] say where, leaves checkpoints
    /// (`checkpoint-STAGE.safetensors`), a record of each epoch (a line of `history.jsonl`) and event files for
    /// TensorBoard (`tensorboard/STAGE`).
    ///
    /// # Errors
    /// [`TrainError::Running`] with what the source, a step or the validation gives and where it was; what a file gives;
    /// [`TrainError::NotFinite`] if the loss, its
    /// gradient or a weight is NaN or infinite, naming epoch, step and cases; the last checkpoint stays.
    /// [`TrainError::Stopped`] if it was asked to stop, after a checkpoint.
    pub fn run(
        &mut self,
        source: &Arc<dyn SampleSource>,
        validation: &dyn Validation,
        options: &RunOptions<'_>,
    ) -> Result<(), TrainError> {
        Run::new(self, source, validation, options)?.finish()
    }

    /// Where the training stands.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            stage: self.stage.clone(),
            config: serde_json::to_string(&self.decisive()).expect("a configuration is valid JSON"),
            weights: self.weights()?,
            optimizer: self.optimizer.state().clone(),
            average: self.average.as_ref().map_or_else(|| Ok(HashMap::new()), Average::copy)?,
            best: self.best.clone(),
            state: self.state.clone(),
        })
    }

    fn decisive(&self) -> Decisive {
        Decisive { network: self.net.config().clone(), train: self.config.what_decides() }
    }

    /// The learning rate of the next step.
    pub(crate) fn rate(&self) -> f64 {
        let plan = self.state.plan.as_ref().expect("a run plans its steps before it makes one");
        let TrainConfig { learning_rate, schedule, warmup_share, .. } = self.config;
        let place = plan.place(self.state.steps);
        learning_rate * schedule.factor_with_warmup(place, plan.total as f64, warmup_share)
    }

    /// One step down the gradient of `samples`, all of the step's batches, with learning rate `rate`.
    ///
    /// On the CPU on a thread of rayon's pool, as its many short loops would otherwise each wait for one. A GPU orders its
    /// work by the thread that asks for it, and so always by this one.
    pub(crate) fn step(&mut self, samples: &[Sample], rate: f64) -> Result<StepOutcome, TrainError> {
        if self.device.is_cpu() {
            return rayon::scope(|_| self.make_step(samples, rate));
        }
        self.make_step(samples, rate)
    }

    fn make_step(&mut self, samples: &[Sample], rate: f64) -> Result<StepOutcome, TrainError> {
        let (losses, gradients) = self.gradients(samples, self.state.epoch)?;
        if !losses.total.is_finite() {
            return Ok(StepOutcome::NotFinite("loss"));
        }
        let clip = (self.config.clip_norm > 0.0).then_some(self.config.clip_norm);
        let norm = self.optimizer.step_scaled(&gradients, rate, clip, 1.0 / self.loss_factor())?;
        if !norm.is_finite() {
            if self.config.precision != Precision::F16 || !self.state.loss_scale.overflowed() {
                return Ok(StepOutcome::NotFinite("gradient"));
            }
            // The step is left out, and counted: the schedule goes on.
            self.state.step += 1;
            self.state.steps += 1;
            self.state.left_out += 1;
            self.state.sums.add(&losses, 0.0);
            return Ok(StepOutcome::Made);
        }
        if self.config.precision == Precision::F16 {
            self.state.loss_scale.made();
        }
        self.state.step += 1;
        self.state.steps += 1;
        self.state.sums.add(&losses, norm);
        if let Some(average) = &mut self.average {
            average.take_in(&self.variables, self.state.steps)?;
        }
        Ok(StepOutcome::Made)
    }

    /// What losses are multiplied by before their gradients are taken.
    fn loss_factor(&self) -> f64 {
        match self.config.precision {
            Precision::F16 => self.state.loss_scale.factor,
            Precision::F32 | Precision::Bf16 => 1.0,
        }
    }

    /// Losses and gradients, each the mean over `samples`; gradients as scaled as the loss was. They go through in
    /// batches, and those of a batch together if they have one size, otherwise one by one.
    fn gradients(&self, samples: &[Sample], epoch: usize) -> Result<(StepLosses, GradStore), TrainError> {
        let groups = samples.chunks(self.config.batch).flat_map(|batch| {
            let one_size = batch.iter().all(|sample| sample.size == batch[0].size);
            batch.chunks(if one_size { batch.len() } else { 1 })
        });
        let mut losses = StepLosses::default();
        let mut sum: Option<GradStore> = None;
        for group in groups {
            let share = group.len() as f64 / samples.len() as f64;
            let (pass, parts) = self.loss(group, epoch)?;
            losses.add(&parts, share)?;
            let gradients = pass.backward(&(parts.total * (share * self.loss_factor()))?)?;
            sum = Some(match sum {
                None => gradients,
                Some(mut sum) => {
                    let data = self.variables.data().lock().expect("no thread panicked with the variables");
                    for variable in data.values() {
                        let variable = variable.as_tensor();
                        if let (Some(a), Some(b)) = (sum.get(variable), gradients.get(variable)) {
                            let both = (a + b)?;
                            sum.insert(variable, both);
                        }
                    }
                    sum
                }
            });
        }
        Ok((losses, sum.expect("a step has at least one sample")))
    }

    fn loss(&self, samples: &[Sample], epoch: usize) -> Result<(TrainingPass, LossParts), TrainError> {
        let [x, y, z] = samples[0].size;
        let n = samples.len();
        let channels = self.net.config().in_channels;
        let image: Vec<f32> = samples.iter().flat_map(|s| &s.image).copied().collect();
        let labels: Vec<Label> = samples.iter().flat_map(|s| &s.labels).copied().collect();
        let image = Tensor::from_vec(image, (n, channels, z, y, x), &self.device)?;
        let pass = self.net.training_pass(&image)?;
        let parts = batch_loss(&pass.scores, &self.config.loss, &labels, epoch)?;
        Ok((pass, parts))
    }
}

/// What decides the outcome: what a checkpoint must agree in.
#[derive(Serialize, Deserialize)]
struct Decisive {
    network: UnetConfig,
    train: TrainConfig,
}

/// What became of a step.
pub(crate) enum StepOutcome {
    /// It was made.
    Made,
    /// What is named is NaN or infinite: nothing has changed.
    NotFinite(&'static str),
}

/// The losses of one step as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct StepLosses {
    total: f64,
    dice: Option<f64>,
    center: Option<f64>,
    cross_entropy: Option<f64>,
    #[serde(default)]
    focal: Option<f64>,
    #[serde(default)]
    tversky: Option<f64>,
}

impl StepLosses {
    fn add(&mut self, parts: &LossParts, share: f64) -> Result<(), TrainError> {
        self.total += share * parts.total.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let add = |sum: &mut Option<f64>, part: Option<f64>| {
            if let Some(part) = part {
                *sum = Some(sum.unwrap_or(0.0) + share * part);
            }
        };
        add(&mut self.dice, parts.dice);
        add(&mut self.center, parts.center);
        add(&mut self.cross_entropy, parts.cross_entropy);
        add(&mut self.focal, parts.focal);
        add(&mut self.tversky, parts.tversky);
        Ok(())
    }
}

/// Sums over the steps of an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Means {
    pub(crate) steps: usize,
    sums: StepLosses,
    norm: f64,
}

impl Means {
    fn add(&mut self, losses: &StepLosses, norm: f64) {
        let add = |sum: &mut Option<f64>, part: Option<f64>| {
            if let Some(part) = part {
                *sum = Some(sum.unwrap_or(0.0) + part);
            }
        };
        self.steps += 1;
        self.sums.total += losses.total;
        add(&mut self.sums.dice, losses.dice);
        add(&mut self.sums.center, losses.center);
        add(&mut self.sums.cross_entropy, losses.cross_entropy);
        add(&mut self.sums.focal, losses.focal);
        add(&mut self.sums.tversky, losses.tversky);
        self.norm += norm;
    }

    /// Mean of the loss over the steps so far.
    pub(crate) fn loss(&self) -> f64 {
        self.sums.total / self.steps.max(1) as f64
    }
}

impl Trainer {
    /// The record of the epoch that has just come to its end.
    pub(crate) fn record(&self, validated: bool, unix_seconds: f64) -> EpochRecord {
        let state = &self.state;
        let mean = |sum: f64| sum / state.sums.steps.max(1) as f64;
        EpochRecord {
            stage: self.stage.clone(),
            epoch: state.epoch,
            loss: state.sums.loss(),
            dice_loss: state.sums.sums.dice.map(mean),
            center_loss: state.sums.sums.center.map(mean),
            cross_entropy: state.sums.sums.cross_entropy.map(mean),
            focal: state.sums.sums.focal.map(mean),
            tversky: state.sums.sums.tversky.map(mean),
            learning_rate: state.learning_rate,
            gradient_norm: mean(state.sums.norm),
            validation_dice: state.last.as_ref().filter(|_| validated).map(|look| look.dice.clone()),
            seconds: state.epoch_seconds,
            wait_share: state.epoch_waited / state.epoch_seconds.max(1e-9),
            steps: state.steps,
            minutes: self.minutes(),
            unix_seconds,
        }
    }
}
