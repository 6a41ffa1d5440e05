//! The fragments that compressed pixels come in (PS3.5, annex A.4).
//!
//! An offset table, perhaps empty, then fragments, each with its length. A frame is one fragment or
//! several; with one frame in the file it is all of them, with as many fragments as frames it is one, and
//! else the table says where each frame begins.

use dicom_core::header::SequenceItemHeader;
use dicom_encoding::decode::Decode;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;

use super::bytes::broken;
use crate::VolumeError;
use crate::dicom::frame::{Frame, PixelSource};
use crate::dicom::stream::Stream;

/// Where the fragments of a file are.
#[derive(Clone, Debug)]
pub(in crate::dicom) struct Fragments {
    /// First byte and length of each.
    fragments: Vec<(u64, u32)>,
    /// The number of the first fragment of each frame, and of the one behind the last.
    frames: Vec<usize>,
}

impl PixelSource {
    /// The fragments of this file, which `stream` reads.
    pub(super) fn fragments(&self, stream: &mut Stream) -> Result<&Fragments, VolumeError> {
        if self.fragments.get().is_none() {
            // Threads that come at the same time find the same.
            let _ = self.fragments.set(Fragments::find(self, stream)?);
        }
        Ok(self.fragments.get().expect("it was set"))
    }
}

impl Fragments {
    fn find(source: &PixelSource, stream: &mut Stream) -> Result<Self, VolumeError> {
        let damaged = || broken(source, "the fragments of its pixels break off or are damaged");
        let next = |stream: &mut Stream| {
            let item = ExplicitVRLittleEndianDecoder::default().decode_item_header(stream);
            match item.map_err(|_| damaged())? {
                SequenceItemHeader::Item { len } => len.get().map(Some).ok_or_else(damaged),
                SequenceItemHeader::SequenceDelimiter => Ok(None),
                SequenceItemHeader::ItemDelimiter => Err(damaged()),
            }
        };
        stream.go_to(source.place.offset)?;
        let table = match next(stream)? {
            Some(length) => stream.value(length.into())?,
            None => return Err(damaged()),
        };
        let first = stream.position();
        let mut fragments = Vec::new();
        while let Some(length) = next(stream)? {
            fragments.push((stream.position(), length));
            stream.skip(length.into())?;
        }
        let frames = match source.frames {
            1 => vec![0, fragments.len()],
            n if n == fragments.len() => (0..=n).collect(),
            n => {
                let offsets = table
                    .chunks_exact(4)
                    .map(|bytes| u64::from(u32::from_le_bytes(bytes.try_into().expect("chunks of four"))));
                // An offset leads to the header of a fragment, eight bytes before it.
                let starts = offsets.map(|offset| {
                    fragments.binary_search_by_key(&(first + offset + 8), |&(start, _)| start).ok()
                });
                let mut frames: Vec<usize> = starts.collect::<Option<_>>().unwrap_or_default();
                frames.push(fragments.len());
                if frames.len() != n + 1 || !frames.is_sorted() {
                    let found = fragments.len();
                    let reason =
                        format!("{found} fragments hold {n} frames, and no table says which holds which");
                    return Err(broken(source, &reason));
                }
                frames
            }
        };
        Ok(Self { fragments, frames })
    }

    /// The fragments of `frame`, one behind the other, as all that `bytes` holds.
    pub(super) fn read(
        &self,
        frame: &Frame,
        stream: &mut Stream,
        bytes: &mut Vec<u8>,
    ) -> Result<(), VolumeError> {
        bytes.clear();
        for &(start, length) in &self.fragments[self.frames[frame.index]..self.frames[frame.index + 1]] {
            stream.go_to(start)?;
            let have = bytes.len();
            // The length has been checked against the file.
            bytes.resize(have + length as usize, 0);
            stream.fill(&mut bytes[have..])?;
        }
        Ok(())
    }
}
