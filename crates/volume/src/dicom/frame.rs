//! One slice: what its header says of where it lies and how its pixels are stored.
//!
//! In most files there is one slice, described at the top level. In *enhanced* files there are many: what
//! all have in common stands in the shared functional groups, what each has of its own in the per-frame
//! ones, and the same attributes are looked for in the frame's own group first, then in the shared one,
//! then at the top level.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::attributes::{Attributes, lacks};
use super::elements::DataSet;
use super::file::{ImageFile, PixelPlace};
use super::pixels::Fragments;
use super::syntax::Syntax;

/// How far direction cosines may be from unit length, or from right angles, before they are none.
/// Below it they are made so ([`orientation_of`]).
const MAX_COSINE_ERROR: f64 = 1e-2;

/// Attributes that may set apart images of one series at one place, the most telling first.
pub(super) const DISTINCTIONS: [(&str, Tag); 10] = [
    ("StackID", tags::STACK_ID),
    ("EchoNumbers", tags::ECHO_NUMBERS),
    ("EchoTime", tags::ECHO_TIME),
    ("EffectiveEchoTime", tags::EFFECTIVE_ECHO_TIME),
    ("TemporalPositionIdentifier", tags::TEMPORAL_POSITION_IDENTIFIER),
    ("TemporalPositionIndex", tags::TEMPORAL_POSITION_INDEX),
    ("DiffusionBValue", tags::DIFFUSION_B_VALUE),
    ("TriggerTime", tags::TRIGGER_TIME),
    ("ImageType", tags::IMAGE_TYPE),
    ("AcquisitionNumber", tags::ACQUISITION_NUMBER),
];

/// What a series says about itself.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) uid: String,
    pub(super) number: Option<i64>,
    pub(super) description: String,
    pub(super) modality: String,
    pub(super) patient_id: String,
}

/// Where a file's pixels are and how they are stored.
#[derive(Clone, Debug)]
pub(super) struct PixelSource {
    pub(super) path: Arc<Path>,
    /// UID of the transfer syntax.
    pub(super) syntax: String,
    pub(super) place: PixelPlace,
    pub(super) big_endian: bool,
    pub(super) frames: usize,
    pub(super) format: PixelFormat,
    /// Where the fragments of compressed pixels are, once somebody has looked.
    pub(super) fragments: OnceLock<Fragments>,
}

/// How a pixel is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PixelFormat {
    /// 8, 16 or 32.
    pub(super) bits_allocated: u16,
    /// At least 1, at most those allocated.
    pub(super) bits_stored: u16,
    /// Bits below the stored ones.
    pub(super) shift: u16,
    pub(super) signed: bool,
}

/// One slice.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) source: Arc<PixelSource>,
    /// Which of the file's frames it is.
    pub(super) index: usize,
    pub(super) instance: Option<i64>,
    /// Columns and rows.
    pub(super) size: [usize; 2],
    /// Millimetres between columns and between rows.
    pub(super) pixel_spacing: [f64; 2],
    /// Centre of the first pixel, LPS millimetres.
    pub(super) position: [f64; 3],
    /// Direction in which the columns follow each other, then that of the rows.
    /// Unit vectors at right angles.
    pub(super) orientation: [[f64; 3]; 2],
    /// By how many pixels the corner opposite the first pixel moved when the direction cosines became so.
    pub(super) corner_moved_pixels: f64,
    pub(super) slope: f64,
    pub(super) intercept: f64,
    /// Whether the file has both slope and intercept.
    pub(super) rescaled: bool,
    /// Whether a table says what stored values mean, in place of slope and intercept.
    pub(super) value_table: bool,
    pub(super) spacing_between: Option<f64>,
    pub(super) thickness: Option<f64>,
    pub(super) padding: Option<i64>,
    pub(super) inverted: bool,
    pub(super) lossy: bool,
    pub(super) localizer: bool,
    /// The values of [`DISTINCTIONS`].
    pub(super) distinctions: [Option<String>; DISTINCTIONS.len()],
}

/// What `file` says about its series; an error if not even which one it is.
pub(super) fn description_of(file: &ImageFile) -> Result<Description, String> {
    let top = Attributes { sets: vec![&file.header], big_endian: file.big_endian };
    Ok(Description {
        uid: top.text(tags::SERIES_INSTANCE_UID).ok_or_else(|| lacks(tags::SERIES_INSTANCE_UID))?,
        number: top.integer(tags::SERIES_NUMBER),
        description: top.text(tags::SERIES_DESCRIPTION).unwrap_or_default(),
        modality: top.text(tags::MODALITY).unwrap_or_default(),
        patient_id: top.text(tags::PATIENT_ID).unwrap_or_default(),
    })
}

