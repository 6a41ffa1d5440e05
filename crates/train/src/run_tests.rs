//! Whole trainings of a tiny network: broken off anywhere, out of time, out of numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use candle_core::{Device, Tensor};
use organseg_unet::{Blocks, LossConfig, Norm, Skips, Unet3d, UnetConfig, Upsampling};
use organseg_volume::Label;
use rand::RngExt;

use crate::*;

const SAMPLES: usize = 5;
const SIZE: [usize; 3] = [8, 8, 8];

/// Noise with a bright ball that is the organ.
struct Balls {
    samples: usize,
    /// Set when so many samples have been drawn.
    stop: Option<(StopSignal, usize)>,
    drawn: AtomicUsize,
}

impl Balls {
    fn source(stop: Option<(StopSignal, usize)>) -> Arc<dyn SampleSource> {
        Arc::new(Self { samples: SAMPLES, stop, drawn: AtomicUsize::new(0) })
    }
}

impl SampleSource for Balls {
    fn samples_per_epoch(&self) -> usize {
        self.samples
    }

    fn sample(&self, epoch: usize, index: usize) -> Result<Sample, TrainError> {
        let drawn = self.drawn.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((stop, after)) = &self.stop
            && drawn >= *after
        {
            stop.set();
        }
        let mut rng = sample_rng(11, epoch, index);
        let centre: [f64; 3] = [0; 3].map(|_| rng.random_range(2.5..5.5));
        let (mut image, mut labels) = (Vec::new(), Vec::new());
        for voxel in 0..SIZE.iter().product() {
            let place = [voxel % 8, voxel / 8 % 8, voxel / 64];
            let distance = (0..3).map(|a| (place[a] as f64 - centre[a]).powi(2)).sum::<f64>();
            labels.push(Label::from(distance < 5.0));
            image.push(0.5 * f32::from(u8::from(distance < 5.0)) + rng.random::<f32>());
        }
        Ok(Sample { image, labels, size: SIZE })
    }

    fn describe(&self, epoch: usize, index: usize) -> String {
        format!("ball_{epoch}_{index}")
    }
}

/// Says in turn that networks have these DSC; the last one for ever.
struct Scripted(Vec<f64>, AtomicUsize);

impl Scripted {
    fn new(dice: &[f64]) -> Self {
        Self(dice.to_vec(), AtomicUsize::new(0))
    }
}

impl Validation for Scripted {
    fn cases(&self) -> usize {
        1
    }

    fn dice(&self, _: &Unet3d, _: usize) -> Result<BTreeMap<Label, f64>, TrainError> {
        let n = self.1.fetch_add(1, Ordering::SeqCst);
        Ok(BTreeMap::from([(1, self.0[n.min(self.0.len() - 1)])]))
    }
}

/// Something that depends on every weight of the network that is looked at.
struct Sum;

impl Validation for Sum {
    fn cases(&self) -> usize {
        2
    }

    fn dice(&self, net: &Unet3d, case: usize) -> Result<BTreeMap<Label, f64>, TrainError> {
        let sample = Balls::source(None).sample(999, case)?;
        let image = Tensor::from_vec(sample.image, (1, 1, 8, 8, 8), &Device::Cpu)?;
        let mean = net.forward(&image)?.abs()?.mean_all()?.to_scalar::<f32>()?;
        Ok(BTreeMap::from([(1, f64::from(mean))]))
    }
}

fn network() -> UnetConfig {
    UnetConfig::new(1, 2).with_channels(vec![2, 3])
}

fn trainer(config: &TrainConfig) -> Trainer {
    Trainer::new("fine", &network(), config, &Device::Cpu).unwrap()
}

/// Every switch on: steps of two batches, a running average, early stopping that never stops.
fn everything() -> TrainConfig {
    TrainConfig {
        epochs: 4,
        batch: 1,
        accumulate: 2,
        average_decay: 0.9,
        validate_every: 2,
        patience: 100,
        warmup_share: 0.2,
        schedule: Schedule::Cosine { end: 0.0 },
        loss: LossConfig { cross_entropy: 1.0, ..LossConfig::default() },
        ..TrainConfig::default()
    }
}

