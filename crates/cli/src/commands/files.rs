//! Image files and their names.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use organseg::volume::is_dicom;

/// Endings of image files, longest first.
const ENDINGS: [&str; 3] = [".nii.gz", ".nii", ".hdr"];

/// The name of the image at `path` without folder and ending; none if it is no image by its name.
pub(crate) fn image_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(ToString::to_string)
}

/// The name of the scan at `path`: that of the image or, for a folder of DICOM files or one such file, of
/// the folder or file.
pub(crate) fn scan_name(path: &Path) -> Option<String> {
    let name = || Some(path.canonicalize().ok()?.file_name()?.to_str()?.to_string());
    image_name(path).or_else(|| if is_dicom(path) { name() } else { None })
}

/// Whether there are images in `folder`, by name; else it may be one of DICOM files.
pub(crate) fn has_images(folder: &Path) -> Result<bool> {
    let cannot_read = || format!("{}: cannot read the folder", folder.display());
    for entry in std::fs::read_dir(folder).with_context(cannot_read)? {
        if image_name(&entry.with_context(cannot_read)?.path()).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The images in `folder`, by name.
pub(crate) fn images_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("{}: cannot read the folder", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot_read)? {
        let path = entry.with_context(cannot_read)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && image_name(&path).is_some() {
            found.push(path);
        }
    }
    if found.is_empty() {
        bail!("{}: there are no images, expected .nii.gz, .nii or .hdr files", folder.display());
    }
    found.sort();
    Ok(found)
}
