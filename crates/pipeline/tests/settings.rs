//! docs/SETTINGS.md names every setting that there is.

use organseg_pipeline::{ModelConfig, PlannedDataset, PredictionConfig, WhenEmpty};
use organseg_train::{Modality, OptimizerConfig, Schedule};
use toml::{Table, Value};

const SETTINGS: &str = include_str!("../../../docs/SETTINGS.md");

fn assert_named(table: &Table, within: &str) {
    for (name, value) in table {
        let said = [format!("`{name}`"), format!("{name}]`"), format!("{name} = ")];
        assert!(
            said.iter().any(|form| SETTINGS.contains(form)),
            "{within}.{name} is not in docs/SETTINGS.md"
        );
        match value {
            Value::Table(inner) if name != "labels" => assert_named(inner, &format!("{within}.{name}")),
            _ => {}
        }
    }
}

#[test]
fn every_setting_is_in_the_document() {
    let dataset = PlannedDataset { name: "CT".into(), modality: Modality::Ct, cases: 1 };
    let mut config = ModelConfig { dataset: Some(dataset), ..ModelConfig::default() };
    config.preprocessing.spacing_mm = Some([1.0; 3]);
    config.preprocessing.keep_within = 1.1;
    config.single.patch_size = Some([32; 3]);
    config.single.start = Some("weights.safetensors".into());
    config.single.train.loss.ignore_label = Some(9);
    config.prediction = PredictionConfig::default()
        .with_when_empty(WhenEmpty::Accept)
        .with_keep_largest(true)
        .with_least_volume_ml(1.0)
        .with_fill_holes(true);
    config.coarse.train.optimizer = OptimizerConfig::Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.0 };
    config.coarse.train.schedule = Schedule::Cosine { end: 0.0 };
    config.fine.train.schedule = Schedule::Polynomial { power: 0.9 };
    assert_named(&toml::from_str(&toml::to_string(&config).unwrap()).unwrap(), "model");
}