fn bits(tensors: &HashMap<String, Tensor>) -> BTreeMap<String, Vec<u32>> {
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), values(tensor).into_iter().map(f32::to_bits).collect()))
        .collect()
}

/// Tensors and figures of a finished training, without what was measured.
fn outcome(trainer: &Trainer, folder: &Path) -> (Vec<BTreeMap<String, Vec<u32>>>, Vec<EpochRecord>) {
    let saved = Checkpoint::load(&Checkpoint::path(folder, "fine"), &Device::Cpu).unwrap();
    let tensors = [&saved.weights, &saved.optimizer, &saved.average, &saved.best, &trainer.result().unwrap()];
    let records = read_history(&folder.join("history.jsonl")).unwrap().into_iter().map(|record| {
        EpochRecord { seconds: 0.0, wait_share: 0.0, minutes: 0.0, unix_seconds: 0.0, ..record }
    });
    (tensors.map(bits).to_vec(), records.collect())
}

fn run_in(folder: &Path, trainer: &mut Trainer, stop: Option<usize>) -> Result<(), TrainError> {
    let signal = StopSignal::default();
    let source = Balls::source(stop.map(|after| (signal.clone(), after)));
    let options = RunOptions { folder: Some(folder), stop: signal, ..RunOptions::default() };
    trainer.run(&source, &Sum, &options)
}

#[test]
fn broken_off_after_any_step_a_training_ends_with_the_same_bytes_and_history() {
    let whole = tempfile::tempdir().unwrap();
    let mut undisturbed = trainer(&everything());
    run_in(whole.path(), &mut undisturbed, None).unwrap();
    let expected = outcome(&undisturbed, whole.path());
    assert_eq!((undisturbed.steps(), undisturbed.epochs(), expected.1.len()), (12, 4, 4));

    let mut places = BTreeSet::new();
    for after in 1..=4 * SAMPLES {
        let folder = tempfile::tempdir().unwrap();
        let mut first = trainer(&everything());
        match run_in(folder.path(), &mut first, Some(after)) {
            Err(TrainError::Stopped { epoch, step, .. }) => places.insert((epoch, step)),
            Ok(()) => continue,
            Err(other) => panic!("{other}"),
        };
        // A process of its own would know nothing but the file.
        let mut second = trainer(&everything());
        second.resume(&Checkpoint::path(folder.path(), "fine")).unwrap();
        run_in(folder.path(), &mut second, None).unwrap();
        assert!(outcome(&second, folder.path()) == expected, "stopped after {after} samples");
    }
    let in_the_middle = places.iter().filter(|(_, step)| [1, 2].contains(step)).count();
    assert!(in_the_middle >= 3, "{places:?}");
}

/// Running statistics of a batch norm are state that no gradient changes.
#[test]
fn every_kind_of_network_optimizer_and_schedule_goes_on_to_the_same_bytes() {
    let base = || network().with_norm(Norm::Batch);
    let networks = [
        base(),
        base().with_blocks(Blocks::Residual).with_skips(Skips::Summed),
        UnetConfig { groups: 1, ..network().with_norm(Norm::Group) }.with_upsampling(Upsampling::Trilinear),
        network().with_channels(vec![2, 3, 3]).with_attention().with_deep_supervision(1),
    ];
    let schedules = [
        Schedule::Polynomial { power: 0.9 },
        Schedule::Constant,
        Schedule::Cosine { end: 0.1 },
        Schedule::OneCycle,
    ];
    for (i, (network, schedule)) in networks.iter().zip(schedules).enumerate() {
        let optimizer = if i % 2 == 0 { sgd() } else { OptimizerConfig::default() };
        let warmup_share = if schedule == Schedule::OneCycle { 0.0 } else { 0.2 };
        let config = TrainConfig { epochs: 2, optimizer, schedule, warmup_share, ..everything() };
        let trainer = || Trainer::new("fine", network, &config, &Device::Cpu).unwrap();
        let whole = tempfile::tempdir().unwrap();
        let mut undisturbed = trainer();
        run_in(whole.path(), &mut undisturbed, None).unwrap();
        let broken = tempfile::tempdir().unwrap();
        run_in(broken.path(), &mut trainer(), Some(SAMPLES + 2)).unwrap_err();
        let mut second = trainer();
        second.resume(&Checkpoint::path(broken.path(), "fine")).unwrap();
        run_in(broken.path(), &mut second, None).unwrap();
        assert!(outcome(&second, broken.path()) == outcome(&undisturbed, whole.path()), "{network:?}");
    }
}

