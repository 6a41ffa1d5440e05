//! How much memory and time a scan takes from file to mask, for each way through the pipeline.
//!
//! `cargo run --release -p organseg-benches --bin segment_memory -- --size 512,512,1000 --path boxes`
//!
//! The scan and the model are made up. Of the default network's weights, drawn from a seed, one channel at
//! full resolution is set to hand the image through and the head to compare it with a threshold, so that the
//! networks find what is bright and each path can be forced; a convolution takes as long whatever its weights.
//! What is measured runs in a process of its own, which does what `organseg segment` does.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use clap::{Parser, ValueEnum};
use organseg::pipeline::{Method, ModelConfig, Segmenter, weights_path};
use organseg::train::Preprocessing;
use organseg::unet::{Unet3d, UnetConfig, initialize, weights};
use organseg::volume::{Grid, Orientation, Spacing, Volume, read_image, reoriented_grid, write};
use rayon::prelude::*;
use serde_json::{Value, json};

/// Measures peak memory and time of segmenting a scan.
#[derive(Parser)]
struct Options {
    /// Size of the scan as X,Y,Z, before it is turned.
    #[arg(long, value_delimiter = ',', default_value = "512,512,1000")]
    size: Vec<usize>,
    /// Which way the scan takes.
    #[arg(long, value_enum, default_value = "boxes")]
    path: Way,
    /// Classes of the networks, background included.
    #[arg(long, default_value_t = 2)]
    classes: usize,
    /// Channels of each level.
    #[arg(long, value_delimiter = ',', default_value = "16,32,64,128")]
    channels: Vec<usize>,
    /// Patch (x, y, z) of all networks; none by default.
    #[arg(long, value_delimiter = ',')]
    patch: Option<Vec<usize>>,
    /// Spacing in millimetres that the model works at; that of the scan, 0.8,0.8,1, by default.
    #[arg(long, value_delimiter = ',')]
    spacing: Option<Vec<f64>>,
    /// Axes of the scan's file.
    #[arg(long, default_value = "LPS")]
    orientation: Orientation,
    /// Compress the scan's file.
    #[arg(long)]
    gzip: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// For the process that is measured: the folder made before.
    #[arg(long, hide = true)]
    measure: Option<PathBuf>,
}

/// A way through the pipeline.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Two stages; the organ lies within the boxes.
    Boxes,
    /// The coarse stage finds nothing.
    Empty,
    /// The organ goes on beyond box 2.
    Cut,
    /// A model of one stage.
    Single,
}

