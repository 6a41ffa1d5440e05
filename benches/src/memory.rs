//! How much memory this process has, as Linux tells it; nothing elsewhere.

use std::fs;

/// Bytes of memory in use now.
#[must_use]
pub fn resident_bytes() -> Option<f64> {
    status("VmRSS:")
}

/// The most bytes in use since the start or the last [`reset_peak`].
#[must_use]
pub fn peak_bytes() -> Option<f64> {
    status("VmHWM:")
}

/// Lets [`peak_bytes`] begin anew; false where the system does not allow it.
#[must_use]
pub fn reset_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status(name: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kibibytes| 1024.0 * kibibytes)
}