/// The slices in `file`, or what is wrong with them.
pub(super) fn frames_of(file: &ImageFile) -> Result<Vec<Frame>, String> {
    if file.float_pixels {
        return Err("its pixels are floating point numbers, expected integers".to_string());
    }
    let top = Attributes { sets: vec![&file.header], big_endian: file.big_endian };
    let groups = file.header.sequences.get(&tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    let frames = top.integer(tags::NUMBER_OF_FRAMES).unwrap_or(1);
    let count = groups.map_or(1, Vec::len);
    if usize::try_from(frames) != Ok(count) {
        return Err(match groups {
            Some(_) => format!("it has {frames} frames and functional groups for {count}"),
            None => format!("it has {frames} frames, and no functional groups to say where they lie"),
        });
    }
    if count > 1 && Syntax::of(&file.syntax, &file.path).is_ok_and(|syntax| syntax.deflated) {
        return Err(format!("it has {count} frames in a deflated data set, expected one"));
    }
    let source = Arc::new(PixelSource {
        path: file.path.as_path().into(),
        syntax: file.syntax.clone(),
        place: file.pixels,
        big_endian: file.big_endian,
        frames: count,
        format: pixel_format(&top)?,
        fragments: OnceLock::new(),
    });
    let shared = file.header.sequences.get(&tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE);
    let shared = shared.and_then(|items| items.first());
    let frame = |index: usize| {
        let own = groups.and_then(|groups| groups.get(index));
        let mut sets: Vec<&DataSet> = Vec::new();
        for group in [own, shared].into_iter().flatten() {
            // Each kind of group is a sequence of one item.
            sets.extend(group.sequences.values().filter_map(|items| items.first()));
        }
        sets.push(&file.header);
        frame_of(&Attributes { sets, big_endian: file.big_endian }, source.clone(), index)
    };
    (0..count).map(frame).collect()
}

fn frame_of(attributes: &Attributes, source: Arc<PixelSource>, index: usize) -> Result<Frame, String> {
    let size = [tags::COLUMNS, tags::ROWS].map(|tag| attributes.unsigned(tag).map(usize::from));
    let [columns, rows] = size;
    let size = [columns?, rows?];
    if size.contains(&0) {
        return Err(format!("it has {} columns and {} rows, expected at least one", size[0], size[1]));
    }
    let position = attributes.required::<3>(tags::IMAGE_POSITION_PATIENT)?;
    let written = attributes.required::<6>(tags::IMAGE_ORIENTATION_PATIENT)?;
    let orientation = orientation_of(written)?;
    let [between_rows, between_columns] = attributes.required::<2>(tags::PIXEL_SPACING)?;
    if between_rows <= 0.0 || between_columns <= 0.0 {
        return Err(format!("its pixels are {between_rows} by {between_columns} mm apart"));
    }
    let scale = |tag| Ok::<_, String>(attributes.decimals::<1>(tag)?.map(|[value]| value));
    let (slope, intercept) = (scale(tags::RESCALE_SLOPE)?, scale(tags::RESCALE_INTERCEPT)?);
    let rescaled = slope.is_some() && intercept.is_some();
    // A slope of 0 would make all values one: some writers mean "none".
    let slope = slope.filter(|&slope| slope != 0.0).unwrap_or(1.0);
    let positive = |tag| attributes.decimals::<1>(tag).ok().flatten().map(|[v]| v).filter(|&v| v > 0.0);
    let image_type = attributes.text(tags::IMAGE_TYPE).unwrap_or_default();
    let padding = attributes.unsigned(tags::PIXEL_PADDING_VALUE).ok();
    let signed = source.format.signed;
    Ok(Frame {
        instance: attributes.integer(tags::INSTANCE_NUMBER),
        size,
        pixel_spacing: [between_columns, between_rows],
        position,
        orientation,
        corner_moved_pixels: corner_moved_pixels(written, orientation, size, [between_columns, between_rows]),
        slope,
        intercept: intercept.unwrap_or(0.0),
        rescaled,
        value_table: attributes.has_sequence(tags::MODALITY_LUT_SEQUENCE),
        spacing_between: positive(tags::SPACING_BETWEEN_SLICES),
        thickness: positive(tags::SLICE_THICKNESS),
        padding: padding.map(|value| if signed { i64::from(value as i16) } else { i64::from(value) }),
        inverted: attributes.text(tags::PHOTOMETRIC_INTERPRETATION).as_deref() == Some("MONOCHROME1"),
        lossy: attributes.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() == Some("01"),
        localizer: image_type.split('\\').any(|part| part.trim() == "LOCALIZER"),
        distinctions: DISTINCTIONS.map(|(_, tag)| match tag {
            tags::EFFECTIVE_ECHO_TIME | tags::DIFFUSION_B_VALUE => {
                attributes.double(tag).map(|value| value.to_string())
            }
            tags::TEMPORAL_POSITION_INDEX => attributes.unsigned(tag).ok().map(|value| value.to_string()),
            _ => attributes.text(tag),
        }),
        source,
        index,
    })
}

/// The direction cosines of rows and columns, which must nearly be unit vectors at right angles, made so: the length of
/// the first, then the direction of the second. What they are off would go into the spacing.
fn orientation_of([a, b, c, d, e, f]: [f64; 6]) -> Result<[[f64; 3]; 2], String> {
    let (x, y) = ([a, b, c], [d, e, f]);
    let dot = |u: [f64; 3], v: [f64; 3]| u[0] * v[0] + u[1] * v[1] + u[2] * v[2];
    let unit = |u: [f64; 3]| u.map(|v| v / dot(u, u).sqrt());
    let errors = [dot(x, x).sqrt() - 1.0, dot(y, y).sqrt() - 1.0, dot(x, y)];
    if !errors.iter().all(|error| error.abs() <= MAX_COSINE_ERROR) {
        return Err(format!(
            "its direction cosines {x:?} and {y:?} are not two unit vectors at right angles"
        ));
    }
    let x = unit(x);
    let along = dot(x, y);
    Ok([x, unit([0, 1, 2].map(|axis| y[axis] - along * x[axis]))])
}

/// By how many pixels the last pixel lies elsewhere with the direction cosines `made` than with those `written`.
fn corner_moved_pixels(
    written: [f64; 6],
    made: [[f64; 3]; 2],
    size: [usize; 2],
    pixel_spacing: [f64; 2],
) -> f64 {
    let reach = [0, 1].map(|direction| pixel_spacing[direction] * (size[direction] - 1) as f64);
    let moved = [0, 1, 2].map(|axis| {
        (made[0][axis] - written[axis]) * reach[0] + (made[1][axis] - written[3 + axis]) * reach[1]
    });
    moved.iter().map(|v| v * v).sum::<f64>().sqrt() / pixel_spacing[0].min(pixel_spacing[1])
}

fn pixel_format(top: &Attributes) -> Result<PixelFormat, String> {
    let samples = top.unsigned(tags::SAMPLES_PER_PIXEL).unwrap_or(1);
    let photometric = top.text(tags::PHOTOMETRIC_INTERPRETATION);
    let grey = photometric.as_deref().is_none_or(|text| text.starts_with("MONOCHROME"));
    if samples != 1 || !grey {
        let kind = photometric.unwrap_or_default();
        return Err(format!("its pixels have {samples} values ({kind}), expected one grey value"));
    }
    let bits_allocated = top.unsigned(tags::BITS_ALLOCATED)?;
    let bits_stored = top.unsigned(tags::BITS_STORED)?;
    let high_bit = top.unsigned(tags::HIGH_BIT).unwrap_or(bits_stored.saturating_sub(1));
    let representation = top.unsigned(tags::PIXEL_REPRESENTATION)?;
    if !matches!(bits_allocated, 8 | 16 | 32) {
        return Err(format!("its pixels have {bits_allocated} bits, expected 8, 16 or 32"));
    }
    if bits_stored == 0 || high_bit >= bits_allocated || high_bit + 1 < bits_stored || representation > 1 {
        return Err(format!(
            "its pixels of {bits_allocated} bits should have {bits_stored} bits stored up to bit {high_bit}, \
             representation {representation}: that does not go together"
        ));
    }
    let shift = high_bit + 1 - bits_stored;
    Ok(PixelFormat { bits_allocated, bits_stored, shift, signed: representation == 1 })
}
