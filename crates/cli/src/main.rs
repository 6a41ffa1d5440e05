//! The `organseg` command: train, segment, evaluate and check from the shell.
//!
//! Exit code 0 on success, 2 on wrong usage, 1 on failure with one line that says what and why, 130 for a
//! training that Ctrl-C stopped and that can go on.

mod arguments;
mod commands;
mod failure;
mod steps;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use commands::interrupt::{EXIT_CODE, Interrupted};

/// Scans and tensors are large, and mostly new: on large pages they are there in a third of the time.
#[global_allocator]
static MEMORY: organseg::conv3d::LargePages = organseg::conv3d::LargePages;

fn main() -> ExitCode {
    // Tensors come and go: memory that is given back would be fresh pages each time.
    organseg::conv3d::keep_freed_memory();
    let arguments = Arguments::parse();
    if let Some(threads) = arguments.threads {
        // The first and only time that the pool is built.
        if let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() {
            eprintln!("error: {threads} threads: {error}");
            return ExitCode::FAILURE;
        }
    }
    let done = match &arguments.command {
        Command::Phantom(options) => commands::phantom::run(options),
        Command::Info(options) => commands::info::run(options),
        Command::Convert(options) => commands::convert::run(options),
        Command::Resample(options) => commands::resample::run(options),
        Command::Check(options) => commands::check::run(options),
        Command::ImportNih(options) => commands::import_nih::run(options),
        Command::ImportWeights(options) => commands::import_weights::run(options),
        Command::Plan(options) => commands::plan::run(options),
        Command::Train(options) => commands::train::run(options),
        Command::Segment(options) => commands::segment::run(options),
        Command::Evaluate(options) => commands::evaluate::run(options),
        Command::CrossValidate(options) => commands::cross_validate::run(options),
        Command::Doctor(options) => commands::doctor::run(options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("{error}");
            ExitCode::from(EXIT_CODE)
        }
        Err(error) => {
            eprintln!("error: {}", failure::one_line(&error));
            ExitCode::FAILURE
        }
    }
}
