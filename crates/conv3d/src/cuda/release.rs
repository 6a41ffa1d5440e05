//! The release of NVIDIA's driver.

/// Where Linux says which driver it has loaded.
const FILE: &str = "/proc/driver/nvidia/version";

/// NVIDIA's own number of the driver that is loaded, such as `580.65.06`; nothing where none is, or where it is not
/// said in Linux's way.
#[must_use]
pub fn driver_release() -> Option<String> {
    release(&std::fs::read_to_string(FILE).ok()?)
}

/// The first word of the kernel module's line that is numbers with dots between them.
fn release(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let found = line.split_whitespace().find(|word| word.contains('.') && word.split('.').all(is_number))?;
    Some(found.to_string())
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn both_kinds_of_kernel_modules_say_it() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n\
                      GCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n";
        assert_eq!(release(closed).as_deref(), Some("535.183.01"));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (root@host)  \
                    Sun Jul 27 06:54:38 UTC 2025\nGCC version:  gcc version 11.4.0\n";
        assert_eq!(release(open).as_deref(), Some("580.65.06"));
        let short = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  575.51  Thu May  1 00:00:00 UTC 2025\n";
        assert_eq!(release(short).as_deref(), Some("575.51"));
    }

    #[test]
    fn a_compiler_is_no_driver() {
        assert_eq!(release("GCC version:  gcc version 12.3.0\n"), None);
        assert_eq!(release("NVRM version: NVIDIA UNIX x86_64 Kernel Module\n"), None);
        assert_eq!(release(""), None);
    }
}
