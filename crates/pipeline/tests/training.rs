//! What a training refuses before it begins, and what it leaves alone when it has ended.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]
#![expect(clippy::result_large_err, reason = "closures hand on what the library returns")]

mod support;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use candle_core::Device;
use organseg_pipeline::{
    KindOfWeights, Method, ModelConfig, PipelineError, Stages, TrainRequest, WeightsCard, cross_validate,
    train,
};
use organseg_train::{Dataset, Precision, Split, Splits, StopSignal, read_history};
use organseg_volume::{LabelVolume, read_labels, write};
use support::{phantoms, tiny};

/// Asks for `stages` of `config` in `folder`, which must be refused with `words` and nothing written.
fn refused(dataset: &Dataset, config: &ModelConfig, stages: Stages, folder: &Path, words: &[&str]) {
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let message = train(&TrainRequest {
        dataset,
        split: splits.fold(0).unwrap(),
        config,
        stages,
        folder,
        resume: true,
        device: &Device::Cpu,
        stop: StopSignal::default(),
    })
    .unwrap_err()
    .to_string();
    for word in words {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(!folder.exists(), "{message}");
}

#[test]
fn stages_of_the_other_method_are_refused_before_anything_is_written() {
    let (folder, dataset) = phantoms();
    let model = folder.path().join("model");
    let words = ["model: stage single", "a model of a single stage", "one of two stages"];
    refused(&dataset, &tiny(Method::Two), Stages::Single, &model, &words);
    let words = ["model: stage fine", "a model of two stages", "one of a single stage"];
    refused(&dataset, &tiny(Method::Single), Stages::Fine, &model, &words);
}

#[test]
fn what_is_wrong_with_a_later_stage_is_said_before_an_earlier_one_is_trained() {
    let (folder, dataset) = phantoms();
    let model = folder.path().join("model");
    let refused = |change: &dyn Fn(&mut ModelConfig), words: &[&str]| {
        let mut config = tiny(Method::Two);
        change(&mut config);
        refused(&dataset, &config, Stages::Both, &model, words);
    };
    refused(&|config| config.fine.train.batch = 0, &["stage fine", "`batch` is 0"]);
    refused(&|config| config.fine.network.channels = Vec::new(), &["stage fine", "channels"]);
    refused(&|config| config.fine.train.loss.class_weights = vec![1.0], &["stage fine", "class_weights"]);
    refused(&|config| config.fine.train.loss.dice = 0.0, &["stage fine", "each of dice"]);
    refused(&|config| config.fine.train.precision = Precision::Bf16, &["stage fine", "precision"]);
}

/// `dataset` with nothing labelled in its case number `case`.
fn blank(dataset: &Dataset, case: usize) {
    let path = dataset.cases[case].label.as_deref().unwrap();
    let labels = read_labels(path).unwrap();
    write(path, &LabelVolume::filled(*labels.grid(), 0)).unwrap();
}

#[test]
fn a_validation_case_without_an_organ_is_refused_before_a_stage_is_trained() {
    let (folder, dataset) = phantoms();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let held_back = &splits.fold(0).unwrap().val;
    assert_eq!(held_back.len(), 1);
    blank(&dataset, dataset.cases.iter().position(|case| case.name == held_back[0]).unwrap());
    let model = folder.path().join("model");
    let words = ["stage coarse and fine", "no voxel is labelled in any of 1 cases"];
    refused(&dataset, &tiny(Method::Two), Stages::Both, &model, &words);
}

#[test]
fn cards_name_the_cases_that_a_stage_could_use() {
    let (folder, dataset) = phantoms();
    let names: Vec<String> = dataset.names().into_iter().map(String::from).collect();
    blank(&dataset, 2);
    let [a, b, c] = &names[..] else { panic!("three phantoms") };
    let (model, config) = (folder.path().join("model"), tiny(Method::Two));
    train(&TrainRequest {
        dataset: &dataset,
        split: &Split { train: vec![a.clone(), c.clone()], val: vec![b.clone()] },
        config: &config,
        stages: Stages::Both,
        folder: &model,
        resume: false,
        device: &Device::Cpu,
        stop: StopSignal::default(),
    })
    .unwrap();
    for (stage, expected) in [("coarse", vec![a, c]), ("fine", vec![a])] {
        let path = model.join(stage).with_extension("safetensors");
        let card = WeightsCard::of_weights(&path).unwrap().unwrap();
        assert_eq!(card.trained_on.iter().collect::<Vec<_>>(), expected);
        assert_eq!(card.validated_on.iter().collect::<Vec<_>>(), [b]);
    }
}

#[test]
fn every_case_may_be_trained_on_and_the_last_weights_are_the_model() {
    let (folder, dataset) = phantoms();
    let splits = Splits::all(&dataset.names());
    let split = splits.fold(0).unwrap();
    let mut config = tiny(Method::Two);
    config.fine.train.epochs = 3;
    config.fine.train.average_decay = 0.9;
    let run = |model: &Path, config: &ModelConfig, stop: &StopSignal| {
        train(&TrainRequest {
            dataset: &dataset,
            split,
            config,
            stages: Stages::Both,
            folder: model,
            resume: true,
            device: &Device::Cpu,
            stop: stop.clone(),
        })
    };
    let (model, stopped) = (folder.path().join("model"), folder.path().join("stopped"));
    let summary = run(&model, &config, &StopSignal::default()).unwrap();
    assert!(summary.values().all(std::collections::BTreeMap::is_empty), "{summary:?}");
    for (stage, epochs, kind) in [("coarse", 1, KindOfWeights::Last), ("fine", 3, KindOfWeights::Average)] {
        let card =
            WeightsCard::of_weights(&model.join(stage).with_extension("safetensors")).unwrap().unwrap();
        assert_eq!((card.epoch, card.epochs, card.weights), (epochs, epochs, kind));
        assert_eq!(card.trained_on.iter().map(String::as_str).collect::<Vec<_>>(), dataset.names());
        assert!(card.validated_on.is_empty() && card.validation_dice.is_empty());
    }
    let records = read_history(&model.join("history.jsonl")).unwrap();
    assert!(records.len() == 4 && records.iter().all(|record| record.validation_dice.is_none()));
    let written: Vec<Split> =
        serde_json::from_str(&std::fs::read_to_string(model.join("splits.json")).unwrap()).unwrap();
    assert!(written.len() == 1 && written[0].val.is_empty() && written[0].train.len() == 3);
    assert!(!model.join("validation").exists());

    let stop = StopSignal::default();
    stop.set();
    assert!(run(&stopped, &config, &stop).is_err());
    assert_eq!(run(&stopped, &config, &StopSignal::default()).unwrap(), summary);
    let weights = |model: &Path| std::fs::read(model.join("fine.safetensors")).unwrap();
    assert!(weights(&stopped) == weights(&model));
    assert_eq!(run(&model, &config, &StopSignal::default()).unwrap(), summary, "finished");

    config.fine.train.patience = 2;
    let message = run(&folder.path().join("other"), &config, &StopSignal::default()).unwrap_err().to_string();
    assert!(message.contains("fine.train.patience is 2, expected 0: early stopping"), "{message}");
    assert!(!folder.path().join("other").exists());
}

#[test]
fn a_stage_that_another_run_is_training_is_left_to_it() {
    let (folder, dataset) = phantoms();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let (model, config) = (folder.path().join("model"), tiny(Method::Single));
    let run = || {
        train(&TrainRequest {
            dataset: &dataset,
            split: splits.fold(0).unwrap(),
            config: &config,
            stages: Stages::Single,
            folder: &model,
            resume: true,
            device: &Device::Cpu,
            stop: StopSignal::default(),
        })
    };
    std::fs::create_dir(&model).unwrap();
    let other = std::fs::File::create(model.join("single.lock")).unwrap();
    other.lock().unwrap();
    let error = run().unwrap_err();
    assert!(matches!(&error, PipelineError::Busy { stage, .. } if stage == "single"), "{error}");
    assert_eq!(files(&model).len(), 1, "nothing is written");
    drop(other);
    run().unwrap();
}

/// Names, contents and times of the files in `folder`.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>, SystemTime)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            let changed = path.metadata().unwrap().modified().unwrap();
            files.push((path.clone(), std::fs::read(&path).unwrap(), changed));
        }
    }
    files
}

