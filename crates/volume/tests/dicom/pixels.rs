//! How pixels are stored, and what they become.

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use organseg_volume::{
    DataType, DicomFinding, DicomOptions, VolumeError, find_dicom_series, probe, read, read_image,
    read_labels,
};

use super::writer::{EXPLICIT_VR_BIG_ENDIAN, Slice, series};

fn values(folder: &tempfile::TempDir) -> Vec<i32> {
    read::<i32>(folder.path()).expect("it is sound").into_vec()
}

fn data_type(folder: &tempfile::TempDir) -> DataType {
    probe(folder.path()).expect("it is sound").data_type
}

#[test]
fn every_encoding_of_elements_gives_the_same_volume() {
    let expected = read::<i16>(series(3, |_, _| {}).path()).unwrap();
    for syntax in [uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN] {
        let folder = series(3, |_, slice| {
            slice.syntax(syntax);
        });
        assert_eq!(read::<i16>(folder.path()).unwrap(), expected, "{syntax}");
    }
}

#[test]
fn a_deflated_data_set_gives_the_same_volume() {
    use std::io::Write;
    let folder = series(3, |_, _| {});
    let expected = read::<i16>(folder.path()).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // The file header, whose length stands at byte 140, stays as it is but for the syntax.
        let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
        let (head, data_set) = bytes.split_at(144 + length);
        let uid = [uids::EXPLICIT_VR_LITTLE_ENDIAN.as_bytes(), &[0]].concat();
        let at = head.windows(uid.len()).position(|window| window == uid).unwrap();
        let deflated = b"1.2.840.10008.1.2.1.99";
        let mut out =
            [&head[..at - 2], &(deflated.len() as u16).to_le_bytes(), deflated, &head[at + uid.len()..]]
                .concat();
        let mut deflate = flate2::write::DeflateEncoder::new(&mut out, flate2::Compression::fast());
        deflate.write_all(data_set).unwrap();
        deflate.finish().unwrap();
        std::fs::write(path, out).unwrap();
    }
    assert_eq!(read::<i16>(folder.path()).unwrap(), expected);
}

#[test]
fn files_without_preamble_are_read_too() {
    let folder = series(3, |_, _| {});
    let expected = read::<i16>(folder.path()).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
        // Once with the file header, else with the data set alone.
        let start = if path.ends_with("003") { 132 } else { 144 + length };
        std::fs::write(path, &bytes[start..]).unwrap();
    }
    assert_eq!(read::<i16>(folder.path()).unwrap(), expected);
}

#[test]
fn twelve_bits_with_a_sign_are_extended_and_what_is_above_them_ignored() {
    let folder = series(1, |_, slice| {
        let mut pixels = vec![0u16; 12];
        // −1 with rubbish above, −2048, 2047, 5.
        pixels[..4].copy_from_slice(&[0xAFFF, 0x0800, 0xF7FF, 0x5005]);
        slice.bits(16, 12, true).pixels(pixels);
    });
    assert_eq!(values(&folder)[..4], [-1, -2048, 2047, 5]);
    assert_eq!(data_type(&folder), DataType::I16);
}

#[test]
fn stored_bits_need_not_begin_at_the_lowest() {
    let folder = series(1, |_, slice| {
        let mut pixels = vec![0u16; 12];
        pixels[..2].copy_from_slice(&[0xFFF7, 0x0120]);
        slice.bits(16, 12, false).unsigned(tags::HIGH_BIT, 15).pixels(pixels);
    });
    assert_eq!(values(&folder)[..2], [0xFFF, 0x012]);
}

#[test]
fn one_and_four_bytes_a_pixel_are_read() {
    let folder = series(1, |_, slice| {
        let bytes: Vec<u8> = (250..=255).chain(0..6).collect();
        slice.bits(8, 8, false).put(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into()));
    });
    assert_eq!(values(&folder), [250, 251, 252, 253, 254, 255, 0, 1, 2, 3, 4, 5]);
    assert_eq!(data_type(&folder), DataType::U8);
    let folder = series(1, |_, slice| {
        let words: Vec<u16> = (0..12u16).flat_map(|i| [i, 0xFFFF]).collect();
        slice.bits(32, 32, true).pixels(words);
    });
    assert_eq!(values(&folder)[..3], [-65536, -65535, -65534]);
    assert_eq!(data_type(&folder), DataType::I32);
}

