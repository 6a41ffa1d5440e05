//! Which model folders a training may go on with. That it goes on to the same bytes is tested where processes can
//! be killed: crates/cli/tests/never_losing_work.rs.

use organseg::phantom::{PhantomConfig, write_dataset};
use organseg::pipeline::{Device, MAX_PATCH_VOXELS, Stages, TrainRequest, plan, train};
use organseg::train::{Dataset, Splits, StopSignal};
use organseg_tests::tiny_model;

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
        stop: StopSignal::default(),
    };
    train(&request(&config, false)).unwrap();
    let again = train(&request(&config, false)).unwrap_err().to_string();
    assert!(again.contains("there is a model already"), "{again}");
    let mut other = config.clone();
    other.coarse.train.learning_rate *= 2.0;
    let other = train(&request(&other, true)).unwrap_err().to_string();
    assert!(other.contains("coarse.train.learning_rate is 0.004 there and 0.008 here"), "{other}");
    let elsewhere = TrainRequest { split: splits.fold(1).unwrap(), ..request(&config, true) };
    let elsewhere = train(&elsewhere).unwrap_err().to_string();
    assert!(elsewhere.contains("splits.json"), "{elsewhere}");
}
