//! Compressed files: one thread decompresses, the caller's uses what comes out and checks the checksums.
//!
//! Pieces of a quarter of a megabyte go from the one to the other and back to be filled again, so that
//! neither the whole compressed nor the whole decompressed file is ever in memory, and the pages of the
//! result are touched beside the decompression and not before or after it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;

use super::checksum::Checksum;
use super::inflate::{HISTORY, Inflater, SLACK};
use super::stored::Compression;

/// Bytes handed over at a time: few enough for a core's own cache.
const PIECE: usize = 1 << 18;

/// Pieces that may wait for the caller.
const WAITING: usize = 2;

/// What went wrong, after `decoded` bytes.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) decoded: u64,
    pub(super) source: io::Error,
}

/// Decompressed bytes.
struct Piece {
    buffer: Vec<u8>,
    from: usize,
    to: usize,
    /// What stands behind the stream that ends with this piece.
    trailer: Option<Trailer>,
}

struct Trailer {
    checksum: u32,
    /// Number of bytes, modulo 2³²; gzip only.
    length: Option<u32>,
}

/// Decompresses the file at `path` from byte `begins` on and hands all of it to `take`, in order, until that
/// gives false. How many bytes came out.
pub(super) fn unpack(
    path: &Path,
    begins: u64,
    compression: Compression,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<u64, Damage> {
    let damage = |source| Damage { decoded: 0, source };
    let mut file = File::open(path).map_err(damage)?;
    file.seek(SeekFrom::Start(begins)).map_err(damage)?;
    let (ready, arriving) = sync_channel::<Piece>(WAITING);
    let (used, reusable) = channel::<Vec<u8>>();
    let mut decoded = 0;
    let result = thread::scope(|scope| {
        let inflate = move || {
            produce(file, compression, |piece| {
                ready.send(piece).ok()?;
                Some(reusable.try_recv().unwrap_or_default())
            })
        };
        let worker = thread::Builder::new().name("organseg-inflate".into()).spawn_scoped(scope, inflate)?;
        let mut sum = Checksum::new(compression);
        while let Ok(piece) = arriving.recv() {
            let bytes = &piece.buffer[piece.from..piece.to];
            decoded += bytes.len() as u64;
            sum.update(bytes);
            if !take(bytes) {
                return Ok(());
            }
            if let Some(trailer) = piece.trailer {
                let sum = std::mem::replace(&mut sum, Checksum::new(compression));
                let length = sum.length() as u32;
                if sum.value() != trailer.checksum || trailer.length.is_some_and(|l| l != length) {
                    let what = "its checksum is not that of what it holds";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
            // Whoever decompresses may be done and gone.
            used.send(piece.buffer).ok();
        }
        worker.join().expect("decompressing does not panic")
    });
    result.map(|()| decoded).map_err(|source| Damage { decoded, source })
}

/// Decompresses all of `file`; `hand_over` takes a piece for a buffer to be filled next, or nothing to stop.
fn produce(
    file: impl Read,
    compression: Compression,
    mut hand_over: impl FnMut(Piece) -> Option<Vec<u8>>,
) -> io::Result<()> {
    let mut inflater = Inflater::new(file);
    let mut buffer = Vec::new();
    // One turn for each stream: gzip files may be several in a row.
    loop {
        header(&mut inflater, compression)?;
        let mut at = 0;
        loop {
            buffer.resize(HISTORY + PIECE + SLACK, 0);
            let from = at;
            let run = inflater.run(&mut buffer, &mut at, HISTORY + PIECE);
            let end = run.and_then(|ended| ended.then(|| trailer(&mut inflater, compression)).transpose());
            let (trailer, failure) = match end {
                Ok(trailer) => (trailer, None),
                Err(error) => (None, Some(error)),
            };
            let ended = trailer.is_some();
            let kept = if ended { 0 } else { at.min(HISTORY) };
            let history = buffer[at - kept..at].to_vec();
            let Some(next) = hand_over(Piece { buffer, from, to: at, trailer }) else { return Ok(()) };
            if let Some(error) = failure {
                return Err(error);
            }
            buffer = next;
            buffer.resize(HISTORY + PIECE + SLACK, 0);
            buffer[..kept].copy_from_slice(&history);
            at = kept;
            if ended {
                break;
            }
        }
        if compression == Compression::Zlib || is_at_end(&mut inflater)? {
            return Ok(());
        }
    }
}

/// Reads what stands before a deflate stream.
fn header(inflater: &mut Inflater<impl Read>, compression: Compression) -> io::Result<()> {
    let wrong = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    if compression == Compression::Zlib {
        let [method, flags] = inflater.bytes()?;
        let sound = u16::from_be_bytes([method, flags]) % 31 == 0 && method & 15 == 8 && method >> 4 <= 7;
        return if sound && flags & 0x20 == 0 { Ok(()) } else { wrong("it is no zlib stream") };
    }
    let [id1, id2, method, flags, ..] = inflater.bytes::<10>()?;
    if (id1, id2, method) != (0x1f, 0x8b, 8) || flags & 0xe0 != 0 {
        return wrong("what follows is no gzip stream");
    }
    if flags & 4 != 0 {
        let extra = u16::from_le_bytes(inflater.bytes()?);
        for _ in 0..extra {
            inflater.bytes::<1>()?;
        }
    }
    // A name and a comment, each up to a zero.
    for flag in [8, 16] {
        while flags & flag != 0 && inflater.bytes::<1>()? != [0] {}
    }
    if flags & 2 != 0 {
        inflater.bytes::<2>()?;
    }
    Ok(())
}

fn trailer(inflater: &mut Inflater<impl Read>, compression: Compression) -> io::Result<Trailer> {
    let checksum = inflater.bytes()?;
    if compression == Compression::Zlib {
        return Ok(Trailer { checksum: u32::from_be_bytes(checksum), length: None });
    }
    let length = Some(u32::from_le_bytes(inflater.bytes()?));
    Ok(Trailer { checksum: u32::from_le_bytes(checksum), length })
}

/// Whether nothing follows a gzip stream, or only the zeros that some media pad files with.
fn is_at_end(inflater: &mut Inflater<impl Read>) -> io::Result<bool> {
    while inflater.next_byte()? == Some(0) {
        inflater.bytes::<1>()?;
    }
    Ok(inflater.next_byte()?.is_none())
}
