//! Files that are cut, or lie: an error, at once, and little memory.

use std::io::Write;
use std::path::Path;

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use organseg_volume::{Grid, Spacing, Volume, VolumeError, read, write};

use super::writer::{EXPLICIT_VR_BIG_ENDIAN, Slice, series};

/// An element in explicit VR little endian with a length of 32 bits.
fn element(tag: [u16; 2], vr: &[u8; 2], length: u32) -> Vec<u8> {
    let mut bytes: Vec<u8> = tag.iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend(vr);
    bytes.extend([0, 0]);
    bytes.extend(length.to_le_bytes());
    bytes
}

/// A delimiter or an item header.
fn item(element: u16, length: u32) -> Vec<u8> {
    [&0xFFFEu16.to_le_bytes()[..], &element.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// A file header in explicit VR, then `data_set`.
fn file(data_set: &[u8]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("it is sound");
    let bytes = std::fs::read(Slice::new(0).write(folder.path(), "x")).expect("it is sound");
    let length = u32::from_le_bytes(bytes[140..144].try_into().expect("it is sound")) as usize;
    [&bytes[..144 + length], data_set].concat()
}

fn refused(bytes: &[u8]) -> VolumeError {
    let folder = tempfile::tempdir().expect("it is sound");
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("it is sound");
    read::<i16>(&path).expect_err("it is refused")
}

fn bytes_of(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("it is sound")
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN] {
        let folder = tempfile::tempdir().unwrap();
        let whole = bytes_of(&Slice::new(0).syntax(syntax).write(folder.path(), "x"));
        for length in 0..whole.len() {
            refused(&whole[..length]);
        }
    }
}

#[test]
fn any_byte_may_be_wrong_without_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let whole = bytes_of(&Slice::new(0).write(folder.path(), "x"));
    let path = folder.path().join("changed");
    for at in 128..whole.len() {
        for value in [0x00, 0x7F, 0xFF, whole[at] ^ 0x01] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            std::fs::write(&path, bytes).unwrap();
            let _ = read::<i16>(&path);
        }
    }
}

#[test]
fn pixels_that_are_promised_but_not_there_are_never_waited_for() {
    let folder = series(1, |_, slice| {
        slice.unsigned(tags::ROWS, 65535).unsigned(tags::COLUMNS, 65535).bits(32, 32, true);
    });
    let error = read::<i32>(folder.path()).unwrap_err();
    assert!(matches!(error, VolumeError::Truncated { found: 24, .. }), "{error}");
    // The element itself promises four gigabytes.
    let folder = series(1, |_, slice| {
        slice.unsigned(tags::ROWS, 65535).unsigned(tags::COLUMNS, 32767).remove(tags::PIXEL_DATA);
    });
    let path = folder.path().join("003");
    let bytes = [bytes_of(&path), element([0x7FE0, 0x0010], b"OW", 0xFFFF_FFF0), vec![0; 1000]].concat();
    std::fs::write(&path, bytes).unwrap();
    let error = read::<i16>(folder.path()).unwrap_err();
    assert!(matches!(error, VolumeError::Truncated { found: 1000, .. }), "{error}");
}

#[test]
fn values_longer_than_the_file_are_refused() {
    for vr in [b"OB", b"UN", b"SQ", b"UT"] {
        for tag in [[0x0009, 0x1001], [0x5200, 0x9230], [0x0028, 0x1053]] {
            let error = refused(&file(&[element(tag, vr, 0xFFFF_FFF0), vec![0; 100]].concat()));
            assert!(matches!(error, VolumeError::Format { .. }), "{error}");
        }
    }
}

#[test]
fn sequences_without_end_and_without_bottom_are_refused() {
    // Each level opens a sequence and an item of undefined length.
    let level = |tag: [u16; 2]| [element(tag, b"SQ", u32::MAX), item(0xE000, u32::MAX)].concat();
    for tag in [[0x0009, 0x1001], [0x5200, 0x9230], [0x0040, 0xA730]] {
        let error = refused(&file(&level(tag).repeat(100_000)));
        assert!(matches!(error, VolumeError::Format { .. }), "{error}");
    }
    // A sequence of empty items that never ends; an item's end without an item.
    refused(&file(&[element([0x0009, 0x1001], b"SQ", u32::MAX), item(0xE000, 0).repeat(100_000)].concat()));
    refused(&file(&[element([0x0009, 0x1001], b"SQ", u32::MAX), item(0xE00D, 0), item(0xE000, 0)].concat()));
    // Groups of frames that reach beyond their sequence.
    let beyond = [element([0x5200, 0x9230], b"SQ", 16), item(0xE000, 100), vec![0; 200]].concat();
    refused(&file(&beyond));
}

#[test]
fn sequences_of_any_kind_are_passed_over() {
    let folder = series(2, |_, _| {});
    let expected = read::<i16>(folder.path()).unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let whole = bytes_of(&path);
        let length = u32::from_le_bytes(whole[140..144].try_into().unwrap()) as usize;
        let inner = [element([0x0008, 0x0104], b"UN", 4), vec![1; 4]].concat();
        let closed =
            [element([0x0008, 0x0001], b"SQ", 8 + inner.len() as u32), item(0xE000, inner.len() as u32)];
        let open = [element([0x0008, 0x0002], b"SQ", u32::MAX), item(0xE000, u32::MAX), inner.clone()];
        let ends = [item(0xE00D, 0), item(0xE0DD, 0)];
        // Of VR UN and undefined length: what is within is in implicit VR.
        let implicit = [&[0x08, 0x00, 0x04, 0x01, 2, 0, 0, 0][..], &[7, 7]].concat();
        let unknown = [element([0x0008, 0x0003], b"UN", u32::MAX), item(0xE000, u32::MAX), implicit];
        let parts = [
            &whole[..144 + length],
            &closed.concat(),
            &inner,
            &open.concat(),
            &ends.concat(),
            &unknown.concat(),
            &ends.concat(),
            &whole[144 + length..],
        ];
        std::fs::write(path, parts.concat()).unwrap();
    }
    assert_eq!(read::<i16>(folder.path()).unwrap(), expected);
}

