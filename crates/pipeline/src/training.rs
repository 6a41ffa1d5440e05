//! From a dataset to a model folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use organseg_roi::BoundingBox;
use organseg_train::{
    Case, Checkpoint, CropSampler, Dataset, PatchSampler, RunOptions, SampleSource, Split, StopSignal,
    TrainError, Trainer, organ_box,
};
use organseg_unet::{Unet3d, weights};
use organseg_volume::{Label, LabelRule, LabelVolume, decimate_labels, decimate_mean};
use serde::{Deserialize, Serialize};

use crate::PipelineError;
use crate::card::WeightsCard;
use crate::lock::StageLock;
use crate::model::{Method, ModelConfig, StageConfig, weights_path};
use crate::source::{CaseSource, Cut, PreparedCase, within_reach};
use crate::validation::ValidationCases;

/// Which networks to train now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stages {
    /// The coarse and the fine one.
    #[default]
    Both,
    /// The coarse one of a model of two stages.
    Coarse,
    /// The fine one of a model of two stages.
    Fine,
    /// The one of a model of one stage.
    Single,
}

impl Stages {
    /// The method of the model that these stages belong to.
    #[must_use]
    pub fn method(self) -> Method {
        if self == Self::Single { Method::Single } else { Method::Two }
    }

    /// The stages of a model of `method`.
    #[must_use]
    pub fn all_of(method: Method) -> Self {
        if method == Method::Single { Self::Single } else { Self::Both }
    }

    /// What they are called in files and messages.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Both => &["coarse", "fine"],
            Self::Coarse => &["coarse"],
            Self::Fine => &["fine"],
            Self::Single => &["single"],
        }
    }

    /// These stages' names and their part of `config`.
    fn of(self, config: &ModelConfig) -> impl Iterator<Item = (&'static str, &StageConfig)> {
        self.names().iter().map(|&name| match name {
            "coarse" => (name, &config.coarse),
            "fine" => (name, &config.fine),
            _ => (name, &config.single),
        })
    }
}

/// What to train, on what, and where to.
pub struct TrainRequest<'a> {
    /// Where the cases come from.
    pub dataset: &'a Dataset,
    /// Names of the cases to train on and to validate with. Without any of the latter nothing is validated and no figure
    /// says how good the model is, as for one that is to learn from every case there is.
    pub split: &'a Split,
    /// How.
    pub config: &'a ModelConfig,
    /// Which networks.
    pub stages: Stages,
    /// The model folder; made if it is not there.
    pub folder: &'a Path,
    /// Whether to go on from the checkpoints in `folder`.
    pub resume: bool,
    /// Where to compute.
    pub device: &'a Device,
    /// Ends the training after a step, with a checkpoint, when it is set.
    pub stop: StopSignal,
}

/// DSC that the finished networks have on the validation cases, by stage and label, each at the resolution and
/// in the region that the stage sees; of a stage without such cases no label.
pub type TrainSummary = BTreeMap<String, BTreeMap<Label, f64>>;

/// Trains the networks of a model and writes the model folder: `model.toml`, the weights of each stage with
/// their cards, `splits.json`, `history.jsonl`, event files for TensorBoard and checkpoints.
///
/// # Errors
/// What a case, the configuration or the folder has wrong with it. A folder that holds a model already
/// is refused unless `resume` is set or another stage of the same model is asked for; so is one whose model or
/// split is not the one asked for, saying what differs. [`PipelineError::OtherStages`] for stages that the
/// configuration's method does not have. [`PipelineError::Config`] for early stopping without validation cases.
/// [`PipelineError::IgnoreLabel`] for a loss that is to ignore another label
/// than the dataset does; one that says nothing ignores the dataset's. [`PipelineError::Busy`] while another run
/// trains one of the stages there. [`TrainError::Stopped`] if it was asked to stop.
pub fn train(request: &TrainRequest<'_>) -> Result<TrainSummary, PipelineError> {
    request.config.check()?;
    let (asked, found) = (request.stages.method(), request.config.method);
    if asked != found {
        let (folder, stages) = (request.folder.to_path_buf(), request.stages.names().join(" and "));
        return Err(PipelineError::OtherStages { folder, stages, asked, found });
    }
    request.dataset.check_label_numbers()?;
    let (training, validation) = (request.split.train.len(), request.split.val.len());
    if training == 0 {
        return Err(PipelineError::Split { train: training, validation });
    }
    if validation == 0 {
        check_ends_without_validation(request)?;
    }
    let config = request.config.clone().with_ignore_label_of(request.dataset)?;
    let request = &TrainRequest { config: &config, stop: request.stop.clone(), ..*request };
    for (name, stage) in request.stages.of(request.config) {
        check_stage(request, name, stage)
            .map_err(|source| PipelineError::Stage { stage: name, source: Box::new(source) })?;
    }
    let begun = |name: &&str| goes_on(request, name) || is_kept(request, name);
    if !request.stages.names().iter().all(begun) {
        check_organs(request)?;
    }
    let _mine = prepare_folder(request)?;
    let mut summary = TrainSummary::new();
    for (name, stage) in request.stages.of(request.config) {
        summary.insert(name.to_string(), train_stage(request, name, stage)?);
    }
    Ok(summary)
}

