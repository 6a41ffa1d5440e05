//! Volumes into NRRD files.

use std::io::Write;
use std::path::Path;

use super::encode::encode;
use crate::atomic_file::write_pair_atomically;
use crate::file::{Compression, raw_name, split_ending, write_voxels};
use crate::{Volume, VolumeError, Voxel, write_atomically};

const ENDINGS: [&str; 2] = [".nrrd", ".nhdr"];

/// Whether the name ends as NRRD files do.
pub(crate) fn is_named_so(path: &Path) -> bool {
    !split_ending(path, &ENDINGS).1.is_empty()
}

/// Writes `volume` to `path`: `.nrrd` with gzip behind the header, `.nhdr` with raw voxels beside it, in a
/// file named for it: `scan.nhdr.raw`.
pub(crate) fn write<T: Voxel>(path: &Path, volume: &Volume<T>) -> Result<(), VolumeError> {
    let (_, ending) = split_ending(path, &ENDINGS);
    if ending == ".nrrd" {
        let header = encode(volume.grid(), T::DATA_TYPE, None);
        return write_atomically(path, |file| {
            file.write_all(header.as_bytes())?;
            write_voxels(file, Compression::Gzip, &[], volume.voxels())
        })
        .map_err(|source| VolumeError::Io { path: path.to_path_buf(), source });
    }
    let name = raw_name(path);
    let header = encode(volume.grid(), T::DATA_TYPE, Some(&name));
    write_pair_atomically(
        [&path.with_file_name(&name), path],
        |file| write_voxels(file, Compression::None, &[], volume.voxels()),
        |file| file.write_all(header.as_bytes()),
    )
    .map_err(|(path, source)| VolumeError::Io { path: path.to_path_buf(), source })
}
