//! Voxels into NIfTI files.

use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};

use super::encode::encode;
use super::open::split_ending;
use crate::{Volume, VolumeError, Voxel, write_atomically};

/// Level of gzip: beyond 4, CT scans get hardly smaller and writing much slower.
const COMPRESSION: u32 = 4;

/// Voxels turned into bytes at a time.
const CHUNK: usize = 1 << 16;

/// Writes `volume` to `path`: `.nii`, `.nii.gz`, or `.hdr` and `.img` (also with `.gz`) side by side,
/// whichever of the two is named.
///
/// The affine goes into the sform and, if its axes are at right angles, the qform. A NIfTI-1 header holds
/// it in single precision: numbers that are exact there, such as those read from another NIfTI file,
/// survive to the bit, others to one part in 1.6e7 (6e-6 mm for an origin 100 mm away). Files are written under a temporary name and renamed; the same volume gives the
/// same bytes.
///
/// # Errors
/// [`VolumeError::Format`] for another ending, [`VolumeError::InvalidSize`] for an axis of more than
/// 32767 voxels, [`VolumeError::InvalidAffine`] for numbers beyond single precision (both within
/// [`VolumeError::InFile`]), [`VolumeError::Io`] if the file cannot be written.
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
    let (stem, ending) = split_ending(path);
    let (header_path, voxel_path) = match ending {
        ".nii" | ".nii.gz" => (path.to_path_buf(), None),
        ".hdr" | ".hdr.gz" | ".img" | ".img.gz" => {
            let gz = if ending.ends_with(".gz") { ".gz" } else { "" };
            let beside = |ending: &str| path.with_file_name(format!("{stem}{ending}{gz}"));
            (beside(".hdr"), Some(beside(".img")))
        }
        _ => {
            let reason = "its name should end in .nii, .nii.gz, .hdr or .img".to_string();
            return Err(VolumeError::Format { path: path.to_path_buf(), reason });
        }
    };
    let separate = voxel_path.is_some();
    let header = encode(volume.grid(), T::DATA_TYPE, separate).map_err(|error| error.in_file(path))?;
    let create = |path: &Path, content: &dyn Fn(&mut dyn Write) -> io::Result<()>| {
        let io = |source| VolumeError::Io { path: path.to_path_buf(), source };
        write_atomically(
            path,
            |file| if ending.ends_with(".gz") { gzip(file, content) } else { content(file) },
        )
        .map_err(io)
    };
    match voxel_path {
        None => create(&header_path, &|file| {
            file.write_all(&header)?;
            file.write_all(&[0; 4])?; // no extensions
            write_voxels(file, volume)
        }),
        Some(voxel_path) => {
            create(&voxel_path, &|file| write_voxels(file, volume))?;
            create(&header_path, &|file| file.write_all(&header))
        }
    }
}

/// `content`, compressed. No name and no time go into the gzip header: they would make equal volumes
/// differ.
fn gzip(file: &mut dyn Write, content: &dyn Fn(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut gzip = GzBuilder::new().mtime(0).write(file, Compression::new(COMPRESSION));
    content(&mut gzip)?;
    gzip.finish().map(drop)
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
