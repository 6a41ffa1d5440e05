//! Compressed pixels, written by other programs: see `tests/golden/make_compressed_dicom.py`.

use std::path::PathBuf;

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use organseg_volume::{VolumeError, find_dicom_series, probe, read};

use super::writer::{SIZE, series};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Pixel (x, y) of the lossless files.
fn expected(x: usize, y: usize) -> u16 {
    ((37 * x * x + 101 * y + if x > 7 { 4000 } else { 0 }) % 4096) as u16
}

/// Reads the golden file `name`, and it damaged in many ways: an error or an image, and no panic.
#[cfg_attr(not(feature = "jpeg"), allow(dead_code, reason = "nothing but RLE is read"))]
fn lossless_file_is_read(name: &str) {
    let volume = read::<u16>(golden(name)).expect("it is sound");
    assert_eq!(volume.size(), [16, 8, 1], "{name}");
    for y in 0..8 {
        for x in 0..16 {
            assert_eq!(volume[[x, y, 0]], expected(x, y), "{name} ({x}, {y})");
        }
    }
    assert_eq!(volume.grid().spacing().to_array(), [0.5, 0.75, 2.5]);
    let whole = std::fs::read(golden(name)).expect("it is sound");
    let folder = tempfile::tempdir().expect("it is sound");
    let path = folder.path().join(name);
    let pixels = whole.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).expect("it is sound");
    for at in pixels..whole.len() {
        std::fs::write(&path, &whole[..at]).expect("it is sound");
        assert!(read::<u16>(&path).is_err(), "{name} cut at {at}");
        for bit in [0, 3, 7] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            std::fs::write(&path, bytes).expect("it is sound");
            let _ = read::<u16>(&path);
        }
    }
}

#[test]
fn rle_is_read() {
    lossless_file_is_read("rle.dcm");
}

#[cfg(feature = "jpeg")]
#[test]
fn lossless_jpeg_is_read() {
    lossless_file_is_read("jpeg_lossless.dcm");
}

#[cfg(feature = "jpeg")]
#[test]
fn baseline_jpeg_is_read_and_reported_as_lossy() {
    let volume = read::<u8>(golden("jpeg_baseline.dcm")).unwrap();
    for y in 0..8 {
        for x in 0..16 {
            // Quality 95 changes a ramp by a grey value or two.
            assert!(volume[[x, y, 0]].abs_diff((8 * x + 4 * y) as u8) <= 2, "({x}, {y})");
        }
    }
    let found = find_dicom_series(golden("jpeg_baseline.dcm")).unwrap();
    assert!(found[0].findings().contains(&organseg_volume::DicomFinding::Lossy));
}

#[cfg(feature = "jpeg2000")]
#[test]
fn jpeg_2000_is_read() {
    lossless_file_is_read("jpeg_2000.dcm");
}

#[cfg(feature = "jpeg-ls")]
#[test]
fn jpeg_ls_is_read() {
    lossless_file_is_read("jpeg_ls.dcm");
}

#[test]
fn what_this_build_does_not_read_is_listed_and_names_its_feature() {
    for (name, feature, on) in [
        ("jpeg_lossless.dcm", "jpeg", cfg!(feature = "jpeg")),
        ("jpeg_2000.dcm", "jpeg2000", cfg!(feature = "jpeg2000")),
        ("jpeg_ls.dcm", "jpeg-ls", cfg!(feature = "jpeg-ls")),
    ] {
        if !on {
            assert_eq!(probe(golden(name)).unwrap().grid.size(), [16, 8, 1]);
            let error = read::<u16>(golden(name)).unwrap_err();
            assert!(matches!(error, VolumeError::UnsupportedSyntax { .. }), "{error}");
            let words =
                format!("is not read by this build, the feature `{feature}` of organseg-volume would");
            assert!(error.to_string().contains(&words), "{error}");
        }
    }
}

#[test]
fn an_image_of_another_size_than_the_header_says_is_refused() {
    let change_both = |name: &str, columns: u16, rows: u16| {
        let mut bytes = std::fs::read(golden(name)).unwrap();
        // Columns and rows, (0028,0011) and (0028,0010) of VR US.
        for (element, value) in [(0x11, columns), (0x10, rows)] {
            let tag = [0x28, 0x00, element, 0x00, b'U', b'S', 2, 0];
            let at = bytes.windows(8).position(|window| window == tag).unwrap();
            bytes[at + 8..at + 10].copy_from_slice(&value.to_le_bytes());
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        read::<u16>(folder.path()).unwrap_err().to_string()
    };
    let change = |name: &str, columns: u16| change_both(name, columns, 8);
    // Eight gigabytes that are not even asked for.
    for name in ["rle.dcm", "jpeg_lossless.dcm", "jpeg_2000.dcm", "jpeg_ls.dcm"] {
        let error = change_both(name, 65535, 65535);
        assert!(error.contains("cannot hold") || error.contains("is not read by this build"), "{error}");
    }
    assert!(change("rle.dcm", 17).contains("ends before its last pixel"));
    assert!(change("rle.dcm", 65535).contains("ends before its last pixel"));
    #[cfg(feature = "jpeg")]
    assert!(change("jpeg_lossless.dcm", 17).contains("[16, 8] columns and rows, its header says [17, 8]"));
    #[cfg(feature = "jpeg2000")]
    assert!(change("jpeg_2000.dcm", 17).contains("[16, 8] columns and rows, its header says [17, 8]"));
    #[cfg(feature = "jpeg-ls")]
    assert!(change("jpeg_ls.dcm", 17).contains("[16, 8] columns and rows, its header says [17, 8]"));
}

#[test]
fn pixels_in_several_fragments_without_compression_are_joined() {
    let folder = series(2, |z, slice| {
        let [nx, ny] = SIZE;
        let pixels = (0..nx * ny).flat_map(|i| ((1000 * z + i) as u16).to_le_bytes());
        let bytes: Vec<u8> = pixels.collect();
        let fragments = vec![bytes[..10].to_vec(), bytes[10..].to_vec()];
        let sequence = PixelFragmentSequence::new(Vec::<u32>::new(), fragments);
        slice.syntax(uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN);
        slice.object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(sequence)));
    });
    let volume = read::<i16>(folder.path()).unwrap();
    assert_eq!((volume[[0, 0, 0]], volume[[3, 2, 1]]), (0, 1011));
}
