//! What a file may ask for.

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most bytes that the voxels may take, as stored and as converted together.
    pub max_bytes: u64,
}

impl Default for ReadLimits {
    /// The memory of the machine where the system says how much it has, else 16 GiB.
    fn default() -> Self {
        Self { max_bytes: physical_memory().unwrap_or(16 << 30) }
    }
}

fn physical_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}
