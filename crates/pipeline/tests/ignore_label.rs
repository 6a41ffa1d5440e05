//! Datasets in which nobody annotated some voxels: they are neither learnt from nor scored.

#![expect(clippy::result_large_err, reason = "a helper hands on what the library returns")]
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

mod support;

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use organseg_pipeline::{
    Method, ModelConfig, PipelineError, Segmenter, Stages, TrainRequest, TrainSummary, cross_validate,
    oracle_box, train,
};
use organseg_roi::BoundingBox;
use organseg_train::{Dataset, Split, Splits, StopSignal, Trainer, read_history};
use organseg_volume::{Label, LabelVolume, read_labels, write};
use support::{phantoms, tiny};
use tempfile::TempDir;

/// The label of what nobody annotated.
const IGNORE: Label = 2;

/// Three phantoms in a folder that holds them; in each everything above the middle of the organ is ignored.
fn sparse_phantoms() -> (TempDir, Dataset) {
    let (folder, dataset) = phantoms();
    let data = dataset.root;
    for case in dataset.cases {
        let path = case.label.unwrap();
        let labels = read_labels(&path).unwrap();
        let organ = BoundingBox::of_mask(&labels).unwrap();
        let middle = ((organ.min()[2] + organ.max()[2]) / 2) as usize;
        let half =
            LabelVolume::from_fn(*labels.grid(), |at| if at[2] < middle { labels[at] } else { IGNORE });
        assert!(half.voxels().contains(&1) && middle < organ.max()[2] as usize);
        write(&path, &half).unwrap();
    }
    let manifest = data.join("dataset.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"background\": 0", "\"ignore\": 2, \"background\": 0")).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    assert_eq!((dataset.ignore, dataset.highest_label()), (Some(IGNORE), 1));
    (folder, dataset)
}

/// [`tiny`] networks and losses without the center loss, to be computed by hand.
fn tiny_by_dice(method: Method) -> ModelConfig {
    let mut config = tiny(method);
    for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
        stage.train.loss.center = 0.0;
    }
    config
}

fn train_in(folder: &Path, dataset: &Dataset, config: &ModelConfig) -> Result<TrainSummary, PipelineError> {
    let names = dataset.names();
    let split = Split { train: vec![names[0].into()], val: vec![names[1].into()] };
    train(&TrainRequest {
        dataset,
        split: &split,
        config,
        stages: Stages::all_of(config.method),
        folder,
        resume: false,
        device: &Device::Cpu,
        stop: StopSignal::default(),
    })
}

/// DSC of label 1 over the voxels that `counts` lets through, voxel by voxel.
fn dice(found: &LabelVolume, truth: &LabelVolume, counts: impl Fn(Label) -> bool) -> f64 {
    let pairs = || found.voxels().iter().zip(truth.voxels()).filter(|&(_, &truth)| counts(truth));
    let both = pairs().filter(|&(&found, &truth)| found == 1 && truth == 1).count();
    let each = pairs().map(|(&found, &truth)| usize::from(found == 1) + usize::from(truth == 1));
    2.0 * both as f64 / each.sum::<usize>() as f64
}

fn annotated(truth: Label) -> bool {
    truth != IGNORE
}