#[test]
fn a_training_starts_from_a_checkpoint_with_what_that_would_have_come_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = trainer(&everything());
    run_in(folder.path(), &mut first, None).unwrap();
    let checkpoint = Checkpoint::path(folder.path(), "fine");
    for average_decay in [0.0, 0.9] {
        let mut second = trainer(&TrainConfig { average_decay, patience: 0, ..everything() });
        second.start_from(&checkpoint).unwrap();
        assert_eq!(second.steps(), 0);
        assert!(bits(&second.result().unwrap()) == bits(&first.result().unwrap()));
    }
    let wider = network().with_channels(vec![2, 4]);
    let mut other = Trainer::new("fine", &wider, &everything(), &Device::Cpu).unwrap();
    let before = bits(&other.result().unwrap());
    let error = other.start_from(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("checkpoint-fine.safetensors") && error.contains("has shape"), "{error}");
    assert!(bits(&other.result().unwrap()) == before);
}

#[test]
fn a_training_that_broke_off_without_a_word_goes_on_from_its_last_checkpoint() {
    let config = TrainConfig { checkpoint_every: 0, checkpoint_minutes: 1e-9, ..everything() };
    let whole = tempfile::tempdir().unwrap();
    let mut undisturbed = trainer(&config);
    run_in(whole.path(), &mut undisturbed, None).unwrap();

    // As `kill -9` leaves it: the checkpoint of some step, and a history that is ahead of it.
    let broken = tempfile::tempdir().unwrap();
    let mut first = trainer(&config);
    run_in(broken.path(), &mut first, Some(9)).unwrap_err();
    for ahead in ["history.jsonl", "tensorboard/fine/events.out.tfevents.organseg"] {
        std::fs::copy(whole.path().join(ahead), broken.path().join(ahead)).unwrap();
    }
    let mut second = trainer(&config);
    second.resume(&Checkpoint::path(broken.path(), "fine")).unwrap();
    run_in(broken.path(), &mut second, None).unwrap();
    assert!(outcome(&second, broken.path()) == outcome(&undisturbed, whole.path()));
    let length = |folder: &Path| {
        std::fs::metadata(folder.join("tensorboard/fine/events.out.tfevents.organseg")).unwrap().len()
    };
    assert_eq!(length(broken.path()), length(whole.path()));
}

#[test]
fn how_often_is_looked_and_saved_changes_no_weight() {
    let result = |config: &TrainConfig| {
        let mut trainer = trainer(config);
        trainer.run(&Balls::source(None), &Sum, &RunOptions::default()).unwrap();
        bits(&trainer.result().unwrap())
    };
    let base = TrainConfig { patience: 0, ..everything() };
    let other =
        TrainConfig { validate_every: 1, checkpoint_minutes: 1e-9, loader_threads: 1, ..base.clone() };
    assert!(result(&base) == result(&other));
    assert_eq!(base.what_decides(), other.what_decides());
}

/// The loss must be a mean over the samples; sums over a batch, as Dice has them, are another loss then.
#[test]
fn two_batches_of_one_are_one_batch_of_two() {
    let loss = LossConfig { dice: 0.0, center: 0.0, cross_entropy: 1.0, ..LossConfig::default() };
    let base = TrainConfig { epochs: 2, loss, optimizer: sgd(), ..TrainConfig::default() };
    let result = |batch, accumulate| {
        let mut trainer = trainer(&TrainConfig { batch, accumulate, ..base.clone() });
        trainer.run(&Balls::source(None), &Scripted::new(&[0.5]), &RunOptions::default()).unwrap();
        trainer.result().unwrap()
    };
    let (one, two) = (result(2, 1), result(1, 2));
    for (name, a) in &one {
        let difference = (a - &two[name]).unwrap().abs().unwrap().max_all().unwrap();
        // Single precision, six steps.
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-5, "{name}");
    }
}

fn sgd() -> OptimizerConfig {
    OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 }
}