/// Whether no stage is to be ended by validation cases that are not there.
fn check_ends_without_validation(request: &TrainRequest<'_>) -> Result<(), PipelineError> {
    match request.stages.of(request.config).find(|(_, stage)| stage.train.patience > 0) {
        None => Ok(()),
        Some((name, stage)) => Err(PipelineError::Config {
            field: format!("{name}.train.patience"),
            found: stage.train.patience.to_string(),
            expected: "0: early stopping needs validation cases, and the split has none",
        }),
    }
}

/// Whether `stage` can be trained, as far as can be told without data: a later stage's settings are not to fail
/// when an earlier one was trained.
fn check_stage(request: &TrainRequest<'_>, name: &str, stage: &StageConfig) -> Result<(), PipelineError> {
    let network = request.config.network_of(stage);
    network.check()?;
    if is_kept(request, name) {
        return Ok(());
    }
    let mut trainer = Trainer::new(name, &network, &stage.train, request.device)?;
    match &stage.start {
        Some(start) if !goes_on(request, name) => Ok(trainer.start_from(start)?),
        _ => Ok(()),
    }
}

/// Whether one of the cases called `names` has an organ: as a rule the first.
pub(crate) fn any_organ(dataset: &Dataset, names: &[String]) -> Result<bool, PipelineError> {
    for name in names {
        if organ_box(&find(dataset, name)?.load_labels()?, dataset.ignore).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there are organs where there must be: in the training, and in the validation of a stage that is nothing
/// without them or chooses its weights by them. A later stage is not to fail when an earlier one was trained.
fn check_organs(request: &TrainRequest<'_>) -> Result<(), PipelineError> {
    let chooses = |(name, stage): (&str, &StageConfig)| name == "fine" || stage.train.patience > 0;
    let validated = !request.split.val.is_empty() && request.stages.of(request.config).any(chooses);
    for (cases, needed) in [(&request.split.train, true), (&request.split.val, validated)] {
        if needed && !any_organ(request.dataset, cases)? {
            let stage = request.stages.names().join(" and ");
            return Err(PipelineError::NoForeground { stage, cases: cases.len() });
        }
    }
    Ok(())
}

/// Whether there is a checkpoint of stage `name` to go on from.
fn goes_on(request: &TrainRequest<'_>, name: &str) -> bool {
    request.resume && Checkpoint::path(request.folder, name).exists()
}

/// Whether stage `name` is finished and cannot be gone on with: its weights are there, which are written last, and its
/// checkpoint is not. Weights from elsewhere, or of which the checkpoint was tidied away, are not to be trained over.
fn is_kept(request: &TrainRequest<'_>, name: &str) -> bool {
    request.resume && !goes_on(request, name) && weights_path(request.folder, name).exists()
}

/// Makes the model folder and writes what decides the run; a resumed run must be the same one. What is returned
/// keeps others from training the same stages there.
fn prepare_folder(request: &TrainRequest<'_>) -> Result<Vec<StageLock>, PipelineError> {
    let folder = request.folder;
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| PipelineError::Io { path, source }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let locks = request.stages.names().iter().map(|&name| StageLock::take(folder, name));
    let locks = locks.collect::<Result<Vec<_>, _>>()?;
    let taken = |name: &&str| weights_path(folder, name).exists() || Checkpoint::path(folder, name).exists();
    let mut names = request.stages.names().iter();
    if let Some(name) = names.find(|name| !request.resume && taken(name)) {
        return Err(PipelineError::ModelExists { path: weights_path(folder, name) });
    }
    let model = folder.join("model.toml");
    if model.exists() {
        let made = ModelConfig::load(folder)?;
        let different = made.differences(request.config);
        if !different.is_empty() {
            let reason = format!(
                "it describes another model than the one asked for: {different} (plan.toml beside it or above, given as \
                 --plan, is what it was planned with)"
            );
            return Err(PipelineError::Resume { path: model, reason });
        }
        check_starts(request, &made)?;
        let recorded = with_starts_of(request, made.clone());
        if recorded != made {
            recorded.save(folder)?;
        }
    } else {
        request.config.save(folder)?;
    }
    let splits = folder.join("splits.json");
    if splits.exists() {
        let text = std::fs::read_to_string(&splits).map_err(io(&splits))?;
        let made: Option<[Split; 1]> = serde_json::from_str(&text).ok();
        if made.as_ref().map(|[split]| split) != Some(request.split) {
            let reason = "it divides the cases in another way; \
                          ask for the same dataset, --fold, --folds, --split-seed (folds were once decided by --seed), \
                          --groups or --splits, or choose another folder"
                .to_string();
            return Err(PipelineError::Resume { path: splits, reason });
        }
        return Ok(locks);
    }
    let text = serde_json::to_string_pretty(&[request.split]).expect("a split is valid JSON");
    organseg_volume::write_atomically(&splits, |file| std::io::Write::write_all(file, text.as_bytes()))
        .map_err(io(&splits))?;
    Ok(locks)
}

/// Whether no stage that is begun or finished is asked to start from other weights than it did.
fn check_starts(request: &TrainRequest<'_>, made: &ModelConfig) -> Result<(), PipelineError> {
    for ((name, asked), (_, made)) in request.stages.of(request.config).zip(request.stages.of(made)) {
        let begun = goes_on(request, name) || weights_path(request.folder, name).exists();
        if begun && asked.start.is_some() && asked.start != made.start {
            let path = |start: &Option<PathBuf>| {
                start.as_ref().map_or("random weights".to_string(), |path| path.display().to_string())
            };
            let reason = format!(
                "stage {name} was started from {} and cannot start again from {}; choose another folder",
                path(&made.start),
                path(&asked.start)
            );
            return Err(PipelineError::Resume { path: request.folder.to_path_buf(), reason });
        }
    }
    Ok(())
}

/// `made`, the model in the folder, with what the stages start from that are to begin now: whoever resumes one that
/// was killed before its first checkpoint finds it there.
fn with_starts_of(request: &TrainRequest<'_>, mut made: ModelConfig) -> ModelConfig {
    for (name, stage) in request.stages.of(request.config) {
        if !goes_on(request, name) && !weights_path(request.folder, name).exists() {
            made.stage_mut(name).start.clone_from(&stage.start);
        }
    }
    made
}

fn train_stage(
    request: &TrainRequest<'_>,
    name: &str,
    stage: &StageConfig,
) -> Result<BTreeMap<Label, f64>, PipelineError> {
    let started = Instant::now();
    if is_kept(request, name) {
        eprintln!("stage {name}: its weights are there without a checkpoint: kept, not trained again");
        let card = WeightsCard::of_weights(&weights_path(request.folder, name))?;
        return Ok(card.map(|card| card.dice_of(&request.config.labels)).unwrap_or_default());
    }
    let network = request.config.network_of(stage);
    let mut trainer = Trainer::new(name, &network, &stage.train, request.device)?;
    let checkpoint = Checkpoint::path(request.folder, name);
    if goes_on(request, name) {
        trainer.resume(&checkpoint)?;
    } else if let Some(start) = &stage.start {
        trainer.start_from(start)?;
    }
    let weights_path = weights_path(request.folder, name);
    let validated = |trainer: &Trainer| trainer.validated().map(|(_, dice)| dice.clone()).unwrap_or_default();
    if trainer.is_finished() && weights_path.exists() {
        return Ok(validated(&trainer));
    }
    let prepare = |names: &[String], varied: bool| -> Result<Vec<PreparedCase>, PipelineError> {
        let mut cases = Vec::with_capacity(names.len());
        for case in names {
            if request.stop.is_set() {
                return Err(trainer.stopped_before_training().into());
            }
            let case = find(request.dataset, case)?;
            match prepare_case(request, (name, stage), case, varied).map_err(|e| e.in_case(&case.name))? {
                Some(case) => cases.push(case),
                None => eprintln!(
                    "warning: case {}: no voxel is labelled; stage {name} does without it",
                    case.name
                ),
            }
        }
        if cases.is_empty() {
            return Err(PipelineError::NoForeground { stage: name.to_string(), cases: names.len() });
        }
        Ok(cases)
    };
    let labels = request.config.labels.keys().copied();
    let (patch_size, ignore) = (stage.patch_size, stage.train.loss.ignore_label);
    let none_is_held_back = request.split.val.is_empty();
    let to_look_at = if none_is_held_back { Vec::new() } else { prepare(&request.split.val, false)? };
    let names_of = |cases: &[PreparedCase]| cases.iter().map(|case| case.name.clone()).collect();
    let validated_on: Vec<String> = names_of(&to_look_at);
    let validation = ValidationCases::new(to_look_at, patch_size, labels, ignore, request.device);
    if !none_is_held_back && !validation.has_labels() {
        let cases = validated_on.len();
        if stage.train.patience > 0 {
            return Err(PipelineError::NoForeground { stage: name.to_string(), cases });
        }
        eprintln!(
            "warning: stage {name}: nothing is labelled in its {cases} validation cases as it sees them: no figure will say \
             how good it is"
        );
    }
    let cases = prepare(&request.split.train, true)?;
    let split = Split { train: names_of(&cases), val: validated_on };
    let source: Arc<dyn SampleSource> = Arc::new(CaseSource {
        cut: cut_of(request.config, name, stage),
        cases,
        augment: stage.train.augment.clone(),
        samples_per_case: stage.samples_per_case,
        seed: stage.train.seed,
    });
    let options =
        RunOptions { folder: Some(request.folder), stop: request.stop.clone(), spent: started.elapsed() };
    trainer.run(&source, &validation, &options)?;
    let weights = trainer.result()?;
    let card = WeightsCard::of(request, (name, stage), split, &trainer);
    card.save(request.folder, trainer.minutes())?;
    let vb = VarBuilder::from_tensors(weights.clone(), DType::F32, request.device);
    let net = Unet3d::new(&network, vb).map_err(TrainError::from)?;
    if stage.train.patience > 0 {
        // The result is the best network, not the last.
        validation.forget();
    }
    if !none_is_held_back {
        validation.draw_worst(name, &net, &request.folder.join("validation"))?;
    }
    weights::save(&weights, Some(card.to_metadata()), &weights_path)?;
    Ok(validated(&trainer))
}

pub(crate) fn find<'a>(dataset: &'a Dataset, name: &str) -> Result<&'a Case, PipelineError> {
    Ok(dataset.case(name)?)
}