#[test]
fn loss_and_validation_are_those_of_the_annotated_voxels() {
    let (folder, dataset) = sparse_phantoms();
    let (model, config) = (folder.path().join("model"), tiny_by_dice(Method::Single));
    let summary = train_in(&model, &dataset, &config).unwrap();
    let saved = ModelConfig::load(&model).unwrap();
    assert_eq!((saved.classes(), saved.single.train.loss.ignore_label), (2, Some(IGNORE)));

    // The first step's Dice loss, from the scores of the untrained network and the formula of the paper.
    let first = dataset.cases[0].load(&dataset).unwrap();
    let image = config.preprocessing.prepare(&first.image).unwrap();
    let labels = config.preprocessing.prepare_labels(&first.label).unwrap();
    let [x, y, z] = image.size();
    let network = config.network_of(&config.single);
    let untrained = Trainer::new("single", &network, &saved.single.train, &Device::Cpu).unwrap();
    let image = Tensor::from_vec(image.into_vec(), (1, 1, z, y, x), &Device::Cpu).unwrap();
    let scores = untrained.frozen().unwrap().predict(&image).unwrap().to_dtype(DType::F64).unwrap();
    let scores = scores.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let (background, organ) = scores.split_at(labels.voxels().len());
    let loss = |counts: fn(Label) -> bool| {
        let (mut both, mut neither, mut sum, mut rest) = (0.0, 0.0, 0.0, 0.0);
        for ((s0, s1), &label) in background.iter().zip(organ).zip(labels.voxels()) {
            if counts(label) {
                let (y, p) = (f64::from(u8::from(label == 1)), 1.0 / (1.0 + (s0 - s1).exp()));
                both += y * p;
                neither += (1.0 - y) * (1.0 - p);
                sum += y + p;
                rest += 2.0 - y - p;
            }
        }
        1.0 - both / (sum + 1e-5) - neither / (rest + 1e-5)
    };
    let history = read_history(&model.join("history.jsonl")).unwrap();
    // Sums of twenty thousand single-precision probabilities.
    assert!((history[0].loss - loss(annotated)).abs() < 1e-4, "{} {}", history[0].loss, loss(annotated));
    assert!((history[0].loss - loss(|_| true)).abs() > 1e-3, "ignored voxels would have mattered");

    let last = dataset.cases[1].load(&dataset).unwrap();
    let found = Segmenter::load(&model, &Device::Cpu).unwrap().segment(&last.image).unwrap().mask;
    let expected = dice(&found, &last.label, annotated);
    assert_eq!(summary["single"][&1], expected);
    assert!(dice(&found, &last.label, |_| true) != expected, "it finds something where nobody annotated");
}

#[test]
fn a_cross_validation_scores_masks_and_boxes_on_what_was_annotated() {
    let (folder, dataset) = sparse_phantoms();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let (out, config) = (folder.path().join("out"), tiny_by_dice(Method::Two));
    let done =
        cross_validate(&dataset, &splits, &config, &out, &Device::Cpu, &StopSignal::default()).unwrap();
    for (k, fold) in done.folds.iter().enumerate() {
        let model = Segmenter::load(&out.join(format!("fold_{k}")), &Device::Cpu).unwrap();
        let case = dataset.case(&fold.cases[0].case).unwrap().load(&dataset).unwrap();
        let image = config.preprocessing.prepare(&case.image).unwrap();
        let truth = config.preprocessing.prepare_labels(&case.label).unwrap();
        let stages = model.two_stages(&image).unwrap();
        let two = fold.cases[0].two_stages.as_ref().unwrap();
        assert_eq!(fold.cases[0].refined.mean.unwrap(), dice(&stages.voted, &truth, annotated));
        assert_eq!(two.coarse.mean.unwrap(), dice(&stages.coarse, &truth, annotated));
        let organ = BoundingBox::of_label(&truth, 1).unwrap();
        let recall = stages.boxes.map_or(0.0, |boxes| boxes.box1.recall(&organ));
        assert_eq!(two.box1.unwrap().recall, recall);
        let around = organ.grow([3; 3]).clamp_to(image.size());
        assert_eq!(oracle_box(&truth, [3; 3], Some(IGNORE)), around);
        let margin = config.crop_margin_voxels.along();
        let place = organ.grow(margin).clamp_to(image.size()).unwrap();
        assert_eq!(two.oracle.mean.unwrap(), dice(&model.fine(&image, &place).unwrap(), &truth, annotated));
    }
}

#[test]
fn a_loss_that_ignores_another_label_than_the_dataset_is_refused_naming_both() {
    let (folder, mut dataset) = sparse_phantoms();
    let model = folder.path().join("model");
    let mut config = tiny_by_dice(Method::Two);
    config.fine.train.loss.ignore_label = Some(7);
    let mut refused = |ignore, expected: &str| {
        dataset.ignore = ignore;
        let message = train_in(&model, &dataset, &config).unwrap_err().to_string();
        assert!(message.contains("fine.train.loss.ignore_label is 7, but"), "{message}");
        assert!(message.contains("data ") && message.contains(expected), "{message}");
        assert!(!model.exists());
    };
    refused(Some(IGNORE), "calls 2 `ignore`");
    refused(None, "has no label `ignore`");
}
