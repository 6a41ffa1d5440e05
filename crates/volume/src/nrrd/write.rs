//! Volumes into NRRD files.

use std::io::Write;
use std::path::Path;

use super::encode::encode;
use crate::file::{Compression, split_ending, write_voxels};
use crate::{Volume, VolumeError, Voxel, write_atomically};

const ENDINGS: [&str; 2] = [".nrrd", ".nhdr"];

/// Whether the name ends as NRRD files do.
pub(crate) fn is_named_so(path: &Path) -> bool {
    !split_ending(path, &ENDINGS).1.is_empty()
}

/// Writes `volume` to `path`: `.nrrd` with gzip behind the header, `.nhdr` with raw voxels beside it, in a
/// file of the same name that ends in `.raw`.
pub(crate) fn write<T: Voxel>(path: &Path, volume: &Volume<T>) -> Result<(), VolumeError> {
    let create = |path: &Path, head: &[u8], compression: Compression, voxels: &[T]| {
        write_atomically(path, |file| {
            file.write_all(head)?;
            write_voxels(file, compression, &[], voxels)
        })
        .map_err(|source| VolumeError::Io { path: path.to_path_buf(), source })
    };
    let (stem, ending) = split_ending(path, &ENDINGS);
    if ending == ".nrrd" {
        let header = encode(volume.grid(), T::DATA_TYPE, None);
        return create(path, header.as_bytes(), Compression::Gzip, volume.voxels());
    }
    let name = format!("{stem}.raw");
    create(&path.with_file_name(&name), &[], Compression::None, volume.voxels())?;
    let header = encode(volume.grid(), T::DATA_TYPE, Some(&name));
    create(path, header.as_bytes(), Compression::None, &[])
}
