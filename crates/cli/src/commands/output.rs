//! Results for programs and people.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use organseg::volume::write_atomically;
use serde::Serialize;

/// Prints `text`. A reader that has seen enough and closes the pipe is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("cannot print"),
        _ => Ok(()),
    }
}

/// Prints `value` as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Writes `text` to `path`, whole or not at all.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, |file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{}: cannot write", path.display()))
}

/// Makes the folder that the file at `path` is to lie in, before the work of which it will hold the result; a folder at `path`
/// itself is an error.
pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    ensure!(!path.is_dir(), "{}: is a folder, expected a file or nothing", path.display());
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => make_folder(folder),
        None => Ok(()),
    }
}

/// Makes `folder` and those above it.
pub(crate) fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{}: cannot make the folder", folder.display()))
}
