//! A file that may be DICOM: what it is, and its header up to the pixels.

use std::path::{Path, PathBuf};

use dicom_core::header::{HasLength, Header};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::attributes::{Attributes, lacks};
use super::elements::{DataSet, Encoding, Stopped, Wanted, read_data_set};
use super::stream::Stream;
use super::syntax::Syntax;
use crate::{VolumeError, metaimage};

/// Bytes before the magic word.
const PREAMBLE: u64 = 128;

/// The pixels where they are floats or doubles.
const FLOAT_PIXELS: Tag = tags::FLOAT_PIXEL_DATA;
const DOUBLE_PIXELS: Tag = tags::DOUBLE_FLOAT_PIXEL_DATA;

/// All that is asked of a header.
const WANTED: Wanted = Wanted {
    values: &[
        tags::SPECIFIC_CHARACTER_SET,
        tags::IMAGE_TYPE,
        tags::SOP_CLASS_UID,
        tags::SOP_INSTANCE_UID,
        tags::MODALITY,
        tags::SERIES_DESCRIPTION,
        tags::PATIENT_ID,
        tags::SLICE_THICKNESS,
        tags::ECHO_TIME,
        tags::ECHO_NUMBERS,
        tags::SPACING_BETWEEN_SLICES,
        tags::TRIGGER_TIME,
        tags::EFFECTIVE_ECHO_TIME,
        tags::DIFFUSION_B_VALUE,
        tags::STUDY_INSTANCE_UID,
        tags::SERIES_INSTANCE_UID,
        tags::SERIES_NUMBER,
        tags::ACQUISITION_NUMBER,
        tags::INSTANCE_NUMBER,
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::TEMPORAL_POSITION_IDENTIFIER,
        tags::TEMPORAL_POSITION_INDEX,
        tags::STACK_ID,
        tags::SAMPLES_PER_PIXEL,
        tags::PHOTOMETRIC_INTERPRETATION,
        tags::NUMBER_OF_FRAMES,
        tags::ROWS,
        tags::COLUMNS,
        tags::PIXEL_SPACING,
        tags::BITS_ALLOCATED,
        tags::BITS_STORED,
        tags::HIGH_BIT,
        tags::PIXEL_REPRESENTATION,
        tags::PIXEL_PADDING_VALUE,
        tags::LOSSY_IMAGE_COMPRESSION,
        tags::RESCALE_INTERCEPT,
        tags::RESCALE_SLOPE,
    ],
    sequences: &[
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        tags::FRAME_CONTENT_SEQUENCE,
        tags::PLANE_POSITION_SEQUENCE,
        tags::PLANE_ORIENTATION_SEQUENCE,
        tags::PIXEL_MEASURES_SEQUENCE,
        tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
        tags::MR_ECHO_SEQUENCE,
        tags::MR_DIFFUSION_SEQUENCE,
        tags::MODALITY_LUT_SEQUENCE,
    ],
    stop: |tag| matches!(tag, FLOAT_PIXELS | DOUBLE_PIXELS | tags::PIXEL_DATA),
};

/// The file's own header, before the data set.
const META: Wanted = Wanted {
    values: &[tags::TRANSFER_SYNTAX_UID, tags::MEDIA_STORAGE_SOP_CLASS_UID],
    sequences: &[],
    stop: |tag| tag.group() != 0x0002,
};

/// What a file turned out to be.
pub(super) enum Found {
    /// Something else than DICOM.
    Other,
    /// DICOM without pixels: a directory, a report, contours.
    NoImage,
    /// DICOM, but damaged.
    Damaged(String),
    Image(Box<ImageFile>),
}

/// An image's header, and where its pixels are.
#[derive(Clone, Debug)]
pub(super) struct ImageFile {
    pub(super) path: PathBuf,
    /// UID of the transfer syntax.
    pub(super) syntax: String,
    pub(super) big_endian: bool,
    pub(super) header: DataSet,
    pub(super) pixels: PixelPlace,
    /// Whether the pixels are floats or doubles.
    pub(super) float_pixels: bool,
}

/// Where the pixels of a file are.
#[derive(Clone, Copy, Debug)]
pub(super) struct PixelPlace {
    /// Byte at which the data set begins.
    pub(super) data_set: u64,
    /// Byte at which the value of the pixel data begins, in the inflated data set if it is deflated.
    pub(super) offset: u64,
    /// How long that value is; nothing if it is in fragments.
    pub(super) length: Option<u64>,
    /// The bytes of the file that are left for it, where that is known.
    pub(super) available: Option<u64>,
    /// The compressed bytes of the data set, if it is deflated.
    pub(super) deflated: Option<u64>,
}

/// Whether `path` is read as DICOM by [`read`](crate::read) and its kin: a folder, whatever is in it, or a
/// file with DICOM's magic word and no other format's beginning or, for MetaImage, name.
#[must_use]
pub fn is_dicom(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    if path.is_dir() {
        return true;
    }
    // Whatever is no file, such as a pipe, may never say its first byte.
    if !path.is_file() || metaimage::is_named_so(path) {
        return false;
    }
    let certain = || start_of(&mut Stream::open(path).ok()?).ok()?.map(|start| start.certain);
    certain() == Some(true)
}

