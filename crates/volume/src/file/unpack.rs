//! Compressed files in a small window: one thread decompresses, the caller's uses what comes out.
//!
//! Pieces of a quarter of a megabyte go from the one to the other and back to be filled again, so that
//! neither the whole compressed nor the whole decompressed file is ever in memory, and the pages of the
//! result are touched beside the decompression and not before or after it.

use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use super::stored::Compression;
use super::stream::Stream;
use crate::VolumeError;

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

/// Decompressed bytes: as many as are filled, in a buffer that is as long.
type Piece = (Vec<u8>, usize);

/// Decompresses the file at `path` from byte `begins` on, checksums included, and hands all of it to `take`,
/// in order, until that gives false. How many bytes came out, or after how many the stream was damaged.
pub(super) fn unpack(
    path: &Path,
    begins: u64,
    compression: Compression,
    mut take: impl FnMut(&[u8]) -> bool,
) -> Result<Result<u64, Damage>, VolumeError> {
    let stream = Stream::open(path, begins, compression)?;
    let (ready, arriving) = sync_channel::<Piece>(WAITING);
    let (used, reusable) = channel::<Vec<u8>>();
    let mut decoded = 0;
    let result = thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("organseg-inflate".into())
            .spawn_scoped(scope, move || produce(stream, &ready, &reusable))?;
        while let Ok((buffer, filled)) = arriving.recv() {
            decoded += filled as u64;
            if !take(&buffer[..filled]) {
                // Whoever decompresses stops when nobody receives any more.
                drop(arriving);
                return Ok(());
            }
            used.send(buffer).ok();
        }
        worker.join().expect("decompressing does not panic")
    });
    Ok(result.map(|()| decoded).map_err(|source| Damage { decoded, source }))
}

fn produce(mut stream: Stream, ready: &SyncSender<Piece>, reusable: &Receiver<Vec<u8>>) -> io::Result<()> {
    loop {
        let mut buffer = reusable.try_recv().unwrap_or_else(|_| vec![0; PIECE]);
        let (filled, end) = stream.fill(&mut buffer);
        if ready.send((buffer, filled)).is_err() {
            return Ok(());
        }
        end?;
        if filled < PIECE {
            return Ok(());
        }
    }
}
