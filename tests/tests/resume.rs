//! A training that was stopped and resumed ends where an undisturbed one does.

use organseg::phantom::{PhantomConfig, write_dataset};
use organseg::pipeline::{
    Device, MAX_PATCH_VOXELS, ModelConfig, Stages, TrainRequest, plan, train, weights_path,
};
use organseg::train::{Checkpoint, Dataset, Splits};
use organseg_tests::tiny_model;

#[test]
fn a_resumed_training_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, 3, &PhantomConfig::default().with_size([40, 36, 28]), 3).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let split = splits.fold(0).unwrap();
    let config = plan(&tiny_model(3), None, &dataset, split, MAX_PATCH_VOXELS).unwrap();
    let run = |config: &ModelConfig, name: &str, resume: bool| {
        train(&TrainRequest {
            dataset: &dataset,
            split,
            config,
            stages: Stages::Coarse,
            folder: &folder.path().join(name),
            resume,
            device: &Device::Cpu,
        })
        .unwrap();
    };
    run(&config, "whole", false);

    // What a run killed after its second epoch leaves: its checkpoint, and no weights.
    let stopped = folder.path().join("stopped");
    std::fs::create_dir(&stopped).unwrap();
    let mut early = config.clone();
    early.coarse.train.epochs = 2;
    run(&early, "early", false);
    let path = "checkpoint-coarse.safetensors";
    let mut checkpoint = Checkpoint::load(&folder.path().join("early").join(path), &Device::Cpu).unwrap();
    assert_eq!(checkpoint.next_epoch, 2);
    // With a constant schedule both runs make the same first steps; only the length differs.
    checkpoint.config =
        Checkpoint::load(&folder.path().join("whole").join(path), &Device::Cpu).unwrap().config;
    checkpoint.save(&stopped.join(path)).unwrap();
    config.save(&stopped).unwrap();

    run(&config, "stopped", true);
    let bytes = |name: &str| std::fs::read(weights_path(&folder.path().join(name), "coarse")).unwrap();
    assert!(bytes("whole") == bytes("stopped"), "the resumed weights differ");
}

#[test]
fn a_model_is_not_written_over_and_another_is_not_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, 3, &PhantomConfig::default().with_size([32, 28, 24]), 3).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    let splits = Splits::k_fold(&dataset.names(), 3, 0).unwrap();
    let split = splits.fold(0).unwrap();
    let config = plan(&tiny_model(1), None, &dataset, split, MAX_PATCH_VOXELS).unwrap();
    let request = |config, resume| TrainRequest {
        dataset: &dataset,
        split,
        config,
        stages: Stages::Coarse,
        folder: folder.path(),
        resume,
        device: &Device::Cpu,
    };
    train(&request(&config, false)).unwrap();
    let again = train(&request(&config, false)).unwrap_err().to_string();
    assert!(again.contains("there is a model already"), "{again}");
    let mut other = config.clone();
    other.coarse.train.learning_rate *= 2.0;
    let other = train(&request(&other, true)).unwrap_err().to_string();
    assert!(other.contains("another model"), "{other}");
}
