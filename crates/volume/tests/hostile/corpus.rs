//! Inputs, and the ways to damage a file that all formats share.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// Files that lie in one folder, the first of which is to be read.
pub(crate) struct Input {
    /// What is wrong.
    pub(crate) name: String,
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// What this name in the folder leads to, where the system has such links.
    pub(crate) link: Option<(&'static str, &'static str)>,
    /// Whether the folder is to be read and not its first file.
    pub(crate) is_folder: bool,
    /// Whether it is to be read with the limit that every file has. Files that are sound as far as they go,
    /// and just large, take a small limit.
    pub(crate) has_default_limits: bool,
}

impl Input {
    pub(crate) fn new(name: impl Into<String>, file: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            files: vec![(file.to_string(), bytes)],
            link: None,
            is_folder: false,
            has_default_limits: true,
        }
    }

    pub(crate) fn with_file(mut self, file: &str, bytes: Vec<u8>) -> Self {
        self.files.push((file.to_string(), bytes));
        self
    }

    #[cfg(feature = "dicom")]
    pub(crate) fn as_folder(mut self) -> Self {
        self.is_folder = true;
        self
    }

    pub(crate) fn with_small_limit(mut self) -> Self {
        self.has_default_limits = false;
        self
    }

    /// Puts the files into `folder` and says which is to be read.
    pub(crate) fn write_to(&self, folder: &Path) -> PathBuf {
        for (name, bytes) in &self.files {
            std::fs::write(folder.join(name), bytes).expect("the folder can be written");
        }
        #[cfg(unix)]
        if let Some((name, target)) = self.link {
            std::os::unix::fs::symlink(target, folder.join(name)).expect("the folder can be written");
        }
        if self.is_folder { folder.to_path_buf() } else { folder.join(&self.files[0].0) }
    }
}

/// `bytes` cut at `count` places, from nothing at all to all but the last byte.
pub(crate) fn cuts<'a>(
    what: &'a str,
    file: &'a str,
    bytes: &'a [u8],
    count: usize,
) -> impl Iterator<Item = Input> + 'a {
    (0..count).map(move |i| {
        let length = i * (bytes.len() - 1) / (count - 1);
        Input::new(format!("{what} cut to {length} of {} bytes", bytes.len()), file, bytes[..length].to_vec())
    })
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("memory takes every byte")
}

pub(crate) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(bytes).and_then(|()| zlib.finish()).expect("memory takes every byte")
}

/// `front` and then some four gigabytes of zeros in as many megabytes of gzip: one stream of 32 MiB of zeros,
/// again and again.
pub(crate) fn gzip_bomb(front: &[u8]) -> Vec<u8> {
    let zeros = gzip(&vec![0; 32 << 20]);
    [gzip(front), zeros.repeat(128)].concat()
}

/// `front` and then half a gigabyte of zeros in one zlib stream.
pub(crate) fn zlib_bomb(front: &[u8]) -> Vec<u8> {
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    let zeros = vec![0; 1 << 20];
    zlib.write_all(front).expect("memory takes every byte");
    for _ in 0..512 {
        zlib.write_all(&zeros).expect("memory takes every byte");
    }
    zlib.finish().expect("memory takes every byte")
}

/// Bytes that look like noise, the same each time (xorshift).
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}
