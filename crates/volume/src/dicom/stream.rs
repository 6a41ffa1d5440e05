//! The bytes of a file, in order, never more of them than there are.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::DeflateDecoder;

use crate::VolumeError;

/// Bytes read at a time: most headers lie in one or two such pieces.
const BUFFER: usize = 1 << 14;

/// Bytes of one value that are kept at most: the values that are asked for are short.
const MAX_VALUE: u64 = 1 << 16;

/// Bytes that a deflated header may inflate to: passing over them takes a fraction of a second.
const MAX_INFLATED_HEADER: u64 = 1 << 28;

/// A file that is read from front to back, inflated on the way if need be.
pub(super) struct Stream {
    source: Source,
    /// Bytes passed.
    position: u64,
    /// Bytes there are, where that is known.
    length: Option<u64>,
    path: PathBuf,
}

enum Source {
    Plain(BufReader<File>),
    Deflated(Box<DeflateDecoder<BufReader<File>>>),
}

impl Stream {
    pub(super) fn open(path: &Path) -> Result<Self, VolumeError> {
        let io = |source| VolumeError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let source = Source::Plain(BufReader::with_capacity(BUFFER, file));
        Ok(Self { source, position: 0, length: Some(length), path: path.to_path_buf() })
    }

    /// What follows, inflated; positions begin at 0 again.
    pub(super) fn inflated(self) -> Self {
        let Source::Plain(reader) = self.source else { return self };
        let source = Source::Deflated(Box::new(DeflateDecoder::new(reader)));
        Self { source, position: 0, length: None, path: self.path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes passed.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Bytes to come, where that is known.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.length.map(|length| length.saturating_sub(self.position))
    }

    /// The next `length` bytes, a short value.
    pub(super) fn value(&mut self, length: u64) -> Result<Vec<u8>, VolumeError> {
        self.check(length)?;
        if length > MAX_VALUE {
            let reason =
                format!("a value of {length} bytes at byte {}, expected at most {MAX_VALUE}", self.position);
            return Err(VolumeError::Format { path: self.path.clone(), reason });
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next bytes into the whole of `bytes`.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VolumeError> {
        self.read_exact(bytes).map_err(|source| self.error(source))
    }

    /// Passes over `length` bytes.
    pub(super) fn skip(&mut self, length: u64) -> Result<(), VolumeError> {
        self.check(length)?;
        let passed = match &mut self.source {
            Source::Plain(reader) => {
                let step = i64::try_from(length).unwrap_or(i64::MAX);
                reader.seek_relative(step).map(|()| length)
            }
            Source::Deflated(reader) => io::copy(&mut reader.take(length), &mut io::sink()),
        };
        match passed {
            Ok(passed) if passed == length => self.position += length,
            Ok(_) => return Err(self.error(io::ErrorKind::UnexpectedEof.into())),
            Err(source) => return Err(self.error(source)),
        }
        Ok(())
    }

    /// Goes to byte `position`, ahead or, if the file is not inflated, back.
    pub(super) fn go_to(&mut self, position: u64) -> Result<(), VolumeError> {
        if position >= self.position {
            return self.skip(position - self.position);
        }
        let back = i64::try_from(self.position - position).map_or(i64::MIN, |step| -step);
        let moved = match &mut self.source {
            Source::Plain(reader) => reader.seek_relative(back),
            Source::Deflated(_) => Err(io::ErrorKind::Unsupported.into()),
        };
        moved.map_err(|source| self.error(source))?;
        self.position = position;
        Ok(())
    }

    /// Refuses to go beyond the end of the file.
    fn check(&self, length: u64) -> Result<(), VolumeError> {
        match self.remaining() {
            Some(remaining) if length > remaining => {
                let at = self.position;
                let reason =
                    format!("{length} bytes should follow byte {at}, the file holds {remaining} more");
                Err(VolumeError::Format { path: self.path.clone(), reason })
            }
            None if self.position.saturating_add(length) > MAX_INFLATED_HEADER => {
                let reason = format!("its header inflates to more than {MAX_INFLATED_HEADER} bytes");
                Err(VolumeError::Format { path: self.path.clone(), reason })
            }
            _ => Ok(()),
        }
    }

    /// What a failed read means.
    pub(super) fn error(&self, source: io::Error) -> VolumeError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                let reason = format!("it breaks off or is damaged after byte {}", self.position);
                VolumeError::Format { path, reason }
            }
            _ => VolumeError::Io { path, source },
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.source {
            Source::Plain(reader) => reader.read(bytes)?,
            Source::Deflated(reader) => reader.read(bytes)?,
        };
        self.position += read as u64;
        Ok(read)
    }
}
