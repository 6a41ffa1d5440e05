//! The names of NIfTI files: `.nii`, or `.hdr` and `.img` side by side, each with `.gz` or without.

use std::path::{Path, PathBuf};

use crate::VolumeError;
use crate::file::split_ending;

const ENDINGS: [&str; 6] = [".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz"];

/// Whether the name ends as NIfTI files do.
pub(crate) fn is_named_so(path: &Path) -> bool {
    !split_ending(path, &ENDINGS).1.is_empty()
}

/// The file whose header describes the image at `path`: the `.hdr` beside an `.img`, else `path` itself.
pub(crate) fn header_path(path: &Path) -> Result<PathBuf, VolumeError> {
    match split_ending(path, &ENDINGS) {
        (stem, ".img") => sibling(path, &stem, [".hdr", ".hdr.gz"]),
        (stem, ".img.gz") => sibling(path, &stem, [".hdr.gz", ".hdr"]),
        _ => Ok(path.to_path_buf()),
    }
}

/// The file with the voxels that belong to a header in a file of its own.
pub(super) fn voxel_path(header: &Path) -> Result<PathBuf, VolumeError> {
    match split_ending(header, &ENDINGS) {
        (stem, ".hdr.gz") => sibling(header, &stem, [".img.gz", ".img"]),
        (stem, _) => sibling(header, &stem, [".img", ".img.gz"]),
    }
}

/// How a new image of the name `path` is laid out.
pub(super) struct Layout {
    pub(super) header: PathBuf,
    /// Where the voxels go if not behind the header.
    pub(super) voxels: Option<PathBuf>,
    pub(super) gzip: bool,
}

impl Layout {
    pub(super) fn of(path: &Path) -> Self {
        let (stem, ending) = split_ending(path, &ENDINGS);
        let gzip = ending.ends_with(".gz");
        if ending.starts_with(".nii") {
            return Self { header: path.to_path_buf(), voxels: None, gzip };
        }
        let gz = if gzip { ".gz" } else { "" };
        let beside = |ending: &str| path.with_file_name(format!("{stem}{ending}{gz}"));
        Self { header: beside(".hdr"), voxels: Some(beside(".img")), gzip }
    }
}

/// The first of `stem` + `endings` that lies beside `path`.
fn sibling(path: &Path, stem: &str, endings: [&str; 2]) -> Result<PathBuf, VolumeError> {
    let candidates = endings.map(|ending| path.with_file_name(format!("{stem}{ending}")));
    candidates.into_iter().find(|candidate| candidate.exists()).ok_or_else(|| {
        let reason = format!(
            "its other half should lie beside it as {stem}{} or {stem}{}, and neither exists",
            endings[0], endings[1]
        );
        VolumeError::Format { path: path.to_path_buf(), reason }
    })
}
