//! Times what happens to a scan before and after the network: reading, writing, resampling, components.
//!
//! `cargo run --release -p organseg-benches --bin volume_ops -- --scan ct.nii.gz --rounds 7`
//!
//! Each operation runs in a process of its own, so that no other's memory counts as its. The first round warms
//! up and tells the memory; times are those of the others. `benches/peers/volume_ops.py` does the same with
//! Python's packages, `benches/peers/compare_volume.py` runs both, `benches/peers/volume_scan.py` makes the scan.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use organseg::roi::{Connectivity, connected_components};
use organseg::volume::{
    Grid, Interpolation, Spacing, Volume, VolumeError, Voxel, grid_with_spacing, labels_from_scores, read,
    resample, write,
};
use organseg_benches::median;
use organseg_benches::memory::{peak_bytes, reset_peak, resident_bytes};
use serde_json::{Value, json};

/// Voxels above this are the mask whose components are counted: bone and, in noise, many specks.
const THRESHOLD_HU: i16 = 150;

/// Beyond the scan.
const AIR_HU: i16 = -1024;

/// No further round begins after this long: the slowest peers would take minutes.
const ENOUGH_SECONDS: f64 = 10.0;

/// Times reading, writing, resampling and components of a scan on the CPU.
#[derive(Parser)]
struct Options {
    /// The scan, .nii.gz of 16-bit integers.
    #[arg(long)]
    scan: PathBuf,
    /// A folder with one DICOM series.
    #[arg(long)]
    series: Option<PathBuf>,
    /// What is timed; may be given several times. Everything if it is not, `dicom` only with --series.
    #[arg(long = "operation")]
    operations: Vec<Operation>,
    /// How often each is run, while it takes less than ten seconds in all; times are medians.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// How many threads work.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Write the result of a single operation here, as .nii or .nii.gz.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON with all times in milliseconds.
    #[arg(long)]
    json: bool,
}

/// One thing to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// The file into 16-bit integers.
    ReadI16,
    /// The file into floats.
    ReadF32,
    /// A .nii.gz from 16-bit integers.
    Write,
    /// To 1 mm, trilinear, integers.
    LinearI16,
    /// To 1 mm, trilinear, floats.
    LinearF32,
    /// To 1 mm, cubic B-spline, integers.
    CubicI16,
    /// To 1 mm, cubic B-spline, floats.
    CubicF32,
    /// Scores of two classes on a quarter of the grid into labels on the whole.
    Scores,
    /// The DICOM series in --series into 16-bit integers.
    Dicom,
    /// 26-connected components of what lies above a threshold, as a volume of numbers.
    Components,
}

/// As in the `organseg` command.
#[global_allocator]
static MEMORY: organseg::conv3d::LargePages = organseg::conv3d::LargePages;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let results = match &options.operations[..] {
        &[operation] => vec![run(operation, &options)?],
        _ if options.out.is_some() => return Err("--out: expected one --operation with it".into()),
        several => {
            let all = if several.is_empty() { Operation::value_variants() } else { several };
            let left_out =
                |operation| several.is_empty() && operation == Operation::Dicom && options.series.is_none();
            let all = all.iter().filter(|&&operation| !left_out(operation));
            all.map(|&operation| run_in_child(operation, &options)).collect::<Result<_, _>>()?
        }
    };
    if options.json {
        println!("{}", json!(results));
    } else {
        results.iter().for_each(print);
    }
    Ok(())
}

/// The result of [`run`] in a process of its own.
fn run_in_child(operation: Operation, options: &Options) -> Result<Value, Box<dyn Error>> {
    let value = operation.to_possible_value().expect("no operation is hidden");
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--json", "--operation", value.get_name(), "--scan"]).arg(&options.scan);
    child.args(["--rounds", &options.rounds.to_string(), "--threads", &options.threads.to_string()]);
    if let Some(series) = &options.series {
        child.arg("--series").arg(series);
    }
    let output = child.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{} failed: {}", value.get_name(), output.status).into());
    }
    let mut results: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    Ok(results.remove(0))
}

fn run(operation: Operation, options: &Options) -> Result<Value, Box<dyn Error>> {
    rayon::ThreadPoolBuilder::new().num_threads(options.threads).build_global()?;
    let scan = &options.scan;
    let mut result = match operation {
        Operation::ReadI16 => measure(options, || read::<i16>(scan))?,
        Operation::ReadF32 => measure(options, || read::<f32>(scan))?,
        Operation::Write => time_writing(options)?,
        Operation::LinearI16 => time_resampling(options, Interpolation::Linear, AIR_HU)?,
        Operation::LinearF32 => time_resampling(options, Interpolation::Linear, f32::from(AIR_HU))?,
        Operation::CubicI16 => time_resampling(options, Interpolation::Cubic, AIR_HU)?,
        Operation::CubicF32 => time_resampling(options, Interpolation::Cubic, f32::from(AIR_HU))?,
        Operation::Dicom => time_dicom(options)?,
        Operation::Scores => time_labels(options)?,
        Operation::Components => {
            let mask = read::<i16>(scan)?.map(|hu| u8::from(hu > THRESHOLD_HU));
            measure(options, || Ok(connected_components(&mask, Connectivity::TwentySix).into_labels()))?
        }
    };
    result["operation"] = json!(operation.to_possible_value().expect("no operation is hidden").get_name());
    result["variant"] = json!("organseg");
    result["threads"] = json!(options.threads);
    Ok(result)
}

