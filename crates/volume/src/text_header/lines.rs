//! The lines of a header, read from the front of a file that may go on with anything.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use crate::VolumeError;
use crate::file::{Compression, Start};

/// Longest header that is believed. The longest in circulation, with a DICOM header's content or thousands
/// of diffusion gradients in it, take some hundred kilobytes.
const MAX_HEADER_BYTES: usize = 4 << 20;

/// The header of the file that begins with `start`, up to and with the line for which `is_last` holds, or
/// all of the file.
pub(crate) fn read_header(start: &Start, is_last: impl FnMut(&[u8]) -> bool) -> Result<Vec<u8>, VolumeError> {
    let path = &start.path;
    let broken = |reason: String| VolumeError::Format { path: path.clone(), reason };
    if start.compression != Compression::None {
        let reason = "it is compressed as a whole, expected a header that can be read and compressed voxels";
        return Err(broken(reason.to_string()));
    }
    let header = File::open(path).and_then(|file| header_bytes(&mut BufReader::new(file), is_last));
    let header = header.map_err(|source| VolumeError::Io { path: path.clone(), source })?;
    if header.len() > MAX_HEADER_BYTES {
        return Err(broken(format!("its header has no end within {MAX_HEADER_BYTES} bytes")));
    }
    Ok(header)
}

/// The header at the front of `stream`, up to and with the line for which `is_last` holds, or all there is.
/// At most [`MAX_HEADER_BYTES`] + 1 bytes are read, so that a longer header is known by its length.
fn header_bytes(stream: &mut dyn BufRead, mut is_last: impl FnMut(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut stream = stream.take(MAX_HEADER_BYTES as u64 + 1);
    loop {
        let start = bytes.len();
        if stream.read_until(b'\n', &mut bytes)? == 0 || is_last(trimmed(&bytes[start..])) {
            return Ok(bytes);
        }
    }
}

/// The lines of `header` with their numbers from 1, without line ends and outer blanks. What is not UTF-8 is
/// replaced: it can only be in comments and names that are not looked at.
pub(crate) fn lines_of(header: &[u8]) -> impl Iterator<Item = (usize, Cow<'_, str>)> {
    header.split(|&byte| byte == b'\n').enumerate().map(|(i, line)| (i + 1, text_of(line)))
}

fn text_of(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(trimmed(line))
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_ends_at_its_last_line_and_the_stream_goes_on_behind_it() {
        let mut stream = io::Cursor::new(b"one\r\ntwo\n\nvoxels\n".as_slice());
        let header = header_bytes(&mut stream, <[u8]>::is_empty).unwrap();
        assert_eq!(header, b"one\r\ntwo\n\n");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"voxels\n");
        let lines: Vec<_> = lines_of(&header).collect();
        assert_eq!(lines[..2], [(1, "one".into()), (2, "two".into())]);
    }

    #[test]
    fn a_header_without_end_is_read_to_the_limit() {
        let mut stream = BufReader::new(io::repeat(b'a'));
        assert_eq!(header_bytes(&mut stream, |_| false).unwrap().len(), MAX_HEADER_BYTES + 1);
    }
}
