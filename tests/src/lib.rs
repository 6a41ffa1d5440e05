//! What the tests that cross crates share: where real data lies, and a model small enough to train in a
//! test.

use std::path::PathBuf;

use organseg::pipeline::ModelConfig;
use organseg::train::{AugmentConfig, Schedule};

/// The folder of real images and masks: `ORGANSEG_DATA`, or `../shared/data` beside the checkout. Where
/// there is none, says so and gives none: the caller returns.
#[must_use]
pub fn data(test: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var_os("ORGANSEG_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {test} needs real data; set ORGANSEG_DATA to its folder");
    None
}

/// Two networks of a few thousand weights, trained for `epochs`.
#[must_use]
pub fn tiny_model(epochs: usize) -> ModelConfig {
    let mut config = ModelConfig { decimation: [2; 3], ..ModelConfig::default() };
    for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
        stage.network.channels = vec![4, 8];
        stage.train.epochs = epochs;
        stage.train.augment = AugmentConfig::default();
        stage.train.validate_every = 0;
        // So that a longer run makes the same first steps as a shorter one.
        stage.train.schedule = Schedule::Constant;
    }
    config
}
