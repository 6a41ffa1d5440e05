//! Files that are whole or not there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes `path` through a temporary file in the same folder that is renamed when it is whole and on the disk:
/// whatever goes wrong, the power included, `path` is as it was before or complete, never half-written.
///
/// # Errors
/// Whatever `write` or the operating system gives; the temporary file is gone then.
///
/// ```
/// use std::io::Write;
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("answer.txt");
/// organseg_volume::write_atomically(&path, |file| file.write_all(b"42"))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "42");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    temporary(path, write)?.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes `voxels` and the `header` that speaks of them, two files: both are complete before either old one is
/// replaced, and the old header is gone before the new voxels appear. So whoever is stopped in between leaves
/// no image rather than a wrong one. An error comes with the path that it is about.
pub(crate) fn write_pair_atomically(
    [voxel_path, header_path]: [&Path; 2],
    voxels: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
    header: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> Result<(), (&Path, io::Error)> {
    let voxels = temporary(voxel_path, voxels).map_err(|error| (voxel_path, error))?;
    let header = temporary(header_path, header).map_err(|error| (header_path, error))?;
    match std::fs::remove_file(header_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((header_path, error)),
        _ => {}
    }
    voxels.persist(voxel_path).map_err(|error| (voxel_path, error.error))?;
    header.persist(header_path).map_err(|error| (header_path, error.error))?;
    Ok(())
}

/// A complete file beside `path` that is gone when it is dropped.
fn temporary(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".organseg-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies on top: the file comes out as any other, not private as temporaries are.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    let mut buffered = BufWriter::with_capacity(1 << 18, file.as_file_mut());
    write(&mut buffered)?;
    finish(buffered, |file| file.sync_all())?;
    Ok(file)
}

/// Hands on what is buffered, then has `sync` take it to the disk: a quota that is used up or a server that is gone may
/// not show before, and a file that is renamed sooner may be empty after a power cut.
fn finish<W: Write>(mut buffered: BufWriter<W>, sync: impl FnOnce(W) -> io::Result<()>) -> io::Result<()> {
    buffered.flush()?;
    sync(buffered.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.txt");
        std::fs::write(&path, "old").unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_buffered_is_written_before_it_is_taken_to_the_disk_and_an_error_there_counts() {
        let mut written = Vec::new();
        let mut buffered = BufWriter::new(&mut written);
        buffered.write_all(b"new").unwrap();
        let full = finish(buffered, |written| {
            assert_eq!(written, b"new");
            Err(io::Error::from(io::ErrorKind::QuotaExceeded))
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nowhere").join("file.txt");
        assert!(write_atomically(&path, |file| file.write_all(b"new")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("a"), folder.path().join("b"));
        write_atomically(&path, |file| file.write_all(b"new")).unwrap();
        std::fs::write(&other, "new").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&other));
    }
}
