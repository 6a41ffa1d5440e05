//! Trains both networks, segments scans they have never seen, and shows how much the second look adds.
//!
//! Without arguments on phantoms made on the spot, in a few minutes; `--data DATASET` for real scans.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use organseg::phantom::{PhantomConfig, write_dataset};
use organseg::pipeline::{
    CaseResult, DeviceChoice, MAX_PATCH_VOXELS, ModelConfig, Montage, ResultSummary, Segmenter, Stages,
    TrainRequest, evaluate_case, plan, train,
};
use organseg::train::{AugmentConfig, Dataset, Split, Splits, StopSignal};
use organseg::volume::{write, write_atomically};

/// Finds an organ at low resolution, looks again at full resolution, and scores both.
#[derive(Parser)]
struct Arguments {
    /// Dataset folder (nnU-Net layout) or CSV of image,label pairs; phantoms if none is given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where everything goes.
    #[arg(long, default_value = "out/coarse_to_fine")]
    out: PathBuf,
    /// Epochs of each network; 0 for what suits the phantoms.
    #[arg(long, default_value_t = 0)]
    epochs: usize,
    /// Decides everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// cpu, cuda:N or auto.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
}

/// Phantoms to train on, and to test on.
const PHANTOMS: [usize; 2] = [24, 10];

/// Outline of the truth, and of what was found.
const TRUTH: [u8; 3] = [60, 220, 60];
const FOUND: [u8; 3] = [255, 70, 70];

fn main() -> Result<()> {
    // Tensors come and go: memory that is given back would be fresh pages each time.
    organseg::conv3d::keep_freed_memory();
    let arguments = Arguments::parse();
    let started = Instant::now();
    let device = arguments.device.open()?;
    let out = &arguments.out;
    let model = out.join("model");
    ensure!(!model.exists(), "{} exists already; remove it or choose another --out", model.display());
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;

    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => make_phantoms(&out.join("phantoms"), arguments.seed)?,
    };
    let dataset = Dataset::open(&data)?;
    let split = split(&dataset, arguments.data.is_some(), arguments.seed)?;
    let config = configure(&dataset, &split, &arguments)?;
    println!("training on {} cases, testing on {}", split.train.len(), split.val.len());
    // The trainer looks at one case now and then; the test cases are left for the end.
    let watched = Split { train: split.train.clone(), val: split.train[..1].to_vec() };
    train(&TrainRequest {
        dataset: &dataset,
        split: &watched,
        config: &config,
        stages: Stages::Both,
        folder: &model,
        resume: false,
        device: &device,
        stop: StopSignal::default(),
    })?;
    println!("trained in {:.0} s", started.elapsed().as_secs_f64());

    let results = test(&dataset, &split.val, &Segmenter::load(&model, &device)?, out)?;
    let summary = ResultSummary::of(&results).context("there are no cases to test on")?;
    let json = serde_json::to_string_pretty(&summary)?;
    write_atomically(&out.join("results.json"), |file| file.write_all(json.as_bytes()))?;
    println!("\n{}", summary.to_text());
    println!("masks    {}", out.join("masks").display());
    println!("figures  {}", out.join("results.json").display());
    println!("picture  {} (green: truth, red: found)", out.join("montage.png").display());
    println!("model    {}", model.display());
    println!("done in {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn make_phantoms(folder: &Path, seed: u64) -> Result<PathBuf> {
    if !folder.join("dataset.json").exists() {
        println!("making {} phantoms in {}", PHANTOMS.iter().sum::<usize>(), folder.display());
        write_dataset(folder, PHANTOMS.iter().sum(), &PhantomConfig::default(), seed)?;
    }
    Ok(folder.to_path_buf())
}

/// Which cases to train on and which to test on.
fn split(dataset: &Dataset, real: bool, seed: u64) -> Result<Split> {
    let names = dataset.names();
    if real {
        return Ok(Splits::k_fold(&names, 4.min(names.len()), seed)?.fold(0)?.clone());
    }
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let (train, val) = names.split_at(PHANTOMS[0]);
    Ok(Split { train: train.to_vec(), val: val.to_vec() })
}

/// Small networks and few epochs for phantoms; what is planned for real scans.
fn configure(dataset: &Dataset, split: &Split, arguments: &Arguments) -> Result<ModelConfig> {
    let mut config = ModelConfig::default();
    if arguments.data.is_none() {
        config.coarse.network.channels = vec![16, 32, 64];
        config.coarse.train.epochs = 30;
        config.coarse.train.learning_rate = 4e-3;
        config.fine.network.channels = vec![8, 16, 32];
        config.fine.train.epochs = 24;
        config.fine.train.batch = 1;
        config.fine.train.learning_rate = 4e-3;
        // The organs of a phantom are where they are: mirrored ones never come.
        let still = AugmentConfig::default().with_mirror_axes([false; 3]).with_spatial_probability(0.0);
        for stage in [&mut config.coarse, &mut config.fine] {
            stage.train.augment = still.clone();
            stage.train.loss.cross_entropy = 1.0;
            stage.train.validate_every = 0;
            stage.train.checkpoint_every = 0;
        }
        // As it is planned: the paper's center loss in the first look alone.
        config.fine.train.loss.center = 0.0;
    }
    for stage in [&mut config.coarse, &mut config.fine] {
        stage.train.seed = arguments.seed;
        if arguments.epochs > 0 {
            stage.train.epochs = arguments.epochs;
        }
    }
    Ok(plan(&config, None, dataset, split, MAX_PATCH_VOXELS)?)
}

/// In per cent; none is printed as NaN.
fn percent(share: Option<f64>) -> f64 {
    100.0 * share.unwrap_or(f64::NAN)
}

/// Segments the cases, writes their masks and a picture, and returns their figures.
fn test(dataset: &Dataset, names: &[String], model: &Segmenter, out: &Path) -> Result<Vec<CaseResult>> {
    let masks = out.join("masks");
    std::fs::create_dir_all(&masks)?;
    let mut montage = Montage::default();
    let mut results = Vec::new();
    println!(
        "\n{:<20} {:>8} {:>8} {:>13} {:>13}",
        "DSC in %", "coarse", "refined", "box 1 recall", "box 2 recall"
    );
    for name in names {
        let case = dataset.case(name)?.load(dataset)?;
        let (result, found) = evaluate_case(model, name, &case.image, &case.label, dataset.ignore)?;
        let two = result.two_stages.as_ref().context("the model has two stages")?;
        println!(
            "{name:<20} {:>8.2} {:>8.2} {:>13.2} {:>13.2}{}",
            percent(two.coarse.mean),
            percent(result.refined.mean),
            percent(two.box1.map(|found| found.recall)),
            percent(two.box2.map(|found| found.recall)),
            two.fallback.map_or(String::new(), |why| format!("  {why}"))
        );
        write(masks.join(format!("{name}.nii.gz")), &found.refined)?;
        if let Some(coarse) = &found.coarse {
            write(masks.join(format!("{name}_coarse.nii.gz")), coarse)?;
        }
        if results.len() < 4 {
            montage.add_row(&case.image, &[(&case.label, TRUTH), (&found.refined, FOUND)], 4);
        }
        results.push(result);
    }
    montage.save(&out.join("montage.png"))?;
    Ok(results)
}