/// Looks at the file at `path`.
///
/// # Errors
/// [`VolumeError::Io`] if it cannot be read. All else is told by what is returned.
pub(super) fn look_at(path: &Path) -> Result<Found, VolumeError> {
    let mut stream = Stream::open(path)?;
    let Some(start) = start_of(&mut stream)? else { return Ok(Found::Other) };
    match read_header(stream, &start) {
        Ok(Some(file)) => Ok(Found::Image(Box::new(file))),
        Ok(None) if start.certain => Ok(Found::NoImage),
        Ok(None) => Ok(Found::Other),
        Err(error @ VolumeError::Io { .. }) => Err(error),
        Err(VolumeError::Format { reason, .. }) if start.certain => Ok(Found::Damaged(reason)),
        Err(error) if start.certain => Ok(Found::Damaged(error.to_string())),
        Err(_) => Ok(Found::Other),
    }
}

/// Where a file's elements begin.
struct Start {
    /// Whether the magic word says that it is DICOM.
    certain: bool,
    /// The first byte behind preamble and magic word.
    byte: u64,
    /// The encoding, where there is no file header to say.
    encoding: Option<Encoding>,
}

/// What gzip, NRRD and NIfTI-1 and -2 in both byte orders begin with. In such a file the magic word of DICOM is voxels or
/// compressed bytes that happen to read so.
const OTHER_BEGINNINGS: [&[u8]; 6] = [
    &[0x1f, 0x8b],
    b"NRRD000",
    &348i32.to_le_bytes(),
    &348i32.to_be_bytes(),
    &540i32.to_le_bytes(),
    &540i32.to_be_bytes(),
];

/// Where elements begin in the file, if it is DICOM by its first bytes. Without the magic word it must
/// begin with an element of the file header or of the group that every data set begins with, and the
/// length and type of that element must be of the kind that it can have.
fn start_of(stream: &mut Stream) -> Result<Option<Start>, VolumeError> {
    let long_enough =
        |stream: &Stream, length| stream.remaining().is_some_and(|remaining| remaining >= length);
    let mut first = [0; 8];
    if !long_enough(stream, 8) {
        return Ok(None);
    }
    stream.fill(&mut first)?;
    if OTHER_BEGINNINGS.iter().any(|&other| first.starts_with(other)) {
        return Ok(None);
    }
    if long_enough(stream, PREAMBLE + 4 - 8) {
        stream.go_to(PREAMBLE)?;
        let mut magic = [0; 4];
        stream.fill(&mut magic)?;
        if &magic == b"DICM" {
            return Ok(Some(Start { certain: true, byte: PREAMBLE + 4, encoding: None }));
        }
    }
    let [g0, g1, e0, e1, a, b, c, d] = first;
    let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
    let explicit = VR::from_binary([a, b]).is_some();
    let short = u32::from_le_bytes([a, b, c, d]) <= 64;
    let encoding = match tag.group() {
        0x0002 if explicit => None,
        0x0008 if tag.element() <= 0x0018 && explicit => Some(Encoding::ExplicitLittle),
        0x0008 if tag.element() <= 0x0018 && short => Some(Encoding::ImplicitLittle),
        _ => return Ok(None),
    };
    Ok(Some(Start { certain: false, byte: 0, encoding }))
}

/// The header up to the pixels; nothing if there are none.
fn read_header(mut stream: Stream, start: &Start) -> Result<Option<ImageFile>, VolumeError> {
    let path = stream.path().to_path_buf();
    stream.go_to(start.byte)?;
    let (uid, syntax) = match start.encoding {
        Some(encoding) => {
            let explicit = encoding == Encoding::ExplicitLittle;
            let uid = if explicit { "1.2.840.10008.1.2.1" } else { "1.2.840.10008.1.2" };
            (uid.to_string(), Syntax::native(encoding))
        }
        None => {
            let uid = transfer_syntax(&mut stream, start.byte)?;
            // The data set of a syntax that is not known is explicit: what all new ones are.
            let syntax = Syntax::of(&uid, &path).unwrap_or(Syntax::EXPLICIT);
            (uid, syntax)
        }
    };
    let data_set = stream.position();
    let deflated = if syntax.deflated { stream.remaining() } else { None };
    if syntax.deflated {
        stream = stream.inflated();
    }
    let (header, stopped) = read_data_set(&mut stream, syntax.encoding, &WANTED)?;
    let Some(Stopped { header: pixels, .. }) = stopped else { return Ok(None) };
    let float_pixels = pixels.tag() != tags::PIXEL_DATA;
    let pixels = PixelPlace {
        data_set,
        offset: stream.position(),
        length: pixels.length().get().map(u64::from),
        available: stream.remaining(),
        deflated,
    };
    let big_endian = syntax.encoding.is_big_endian();
    Ok(Some(ImageFile { path, syntax: uid, big_endian, header, pixels, float_pixels }))
}

/// UID of the transfer syntax, from the file header that begins at byte `start`; the stream is at the data
/// set then.
fn transfer_syntax(stream: &mut Stream, start: u64) -> Result<String, VolumeError> {
    stream.go_to(start)?;
    let (meta, stopped) = read_data_set(stream, Encoding::ExplicitLittle, &META)?;
    if let Some(stopped) = stopped {
        // The first element of the data set may be encoded in another way than the file header.
        stream.go_to(stopped.start)?;
    }
    let attributes = Attributes { sets: vec![&meta], big_endian: false };
    attributes.text(tags::TRANSFER_SYNTAX_UID).ok_or_else(|| VolumeError::Format {
        path: stream.path().to_path_buf(),
        reason: lacks(tags::TRANSFER_SYNTAX_UID),
    })
}
