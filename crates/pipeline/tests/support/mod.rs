//! What tests of trainings share: a dataset and networks small enough to be trained in a moment.

use organseg_phantom::{PhantomConfig, write_dataset};
use organseg_pipeline::{Method, ModelConfig};
use organseg_train::{AugmentConfig, Dataset};
use tempfile::TempDir;

/// A dataset of three phantoms in a folder that holds it.
pub(crate) fn phantoms() -> (TempDir, Dataset) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    write_dataset(&data, 3, &PhantomConfig::default().with_size([32, 28, 24]), 3).unwrap();
    let dataset = Dataset::open(&data).unwrap();
    (folder, dataset)
}

/// Networks of a few hundred weights, trained for one epoch.
pub(crate) fn tiny(method: Method) -> ModelConfig {
    let mut config = ModelConfig { method, decimation: [2; 3], ..ModelConfig::default() };
    for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
        stage.network.channels = vec![2, 4];
        stage.train.epochs = 1;
        stage.train.augment = AugmentConfig::none();
    }
    config
}
