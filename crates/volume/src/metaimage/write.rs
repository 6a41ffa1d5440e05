//! Volumes into MetaImage files.

use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::encode::{Voxels, encode};
use crate::atomic_file::write_pair_atomically;
use crate::file::{Compression, raw_name, split_ending, write_voxels};
use crate::{Volume, VolumeError, Voxel, write_atomically};

const ENDINGS: [&str; 2] = [".mha", ".mhd"];

/// Whether the name ends as MetaImage files do.
pub(crate) fn is_named_so(path: &Path) -> bool {
    !split_ending(path, &ENDINGS).1.is_empty()
}

/// Writes `volume` to `path`: `.mha` with a zlib stream behind the header, `.mhd` with raw voxels beside it,
/// in a file named for it: `scan.mhd.raw`.
pub(crate) fn write<T: Voxel>(path: &Path, volume: &Volume<T>) -> Result<(), VolumeError> {
    let io = |path: &Path, source| VolumeError::Io { path: path.to_path_buf(), source };
    let (_, ending) = split_ending(path, &ENDINGS);
    if ending == ".mha" {
        return write_atomically(path, |file| compressed(file, volume)).map_err(|e| io(path, e));
    }
    let name = raw_name(path);
    let header = encode(volume.grid(), T::DATA_TYPE, Voxels::Raw { file: &name });
    write_pair_atomically(
        [&path.with_file_name(&name), path],
        |file| write_voxels(file, Compression::None, &[], volume.voxels()),
        |file| file.write_all(header.as_bytes()),
    )
    .map_err(|(path, source)| io(path, source))
}

/// A header, then voxels; then the header again, for it says how long they are, and ITK reads nothing
/// without.
fn compressed<T: Voxel, F: Write + Seek>(file: &mut F, volume: &Volume<T>) -> io::Result<()> {
    let header = |bytes| encode(volume.grid(), T::DATA_TYPE, Voxels::Compressed { bytes });
    file.write_all(header(0).as_bytes())?;
    let begins = file.stream_position()?;
    write_voxels(file, Compression::Zlib, &[], volume.voxels())?;
    let bytes = file.stream_position()? - begins;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(header(bytes).as_bytes())
}
