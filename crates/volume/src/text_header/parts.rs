//! From what a header says about its data files to places in files.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::data_files::DataFiles;
use crate::VolumeError;
use crate::file::{Part, length_of};

/// What lies before the voxels in each data file, or behind the header if they are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Skip {
    /// Lines of text, first of all.
    pub(crate) lines: u64,
    /// Then bytes, as they are in the file.
    pub(crate) file_bytes: u64,
    /// Then bytes, as they are after decompression.
    pub(crate) stream_bytes: u64,
    /// Whatever there is: the voxels are the end of the file. All else is 0 then.
    pub(crate) all_but_voxels: bool,
}

/// Where the voxels lie. `header` is the header's file, `header_bytes` its length; each file holds
/// `bytes_per_file` bytes of voxels, which matters only if they are counted from the end.
pub(crate) fn parts_of(
    files: &DataFiles,
    skip: Skip,
    header: &Path,
    header_bytes: u64,
    bytes_per_file: u64,
) -> Result<Vec<Part>, VolumeError> {
    let part = |path: PathBuf, start: u64| {
        let begins = if skip.all_but_voxels {
            // A file that is too short begins where it can; reading then says how much is missing.
            length_of(&path)?.saturating_sub(bytes_per_file).max(start)
        } else {
            line_start(&path, start, skip.lines)?.saturating_add(skip.file_bytes)
        };
        Ok(Part { path, begins, skip: skip.stream_bytes })
    };
    match files {
        DataFiles::Attached => Ok(vec![part(header.to_path_buf(), header_bytes)?]),
        DataFiles::Separate(files) => {
            let folder = header.parent().unwrap_or(Path::new(""));
            let not_itself = |name: &String| {
                let path = folder.join(name);
                if path.file_name() == header.file_name() && path.parent() == header.parent() {
                    let reason = "it names itself as the file of its voxels".to_string();
                    return Err(VolumeError::Format { path, reason });
                }
                // Before anything is opened: a pipe would make us wait, a device never end.
                length_of(&path)?;
                part(path, 0)
            };
            files.names.iter().map(not_itself).collect()
        }
    }
}

/// Byte at which the line begins that follows `lines` lines behind byte `start` of the file at `path`.
fn line_start(path: &Path, start: u64, lines: u64) -> Result<u64, VolumeError> {
    if lines == 0 {
        return Ok(start);
    }
    let io = |source| VolumeError::Io { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(io)?;
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut file = BufReader::new(file);
    let mut at = start;
    for line in 0..lines {
        let length = file.skip_until(b'\n').map_err(io)?;
        if length == 0 {
            let reason = format!("it ends after {line} lines, its voxels should follow after {lines}");
            return Err(VolumeError::Format { path: path.to_path_buf(), reason });
        }
        at += length as u64;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text_header::SeparateFiles;

    #[test]
    fn lines_and_bytes_are_skipped_in_this_order() {
        let folder = tempfile::tempdir().unwrap();
        let (header, voxels) = (folder.path().join("a.nhdr"), folder.path().join("a.raw"));
        std::fs::write(&voxels, b"one\ntwo\nvoxels").unwrap();
        let files = DataFiles::Separate(SeparateFiles::one("a.raw").unwrap());
        let parts = |skip| parts_of(&files, skip, &header, 99, 5);
        let begins = |skip| parts(skip).unwrap()[0].begins;
        assert_eq!(begins(Skip { lines: 2, ..Skip::default() }), 8);
        assert_eq!(begins(Skip { lines: 1, file_bytes: 2, ..Skip::default() }), 6);
        assert_eq!(begins(Skip { all_but_voxels: true, ..Skip::default() }), 9);
        assert_eq!(parts(Skip { stream_bytes: 3, ..Skip::default() }).unwrap()[0].skip, 3);
        let error = parts(Skip { lines: 4, ..Skip::default() }).unwrap_err().to_string();
        assert!(error.ends_with("it ends after 3 lines, its voxels should follow after 4"), "{error}");
    }

    #[test]
    fn a_header_is_not_its_own_voxels() {
        let folder = tempfile::tempdir().unwrap();
        let header = folder.path().join("a.nhdr");
        std::fs::write(&header, b"NRRD0004").unwrap();
        for name in ["a.nhdr", "./a.nhdr"] {
            let files = DataFiles::Separate(SeparateFiles::one(name).unwrap());
            let error = parts_of(&files, Skip::default(), &header, 8, 1).unwrap_err();
            assert!(error.to_string().ends_with("it names itself as the file of its voxels"), "{error}");
        }
    }
}
