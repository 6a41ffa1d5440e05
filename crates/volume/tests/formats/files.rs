//! Small image files made in a folder of their own.

use std::io::Write;
use std::path::PathBuf;

use organseg_volume::{Volume, VolumeError, read, read_image};

/// A folder with one image of 2×3×4 voxels in the making.
pub(crate) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("there is a folder for temporary files") }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `text` and then `bytes` into the file `name`.
    pub(crate) fn put(&self, name: &str, text: &str, bytes: &[u8]) -> &Self {
        let content = [text.as_bytes(), bytes].concat();
        std::fs::write(self.path(name), content).expect("the folder can be written");
        self
    }

    pub(crate) fn read(&self, name: &str) -> Result<Volume<i16>, VolumeError> {
        read(self.path(name))
    }

    /// Checks that `name` holds 2×3×4 voxels numbered from 0.
    #[track_caller]
    pub(crate) fn assert_sound(&self, name: &str) {
        let volume = self.read(name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(volume.size(), [2, 3, 4]);
        assert_eq!(volume.voxels(), (0..24).collect::<Vec<i16>>());
    }

    /// Checks that reading `name` is an error that names a file of the folder and says `what`.
    #[track_caller]
    pub(crate) fn assert_refused(&self, name: &str, what: &str) {
        let error = read_image(self.path(name)).expect_err("the file is wrong").to_string();
        assert!(
            error.starts_with(&self.folder.path().display().to_string()),
            "{error} does not name the file"
        );
        assert!(error.contains(what), "`{error}` does not say `{what}`");
    }
}

/// The numbers from 0 to 23 as 16 bits each, least significant byte first.
pub(crate) fn numbered() -> Vec<u8> {
    (0..24i16).flat_map(i16::to_le_bytes).collect()
}

/// `bytes` as a gzip stream.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory takes every byte")
}

/// `bytes` as a zlib stream.
pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(bytes).and_then(|()| zlib.finish()).expect("memory takes every byte")
}
