//! The same seed gives the same bytes, with one thread and with two.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

use std::path::Path;

use organseg::phantom::{PhantomConfig, write_dataset};
use organseg::pipeline::{
    Device, MAX_PATCH_VOXELS, Segmenter, Stages, TrainRequest, plan, train, weights_path,
};
use organseg::train::{Dataset, Splits, StopSignal};
use organseg::volume::read_image;
use organseg_tests::tiny_model;

/// Trains both stages in `folder` with `threads`, and segments a scan.
fn train_and_segment(data: &Path, folder: &Path, threads: usize) -> (Vec<Vec<u8>>, Vec<u8>) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let dataset = Dataset::open(data).unwrap();
        let splits = Splits::k_fold(&dataset.names(), 3, 5).unwrap();
        let split = splits.fold(0).unwrap();
        let mut config = plan(&tiny_model(2), None, &dataset, split, MAX_PATCH_VOXELS).unwrap();
        for stage in [&mut config.coarse, &mut config.fine] {
            stage.train.seed = 5;
            stage.train.loader_threads = threads;
        }
        let request = TrainRequest {
            dataset: &dataset,
            split,
            config: &config,
            stages: Stages::Both,
            folder,
            resume: false,
            device: &Device::Cpu,
            stop: StopSignal::default(),
        };
        train(&request).unwrap();
        let weights = ["coarse", "fine"].map(|stage| std::fs::read(weights_path(folder, stage)).unwrap());
        let model = Segmenter::load(folder, &Device::Cpu).unwrap();
        let scan = read_image(&dataset.cases[0].image).unwrap();
        (weights.to_vec(), model.segment(&scan).unwrap().mask.into_vec())
    })
}

#[test]
fn one_thread_two_threads_and_once_more_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, 3, &PhantomConfig::default().with_size([48, 40, 32]), 9).unwrap();
    let runs = [("a", 1), ("b", 2), ("c", 2)]
        .map(|(name, threads)| train_and_segment(&data, &folder.path().join(name), threads));
    assert!(runs[0].0 == runs[1].0, "weights differ between one thread and two");
    assert!(runs[0].1 == runs[1].1, "masks differ between one thread and two");
    assert!(runs[1] == runs[2], "two runs of one seed differ");
}