/// As in the `organseg` command.
#[global_allocator]
static MEMORY: organseg::conv3d::LargePages = organseg::conv3d::LargePages;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    if let Some(folder) = &options.measure {
        return measure(folder, options.gzip);
    }
    let folder = std::env::temp_dir().join(format!("segment_memory-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = prepare(&options, &folder).and_then(|()| run_apart(&options, &folder));
    std::fs::remove_dir_all(&folder)?;
    let measured = measured?;
    if options.json {
        println!("{measured}");
        return Ok(());
    }
    for phase in ["load", "read", "segment", "write"] {
        let of = |what: &str| measured[phase][what].as_f64().unwrap_or(f64::NAN);
        println!("{phase:8} {:8.2} s, peak {:6.0} MB", of("seconds"), of("peak_mb"));
    }
    println!("found {} voxels, fallback {}", measured["voxels"], measured["fallback"]);
    println!("checksum {}", measured["checksum"]);
    Ok(())
}

/// Writes scan and model.
fn prepare(options: &Options, folder: &Path) -> Result<(), Box<dyn Error>> {
    let three = |numbers: &[usize], name: &str| -> Result<[usize; 3], Box<dyn Error>> {
        numbers.try_into().map_err(|_| format!("--{name}: expected three numbers").into())
    };
    let size = three(&options.size, "size")?;
    let straight = Grid::with_spacing(size, Spacing::new([0.8, 0.8, 1.0])?)?;
    let grid = reoriented_grid(&straight, options.orientation);
    write(scan_path(folder, options.gzip), &scan(grid, options.path == Way::Cut)?)?;

    let mut config = ModelConfig {
        method: if options.path == Way::Single { Method::Single } else { Method::Two },
        labels: (1..options.classes).map(|label| (label as u8, format!("organ {label}"))).collect(),
        ..ModelConfig::default()
    };
    if let Some(spacing) = &options.spacing {
        let spacing = spacing[..].try_into().map_err(|_| "--spacing: expected three numbers")?;
        config.preprocessing = Preprocessing::default().with_spacing_mm(spacing);
    }
    let patch = options.patch.as_deref().map(|patch| three(patch, "patch")).transpose()?;
    for stage in [&mut config.coarse, &mut config.fine, &mut config.single] {
        stage.patch_size = patch;
        stage.network.channels = options.channels.clone();
    }
    config.save(folder)?;
    let network = config.network_of(&config.fine);
    // In standard deviations of the image: the organ fills a fiftieth of the scan and most of a box.
    let coarse = if options.path == Way::Empty { f32::MAX } else { 3.0 };
    let stages = match config.method {
        Method::Two => vec![("coarse", coarse), ("fine", 0.0)],
        Method::Single => vec![("single", 0.0)],
    };
    for (name, threshold) in stages {
        weights::save(&looks_for_bright(&network, threshold)?, None, &weights_path(folder, name))?;
    }
    Ok(())
}

fn scan_path(folder: &Path, gzip: bool) -> PathBuf {
    folder.join(if gzip { "scan.nii.gz" } else { "scan.nii" })
}

/// Patches of fat and in the middle a bright block that fits a candidate box of some 7.5 million voxels at
/// 512×512×1000; with a `bar`, something runs on from it that is too thin for the coarse stage.
fn scan(grid: Grid, bar: bool) -> Result<Volume<i16>, Box<dyn Error>> {
    let [nx, ny, _] = grid.size();
    let size = grid.size();
    // The block takes a third of the two shorter axes and a fifth of the longest.
    let longest = size.into_iter().max().unwrap_or(1);
    let half = size.map(|n| if n == longest { n / 10 } else { n / 6 });
    let mut voxels = vec![0i16; grid.voxel_count()];
    voxels.par_chunks_mut(nx * ny).enumerate().for_each(|(z, plane)| {
        for (i, voxel) in plane.iter_mut().enumerate() {
            let at = [i % nx, i / nx, z];
            let in_block = (0..3).all(|a| at[a].abs_diff(size[a] / 2) < half[a]);
            let in_bar = bar && (1..3).all(|a| matches!(at[a] as i64 - (size[a] / 2 / 4 * 4) as i64, 1 | 2));
            *voxel = if in_block || (in_bar && at[0] > nx / 10 && at[0] < nx / 2) {
                240
            } else {
                let patch = (at[0] / 32 * 7919 + at[1] / 32 * 104_729 + z / 32 * 1_299_709) % 41;
                patch as i16 - 100
            };
        }
    });
    Ok(Volume::from_vec(grid, voxels)?)
}

/// Random weights, but class 1 wherever the image is brighter than its mean by `threshold` deviations.
fn looks_for_bright(
    config: &UnetConfig,
    threshold: f32,
) -> Result<std::collections::HashMap<String, Tensor>, Box<dyn Error>> {
    let variables = VarMap::new();
    Unet3d::new(config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
    initialize(&variables, 1)?;
    let mut tensors = weights::tensors_of(&variables)?;
    let mut change = |name: &str, change: &dyn Fn(&mut [f32])| -> Result<(), Box<dyn Error>> {
        let tensor = tensors.get_mut(name).ok_or_else(|| format!("the network has no {name}"))?;
        let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
        change(&mut values);
        *tensor = Tensor::from_vec(values, tensor.shape(), &Device::Cpu)?;
        Ok(())
    };
    let up = if config.levels() > 1 { vec!["up0.conv0", "up0.conv1"] } else { Vec::new() };
    for layer in ["down0.conv0", "down0.conv1"].into_iter().chain(up) {
        change(&format!("{layer}.weight"), &|values| {
            let inputs = values.len() / config.channels[0];
            values[..inputs].fill(0.0);
            values[13] = 1.0; // the middle of 3×3×3
        })?;
    }
    change("head.weight", &|values| {
        values.fill(0.0);
        values[config.channels[0]] = 1.0;
    })?;
    change("head.bias", &|values| {
        values.fill(f32::MIN);
        (values[0], values[1]) = (0.0, -threshold);
    })?;
    Ok(tensors)
}

/// Runs [`measure`] in a process of its own.
fn run_apart(options: &Options, folder: &Path) -> Result<Value, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--measure").arg(folder);
    if options.gzip {
        command.arg("--gzip");
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What `organseg segment` does, phase by phase.
fn measure(folder: &Path, gzip: bool) -> Result<(), Box<dyn Error>> {
    organseg::conv3d::keep_freed_memory();
    let mut phases: BTreeMap<&str, Value> = BTreeMap::new();
    let mut most: f64 = 0.0;
    let mut note = |name, started: Instant| {
        let (seconds, peak) = (started.elapsed().as_secs_f64(), peak_megabytes().unwrap_or(f64::NAN));
        most = most.max(peak);
        phases.insert(name, json!({ "seconds": seconds, "peak_mb": peak }));
        forget_peak();
    };
    let started = Instant::now();
    let model = Segmenter::load(folder, &Device::Cpu)?;
    note("load", started);
    let started = Instant::now();
    let scan = read_image(scan_path(folder, gzip))?;
    note("read", started);
    let started = Instant::now();
    let found = model.segment_owned(scan)?;
    note("segment", started);
    let started = Instant::now();
    write(folder.join("mask.nii.gz"), &found.mask)?;
    note("write", started);
    let checksum = found.mask.voxels().iter().fold(0u64, |sum, &label| {
        (sum ^ u64::from(label)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5)
    });
    let voxels: usize = found.report.labels.values().map(|label| label.voxels).sum();
    println!(
        "{}",
        json!({ "load": phases["load"], "read": phases["read"], "segment": phases["segment"],
            "write": phases["write"], "peak_mb": most, "voxels": voxels, "checksum": format!("{checksum:016x}"),
            "fallback": found.report.fallback, "threads": rayon::current_num_threads() })
    );
    Ok(())
}

/// The most memory this process has had since [`forget_peak`], where the system tells.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib * 1024.0 / 1e6)
}

/// Has the system count the peak anew, where it does that.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