#[test]
fn a_finished_training_is_taken_up_without_its_cases_and_without_writing_a_file() {
    let (folder, dataset) = phantoms();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let (model, mut config) = (folder.path().join("model"), tiny(Method::Two));
    // As in a folder that an earlier version made.
    config.software = "organseg 0.0.1".into();
    let run = || {
        train(&TrainRequest {
            dataset: &dataset,
            split: splits.fold(0).unwrap(),
            config: &config,
            stages: Stages::Both,
            folder: &model,
            resume: true,
            device: &Device::Cpu,
            stop: StopSignal::default(),
        })
    };
    let (first, before) = (run().unwrap(), files(&model));
    let card = WeightsCard::of_weights(&model.join("fine.safetensors")).unwrap().unwrap();
    let software = concat!("organseg ", env!("CARGO_PKG_VERSION"));
    assert_eq!((card.software.as_str(), card.dataset.as_str()), (software, "phantom"));
    std::fs::remove_dir_all(&dataset.root).unwrap();
    assert_eq!(run().unwrap(), first);
    assert!(files(&model) == before);
    // Nor is a stage trained again whose checkpoint was tidied away.
    std::fs::remove_file(model.join("checkpoint-fine.safetensors")).unwrap();
    let tidied = files(&model);
    assert_eq!(run().unwrap(), first);
    assert!(files(&model) == tidied);
    // Without its weights a stage is not done.
    std::fs::remove_file(model.join("fine.safetensors")).unwrap();
    assert!(run().is_err());
}

#[test]
fn a_cross_validation_does_not_choose_weights_by_the_cases_that_it_tests_them_on() {
    let (folder, dataset) = phantoms();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let (out, mut config) = (folder.path().join("out"), tiny(Method::Single));
    config.single.train.patience = 3;
    let error = cross_validate(&dataset, &splits, &config, &out, &Device::Cpu, &StopSignal::default());
    let message = error.unwrap_err().to_string();
    assert!(message.contains("single.train.patience is 3, expected 0"), "{message}");
    assert!(!out.exists());
}

#[test]
fn a_cross_validation_that_is_asked_to_stop_tests_no_further_case() {
    let (folder, dataset) = phantoms();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let (out, stop) = (folder.path().join("out"), StopSignal::default());
    let run = || cross_validate(&dataset, &splits, &tiny(Method::Single), &out, &Device::Cpu, &stop);
    assert_eq!(run().unwrap().folds.len(), 3);
    stop.set();
    // The folds are trained: what is left is to test them.
    let error = run().unwrap_err();
    assert!(matches!(&error, PipelineError::Stopped { fold: 0, .. }), "{error}");
}
