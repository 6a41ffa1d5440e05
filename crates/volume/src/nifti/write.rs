//! Voxels into NIfTI files.

use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::encode::encode;
use crate::{Volume, VolumeError, Voxel, write_atomically};

/// Level of gzip: beyond 4, CT scans get hardly smaller and writing much slower.
const COMPRESSION: u32 = 4;

/// Voxels turned into bytes at a time.
const CHUNK: usize = 1 << 16;

/// Writes `volume` to `path`: `.nii`, `.nii.gz`, or `.hdr` with the voxels in an `.img` beside it.
///
/// The affine goes into the sform and, if its axes are at right angles, the qform. A NIfTI-1 header holds
/// it in single precision: numbers that are exact there, such as those read from another NIfTI file,
/// survive to the bit. Files are written under a temporary name and renamed; the same volume gives the
/// same bytes.
///
/// # Errors
/// [`VolumeError::Format`] for another ending, [`VolumeError::InvalidSize`] for an axis of more than
/// 32767 voxels, [`VolumeError::Io`] if the file cannot be written.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, read, write};
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("scan.nii.gz");
/// let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(1.5)?)?;
/// let volume = Volume::from_vec(grid, vec![-1000i16, 40])?;
/// write(&path, &volume)?;
/// assert_eq!(read::<i16>(&path)?, volume);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write<T: Voxel>(path: impl AsRef<Path>, volume: &Volume<T>) -> Result<(), VolumeError> {
    let path = path.as_ref();
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| VolumeError::Io { path, source }
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let separate = name.ends_with(".hdr");
    let header = encode(volume.grid(), T::DATA_TYPE, separate).map_err(|error| error.in_file(path))?;
    if separate {
        let voxels = path.with_extension("img");
        write_atomically(&voxels, |file| write_voxels(file, volume)).map_err(io(&voxels))?;
        write_atomically(path, |file| file.write_all(&header)).map_err(io(path))
    } else if name.ends_with(".nii") {
        write_atomically(path, |file| write_single(file, &header, volume)).map_err(io(path))
    } else if name.ends_with(".nii.gz") {
        let compressed = |file: &mut dyn Write| {
            // No name and no time in the gzip header: they would make equal volumes differ.
            let mut gzip = GzBuilder::new().mtime(0).write(file, Compression::new(COMPRESSION));
            write_single(&mut gzip, &header, volume)?;
            gzip.finish().map(drop)
        };
        write_atomically(path, |file| compressed(file)).map_err(io(path))
    } else {
        let reason = "its name should end in .nii, .nii.gz or .hdr".to_string();
        Err(VolumeError::Format { path: path.to_path_buf(), reason })
    }
}

fn write_single<T: Voxel>(file: &mut dyn Write, header: &[u8], volume: &Volume<T>) -> io::Result<()> {
    file.write_all(header)?;
    file.write_all(&[0; 4])?; // no extensions
    write_voxels(file, volume)
}

fn write_voxels<T: Voxel>(file: &mut dyn Write, volume: &Volume<T>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(CHUNK * T::DATA_TYPE.bytes());
    for chunk in volume.voxels().chunks(CHUNK) {
        bytes.clear();
        for voxel in chunk {
            voxel.push_le_bytes(&mut bytes);
        }
        file.write_all(&bytes)?;
    }
    Ok(())
}
