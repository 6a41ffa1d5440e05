//! Image files and their names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use organseg::volume::is_dicom;

/// Endings of image files, longest first; of two files side by side the one with the header.
const ENDINGS: [&str; 7] = [".nii.gz", ".nii", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd"];

/// The endings in words.
pub(crate) const ENDINGS_TEXT: &str = ".nii.gz, .nii, .hdr, .nrrd, .nhdr, .mha or .mhd";

/// The name of the image at `path` without folder and ending; none if it is no image by its name.
pub(crate) fn image_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    // As reading has it: .NII.GZ is one too.
    let ending = ENDINGS.iter().find(|ending| name.to_ascii_lowercase().ends_with(*ending))?;
    Some(name[..name.len() - ending.len()].to_string())
}

/// The name of the scan at `path`: that of the image or, for a folder of DICOM files or one such file, of
/// the folder or file.
pub(crate) fn scan_name(path: &Path) -> Option<String> {
    let name = || Some(path.canonicalize().ok()?.file_name()?.to_str()?.to_string());
    image_name(path).or_else(|| if is_dicom(path) { name() } else { None })
}

/// Whether `folder` holds images, as opposed to the files of a DICOM series.
pub(crate) fn has_images(folder: &Path) -> Result<bool> {
    let (images, others): (Vec<_>, Vec<_>) =
        files_in(folder)?.into_iter().partition(|path| image_name(path).is_some());
    let (Some(image), slice) = (images.first(), others.iter().find(|path| is_dicom(path))) else {
        return Ok(false);
    };
    if let Some(slice) = slice {
        bail!(
            "{}: holds images ({}) and DICOM files ({}), expected one of both; name the image, or put the series \
             into a folder of its own",
            folder.display(),
            image.display(),
            slice.display()
        );
    }
    Ok(true)
}

/// The images in `folder`, by name.
pub(crate) fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = files_in(folder)?;
    found.retain(|path| image_name(path).is_some());
    if found.is_empty() {
        bail!("{}: there are no images, expected {ENDINGS_TEXT} files", folder.display());
    }
    Ok(found)
}

/// The files in `folder` that are not hidden, by name. One whose name is no text is an error: it may be an image, and nobody
/// would miss its mask.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("{}: cannot read the folder", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || !path.is_file() {
            continue;
        }
        if path.file_name().is_some_and(|name| name.to_str().is_none()) {
            bail!(
                "{}: its name is not UTF-8, expected one that is; give the file another name",
                path.display()
            );
        }
        found.push(path);
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_that_is_no_text_is_told_and_not_passed_over() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let name = std::ffi::OsStr::from_bytes(b"Gro\xdf.nii.gz");
        std::fs::write(folder.path().join(name), b"").expect("the folder can be written");
        std::fs::write(folder.path().join("a.nii.gz"), b"").expect("the folder can be written");
        for error in [images_in(folder.path()).err(), has_images(folder.path()).err()] {
            let said = error.expect("one name is no text").to_string();
            assert!(said.contains("Gro\u{fffd}.nii.gz: its name is not UTF-8"), "{said}");
        }
    }

    #[test]
    fn images_are_known_by_their_names() {
        let name = |path: &str| image_name(Path::new(path));
        for ending in ENDINGS {
            assert_eq!(name(&format!("a/scan.1{ending}")).as_deref(), Some("scan.1"));
            assert!(ENDINGS_TEXT.contains(ending));
        }
        assert_eq!(name("a/Scan.NII.gz").as_deref(), Some("Scan"));
        assert_eq!(name("a/scan.raw"), None);
    }
}
