//! Volumes into NIfTI files.

use std::path::Path;

use super::NiftiVersion;
use super::encode::encode;
use super::names::Layout;
use crate::atomic_file::write_pair_atomically;
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
    let written = match &voxel_path {
        None => {
            write_atomically(&header_path, |file| write_voxels(file, compression, &header, volume.voxels()))
                .map_err(|source| (&*header_path, source))
        }
        Some(voxel_path) => write_pair_atomically(
            [voxel_path, &header_path],
            |file| write_voxels(file, compression, &[], volume.voxels()),
            |file| write_voxels::<T>(file, compression, &header, &[]),
        ),
    };
    written.map_err(|(path, source)| VolumeError::Io { path: path.to_path_buf(), source })
}