#[test]
fn a_transfer_syntax_that_is_not_read_is_named() {
    for (uid, name) in [
        ("1.2.840.10008.1.2.4.51", "JPEG extended, 12 bits"),
        ("1.2.840.10008.1.2.4.201", "high-throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.102", "video"),
        ("1.2.3.4", "not known"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let whole = bytes_of(&Slice::new(0).write(folder.path(), "x"));
        let old = [uids::EXPLICIT_VR_LITTLE_ENDIAN.as_bytes(), &[0]].concat();
        let at = whole.windows(old.len()).position(|window| window == old).unwrap();
        let padded = if uid.len() % 2 == 1 { format!("{uid}\0") } else { uid.to_string() };
        let length = (padded.len() as u16).to_le_bytes();
        let bytes = [&whole[..at - 2], &length, padded.as_bytes(), &whole[at + old.len()..]].concat();
        let error = refused(&bytes);
        assert!(matches!(error, VolumeError::UnsupportedSyntax { .. }), "{error}");
        assert!(
            error.to_string().contains(&format!("its transfer syntax {uid} ({name}) is not read")),
            "{error}"
        );
    }
}

/// The header of a file whose data set is deflated.
fn deflated_header() -> Vec<u8> {
    let mut bytes = file(&[]);
    let old = [uids::EXPLICIT_VR_LITTLE_ENDIAN.as_bytes(), &[0]].concat();
    let at = bytes.windows(old.len()).position(|window| window == old).expect("it is there");
    let deflated = b"1.2.840.10008.1.2.1.99";
    bytes.splice(at - 2..at + old.len(), [&(deflated.len() as u16).to_le_bytes()[..], deflated].concat());
    bytes
}

#[test]
fn a_deflated_header_that_inflates_without_end_is_refused() {
    let mut bytes = deflated_header();
    let mut deflate = flate2::write::DeflateEncoder::new(&mut bytes, flate2::Compression::fast());
    deflate.write_all(&element([0x0009, 0x1001], b"OB", 0xFFFF_FFF0)).unwrap();
    for _ in 0..300 {
        deflate.write_all(&[0; 1 << 20]).unwrap();
    }
    deflate.finish().unwrap();
    let error = refused(&bytes).to_string();
    assert!(error.contains("inflates to more than"), "{error}");
}

#[test]
fn the_limit_is_on_the_voxels() {
    use organseg_volume::{ReadLimits, read_with_limits};
    let folder = series(3, |_, slice| {
        slice.text(tags::SERIES_DESCRIPTION, VR::LO, "limits");
    });
    let limits = |max_bytes| ReadLimits { max_bytes };
    assert!(read_with_limits::<i16>(folder.path(), limits(72)).is_ok());
    let error = read_with_limits::<i16>(folder.path(), limits(71)).unwrap_err();
    assert!(matches!(error, VolumeError::TooLarge { bytes: 72, limit: 71, .. }), "{error}");
}

/// The fuzzer met the magic word in a compressed NIfTI image, which then was a damaged DICOM file.
#[test]
fn a_compressed_image_with_the_magic_word_in_its_place_is_not_dicom() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.nii");
    let path = folder.path().join("image.nii.gz");
    let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
    write(&plain, &Volume::from_vec(grid, vec![3i16, -4]).unwrap()).unwrap();
    let mut extra = [0; 120];
    // The header before it is of twelve bytes.
    extra[128 - 12..].copy_from_slice(b"DICM");
    let mut gzip = flate2::GzBuilder::new().extra(&extra[..]).write(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes_of(&plain)).unwrap();
    let bytes = gzip.finish().unwrap();
    assert_eq!(&bytes[128..132], b"DICM");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(read::<i16>(&path).unwrap().voxels(), [3, -4]);
}

#[test]
fn a_deflated_file_is_held_against_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = bytes_of(&Slice::new(0).write(folder.path(), "x"));
    let header = 144 + u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
    let mut data_set = bytes[header..].to_vec();
    let mut replace = |from: &[u8], to: &[u8]| {
        let at = data_set.windows(from.len()).rposition(|bytes| bytes == from).unwrap() + from.len();
        data_set[at..at + to.len()].copy_from_slice(to);
    };
    let side = 16_000u16;
    replace(b"\x28\x00\x10\x00US\x02\x00", &side.to_le_bytes());
    replace(b"\x28\x00\x11\x00US\x02\x00", &side.to_le_bytes());
    replace(b"\xe0\x7f\x10\x00OW\x00\x00", &(2 * u32::from(side) * u32::from(side)).to_le_bytes());
    let mut deflate = flate2::write::DeflateEncoder::new(deflated_header(), flate2::Compression::fast());
    deflate.write_all(&data_set).unwrap();
    let message = refused(&deflate.finish().unwrap()).to_string();
    assert!(message.contains("cannot hold 512000000 bytes"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe.nii");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    read::<i16>(&path).unwrap_err();
}
