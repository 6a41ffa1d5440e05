//! The training loop of one network.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use indicatif::{ProgressBar, ProgressStyle};
use organseg_unet::{LossParts, Unet3d, UnetConfig, batch_loss, initialize, weights};
use organseg_volume::Label;

use crate::checkpoint::Checkpoint;
use crate::history::{EpochRecord, append_history, rewind_history};
use crate::optimizer::Optimizer;
use crate::{PrefetchLoader, Sample, TrainConfig, TrainError};

/// How many batches the loader may be ahead of the network.
const BATCHES_AHEAD: usize = 4;

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

/// A network being trained.
pub struct Trainer {
    stage: String,
    config: TrainConfig,
    net: Unet3d,
    variables: VarMap,
    optimizer: Optimizer,
    next_epoch: usize,
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
        let variables = VarMap::new();
        let net = Unet3d::new(network, VarBuilder::from_varmap(&variables, DType::F32, device))?;
        initialize(&variables, config.seed)?;
        let optimizer = Optimizer::new(config.optimizer, &variables);
        Ok(Self {
            stage: stage.to_string(),
            config: config.clone(),
            net,
            variables,
            optimizer,
            next_epoch: 0,
            device: device.clone(),
        })
    }

    /// The epoch that [`Trainer::run`] starts with.
    #[must_use]
    pub fn next_epoch(&self) -> usize {
        self.next_epoch
    }

    /// The weights now, by name.
    ///
    /// # Errors
    /// [`TrainError::Unet`] if they cannot be copied.
    pub fn weights(&self) -> Result<HashMap<String, Tensor>, TrainError> {
        Ok(weights::tensors_of(&self.variables)?)
    }

    /// The network as it is now, for prediction: later steps leave it alone, and it keeps no graph.
    ///
    /// # Errors
    /// [`TrainError::Unet`] if the weights cannot be copied.
    pub fn frozen(&self) -> Result<Unet3d, TrainError> {
        let vb = VarBuilder::from_tensors(self.weights()?, DType::F32, &self.device);
        Ok(Unet3d::new(self.net.config(), vb)?)
    }

    /// Goes on from the checkpoint at `path`.
    ///
    /// # Errors
    /// [`TrainError::Checkpoint`] if it is of another stage or configuration, [`TrainError::Unet`] if
    /// of another network; the trainer is unchanged then.
    pub fn resume(&mut self, path: &Path) -> Result<(), TrainError> {
        let checkpoint = Checkpoint::load(path, &self.device)?;
        let refuse = |reason: String| Err(TrainError::Checkpoint { path: path.to_path_buf(), reason });
        if checkpoint.stage != self.stage {
            return refuse(format!("it is of stage `{}`, expected `{}`", checkpoint.stage, self.stage));
        }
        let config = self.config_text();
        if checkpoint.config != config {
            return refuse(format!(
                "it was started with another configuration; that was {}, this is {config}",
                checkpoint.config
            ));
        }
        weights::check(&checkpoint.weights, &self.weights()?, path)?;
        self.optimizer.restore(&checkpoint.optimizer, checkpoint.steps).or_else(|e| refuse(e.to_string()))?;
        let data = self.variables.data().lock().expect("no thread panicked while holding the variables");
        for (name, variable) in data.iter() {
            variable.set(&checkpoint.weights[name])?;
        }
        drop(data);
        self.next_epoch = checkpoint.next_epoch;
        Ok(())
    }

    /// Trains to the last epoch. `validate` gives the mean DSC of each label for a network; it is asked
    /// as [`TrainConfig::validate_every`] says. With `folder`, checkpoints go to
    /// `folder/checkpoint-STAGE.safetensors` and a record of each epoch to `folder/history.jsonl`.
    ///
    /// # Errors
    /// What the source, the validation or a file gives; [`TrainError::NotFinite`] if the loss or its
    /// gradient is NaN or infinite, naming epoch, step and cases; the last checkpoint stays.
    pub fn run(
        &mut self,
        source: &Arc<dyn SampleSource>,
        mut validate: impl FnMut(&Unet3d) -> Result<BTreeMap<Label, f64>, TrainError>,
        folder: Option<&Path>,
    ) -> Result<(), TrainError> {
        let samples = source.samples_per_epoch();
        if samples == 0 {
            return Err(TrainError::NoSamples { stage: self.stage.clone() });
        }
        if let Some(folder) = folder {
            rewind_history(&folder.join("history.jsonl"), &self.stage, self.next_epoch)?;
        }
        let steps = samples.div_ceil(self.config.batch);
        let progress = Progress::new(&self.stage, (self.config.epochs * steps) as u64);
        progress.bar.set_position((self.next_epoch * steps) as u64);
        while self.next_epoch < self.config.epochs {
            let epoch = self.next_epoch;
            let started = Instant::now();
            let mut record = self.run_epoch(epoch, source, &progress)?;
            let last = epoch + 1 == self.config.epochs;
            let every = |n: usize| last || (n > 0 && (epoch + 1).is_multiple_of(n));
            if every(self.config.validate_every) {
                record.validation_dice = Some(validate(&self.frozen()?)?);
            }
            record.seconds = started.elapsed().as_secs_f64();
            self.next_epoch += 1;
            if let Some(folder) = folder {
                if every(self.config.checkpoint_every) {
                    let path = folder.join(format!("checkpoint-{}.safetensors", self.stage));
                    self.checkpoint()?.save(&path)?;
                }
                append_history(&folder.join("history.jsonl"), &record)?;
            }
            progress.epoch_done(&record, self.config.epochs);
        }
        progress.bar.finish_and_clear();
        Ok(())
    }

    /// Where the training stands.
    fn checkpoint(&self) -> Result<Checkpoint, TrainError> {
        Ok(Checkpoint {
            stage: self.stage.clone(),
            next_epoch: self.next_epoch,
            steps: self.optimizer.steps(),
            config: self.config_text(),
            weights: self.weights()?,
            optimizer: self.optimizer.state().clone(),
        })
    }

    /// All that decides the outcome, as one line: what a checkpoint must agree in.
    fn config_text(&self) -> String {
        // Threads and how often to look or save change nothing in the weights.
        let config =
            TrainConfig { loader_threads: 1, validate_every: 0, checkpoint_every: 0, ..self.config.clone() };
        serde_json::to_string(&(self.net.config(), config)).expect("a configuration is valid JSON")
    }

    fn run_epoch(
        &mut self,
        epoch: usize,
        source: &Arc<dyn SampleSource>,
        progress: &Progress,
    ) -> Result<EpochRecord, TrainError> {
        let samples = source.samples_per_epoch();
        let steps = samples.div_ceil(self.config.batch);
        let started = Instant::now();
        let draw = {
            let source = Arc::clone(source);
            move |index: usize| source.sample(epoch, index)
        };
        let ahead = BATCHES_AHEAD * self.config.batch;
        let mut loader = PrefetchLoader::new(samples, draw, self.config.loader_threads, ahead);
        let mut means = Means::default();
        let mut rate = 0.0;
        for step in 0..steps {
            let first = step * self.config.batch;
            let count = self.config.batch.min(samples - first);
            let batch = (&mut loader).take(count).collect::<Result<Vec<_>, _>>()?;
            let total_steps = self.config.epochs * steps;
            rate = self.config.learning_rate * self.config.schedule.factor(epoch * steps + step, total_steps);
            let (parts, gradients) = self.gradients(&batch, epoch)?;
            let clip = (self.config.clip_norm > 0.0).then_some(self.config.clip_norm);
            let finite = parts.total.is_finite();
            let norm = if finite { self.optimizer.step(&gradients, rate, clip)? } else { f64::NAN };
            if !finite || !norm.is_finite() {
                let cases: Vec<_> = (first..first + count).map(|i| source.describe(epoch, i)).collect();
                return Err(TrainError::NotFinite {
                    stage: self.stage.clone(),
                    epoch,
                    step,
                    cases: cases.join(", "),
                });
            }
            means.add(&parts, norm);
            progress.step(&means);
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(means.record(&self.stage, epoch, rate, loader.wait_seconds() / seconds.max(1e-9)))
    }

    /// Losses and gradients, each the mean over `batch`. Samples of one size go through together,
    /// others one by one.
    fn gradients(&self, batch: &[Sample], epoch: usize) -> Result<(StepLosses, GradStore), TrainError> {
        let size = batch[0].size;
        let groups: Vec<&[Sample]> = if batch.iter().all(|sample| sample.size == size) {
            vec![batch]
        } else {
            batch.chunks(1).collect()
        };
        let mut losses = StepLosses::default();
        let mut sum: Option<GradStore> = None;
        for group in groups {
            let share = group.len() as f64 / batch.len() as f64;
            let parts = self.loss(group, epoch)?;
            losses.add(&parts, share)?;
            let gradients = (parts.total * share)?.backward()?;
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
        Ok((losses, sum.expect("a batch has at least one sample")))
    }

    fn loss(&self, samples: &[Sample], epoch: usize) -> Result<LossParts, TrainError> {
        let [x, y, z] = samples[0].size;
        let n = samples.len();
        let channels = self.net.config().in_channels;
        let image: Vec<f32> = samples.iter().flat_map(|s| &s.image).copied().collect();
        let labels: Vec<Label> = samples.iter().flat_map(|s| &s.labels).copied().collect();
        let image = Tensor::from_vec(image, (n, channels, z, y, x), &self.device)?;
        Ok(batch_loss(&self.net, &self.config.loss, &image, &labels, epoch)?)
    }
}

/// The losses of one step as numbers.
#[derive(Clone, Copy, Debug, Default)]
struct StepLosses {
    total: f64,
    dice: Option<f64>,
    center: Option<f64>,
    cross_entropy: Option<f64>,
}

impl StepLosses {
    fn add(&mut self, parts: &LossParts, share: f64) -> Result<(), TrainError> {
        let scalar = |t: &Tensor| t.to_dtype(DType::F64)?.to_scalar::<f64>();
        let add = |sum: &mut Option<f64>, part: &Option<Tensor>| -> Result<(), TrainError> {
            if let Some(part) = part {
                *sum = Some(sum.unwrap_or(0.0) + share * scalar(part)?);
            }
            Ok(())
        };
        self.total += share * scalar(&parts.total)?;
        add(&mut self.dice, &parts.dice)?;
        add(&mut self.center, &parts.center)?;
        add(&mut self.cross_entropy, &parts.cross_entropy)
    }
}

/// Means over the steps of an epoch.
#[derive(Debug, Default)]
struct Means {
    steps: usize,
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
        self.norm += norm;
    }

    fn record(&self, stage: &str, epoch: usize, learning_rate: f64, wait_share: f64) -> EpochRecord {
        let mean = |sum: f64| sum / self.steps as f64;
        EpochRecord {
            stage: stage.to_string(),
            epoch,
            loss: mean(self.sums.total),
            dice_loss: self.sums.dice.map(mean),
            center_loss: self.sums.center.map(mean),
            cross_entropy: self.sums.cross_entropy.map(mean),
            learning_rate,
            gradient_norm: mean(self.norm),
            validation_dice: None,
            seconds: 0.0,
            wait_share,
        }
    }
}