#[test]
fn early_stopping_keeps_the_weights_that_did_best() {
    let config = TrainConfig {
        epochs: 20,
        schedule: Schedule::Constant,
        validate_every: 1,
        patience: 2,
        average_decay: 0.9,
        ..TrainConfig::default()
    };
    let mut stopped = trainer(&config);
    let dice = Scripted::new(&[0.5, 0.6, 0.55, 0.6, 0.9]);
    stopped.run(&Balls::source(None), &dice, &RunOptions::default()).unwrap();
    assert_eq!((stopped.epochs(), stopped.validated().unwrap().0), (4, 1));
    assert_eq!(stopped.validated().unwrap().1[&1], 0.6);
    let mut two_epochs = trainer(&TrainConfig { epochs: 2, patience: 0, ..config });
    two_epochs.run(&Balls::source(None), &dice, &RunOptions::default()).unwrap();
    assert!(bits(&stopped.result().unwrap()) == bits(&two_epochs.result().unwrap()));
}

#[test]
fn the_running_average_is_what_is_validated_and_what_comes_out() {
    let config = TrainConfig { patience: 0, ..everything() };
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(&config);
    run_in(folder.path(), &mut trainer, None).unwrap();
    let saved = Checkpoint::load(&Checkpoint::path(folder.path(), "fine"), &Device::Cpu).unwrap();
    let result = bits(&trainer.result().unwrap());
    assert!(result == bits(&saved.average) && result != bits(&saved.weights));
    let expected: f64 = (0..2).map(|i| Sum.dice(&trainer.frozen().unwrap(), i).unwrap()[&1] / 2.0).sum();
    assert_eq!(trainer.validated().unwrap().1[&1], expected);
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = Checkpoint::path(folder.path(), "fine");
    let mut good = trainer(&TrainConfig { epochs: 1, ..TrainConfig::default() });
    run_in(folder.path(), &mut good, None).unwrap();
    let before = std::fs::read(&path).unwrap();

    let config = TrainConfig {
        learning_rate: 1e30,
        schedule: Schedule::Constant,
        epochs: 9,
        ..TrainConfig::default()
    };
    let config = TrainConfig { checkpoint_minutes: 1e-9, ..config };
    let error = run_in(folder.path(), &mut trainer(&config), None).unwrap_err();
    let message = error.to_string();
    let TrainError::NotFinite { epoch, cases, .. } = error else { panic!("{message}") };
    assert!(cases.contains(&format!("ball_{epoch}_")), "{cases}");
    for words in ["stage fine", "step", "1e30", "checkpoint-fine.safetensors"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    // A first step may have been saved while its weights were numbers still, never one after that.
    let kept = Checkpoint::load(&path, &Device::Cpu).unwrap();
    let finite =
        |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|x| x.is_finite());
    assert!(kept.weights.values().all(finite));
    assert!(std::fs::read(&path).unwrap() == before || kept.step() > 0);
}

#[test]
fn a_checkpoint_of_another_run_is_refused_with_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = Checkpoint::path(folder.path(), "fine");
    let config = TrainConfig { epochs: 1, ..TrainConfig::default() };
    run_in(folder.path(), &mut trainer(&config), None).unwrap();
    let refused = |stage: &str, network: &UnetConfig, config: &TrainConfig, words: &[&str]| {
        let mut other = Trainer::new(stage, network, config, &Device::Cpu).unwrap();
        let message = other.resume(&path).unwrap_err().to_string();
        for word in [&["checkpoint-fine.safetensors"], words].concat() {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert_eq!(other.steps(), 0);
    };
    refused("coarse", &network(), &config, &["stage `fine`", "expected `coarse`"]);
    let wide = network().with_channels(vec![2, 4]);
    refused("fine", &wide, &config, &["network.channels is [2,3] there and [2,4] here"]);
    let slow = TrainConfig { learning_rate: 1e-5, epochs: 3, ..config.clone() };
    let words = ["train.learning_rate is 0.004 there and 0.00001 here", "train.epochs is 1 there and 3 here"];
    refused("fine", &network(), &slow, &words);
    // The same but for what changes no weight is taken.
    let mut same = trainer(&TrainConfig { checkpoint_minutes: 1.0, loader_threads: 1, ..config.clone() });
    same.resume(&path).unwrap();
    // On other data it does not go on.
    let other: Arc<dyn SampleSource> = Arc::new(Balls { samples: 7, stop: None, drawn: AtomicUsize::new(0) });
    let message = same.run(&other, &Sum, &RunOptions::default()).unwrap_err().to_string();
    assert!(message.contains("5 samples") && message.contains('7'), "{message}");
}