#[test]
fn each_slice_has_its_own_slope_and_intercept() {
    let folder = series(3, |z, slice| {
        slice.rescale([1.0, 2.0, -1.0][z], [-1000.0, 0.0, 7.0][z]);
    });
    let volume = read::<i16>(folder.path()).unwrap();
    assert_eq!([0, 1, 2].map(|z| volume[[1, 1, z]]), [-989, 222, -204]);
    let found = find_dicom_series(folder.path()).unwrap();
    assert_eq!(found[0].findings(), [DicomFinding::MixedRescale { count: 3 }]);
    assert_eq!(found[0].info(&DicomOptions::default()).unwrap().data_type, DataType::I32);
}

#[test]
fn slopes_that_are_not_whole_make_floats() {
    let folder = series(2, |_, slice| {
        slice.rescale(0.5, -1.0);
    });
    assert_eq!(data_type(&folder), DataType::F32);
    assert_eq!(read_image(folder.path()).unwrap()[[1, 0, 0]], -0.5);
    assert_eq!(read::<f64>(folder.path()).unwrap()[[3, 2, 1]], 60.5);
    let error = read::<i16>(folder.path()).unwrap_err();
    assert!(matches!(&error, VolumeError::Value { voxel: [1, 0, 0], .. }), "{error}");
    assert!(error.to_string().contains("holds -0.5, expected a value that i16 holds exactly"), "{error}");
}

#[test]
fn labels_are_read_through_a_slope_that_is_rounded() {
    let folder = series(1, |_, slice| {
        slice.pixels([0, 255, 510].repeat(4)).rescale(0.003_921_57, 0.0);
    });
    assert_eq!(read_labels(folder.path()).unwrap().voxels()[..3], [0, 1, 2]);
    assert!(read::<u8>(folder.path()).is_err());
}

#[test]
fn the_type_is_the_smallest_that_holds_all_that_the_bits_can_mean() {
    let with = |bits, signed, intercept| {
        data_type(&series(2, move |_, slice| {
            slice.bits(16, bits, signed).rescale(1.0, intercept);
        }))
    };
    assert_eq!(with(12, false, -1024.0), DataType::I16);
    assert_eq!(with(12, false, 0.0), DataType::U16);
    assert_eq!(with(16, false, -1024.0), DataType::I32);
    assert_eq!(with(16, true, 0.0), DataType::I16);
    assert_eq!(with(8, true, 0.0), DataType::I8);
}

#[test]
fn a_smaller_type_is_exact_if_the_values_are_in_its_range() {
    let folder = series(3, |_, slice| {
        slice.bits(16, 16, false).rescale(1.0, -1024.0);
    });
    assert_eq!(read::<i16>(folder.path()).unwrap()[[3, 2, 2]], 223 - 1024);
    let error = read::<u8>(folder.path()).unwrap_err();
    assert!(matches!(&error, VolumeError::Value { voxel: [0, 0, 0], .. }), "{error}");
}

#[test]
fn an_image_meant_to_be_shown_inverted_keeps_its_values() {
    let folder = series(2, |_, slice| {
        slice.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    });
    assert_eq!(read::<i16>(folder.path()).unwrap()[[1, 0, 0]], 1);
    assert_eq!(find_dicom_series(folder.path()).unwrap()[0].findings(), [DicomFinding::Inverted]);
}

#[test]
fn the_padding_value_is_told_and_kept() {
    let folder = series(2, |_, slice| {
        slice.put(tags::PIXEL_PADDING_VALUE, VR::SS, PrimitiveValue::from(-2000i16)).rescale(1.0, -24.0);
    });
    assert_eq!(find_dicom_series(folder.path()).unwrap()[0].padding, Some(-2024.0));
}

