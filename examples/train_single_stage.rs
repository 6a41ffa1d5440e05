//! Trains one network over whole scans, without the coarse look, and segments a scan it has never seen.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use organseg::metrics::dice;
use organseg::phantom::{PANCREAS_LABEL, PhantomConfig, generate, write_dataset};
use organseg::pipeline::{
    DeviceChoice, MAX_PATCH_VOXELS, Method, ModelConfig, Montage, Segmenter, Stages, TrainRequest, plan,
    train,
};
use organseg::train::{AugmentConfig, Dataset, Splits, StopSignal};
use organseg::volume::write;

/// Trains a single network on small phantoms.
#[derive(Parser)]
struct Arguments {
    /// Passes over the training scans.
    #[arg(long, default_value_t = 15)]
    epochs: usize,
    /// Where everything goes.
    #[arg(long, default_value = "out/train_single_stage")]
    out: PathBuf,
    /// cpu, cuda:N or auto.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

fn main() -> Result<()> {
    // Tensors come and go: memory that is given back would be fresh pages each time.
    organseg::conv3d::keep_freed_memory();
    let arguments = Arguments::parse();
    let device = arguments.device.open()?;
    let (data, model) = (arguments.out.join("phantoms"), arguments.out.join("model"));
    ensure!(!model.exists(), "{} exists already; remove it or choose another --out", model.display());
    let size = PhantomConfig::default().with_size([72, 60, 44]);
    if !data.join("dataset.json").exists() {
        write_dataset(&data, 12, &size, 1)?;
    }
    let dataset = Dataset::open(&data)?;
    let splits = Splits::k_fold(&dataset.names(), 6, 1)?;
    let split = splits.fold(0)?;

    let mut config = ModelConfig { method: Method::Single, ..ModelConfig::default() };
    config.single.network.channels = vec![8, 16, 32];
    config.single.train.epochs = arguments.epochs;
    config.single.train.batch = 1;
    config.single.train.learning_rate = 4e-3;
    config.single.train.loss.cross_entropy = 1.0;
    config.single.train.augment = AugmentConfig::none();
    let config = plan(&config, None, &dataset, split, MAX_PATCH_VOXELS)?;
    train(&TrainRequest {
        dataset: &dataset,
        split,
        config: &config,
        stages: Stages::Single,
        folder: &model,
        resume: false,
        device: &device,
        stop: StopSignal::default(),
    })?;

    let unseen = generate(&size, 12_345)?;
    let found = Segmenter::load(&model, &device)?.segment(&unseen.image)?;
    println!("DSC on a new scan {:.3}", dice(&found.mask, &unseen.labels, PANCREAS_LABEL)?);
    let mask = arguments.out.join("mask.nii.gz");
    write(&mask, &found.mask)?;
    let mut montage = Montage::default();
    montage.add_row(&unseen.image, &[(&unseen.labels, [60, 220, 60]), (&found.mask, [255, 70, 70])], 4);
    let picture = arguments.out.join("montage.png");
    montage.save(&picture)?;
    println!("{}\n{} (green: truth, red: found)\n{}", mask.display(), picture.display(), model.display());
    Ok(())
}
