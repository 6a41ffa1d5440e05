//! Volumes into NIfTI files.

use std::path::Path;

use super::NiftiVersion;
use super::encode::encode;
use super::names::Layout;
use crate::file::{Compression, write_voxels};
use crate::{Volume, VolumeError, Voxel, write_atomically};

/// Writes `volume` to `path`, whose name ends as NIfTI files do.
pub(crate) fn write<T: Voxel>(
    path: &Path,
    volume: &Volume<T>,
    version: NiftiVersion,
) -> Result<(), VolumeError> {
    let Layout { header: header_path, voxels: voxel_path, gzip } = Layout::of(path);
    let compression = if gzip { Compression::Gzip } else { Compression::None };
    let header = encode(volume.grid(), T::DATA_TYPE, voxel_path.is_some(), version)
        .map_err(|error| error.in_file(path))?;
    let create = |path: &Path, head: &[u8], volume: Option<&Volume<T>>| {
        write_atomically(path, |file| {
            write_voxels(file, compression, head, volume.map_or(&[], Volume::voxels))
        })
        .map_err(|source| VolumeError::Io { path: path.to_path_buf(), source })
    };
    match voxel_path {
        None => create(&header_path, &header, Some(volume)),
        Some(voxel_path) => {
            create(&voxel_path, &[], Some(volume))?;
            create(&header_path, &header, None)
        }
    }
}