/// Reads a case and brings it into the form that the stage sees, and samples show where they are `varied`: decimated,
/// around the organ, or whole. None for the fine stage where there is no organ.
fn prepare_case(
    request: &TrainRequest<'_>,
    (name, stage): (&str, &StageConfig),
    case: &Case,
    varied: bool,
) -> Result<Option<PreparedCase>, PipelineError> {
    let (config, ignore) = (request.config, stage.train.loss.ignore_label);
    let loaded = case.load(request.dataset)?;
    let image = config.preprocessing.prepare(&loaded.image)?;
    let labels = config.preprocessing.prepare_labels(&loaded.label)?;
    let case_at = |image, labels| PreparedCase { name: case.name.clone(), image, labels };
    match name {
        "coarse" => {
            let rule = ignore.map_or(LabelRule::Majority, LabelRule::MajorityWithout);
            Ok(Some(case_at(
                decimate_mean(&image, config.decimation)?,
                decimate_labels(&labels, config.decimation, rule)?,
            )))
        }
        "fine" => {
            let (margin, jitter) = (config.crop_margin_voxels.along(), config.crop_jitter_voxels.along());
            let reach = [0, 1, 2].map(|a| margin[a] + jitter[a]);
            let varied = varied.then_some((&stage.train.augment, stage.patch_size));
            Ok(within_reach(case_at(image, labels), reach, varied, ignore))
        }
        _ => Ok(Some(case_at(image, labels))),
    }
}

fn cut_of(config: &ModelConfig, name: &str, stage: &StageConfig) -> Cut {
    let ignore = stage.train.loss.ignore_label;
    let patches = |size| PatchSampler::new(size, stage.foreground_share).with_padding(stage.padding);
    let patch = stage.patch_size.map(|size| patches(size).with_ignore(ignore));
    let crop = CropSampler::new(config.crop_margin_voxels.along(), config.crop_jitter_voxels.along())
        .with_ignore(ignore);
    match (name, patch) {
        ("fine", Some(patch)) => Cut::PatchOfCrop(crop, patch),
        ("fine", None) => Cut::Crop(crop),
        (_, Some(patch)) => Cut::Patch(patch),
        (_, None) => Cut::Whole,
    }
}

/// The box of the true mask without its voxels of `ignore`, grown by `margin_voxels` along (x, y, z), for the fine
/// stage's upper bound.
#[must_use]
pub fn oracle_box(
    labels: &LabelVolume,
    margin_voxels: [usize; 3],
    ignore: Option<Label>,
) -> Option<BoundingBox> {
    organ_box(labels, ignore)?.grow(margin_voxels).clamp_to(labels.size())
}