/// A bar on a terminal, a line an epoch elsewhere.
struct Progress {
    bar: ProgressBar,
    /// Mean DSC over the labels when the validation cases were last looked at.
    dice: std::cell::Cell<Option<f64>>,
}

impl Progress {
    fn new(stage: &str, steps: u64) -> Self {
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{prefix:>7} {wide_bar} {percent}% {msg} · {eta} left")
            .expect("the template is valid");
        bar.set_style(style);
        bar.set_prefix(stage.to_string());
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, dice: std::cell::Cell::new(None) }
    }

    fn step(&self, means: &Means) {
        let dice = self.dice.get().map_or(String::new(), |dice| format!("  DSC {dice:.3}"));
        self.bar.set_message(format!("loss {:.4}{dice}", means.sums.total / means.steps as f64));
        self.bar.inc(1);
    }

    fn epoch_done(&self, record: &EpochRecord, epochs: usize) {
        let mut line = format!(
            "{:>7} epoch {:>3}/{epochs}  loss {:.4}  {:.1} s",
            record.stage,
            record.epoch + 1,
            record.loss,
            record.seconds
        );
        if let Some(dice) = &record.validation_dice {
            self.dice.set(Some(dice.values().sum::<f64>() / dice.len() as f64));
            for (label, dice) in dice {
                line.push_str(&format!("  DSC[{label}] {dice:.4}"));
            }
        }
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}
