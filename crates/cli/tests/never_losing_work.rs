//! Trainings that are killed, interrupted or run out of disk: what goes on from there ends with the same bytes as
//! what nothing disturbed.
//!
//! `cargo test --release -p organseg-cli --test never_losing_work -- --ignored --nocapture` kills twenty.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "what goes wrong in a test may panic")]

mod support;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use organseg::train::{EpochRecord, read_history, sample_rng};
use rand::RngExt;
use support::{names_in, text, world};

/// Two stages with all that has a state: steps of two batches, a running average, early stopping, a checkpoint
/// after nearly every step.
const SETTINGS: &str = "
decimation = [2, 2, 2]
[coarse]
samples_per_case = 3
network.channels = [4, 8]
train = { epochs = 3, batch = 1, accumulate = 2, average_decay = 0.9, patience = 50, validate_every = 2, checkpoint_minutes = 0.0001 }
[fine]
patch_size = [16, 16, 16]
samples_per_case = 3
network.channels = [4, 8]
train = { epochs = 3, batch = 2, checkpoint_every = 0, checkpoint_minutes = 0.0005, optimizer = { kind = \"sgd\", momentum = 0.9, nesterov = true, weight_decay = 1e-4 } }
";

/// A training of these settings into `model`, not yet started.
fn training(model: &Path, resume: bool) -> Command {
    let (data, config) = (world().join("data"), world().join("unbreakable.toml"));
    // Once: a training of another test that read the file while it is written would have no settings.
    static WRITTEN: Once = Once::new();
    WRITTEN.call_once(|| std::fs::write(&config, SETTINGS).unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_organseg"));
    command.args(["train", "--data", text(&data), "--model", text(model), "--config", text(&config)]);
    command.args(["--seed", "5"]);
    if resume {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn to_the_end(model: &Path, resume: bool) {
    let output = training(model, resume).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The undisturbed run: its folder, and how long it took.
fn undisturbed(folder: &Path) -> (std::path::PathBuf, Duration) {
    let (model, started) = (folder.join("undisturbed"), Instant::now());
    to_the_end(&model, false);
    (model, started.elapsed())
}

/// Weights of both stages, and the history without what was measured.
fn outcome(model: &Path) -> (Vec<Vec<u8>>, Vec<EpochRecord>) {
    let weights =
        ["coarse", "fine"].map(|stage| std::fs::read(model.join(stage).with_extension("safetensors")));
    let still =
        |record| EpochRecord { seconds: 0.0, wait_share: 0.0, minutes: 0.0, unix_seconds: 0.0, ..record };
    let history = read_history(&model.join("history.jsonl")).unwrap();
    (weights.map(Result::unwrap).to_vec(), history.into_iter().map(still).collect())
}

/// Kills trainings at `times` random moments, each followed by one with `--resume`.
fn kill_and_resume(times: usize, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (model, mut took) = undisturbed(folder.path());
    let expected = outcome(&model);
    println!("an undisturbed training takes {:.2} s", took.as_secs_f64());
    let (mut killed, mut number) = (0, 0);
    while killed < times {
        number += 1;
        let moment = took.mul_f64(sample_rng(seed, 0, number).random_range(0.02..0.98));
        let model = folder.path().join(number.to_string());
        let mut child = training(&model, false).spawn().unwrap();
        std::thread::sleep(moment);
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // The machine has become faster: this was no moment of the training.
            took = moment;
            continue;
        }
        killed += 1;
        let files = if model.exists() { names_in(&model).join(", ") } else { "no folder".to_string() };
        to_the_end(&model, true);
        assert!(outcome(&model) == expected, "killed after {moment:?}, which left {files}");
        let left_over: Vec<_> = names_in(&model).into_iter().filter(|name| name.ends_with(".part")).collect();
        assert!(left_over.is_empty(), "{left_over:?}");
        println!("killed after {:.2} s: the same bytes; it had left {files}", moment.as_secs_f64());
    }
}

#[test]
fn killed_at_random_moments_and_resumed_a_training_ends_with_the_same_bytes() {
    kill_and_resume(3, 1);
}

#[test]
#[ignore = "the same with twenty moments, for those who want to be sure"]
fn killed_at_twenty_random_moments_and_resumed_a_training_ends_with_the_same_bytes() {
    kill_and_resume(20, 2);
}

/// Waits until `child` has written `file`.
fn wait_for(file: &Path, child: &mut Child) {
    while !file.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote {}", file.display());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn ctrl_c_finishes_the_step_saves_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, _) = undisturbed(folder.path());
    for (signal, file) in [("-INT", "model.toml"), ("-TERM", "checkpoint-coarse.safetensors")] {
        let model = folder.path().join(signal);
        let mut child = training(&model, false).spawn().unwrap();
        wait_for(&model.join(file), &mut child);
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output: Output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{said}");
        for words in [": stopped before step", "--resume", "Ctrl-C again"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        // Early enough, and nothing was there to be saved.
        if file != "model.toml" {
            assert!(said.contains("saved in") && said.contains("checkpoint-"), "{said}");
        }
        to_the_end(&model, true);
        assert!(outcome(&model) == outcome(&whole));
    }
}

/// A limit on the length of files is a disk that is full after so many bytes.
#[test]
fn a_full_disk_leaves_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let mut child = training(&model, false).spawn().unwrap();
    let path = model.join("checkpoint-coarse.safetensors");
    wait_for(&path, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let before = std::fs::read(&path).unwrap();

    let command = training(&model, true);
    let mut limited = Command::new("sh");
    // Blocks of 512 bytes; the signal that usually comes with it is ignored, as on a full disk there is none.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"]);
    let output = limited.arg(command.get_program()).args(command.get_args()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("checkpoint-coarse.safetensors"), "{said}");
    assert!(std::fs::read(&path).unwrap() == before, "the checkpoint before is gone");

    to_the_end(&model, true);
    let (whole, _) = undisturbed(folder.path());
    let (found, expected) = (outcome(&model), outcome(&whole));
    assert_eq!(found.1, expected.1, "another history");
    assert!(found.0 == expected.0, "other weights");
}
