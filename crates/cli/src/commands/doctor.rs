//! `organseg doctor`

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::Args;
use organseg::conv3d::instructions;
use organseg::conv3d::self_test::{self, Difference};
use organseg::pipeline::{DType, Device};
use organseg::unet;
use serde::Serialize;

use super::output::{print, print_json};
use crate::failure::one_line;

/// Say what this program and this machine have, and whether they compute what they should.
///
/// Every operation of a network, and one whole network, run forward and backward on fresh random numbers on the CPU and on
/// every GPU, beside the same in double precision. Exit code 1 if something is further off than rounding explains.
#[derive(Args)]
pub(crate) struct Options {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Differences up to which numbers of 24, 11, 8 and 53 bits explain them, relative to the size of the result. Doubles are
/// for the steps whose gradients jump with the last digits (pooling, leaky ReLU), which fewer bits cannot compare.
const LIMITS: [(DType, &str, f64); 4] = [
    (DType::F32, "f32", 1e-4),
    (DType::F16, "f16", 1e-2),
    (DType::BF16, "bf16", 1e-2),
    (DType::F64, "f64", 1e-9),
];

#[derive(Serialize)]
struct Report {
    version: &'static str,
    instructions: &'static str,
    threads: usize,
    /// What was built in.
    features: Vec<&'static str>,
    devices: Vec<Examined>,
    /// Why there are no GPUs among them, or some are missing.
    no_gpu: Option<String>,
    /// Convolutions that cuDNN did not do, which plain kernels did instead: right, and many times slower.
    without_cudnn: Vec<String>,
}

/// A device and how it did.
#[derive(Serialize)]
struct Examined {
    device: String,
    what: String,
    checks: Vec<Check>,
}

/// How one type of number did.
#[derive(Serialize)]
struct Check {
    numbers: &'static str,
    limit: f64,
    good: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    /// The result that was furthest off, of how many.
    Compared { largest_difference: f64, of: String, results: usize },
    /// What stopped it.
    Failed { error: String },
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let mut devices = vec![Examined {
        device: "cpu".into(),
        what: format!("{} instructions, {} threads", instructions(), rayon::current_num_threads()),
        checks: vec![check(&Device::Cpu, LIMITS[0], seed)],
    }];
    let no_gpu = gpus(&mut devices, seed);
    let features = [("cuda", cfg!(feature = "cuda")), ("cudnn", cfg!(feature = "cudnn"))];
    let report = Report {
        version: env!("CARGO_PKG_VERSION"),
        instructions: instructions(),
        threads: rayon::current_num_threads(),
        features: features.into_iter().filter_map(|(name, built)| built.then_some(name)).collect(),
        devices,
        no_gpu,
        without_cudnn: without_cudnn(),
    };
    if options.json {
        print_json(&report)?;
    } else {
        print(&report.to_text())?;
    }
    let ill = report.devices.iter().flat_map(|device| &device.checks).filter(|check| !check.good).count();
    if ill > 0 {
        bail!(
            "{ill} of the checks above failed or found a difference beyond its limit: do not trust what it computes"
        );
    }
    Ok(())
}

/// Everything on `device` in one type of number.
fn check(device: &Device, (number, numbers, limit): (DType, &'static str, f64), seed: u64) -> Check {
    let all = || -> Result<Vec<Difference>> {
        let mut all = self_test::operations(device, number)?;
        all.extend(unet::self_test::network(device, number, seed)?);
        Ok(all)
    };
    let all = match all() {
        Ok(all) => all,
        Err(error) => {
            let outcome = Outcome::Failed { error: one_line(&error) };
            return Check { numbers, limit, good: false, outcome };
        }
    };
    let results = all.len();
    // NaN is further off than anything.
    let order = |d: &Difference| if d.relative.is_nan() { f64::INFINITY } else { d.relative };
    let worst = all.into_iter().max_by(|a, b| order(a).total_cmp(&order(b))).expect("there are operations");
    let good = worst.relative <= limit;
    let outcome = Outcome::Compared { largest_difference: worst.relative, of: worst.what, results };
    Check { numbers, limit, good, outcome }
}

/// Examines the GPUs; why there are none, or not all, if so.
#[cfg(feature = "cuda")]
fn gpus(devices: &mut Vec<Examined>, seed: u64) -> Option<String> {
    use organseg::conv3d::cuda::cards;
    let cards = match cards() {
        Ok(cards) if cards.is_empty() => return Some("the driver knows of no card".into()),
        Ok(cards) => cards,
        Err(error) => return Some(format!("NVIDIA's driver says: {error}")),
    };
    let mut missing = Vec::new();
    for (number, card) in cards.into_iter().enumerate() {
        let examined = card.map_err(anyhow::Error::from).and_then(|card| {
            let device = organseg::conv3d::cuda::device(number)?;
            let checks = LIMITS.into_iter().map(|limit| check(&device, limit, seed)).collect();
            Ok(Examined { device: format!("cuda:{number}"), what: describe(&card)?, checks })
        });
        match examined {
            Ok(examined) => devices.push(examined),
            Err(error) => missing.push(format!("cuda:{number}: {}", one_line(&error))),
        }
    }
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// Name, memory, driver and library of a card.
#[cfg(feature = "cuda")]
fn describe(card: &organseg::conv3d::cuda::Card) -> Result<String> {
    use organseg::conv3d::cuda::{driver_release, driver_version};
    let gigabytes = |bytes: usize| bytes as f64 / 1e9;
    let (major, minor) = driver_version()?;
    #[cfg(feature = "cudnn")]
    let library = {
        let (major, minor, patch) = organseg::conv3d::cuda::cudnn_version();
        format!("cuDNN {major}.{minor}.{patch}")
    };
    #[cfg(not(feature = "cudnn"))]
    let library = "without cuDNN";
    Ok(format!(
        "{}, compute capability {}.{}, {:.1} GB of {:.1} GB free, driver {} for CUDA up to {major}.{minor}, {library}",
        card.name,
        card.capability.0,
        card.capability.1,
        gigabytes(card.free_memory),
        gigabytes(card.memory),
        driver_release().unwrap_or_else(|| "of unknown release".into()),
    ))
}

/// There is nothing to examine in a build without CUDA.
#[cfg(not(feature = "cuda"))]
fn gpus(_: &mut Vec<Examined>, _: u64) -> Option<String> {
    Some("this organseg was built without its `cuda` feature".into())
}

#[cfg(feature = "cuda")]
fn without_cudnn() -> Vec<String> {
    organseg::conv3d::cuda::without_cudnn()
}

#[cfg(not(feature = "cuda"))]
fn without_cudnn() -> Vec<String> {
    Vec::new()
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = format!("organseg {}", self.version);
        if !self.features.is_empty() {
            let _ = write!(text, " with {}", self.features.join(", "));
        }
        text.push('\n');
        for device in &self.devices {
            let _ = writeln!(text, "\n{}: {}", device.device, device.what);
            for Check { numbers, limit, good, outcome } in &device.checks {
                let verdict = if *good { "good" } else { "WRONG" };
                let _ = match outcome {
                    Outcome::Compared { largest_difference, of, results } => writeln!(
                        text,
                        "  {numbers:<5} {results} results and gradients within {largest_difference:.1e} of double \
                         precision ({of}); limit {limit:.0e}: {verdict}"
                    ),
                    Outcome::Failed { error } => writeln!(text, "  {numbers:<5} failed: {error}: {verdict}"),
                };
            }
        }
        for what in &self.without_cudnn {
            let _ = writeln!(text, "  slow, for cuDNN did not do it: {what}");
        }
        if let Some(reason) = &self.no_gpu {
            let _ = writeln!(text, "\nno GPU examined: {reason}");
        }
        text
    }
}
