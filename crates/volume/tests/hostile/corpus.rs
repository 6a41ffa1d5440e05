//! Inputs, and the ways to damage a file that all formats share.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::write::{GzEncoder, ZlibEncoder};
use flate2::{Compress, Compression, FlushCompress};

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
    pub(crate) fn in_folder(mut self) -> Self {
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

/// Zeros in one piece of a bomb, and how many pieces it has: four gigabytes in as many megabytes.
const PIECE: usize = 32 << 20;
const PIECES: usize = 128;

/// `front` and then four gigabytes of zeros as one gzip stream, sound to its checksum.
pub(crate) fn gzip_bomb(front: &[u8]) -> Vec<u8> {
    let crc_of = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc
    };
    let (mut crc, zeros) = (crc_of(front), crc_of(&vec![0; PIECE]));
    (0..PIECES).for_each(|_| crc.combine(&zeros));
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    [&header, &bomb(front)[..], &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat()
}

/// `front` and then four gigabytes of zeros as one zlib stream, sound to its checksum (Adler-32).
pub(crate) fn zlib_bomb(front: &[u8]) -> Vec<u8> {
    const MODULUS: u64 = 65521;
    let (mut a, mut b) = (1u64, 0u64);
    for &byte in front {
        a = (a + u64::from(byte)) % MODULUS;
        b = (b + a) % MODULUS;
    }
    b = (b + a * ((PIECE * PIECES) as u64 % MODULUS)) % MODULUS;
    [&[0x78, 0x9c], &bomb(front)[..], &((b << 16 | a) as u32).to_be_bytes()].concat()
}

/// The deflate stream of a bomb: pieces that refer to nothing before them, and an empty last block.
fn bomb(front: &[u8]) -> Vec<u8> {
    let piece = |bytes: &[u8]| {
        let mut compress = Compress::new(Compression::fast(), false);
        let mut packed = Vec::with_capacity(bytes.len() / 100 + front.len() + 1000);
        compress.compress_vec(bytes, &mut packed, FlushCompress::Sync).expect("any bytes can be compressed");
        assert_eq!(compress.total_in() as usize, bytes.len(), "the bytes fit");
        packed
    };
    [piece(front), piece(&vec![0; PIECE]).repeat(PIECES), vec![3, 0]].concat()
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
