//! What a file may ask for.

use std::path::{Path, PathBuf};

/// What a file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most bytes that the voxels may take, as stored and as converted together.
    pub max_bytes: u64,
}

impl Default for ReadLimits {
    /// The memory of the machine, or of the container or job (cgroup) that the process is in, where that is less; 16 GiB
    /// where the system says neither.
    fn default() -> Self {
        let limits = [physical_memory(), group_memory()];
        Self { max_bytes: limits.into_iter().flatten().min().unwrap_or(16 << 30) }
    }
}

fn physical_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// The least that a cgroup around this process allows.
fn group_memory() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = |file: PathBuf| limit_in(&std::fs::read_to_string(file).ok()?);
    limit_files(&groups).into_iter().filter_map(limit).min()
}

/// The files that may hold a limit, of version 2 and of version 1, for a process whose groups are those of
/// `groups`, in the form of `/proc/self/cgroup`. In a container its own group is the root.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let (root, root_v1) = (Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/memory"));
    let mut files = vec![root.join("memory.max"), root_v1.join("memory.limit_in_bytes")];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => (root, "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => (root_v1, "memory.limit_in_bytes"),
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        let around = group.ancestors().filter(|group| !group.as_os_str().is_empty());
        files.extend(around.map(|group| root.join(group).join(file)));
    }
    files
}

/// The number in `text`; none for `max`. Where there is no limit, version 1 has a number beyond any memory.
fn limit_in(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_those_around_it_may_limit_memory() {
        let files = limit_files("0::/job/step\n4:cpu,memory:/slurm\n3:cpuset:/x\n");
        let expected = [
            "/sys/fs/cgroup/memory.max",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/job/step/memory.max",
            "/sys/fs/cgroup/job/memory.max",
            "/sys/fs/cgroup/memory/slurm/memory.limit_in_bytes",
        ];
        assert_eq!(files, expected.map(PathBuf::from));
        assert_eq!((limit_in("max\n"), limit_in("1073741824\n")), (None, Some(1 << 30)));
    }

    #[test]
    fn the_limit_is_no_more_than_the_memory_of_the_machine() {
        assert!(physical_memory().is_none_or(|bytes| ReadLimits::default().max_bytes <= bytes));
    }
}
