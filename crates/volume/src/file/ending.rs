//! The endings of file names.

use std::path::Path;

/// The file's name without its ending, and the ending: the longest of `endings` (small letters, with the
/// dot) that the name ends in, in any case, or nothing.
pub(crate) fn split_ending(path: &Path, endings: &[&'static str]) -> (String, &'static str) {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let lower = name.to_ascii_lowercase();
    let fitting = endings.iter().filter(|ending| lower.ends_with(**ending));
    match fitting.max_by_key(|ending| ending.len()) {
        Some(ending) => (name[..name.len() - ending.len()].to_string(), ending),
        None => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_found_in_any_case() {
        let split = |name| split_ending(Path::new(name), &[".gz", ".nii", ".nii.gz", ".img.gz"]);
        assert_eq!(split("a/scan.1.nii.gz"), ("scan.1".to_string(), ".nii.gz"));
        assert_eq!(split("SCAN.NII"), ("SCAN".to_string(), ".nii"));
        assert_eq!(split("x.img.gz"), ("x".to_string(), ".img.gz"));
        assert_eq!(split("x.png"), ("x.png".to_string(), ""));
        assert_eq!(split("/"), (String::new(), ""));
    }
}
