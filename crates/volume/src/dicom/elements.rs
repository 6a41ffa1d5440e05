//! The elements of a data set, as far as they are asked for.
//!
//! A data set is a list of elements (tag, length, value), some of which are sequences of data sets. The
//! headers are decoded by the `dicom-encoding` crate; this file walks over them. It never follows a length
//! beyond the end of the file or of the item that it is in, enters only sequences that were asked for, and
//! passes over all others without recursion, so that neither lengths nor nesting can be made to hurt.

use std::collections::BTreeMap;
use std::io::Read;

use dicom_core::header::{DataElementHeader, HasLength, Header, SequenceItemHeader};
use dicom_core::{Length, Tag, VR};
use dicom_encoding::decode::Decode;
use dicom_encoding::decode::explicit_be::ExplicitVRBigEndianDecoder;
use dicom_encoding::decode::explicit_le::ExplicitVRLittleEndianDecoder;
use dicom_encoding::decode::implicit_le::ImplicitVRLittleEndianDecoder;

use super::stream::Stream;
use crate::VolumeError;

/// Sequences within sequences that are passed over; real files have less than ten.
const MAX_DEPTH: usize = 64;

/// Ends an item of undefined length.
const ITEM_END: Tag = Tag(0xFFFE, 0xE00D);

/// How elements are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    ImplicitLittle,
    ExplicitLittle,
    ExplicitBig,
}

impl Encoding {
    fn header(self, source: &mut impl Read) -> dicom_encoding::decode::Result<DataElementHeader> {
        let decoded = match self {
            Self::ImplicitLittle => ImplicitVRLittleEndianDecoder::default().decode_header(source),
            Self::ExplicitLittle => ExplicitVRLittleEndianDecoder::default().decode_header(source),
            Self::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_header(source),
        };
        decoded.map(|(header, _)| header)
    }

    fn item(self, source: &mut impl Read) -> dicom_encoding::decode::Result<SequenceItemHeader> {
        match self {
            Self::ImplicitLittle => ImplicitVRLittleEndianDecoder::default().decode_item_header(source),
            Self::ExplicitLittle => ExplicitVRLittleEndianDecoder::default().decode_item_header(source),
            Self::ExplicitBig => ExplicitVRBigEndianDecoder::default().decode_item_header(source),
        }
    }

    /// Within an element of undefined length: that of VR UN holds implicit VR, whatever is around it.
    fn within(self, vr: VR) -> Self {
        if vr == VR::UN { Self::ImplicitLittle } else { self }
    }

    pub(super) fn is_big_endian(self) -> bool {
        self == Self::ExplicitBig
    }
}

/// The values and sequences of a data set that were asked for, as bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct DataSet {
    pub(super) values: BTreeMap<Tag, Vec<u8>>,
    pub(super) sequences: BTreeMap<Tag, Vec<DataSet>>,
}

/// What is asked for.
pub(super) struct Wanted {
    /// Elements whose value is kept, at any depth.
    pub(super) values: &'static [Tag],
    /// Sequences that are entered, at any depth.
    pub(super) sequences: &'static [Tag],
    /// The first tag, at the top level, that is no longer read.
    pub(super) stop: fn(Tag) -> bool,
}

/// The element that stopped the reading of a data set.
pub(super) struct Stopped {
    pub(super) header: DataElementHeader,
    /// Where its header begins.
    pub(super) start: u64,
}

/// Where a data set ends.
#[derive(Clone, Copy)]
enum End {
    /// At this byte.
    At(u64),
    /// At the delimiter of its item.
    Delimiter,
    /// With the file, or at the first tag that stops.
    File,
}

/// Reads the data set that `stream` is at, and what stopped it, if anything did: then the stream is at
/// its value.
pub(super) fn read_data_set(
    stream: &mut Stream,
    encoding: Encoding,
    wanted: &Wanted,
) -> Result<(DataSet, Option<Stopped>), VolumeError> {
    read_until(stream, encoding, wanted, End::File, 0)
}