#[test]
fn a_checkpoint_that_cannot_be_written_ends_the_run_and_leaves_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = Checkpoint::path(folder.path(), "fine");
    let config = TrainConfig { epochs: 3, ..TrainConfig::default() };
    run_in(folder.path(), &mut trainer(&config), Some(2)).unwrap_err();
    let before = std::fs::read(&path).unwrap();
    // A folder is in the way of the file that is written first.
    std::fs::create_dir(folder.path().join(".checkpoint-fine.safetensors.part")).unwrap();
    let mut again = trainer(&config);
    again.resume(&path).unwrap();
    let error = run_in(folder.path(), &mut again, None).unwrap_err();
    let named = PathBuf::from("checkpoint-fine.safetensors");
    assert!(matches!(&error, TrainError::Io { path, .. } if path.ends_with(&named)), "{error}");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn a_training_of_some_time_takes_about_that_time_and_gets_through_its_schedule() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        minutes: 2.0 / 60.0,
        batch: 1,
        schedule: Schedule::Cosine { end: 0.0 },
        validate_every: 0,
        ..TrainConfig::default()
    };
    // Threads of its own: those of the other tests would be busy for longer than a step takes.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (seconds, steps) = pool.install(|| {
        let started = Instant::now();
        let mut timed = trainer(&config);
        run_in(folder.path(), &mut timed, None).unwrap();
        (started.elapsed().as_secs_f64(), timed.steps())
    });
    // Loose, for machines that do other things too; the planning itself is tested in budget.rs.
    assert!((1.4..3.5).contains(&seconds), "{seconds} s, {steps} steps");
    let last = read_history(&folder.path().join("history.jsonl")).unwrap().pop().unwrap();
    assert!(last.learning_rate < 0.05 * config.learning_rate, "{}", last.learning_rate);
    assert!((last.minutes * 60.0 - seconds).abs() < 0.5);
}

#[test]
fn the_plan_of_a_training_of_some_time_outlives_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = Checkpoint::path(folder.path(), "fine");
    let config = TrainConfig { minutes: 1.5 / 60.0, batch: 1, ..TrainConfig::default() };
    // More samples than are drawn to measure.
    run_in(folder.path(), &mut trainer(&config), Some(40)).unwrap_err();
    let plan = |trainer: &Trainer| trainer.state.plan.clone().unwrap().total;
    let mut again = trainer(&config);
    again.resume(&path).unwrap();
    let (steps, planned) = (again.steps(), plan(&again));
    run_in(folder.path(), &mut again, None).unwrap();
    assert!(steps > 0 && again.steps() > steps, "{steps}, {}", again.steps());
    assert_eq!(plan(&again), planned);
}

/// Takes a while the first time and is killed the second.
struct Killed(AtomicUsize);

impl Validation for Killed {
    fn cases(&self) -> usize {
        1
    }

    fn dice(&self, _: &Unet3d, _: usize) -> Result<BTreeMap<Label, f64>, TrainError> {
        if self.0.fetch_add(1, Ordering::SeqCst) > 0 {
            return Err(TrainError::NoForeground);
        }
        std::thread::sleep(std::time::Duration::from_millis(400));
        Ok(BTreeMap::from([(1, 0.5)]))
    }
}

#[test]
fn a_long_validation_begins_with_every_step_saved() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 2,
        validate_every: 1,
        checkpoint_every: 0,
        checkpoint_minutes: 0.3 / 60.0,
        ..TrainConfig::default()
    };
    let options = RunOptions { folder: Some(folder.path()), ..RunOptions::default() };
    let killed = Killed(AtomicUsize::new(0));
    trainer(&config).run(&Balls::source(None), &killed, &options).unwrap_err();
    let kept = Checkpoint::load(&Checkpoint::path(folder.path(), "fine"), &Device::Cpu).unwrap();
    assert_eq!((kept.epoch(), kept.step()), (1, SAMPLES.div_ceil(config.batch)));
}