#[test]
fn every_attribute_that_a_volume_needs_is_named_if_it_is_not_there() {
    for (tag, name) in [
        (tags::ROWS, "Rows (0028,0010)"),
        (tags::COLUMNS, "Columns (0028,0011)"),
        (tags::BITS_ALLOCATED, "BitsAllocated (0028,0100)"),
        (tags::BITS_STORED, "BitsStored (0028,0101)"),
        (tags::PIXEL_REPRESENTATION, "PixelRepresentation (0028,0103)"),
        (tags::PIXEL_SPACING, "PixelSpacing (0028,0030)"),
        (tags::IMAGE_POSITION_PATIENT, "ImagePositionPatient (0020,0032)"),
        (tags::IMAGE_ORIENTATION_PATIENT, "ImageOrientationPatient (0020,0037)"),
        (tags::SERIES_INSTANCE_UID, "SeriesInstanceUID (0020,000E)"),
    ] {
        let folder = series(2, |_, slice| {
            slice.remove(tag);
        });
        let error = read::<i16>(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("003: it lacks {name}")), "{error}");
        // One slice of several: the others are not read as if it was not there.
        let folder = series(3, |z, slice| {
            if z == 2 {
                slice.remove(tag);
            }
        });
        let error = read::<i16>(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("1 files cannot be read: 017: it lacks {name}")), "{error}");
    }
}

#[test]
fn attributes_that_make_no_sense_are_named() {
    let refused = |change: &dyn Fn(&mut Slice) -> &mut Slice, words: &str| {
        let folder = series(2, |_, slice| {
            change(slice);
        });
        let error = read::<i16>(folder.path()).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    };
    refused(&|s| s.text(tags::PIXEL_SPACING, VR::DS, "1"), "PixelSpacing (0028,0030) is `1`, expected 2");
    refused(&|s| s.text(tags::PIXEL_SPACING, VR::DS, r"0\1"), "0 by 1 mm apart");
    refused(&|s| s.text(tags::IMAGE_POSITION_PATIENT, VR::DS, r"1\nan\2"), "is `1\\nan\\2`, expected 3");
    refused(
        &|s| s.text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, r"1\0\0\1\0\0"),
        "not two unit vectors at right angles",
    );
    refused(&|s| s.unsigned(tags::BITS_STORED, 17), "17 bits stored");
    refused(&|s| s.unsigned(tags::BITS_ALLOCATED, 12), "12 bits, expected 8, 16 or 32");
    refused(&|s| s.unsigned(tags::SAMPLES_PER_PIXEL, 3), "3 values (MONOCHROME2), expected one grey");
    refused(&|s| s.unsigned(tags::ROWS, 0), "4 columns and 0 rows");
    refused(&|s| s.text(tags::NUMBER_OF_FRAMES, VR::IS, "5"), "5 frames, and no functional groups");
    refused(&|s| s.text(tags::RESCALE_SLOPE, VR::DS, "x"), "RescaleSlope (0028,1053) is `x`");
}

#[test]
fn ct_without_rescale_is_a_finding_and_a_modality_lut_is_refused() {
    let raw = series(3, |z, slice| {
        if z == 1 {
            slice.remove(tags::RESCALE_INTERCEPT);
        }
    });
    let found = find_dicom_series(raw.path()).unwrap();
    assert_eq!(found[0].findings(), [DicomFinding::NoRescale { count: 1 }]);
    assert!(found[0].grid(&DicomOptions::default()).is_ok());
    let magnetic = series(2, |_, slice| {
        slice.text(tags::MODALITY, VR::CS, "MR").remove(tags::RESCALE_SLOPE).remove(tags::RESCALE_INTERCEPT);
    });
    assert!(find_dicom_series(magnetic.path()).unwrap()[0].findings().is_empty());
    let table = series(2, |_, slice| {
        slice
            .remove(tags::RESCALE_SLOPE)
            .remove(tags::RESCALE_INTERCEPT)
            .sequence(tags::MODALITY_LUT_SEQUENCE);
    });
    let error = read::<i16>(table.path()).unwrap_err().to_string();
    assert!(error.contains("2 slices have a Modality LUT (0028,3000), which is not applied"), "{error}");
}