fn read_until(
    stream: &mut Stream,
    encoding: Encoding,
    wanted: &Wanted,
    end: End,
    depth: usize,
) -> Result<(DataSet, Option<Stopped>), VolumeError> {
    let mut set = DataSet::default();
    loop {
        if let End::At(end) = end {
            if stream.position() == end {
                return Ok((set, None));
            }
            if stream.position() > end {
                return Err(overrun(stream));
            }
        }
        let start = stream.position();
        let Some(header) = next_header(stream, encoding)? else {
            return match end {
                End::File => Ok((set, None)),
                _ => Err(overrun(stream)),
            };
        };
        let tag = header.tag();
        if depth == 0 && (wanted.stop)(tag) {
            return Ok((set, Some(Stopped { header, start })));
        }
        if tag == ITEM_END && matches!(end, End::Delimiter) {
            return Ok((set, None));
        }
        let length = header.length();
        if wanted.values.contains(&tag) && length.is_defined() {
            set.values.insert(tag, stream.value(length.0.into())?);
        } else if wanted.sequences.contains(&tag) && depth < 2 {
            let items = read_sequence(stream, encoding.within(header.vr()), wanted, length, depth)?;
            set.sequences.insert(tag, items);
        } else {
            pass(stream, encoding, &header)?;
        }
    }
}

/// Items of a sequence, such as frames: beyond this it is no image.
const MAX_ITEMS: usize = 1 << 17;

fn read_sequence(
    stream: &mut Stream,
    encoding: Encoding,
    wanted: &Wanted,
    length: Length,
    depth: usize,
) -> Result<Vec<DataSet>, VolumeError> {
    let end = length.get().map(|length| stream.position() + u64::from(length));
    let mut items = Vec::new();
    while end.is_none_or(|end| stream.position() < end) {
        match encoding.item(stream) {
            Ok(SequenceItemHeader::Item { len }) => {
                // Holds an inflated header against its limit, which an empty item would pass by.
                stream.skip(0)?;
                if items.len() == MAX_ITEMS {
                    return Err(overrun(stream));
                }
                let end = len.get().map_or(End::Delimiter, |len| End::At(stream.position() + u64::from(len)));
                items.push(read_until(stream, encoding, wanted, end, depth + 1)?.0);
            }
            Ok(SequenceItemHeader::SequenceDelimiter) if end.is_none() => return Ok(items),
            _ => return Err(overrun(stream)),
        }
    }
    if end.is_some_and(|end| stream.position() > end) { Err(overrun(stream)) } else { Ok(items) }
}

/// The next element's header; nothing at the end of the file.
fn next_header(stream: &mut Stream, encoding: Encoding) -> Result<Option<DataElementHeader>, VolumeError> {
    let mut first = [0];
    if stream.read(&mut first).map_err(|source| stream.error(source))? == 0 {
        return Ok(None);
    }
    let header = encoding.header(&mut first.as_slice().chain(&mut *stream));
    header.map(Some).map_err(|_| overrun(stream))
}

/// Passes over the value of `header`.
fn pass(stream: &mut Stream, encoding: Encoding, header: &DataElementHeader) -> Result<(), VolumeError> {
    if let Some(length) = header.length().get() {
        return stream.skip(length.into());
    }
    // What is open: sequences, and items of undefined length within them, each with its encoding.
    enum Open {
        Sequence(Encoding),
        Item(Encoding),
    }
    let mut open = vec![Open::Sequence(encoding.within(header.vr()))];
    while let Some(innermost) = open.last() {
        stream.skip(0)?;
        match *innermost {
            Open::Sequence(encoding) => match encoding.item(stream) {
                Ok(SequenceItemHeader::Item { len }) => match len.get() {
                    Some(length) => stream.skip(length.into())?,
                    None => open.push(Open::Item(encoding)),
                },
                Ok(SequenceItemHeader::SequenceDelimiter) => {
                    open.pop();
                }
                _ => return Err(overrun(stream)),
            },
            Open::Item(encoding) => match next_header(stream, encoding)? {
                Some(header) if header.tag() == ITEM_END => {
                    open.pop();
                }
                Some(header) => match header.length().get() {
                    Some(length) => stream.skip(length.into())?,
                    None => open.push(Open::Sequence(encoding.within(header.vr()))),
                },
                None => return Err(overrun(stream)),
            },
        }
        if open.len() > 2 * MAX_DEPTH {
            let reason = format!("its sequences are nested more than {MAX_DEPTH} deep");
            return Err(VolumeError::Format { path: stream.path().to_path_buf(), reason });
        }
    }
    Ok(())
}

/// Elements that do not fit where they are.
fn overrun(stream: &Stream) -> VolumeError {
    let reason = format!("its elements break off or do not fit each other at byte {}", stream.position());
    VolumeError::Format { path: stream.path().to_path_buf(), reason }
}