fn time_dicom(options: &Options) -> Result<Value, Box<dyn Error>> {
    let series = options.series.as_ref().ok_or("dicom: expected --series FOLDER")?;
    measure(options, || read::<i16>(series))
}

fn time_resampling<T: Voxel>(
    options: &Options,
    interpolation: Interpolation,
    fill: T,
) -> Result<Value, Box<dyn Error>> {
    let scan = read::<T>(&options.scan)?;
    let target = grid_with_spacing(scan.grid(), Spacing::isotropic(1.0)?)?;
    measure(options, || Ok(resample(&scan, &target, interpolation, fill)))
}

fn time_labels(options: &Options) -> Result<Value, Box<dyn Error>> {
    let (scores, coarse, target) = scores(&read(&options.scan)?)?;
    measure(options, || labels_from_scores(&scores, 2, &coarse, &target))
}

/// Scores of two classes on a quarter of the scan's grid, that grid and the scan's: the second class leads
/// above 100 HU. Single voxels, noise and all, so that the peers have the same to the bit; a network's scores
/// are smoother.
fn scores(scan: &Volume<f32>) -> Result<(Vec<f32>, Grid, Grid), VolumeError> {
    let grid = *scan.grid();
    let coarse = grid.decimated([4; 3])?;
    let class = |offset: usize, score: fn(f32) -> f32| {
        let last = grid.size().map(|n| n - 1);
        Volume::from_fn(coarse, |v| score(scan[[0, 1, 2].map(|a| (4 * v[a] + offset).min(last[a]))]))
            .into_vec()
    };
    let mut scores = class(2, |hu| 1.5 - hu / 200.0);
    scores.extend(class(0, |hu| hu / 100.0));
    Ok((scores, coarse, grid))
}

fn time_writing(options: &Options) -> Result<Value, Box<dyn Error>> {
    let scan = read::<i16>(&options.scan)?;
    let path = std::env::temp_dir().join(format!("volume_ops_{}.nii.gz", std::process::id()));
    let result = measure(options, || write(&path, &scan));
    let file_megabytes = std::fs::metadata(&path).map(|file| file.len() as f64 / 1e6);
    std::fs::remove_file(&path)?;
    let mut result = result?;
    result["file_mb"] = json!(file_megabytes?);
    Ok(result)
}

/// Something that an operation leaves behind.
trait Outcome {
    /// Bytes of memory that it takes.
    fn bytes(&self) -> usize;

    fn write_to(&self, path: &Path) -> Result<(), Box<dyn Error>>;
}

impl<T: Voxel> Outcome for Volume<T> {
    fn bytes(&self) -> usize {
        size_of_val(self.voxels())
    }

    fn write_to(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        Ok(write(path, self)?)
    }
}

impl Outcome for () {
    fn bytes(&self) -> usize {
        0
    }

    fn write_to(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        Err(format!("--out {}: the operation has no result", path.display()).into())
    }
}

/// Milliseconds of every round but the first; from the first, the megabytes of the result and the most that
/// were in use besides it and besides what was there before.
fn measure<R: Outcome>(
    options: &Options,
    mut work: impl FnMut() -> Result<R, VolumeError>,
) -> Result<Value, Box<dyn Error>> {
    let before = resident_bytes().filter(|_| reset_peak());
    let mut result = work()?;
    let output = result.bytes() as f64;
    let beyond = peak_bytes().zip(before).map(|(peak, before)| peak - before - output);
    let megabytes = |bytes: f64| bytes / 1e6;
    let mut times = Vec::new();
    let mut total = 0.0;
    while times.len() < options.rounds && (times.is_empty() || total < ENOUGH_SECONDS) {
        drop(result); // Giving memory back is nobody's time.
        let started = Instant::now();
        result = black_box(work()?);
        let seconds = started.elapsed().as_secs_f64();
        total += seconds;
        times.push(1e3 * seconds);
    }
    if let Some(path) = &options.out {
        result.write_to(path)?;
    }
    Ok(json!({ "times": times, "output_mb": megabytes(output), "beyond_mb": beyond.map(megabytes) }))
}

fn print(result: &Value) {
    let times: Vec<f64> =
        result["times"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    let name = result["operation"].as_str().unwrap_or_default();
    print!("{name:<12} {:>9.1} ms  {:>7.1} MB", median(&times), result["output_mb"].as_f64().unwrap_or(0.0));
    if let Some(beyond) = result["beyond_mb"].as_f64() {
        print!("  and {beyond:.1} MB besides");
    }
    if let Some(file) = result["file_mb"].as_f64() {
        print!("  a file of {file:.1} MB");
    }
    println!();
}
