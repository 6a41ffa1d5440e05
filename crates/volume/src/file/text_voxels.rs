//! Voxels written as text, turned into the bytes that a raw file would hold.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use thiserror::Error;

use super::decode::{Encoding, Fit, Misfit};
use super::load::Filler;
use super::stored::Part;
use crate::{DataType, VolumeError, Voxel};

/// Bytes handed over at a time.
const PIECE: usize = 1 << 16;

/// No number is longer: a double in full takes 24 characters, and some writers pad.
const LONGEST: usize = 400;

/// Refuses `count` voxels that a file of `length` bytes has no room for: each takes a digit, and all but the
/// last a blank.
pub(super) fn check_text(part: &Part, length: u64, count: u64) -> Result<(), VolumeError> {
    let found = length.saturating_sub(part.begins).div_ceil(2);
    if count <= found {
        return Ok(());
    }
    Err(too_few(part, count, "at most", found))
}

/// The voxels in the file of `part`, which skips no bytes; what follows them there is not looked at.
pub(super) fn load_text<T: Voxel>(
    part: &Part,
    encoding: Encoding,
    fit: Fit,
    voxels: &mut [T],
    misfit: &dyn Fn(Misfit) -> VolumeError,
) -> Result<(), VolumeError> {
    let count = voxels.len() as u64;
    let open = || {
        let mut file = File::open(&part.path)?;
        file.seek(SeekFrom::Start(part.begins))?;
        Ok(BufReader::new(file))
    };
    let failed = |source: io::Error| match source.get_ref() {
        Some(cause) if cause.is::<NotANumber>() => {
            VolumeError::Format { path: part.path.clone(), reason: cause.to_string() }
        }
        _ => VolumeError::Io { path: part.path.clone(), source },
    };
    let width = encoding.data_type.bytes() as u64;
    let text = TextVoxels::new(open().map_err(failed)?, encoding.data_type);
    let mut text = text.take(count.saturating_mul(width));
    let mut filler = Filler::new(encoding, fit, 0, voxels);
    let mut piece = Vec::with_capacity(PIECE);
    let mut bytes = 0;
    while !filler.is_full() {
        piece.clear();
        (&mut text).take(PIECE as u64).read_to_end(&mut piece).map_err(failed)?;
        if piece.is_empty() {
            return Err(too_few(part, count, "", bytes / width));
        }
        bytes += piece.len() as u64;
        filler.take(&piece);
    }
    filler.misfit.map_or(Ok(()), |m| Err(misfit(m)))
}

fn too_few(part: &Part, promised: u64, at_most: &str, found: u64) -> VolumeError {
    let blank = if at_most.is_empty() { "" } else { " " };
    let reason =
        format!("its header promises {promised} voxels as text, the file holds {at_most}{blank}{found}");
    VolumeError::Format { path: part.path.clone(), reason }
}

/// Something among the voxels that should be a number and is not.
#[derive(Debug, Error)]
#[error("{0}")]
struct NotANumber(String);

/// Numbers between blanks and commas in `text`, as bytes of type `data_type`, least significant first.
///
/// What is no number of that type is [`NotANumber`], within an [`io::Error`].
struct TextVoxels<R> {
    text: R,
    data_type: DataType,
    word: Vec<u8>,
    bytes: Vec<u8>,
    given: usize,
}

impl<R: BufRead> TextVoxels<R> {
    fn new(text: R, data_type: DataType) -> Self {
        Self { text, data_type, word: Vec::new(), bytes: Vec::new(), given: 0 }
    }

    /// Puts the next number into `bytes`; leaves it empty at the end.
    fn next_number(&mut self) -> io::Result<()> {
        self.bytes.clear();
        self.given = 0;
        self.next_word()?;
        if self.word.is_empty() {
            return Ok(());
        }
        let word = std::str::from_utf8(&self.word).ok();
        let pushed = word.and_then(|word| push(word, self.data_type, &mut self.bytes));
        pushed.ok_or_else(|| {
            let found = String::from_utf8_lossy(&self.word);
            let name = format!("{:?}", self.data_type).to_lowercase();
            invalid(format!("`{found}` among its voxels is no number of type {name}"))
        })
    }

    /// Puts what stands before the next blank into `word`; leaves it empty at the end.
    fn next_word(&mut self) -> io::Result<()> {
        self.word.clear();
        loop {
            let buffer = self.text.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let blanks =
                if self.word.is_empty() { buffer.iter().take_while(|&&b| is_blank(b)).count() } else { 0 };
            let letters = buffer[blanks..].iter().take_while(|&&b| !is_blank(b)).count();
            if self.word.len() + letters > LONGEST {
                return Err(invalid(format!(
                    "its voxels should be numbers, and one is longer than {LONGEST} characters"
                )));
            }
            self.word.extend_from_slice(&buffer[blanks..blanks + letters]);
            let whole = blanks + letters < buffer.len();
            self.text.consume(blanks + letters);
            if whole && !self.word.is_empty() {
                return Ok(());
            }
        }
    }
}

impl<R: BufRead> Read for TextVoxels<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            if self.given == self.bytes.len() {
                self.next_number()?;
                if self.bytes.is_empty() {
                    break;
                }
            }
            let n = (self.bytes.len() - self.given).min(into.len() - filled);
            into[filled..filled + n].copy_from_slice(&self.bytes[self.given..self.given + n]);
            self.given += n;
            filled += n;
        }
        Ok(filled)
    }
}

fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b',' || byte == 0x0b
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, NotANumber(message))
}

fn push(word: &str, data_type: DataType, bytes: &mut Vec<u8>) -> Option<()> {
    fn parsed<T: Voxel + std::str::FromStr>(word: &str, bytes: &mut Vec<u8>) -> Option<()> {
        word.parse::<T>().ok()?.push_le_bytes(bytes);
        Some(())
    }
    match data_type {
        DataType::U8 => parsed::<u8>(word, bytes),
        DataType::I8 => parsed::<i8>(word, bytes),
        DataType::U16 => parsed::<u16>(word, bytes),
        DataType::I16 => parsed::<i16>(word, bytes),
        DataType::U32 => parsed::<u32>(word, bytes),
        DataType::I32 => parsed::<i32>(word, bytes),
        DataType::U64 => parsed::<u64>(word, bytes),
        DataType::I64 => parsed::<i64>(word, bytes),
        DataType::F32 => parsed::<f32>(word, bytes),
        DataType::F64 => parsed::<f64>(word, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(text: &str, data_type: DataType, buffer: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let text = BufReader::with_capacity(buffer, text.as_bytes());
        TextVoxels::new(text, data_type).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn numbers_become_bytes_wherever_the_buffer_ends() {
        for buffer in 1..20 {
            let bytes = bytes_of(" 1 -2,\n\t300 ,  4", DataType::I16, buffer).unwrap();
            assert_eq!(bytes, [1, 0, 254, 255, 44, 1, 4, 0], "{buffer}");
        }
        let bytes = bytes_of("0.1 -1e300 nan", DataType::F64, 8).unwrap();
        assert_eq!(bytes[..16], [0.1f64.to_le_bytes(), (-1e300f64).to_le_bytes()].concat());
    }

    #[test]
    fn what_is_no_number_of_the_type_is_refused() {
        for wrong in ["1 256", "1 -1", "1 1.5", "1 x", "1 \u{fc}"] {
            let error = bytes_of(wrong, DataType::U8, 8).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{wrong}");
        }
        assert!(bytes_of(&"1".repeat(1000), DataType::F64, 8).is_err());
    }
}
