//! Damaged DICOM files, alone and in a series.

#[path = "../dicom/writer.rs"]
#[expect(dead_code, reason = "another test needs more of it")]
mod writer;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::{tags, uids};

use crate::corpus::{Input, cuts, noise};
use writer::Slice;

/// What no image is without.
const REQUIRED: [(&str, Tag); 8] = [
    ("rows", tags::ROWS),
    ("columns", tags::COLUMNS),
    ("bits allocated", tags::BITS_ALLOCATED),
    ("pixel data", tags::PIXEL_DATA),
    ("position", tags::IMAGE_POSITION_PATIENT),
    ("orientation", tags::IMAGE_ORIENTATION_PATIENT),
    ("pixel spacing", tags::PIXEL_SPACING),
    ("series UID", tags::SERIES_INSTANCE_UID),
];

/// What a sound slice becomes.
type Change = fn(&mut Slice) -> &mut Slice;

/// Lies, told by the second of three slices, and by all of them.
const LIES: [(&str, Change); 24] = [
    ("no rows", |s| s.unsigned(tags::ROWS, 0)),
    ("no columns", |s| s.unsigned(tags::COLUMNS, 0)),
    ("one row more", |s| s.unsigned(tags::ROWS, 4)),
    ("65535 rows", |s| s.unsigned(tags::ROWS, 65535)),
    ("65535 rows and columns", |s| s.unsigned(tags::ROWS, 65535).unsigned(tags::COLUMNS, 65535)),
    ("no bits", |s| s.unsigned(tags::BITS_ALLOCATED, 0)),
    ("13 bits allocated", |s| s.unsigned(tags::BITS_ALLOCATED, 13)),
    ("65535 bits allocated", |s| s.unsigned(tags::BITS_ALLOCATED, 65535)),
    ("17 of 16 bits stored", |s| s.unsigned(tags::BITS_STORED, 17)),
    ("no bits stored", |s| s.unsigned(tags::BITS_STORED, 0)),
    ("three samples a pixel", |s| s.unsigned(tags::SAMPLES_PER_PIXEL, 3)),
    ("a spacing of 0", |s| s.decimals(tags::PIXEL_SPACING, &[0.0, 0.5])),
    ("a negative spacing", |s| s.decimals(tags::PIXEL_SPACING, &[-0.5, 0.5])),
    ("a spacing of NaN", |s| s.text(tags::PIXEL_SPACING, VR::DS, r"nan\0.5")),
    ("a spacing in words", |s| s.text(tags::PIXEL_SPACING, VR::DS, r"half\half")),
    ("one spacing", |s| s.decimals(tags::PIXEL_SPACING, &[0.5])),
    ("a position of infinity", |s| s.text(tags::IMAGE_POSITION_PATIENT, VR::DS, r"inf\0\0")),
    ("two numbers of a position", |s| s.decimals(tags::IMAGE_POSITION_PATIENT, &[1.0, 2.0])),
    ("an orientation of zeros", |s| s.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[0.0; 6])),
    ("rows along columns", |s| s.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0])),
    ("an orientation of NaN", |s| s.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, r"nan\0\0\0\1\0")),
    ("a slope of NaN", |s| {
        s.text(tags::RESCALE_SLOPE, VR::DS, "nan").text(tags::RESCALE_INTERCEPT, VR::DS, "0")
    }),
    ("a position twice", |s| s.position([-10.0, -20.0, 30.0])),
    ("a gap between slices", |s| s.position([-10.0, -20.0, 31.0])),
];

/// The bytes of a slice.
fn bytes_of(slice: &Slice) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    std::fs::read(slice.write(folder.path(), "slice")).expect("it has been written")
}

/// A folder of three slices, changed by `change`.
fn folder(name: String, change: impl Fn(usize, &mut Slice)) -> Input {
    let bytes = |z: usize| {
        let mut slice = Slice::new(z);
        change(z, &mut slice);
        bytes_of(&slice)
    };
    Input::new(name, "0", bytes(0)).with_file("1", bytes(1)).with_file("2", bytes(2)).in_folder()
}

pub(crate) fn inputs() -> Vec<Input> {
    let mut inputs = Vec::new();
    for (name, syntax) in [
        ("DICOM, explicit", uids::EXPLICIT_VR_LITTLE_ENDIAN),
        ("DICOM, implicit", uids::IMPLICIT_VR_LITTLE_ENDIAN),
        ("DICOM, big endian", writer::EXPLICIT_VR_BIG_ENDIAN),
    ] {
        let bytes = bytes_of(Slice::new(0).syntax(syntax));
        inputs.extend(cuts(name, "slice", &bytes, 20));
    }
    for (what, tag) in REQUIRED {
        inputs.push(folder(format!("DICOM: a series without {what}"), |_, slice| {
            slice.remove(tag);
        }));
        // Without pixels it is no slice, but one of the reports that lie in such folders.
        if tag != tags::PIXEL_DATA {
            inputs.push(folder(format!("DICOM: a slice without {what}"), |z, slice| {
                if z == 1 {
                    slice.remove(tag);
                }
            }));
        }
    }
    for (lie, change) in LIES {
        inputs.push(folder(format!("DICOM: a slice with {lie}"), |z, slice| {
            if z == 1 {
                change(slice);
            }
        }));
        inputs.push(folder(format!("DICOM: a series with {lie}"), |_, slice| {
            change(slice);
        }));
    }
    // The right name and nothing behind it; and nothing that is DICOM.
    let magic = [vec![0; 128], b"DICM".to_vec()].concat();
    inputs.push(Input::new("DICOM: the magic word alone", "slice", magic.clone()));
    inputs.push(Input::new("DICOM: the magic word and noise", "slice", [magic, noise(5000)].concat()));
    inputs.push(Input::new("DICOM: a folder of noise", "slice", noise(5000)).in_folder());
    inputs.push(folder("DICOM: two series in one folder".to_string(), |z, slice| {
        if z == 1 {
            slice.text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.2");
        }
    }));
    // A transfer syntax of the same length, so that no other length changes.
    let mut unknown = bytes_of(&Slice::new(0));
    let syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN.as_bytes();
    let at = unknown.windows(syntax.len()).position(|window| window == syntax).expect("it is in the header");
    unknown[at + 16] = b'9';
    inputs.push(Input::new("DICOM: a transfer syntax that is none", "slice", unknown));
    inputs
}
