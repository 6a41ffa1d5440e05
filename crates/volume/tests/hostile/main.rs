//! Damaged files of every format: each must be an error, soon, and cost little memory.
//!
//! This is a test binary of its own, with one test, because it measures memory: everything that the process
//! allocates counts.

mod corpus;
#[cfg(feature = "dicom")]
mod dicom;
mod metaimage;
mod nifti;
mod nrrd;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use organseg_volume::{ReadLimits, Volume, VolumeError, read_with_limits};
use peak_alloc::PeakAlloc;

use crate::corpus::Input;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Longest that an answer may take.
const MAX_TIME: Duration = Duration::from_secs(2);

/// Most bytes that may be allocated at once to find out that a file is damaged.
const MAX_BYTES: usize = 64 << 20;

/// Most bytes that may be asked for of an input with a small limit.
const SMALL_LIMIT: u64 = 32 << 20;

/// What became of one file.
struct Outcome {
    answer: std::thread::Result<Result<Volume<f32>, VolumeError>>,
    time: Duration,
    peak_bytes: usize,
}

fn read(input: &Input) -> Outcome {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = input.write_to(folder.path());
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let start = Instant::now();
    let mut limits = ReadLimits::default();
    if !input.has_default_limits {
        limits.max_bytes = SMALL_LIMIT;
    }
    let answer = catch_unwind(AssertUnwindSafe(|| read_with_limits::<f32>(&path, limits)));
    Outcome { answer, time: start.elapsed(), peak_bytes: ALLOCATOR.peak_usage().saturating_sub(before) }
}

#[test]
fn every_damaged_file_is_an_error_soon_and_cheaply() {
    let mut inputs = nifti::inputs();
    inputs.extend(nrrd::inputs());
    inputs.extend(metaimage::inputs());
    #[cfg(feature = "dicom")]
    inputs.extend(dicom::inputs());
    let mut faults = Vec::new();
    let (mut slowest, mut largest) = ((Duration::ZERO, String::new()), (0, String::new()));
    for input in &inputs {
        let Outcome { answer, time, peak_bytes } = read(input);
        let mut fault = |what: String| faults.push(format!("{}: {what}", input.name));
        match answer {
            Err(_) => fault("it makes us panic".to_string()),
            Ok(Ok(volume)) => fault(format!("it is read, as {:?} voxels", volume.size())),
            Ok(Err(error)) if error.to_string().is_empty() => fault("the error says nothing".to_string()),
            Ok(Err(_)) => {}
        }
        if time > MAX_TIME {
            fault(format!("it takes {time:.1?}"));
        }
        if peak_bytes > MAX_BYTES {
            fault(format!("it takes {peak_bytes} bytes of memory"));
        }
        slowest = slowest.max((time, input.name.clone()));
        largest = largest.max((peak_bytes, input.name.clone()));
    }
    println!("{} damaged files, {} of them wrongly answered", inputs.len(), faults.len());
    println!("slowest: {:.3} s, {}", slowest.0.as_secs_f64(), slowest.1);
    println!("largest: {:.1} MB, {}", largest.0 as f64 / 1e6, largest.1);
    assert!(inputs.len() >= 200, "the corpus has {} files, expected at least 200", inputs.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