#[test]
fn focal_and_tversky_parts_are_in_the_history_and_for_tensorboard() {
    let folder = tempfile::tempdir().unwrap();
    let loss = LossConfig { dice: 0.0, center: 0.0, focal: 2.0, tversky: 0.5, ..LossConfig::default() };
    let config = TrainConfig { epochs: 1, loss, ..TrainConfig::default() };
    run_in(folder.path(), &mut trainer(&config), None).unwrap();
    let record = read_history(&folder.path().join("history.jsonl")).unwrap().pop().unwrap();
    let sum = 2.0 * record.focal.unwrap() + 0.5 * record.tversky.unwrap();
    assert!((record.loss - sum).abs() < 1e-5 * sum, "{} {sum}", record.loss);
    let events = std::fs::read(folder.path().join("tensorboard/fine/events.out.tfevents.organseg")).unwrap();
    for tag in ["loss/focal", "loss/tversky"] {
        assert!(events.windows(tag.len()).any(|bytes| bytes == tag.as_bytes()), "{tag}");
    }
    // A line of before has neither.
    let mut line = serde_json::to_value(&record).unwrap();
    for part in ["focal", "tversky"] {
        line.as_object_mut().unwrap().remove(part).unwrap();
    }
    let old: EpochRecord = serde_json::from_value(line).unwrap();
    assert_eq!(old, EpochRecord { focal: None, tversky: None, ..record });
}

/// A source that has something wrong with a sample.
struct Wrong {
    /// Of samples from this on, counted through the epochs.
    from: usize,
    /// A size that is not that of its voxels, or a failure, or a panic.
    what: &'static str,
}

impl SampleSource for Wrong {
    fn samples_per_epoch(&self) -> usize {
        SAMPLES
    }

    fn sample(&self, epoch: usize, index: usize) -> Result<Sample, TrainError> {
        let sample = Balls::source(None).sample(epoch, index)?;
        match self.what {
            _ if epoch * SAMPLES + index < self.from => Ok(sample),
            "label" => Ok(Sample { labels: vec![9; sample.labels.len()], ..sample }),
            "panic" => panic!("planted"),
            _ => Err(TrainError::NoForeground.in_case(&self.describe(epoch, index))),
        }
    }

    fn describe(&self, epoch: usize, index: usize) -> String {
        format!("ball_{epoch}_{index}")
    }
}

#[test]
fn what_fails_within_a_run_says_where_it_was() {
    for (what, expected) in [
        ("label", "a step on 1 samples (case ball_1_2: 8 × 8 × 8 voxels), 1 at once, failed"),
        ("failure", "drawing a sample of case ball_1_2 failed"),
        ("panic", "drawing a sample of case ball_1_2 failed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source: Arc<dyn SampleSource> = Arc::new(Wrong { from: SAMPLES + 2, what });
        let config = TrainConfig { batch: 1, epochs: 3, ..TrainConfig::default() };
        let options = RunOptions { folder: Some(folder.path()), ..RunOptions::default() };
        let error = trainer(&config).run(&source, &Sum, &options).unwrap_err();
        assert!(matches!(error, TrainError::Running { epoch: 1, step: 2, .. }), "{error:?}");
        let message = error.to_string();
        for expected in
            ["stage fine: ", expected, "in epoch 1, step 2: ", "weights are in", "checkpoint-fine"]
        {
            assert!(message.contains(expected), "no {expected:?} in {message}");
        }
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn what_fails_within_a_validation_says_at_which_case() {
    struct Fails;
    impl Validation for Fails {
        fn cases(&self) -> usize {
            2
        }

        fn dice(&self, _: &Unet3d, case: usize) -> Result<BTreeMap<Label, f64>, TrainError> {
            if case == 1 { Err(TrainError::NoForeground) } else { Ok(BTreeMap::new()) }
        }
    }
    let config = TrainConfig { epochs: 1, ..TrainConfig::default() };
    let error = trainer(&config).run(&Balls::source(None), &Fails, &RunOptions::default()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("stage fine: looking at validation case 2 of 2 failed in epoch 0"),
        "{message}"
    );
    assert!(message.ends_with("no checkpoint had been written"), "{message}");
}
