//! Files that are wrong: each an error that names the file and what is wrong with it, at no cost in memory.

use std::path::Path;

use organseg_volume::{VolumeError, probe, read, read_image};
use proptest::prelude::*;

use crate::raw_file::{RawFile, field, gzip};

/// The error that `bytes` as a file `name` give.
fn error_of(name: &str, bytes: &[u8]) -> VolumeError {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("the folder can be written");
    let error = read_image(&path).expect_err("the file is wrong");
    assert!(error.to_string().starts_with(&path.display().to_string()), "{error} does not name the file");
    error
}

/// The error that a sound file gives after `spoil`.
fn spoiled(spoil: impl FnOnce(&mut RawFile)) -> VolumeError {
    let mut file = RawFile::sound();
    spoil(&mut file);
    error_of("scan.nii", &file.bytes)
}

#[track_caller]
fn assert_says(error: &VolumeError, what: &str) {
    assert!(error.to_string().contains(what), "`{error}` does not say `{what}`");
}

#[test]
fn a_file_that_is_not_there_is_the_system_s_error() {
    let error = read_image("nowhere/scan.nii").unwrap_err();
    assert!(matches!(&error, VolumeError::Io { path, .. } if path == Path::new("nowhere/scan.nii")));
    let folder = tempfile::tempdir().unwrap();
    assert_says(&read_image(folder.path()).unwrap_err(), "it is a folder");
}

#[test]
fn a_gzip_stream_cut_anywhere_is_damaged() {
    let whole = gzip(&RawFile::sound().bytes);
    for length in [2, 9, 30, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let error = error_of("scan.nii.gz", &whole[..length]);
        assert!(matches!(error, VolumeError::DamagedGzip { .. }), "{length} bytes: {error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let whole = RawFile::sound().bytes;
    let zipped = gzip(&whole);
    for length in 0..whole.len() {
        error_of("scan.nii", &whole[..length]);
        error_of("scan.nii.gz", &gzip(&whole[..length]));
    }
    for length in 0..zipped.len() {
        error_of("scan.nii.gz", &zipped[..length]);
    }
}

#[test]
fn bytes_behind_the_voxels_are_followed_to_the_checksum_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    let sound = RawFile::sound().bytes;
    let with = |behind: usize| [&sound[..], &vec![0; behind]].concat();
    for behind in [1, 1000] {
        std::fs::write(&path, gzip(&with(behind))).unwrap();
        assert_eq!(read::<i16>(&path).unwrap().voxels()[23], 23, "{behind} bytes behind");
    }
    let error = error_of("scan.nii.gz", &gzip(&with(64 << 20)));
    assert!(error.to_string().contains("promises 48 bytes of voxels, it holds more than"), "{error}");
    let mut spoiled = gzip(&with(1000));
    let checksum = spoiled.len() - 6;
    spoiled[checksum] ^= 1;
    let error = error_of("scan.nii.gz", &spoiled);
    assert!(matches!(error, VolumeError::DamagedGzip { decoded: 1400, .. }), "{error}");
}

#[test]
fn several_gzip_streams_in_a_row_are_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    let sound = RawFile::sound().bytes;
    for cut in [1, 300, 352, 353, 399] {
        let (first, second) = sound.split_at(cut);
        std::fs::write(&path, [gzip(first), gzip(second)].concat()).unwrap();
        assert_eq!(read::<i16>(&path).unwrap().voxels()[23], 23, "cut at {cut}");
    }
}

#[test]
fn a_gzip_stream_with_another_checksum_is_damaged() {
    let mut bytes = gzip(&RawFile::sound().bytes);
    let at = bytes.len() - 6;
    bytes[at] ^= 1;
    assert!(matches!(error_of("scan.nii.gz", &bytes), VolumeError::DamagedGzip { decoded: 400, .. }));
}

#[test]
fn fewer_voxels_than_promised_are_refused() {
    let bytes = RawFile::sound().bytes;
    let cut = &bytes[..bytes.len() - 1];
    for (name, bytes) in [("scan.nii", cut.to_vec()), ("scan.nii.gz", gzip(cut))] {
        let error = error_of(name, &bytes);
        assert!(matches!(error, VolumeError::Truncated { expected: 48, found: 47, .. }), "{error}");
        assert_says(&error, "its header promises 48 bytes of voxels, the file holds 47");
    }
    for length in [0, 100, 347] {
        assert_says(&error_of("scan.nii", &bytes[..length]), &format!("it ends after {length} bytes"));
    }
    assert_says(&error_of("scan.nii", &bytes[..350]), "its voxels should begin at byte 352");
}

#[test]
fn a_claim_of_more_than_the_machine_has_costs_nothing() {
    let mut file = RawFile::sound();
    file.i16s(field::DIM, &[3, 32767, 32767, 32767]);
    // Without compression, the file's length gives the lie away; with it, only the machine's memory does.
    assert!(matches!(error_of("scan.nii", &file.bytes), VolumeError::Truncated { found: 48, .. }));
    let error = error_of("scan.nii.gz", &gzip(&file.bytes));
    assert!(matches!(error, VolumeError::TooLarge { .. }), "{error}");
    assert_says(&error, "its header asks for 211086905769978 bytes of memory, the limit is ");
    // What would fit, but is not there, is found out on the way.
    file.i16s(field::DIM, &[3, 512, 512, 256]);
    let error = error_of("scan.nii.gz", &gzip(&file.bytes));
    assert!(matches!(error, VolumeError::Truncated { expected: 0x800_0000, found: 48, .. }), "{error}");
}

#[test]
fn an_affine_that_is_none_is_refused() {
    let sform = |first: f32| {
        move |file: &mut RawFile| {
            let rows = [first, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
            file.i16s(field::SFORM_CODE, &[1]).f32s(field::SROW, &rows);
        }
    };
    assert_says(&spoiled(sform(f32::NAN)), "affine is not valid: it holds NaN");
    assert_says(&spoiled(sform(f32::INFINITY)), "affine is not valid: it holds inf");
    assert_says(&spoiled(sform(0.0)), "affine is not valid: it is singular");
    let qform = spoiled(|file| {
        file.i16s(field::QFORM_CODE, &[1]).f32s(field::QUATERN, &[f32::NAN]);
    });
    assert_says(&qform, "affine is not valid: it holds NaN");
}

#[test]
fn a_spacing_that_is_none_is_refused() {
    for (value, shown) in [(0.0, "0.0"), (-1.5, "-1.5"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let spoil = |file: &mut RawFile| {
            file.f32s(field::PIXDIM + 8, &[value]);
        };
        assert_says(&spoiled(spoil), &format!("spacing [1.0, {shown}, 1.0] mm is not valid"));
        let with_qform = spoiled(|file| {
            spoil(file);
            file.i16s(field::QFORM_CODE, &[1]);
        });
        assert_says(&with_qform, "is not valid, expected three positive finite numbers");
    }
}

#[test]
fn a_size_that_is_none_is_refused() {
    for axes in [0, 8, -1, 300] {
        let error = spoiled(|file| {
            file.i16s(field::DIM, &[axes]);
        });
        assert_says(&error, &format!("its header says {axes} axes, expected 1 to 7"));
    }
    for entries in [0, -3] {
        let error = spoiled(|file| {
            file.i16s(field::DIM + 4, &[entries]);
        });
        assert_says(&error, &format!("an axis has {entries} entries"));
    }
    let series = spoiled(|file| {
        file.i16s(field::DIM, &[4, 2, 3, 2, 2]);
    });
    assert!(matches!(&series, VolumeError::NotThreeDimensional { size, .. } if size == &[2, 3, 2, 2]));
    assert_says(&series, "it is an image of size [2, 3, 2, 2], expected three dimensions");
}

#[test]
fn voxels_that_are_no_real_numbers_are_refused() {
    for (code, name) in [
        (0, ""),
        (1, " (bits)"),
        (32, " (complex)"),
        (128, " (colour)"),
        (1536, " (128-bit float)"),
        (9999, ""),
    ] {
        let error = spoiled(|file| {
            file.i16s(field::DATATYPE, &[code]);
        });
        assert_says(&error, &format!("voxels of NIfTI type {code}{name}, expected"));
    }
    let bits = spoiled(|file| {
        file.i16s(field::BITPIX, &[8]);
    });
    assert_says(&bits, "8 bits a voxel, expected 16 for I16");
}

#[test]
fn other_files_are_told_from_nifti_1() {
    assert_says(&error_of("scan.nii", &[0x42; 1000]), "it is not a NIfTI-1 file: header size 1111638594");
    let magic = spoiled(|file| {
        file.put(field::MAGIC, b"abc\n");
    });
    assert_says(&magic, r"it is not a NIfTI-1 file: magic abc\n, expected n+1\x00 or ni1\x00");
    let newer = spoiled(|file| {
        file.put(field::SIZEOF_HDR, &540i32.to_le_bytes());
    });
    assert_says(&newer, "it ends after 400 bytes, a NIfTI-2 header has 540");
    for offset in [-1.0, 200.0, f32::NAN, 1e30] {
        let error = spoiled(|file| {
            file.f32s(field::VOX_OFFSET, &[offset]);
        });
        assert_says(&error, "the voxels begin at byte");
    }
}

#[test]
fn half_a_pair_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = RawFile::sound();
    file.put(field::MAGIC, b"ni1\0").f32s(field::VOX_OFFSET, &[0.0]);
    let (header, voxels) = file.bytes.split_at(352);
    let (header_path, voxel_path) = (folder.path().join("scan.hdr"), folder.path().join("scan.img"));
    std::fs::write(&header_path, &header[..348]).unwrap();
    let other_half = "its other half should lie beside it as scan.img or scan.img.gz, and neither exists";
    assert_says(&read_image(&header_path).unwrap_err(), other_half);
    std::fs::write(&voxel_path, &voxels[1..]).unwrap();
    let error = read_image(&header_path).unwrap_err();
    assert!(
        matches!(&error, VolumeError::Truncated { path, expected: 48, found: 47 } if path == &voxel_path),
        "{error}"
    );
    std::fs::write(&voxel_path, voxels).unwrap();
    assert_eq!(read::<i16>(&voxel_path).unwrap(), read::<i16>(&header_path).unwrap());
    std::fs::remove_file(&header_path).unwrap();
    assert_says(&read_image(&voxel_path).unwrap_err(), "scan.hdr or scan.hdr.gz, and neither exists");
}

proptest! {
    /// Whatever the header says, reading ends, and a header that is believed has a file to match.
    #[test]
    fn a_random_header_never_panics(
        changes in prop::collection::vec((0usize..352, any::<u8>()), 1..8),
        zipped in any::<bool>(),
    ) {
        let mut file = RawFile::sound();
        for (at, byte) in changes {
            file.bytes[at] = byte;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.nii");
        std::fs::write(&path, if zipped { gzip(&file.bytes) } else { file.bytes }).unwrap();
        if let Ok(volume) = read_image(&path) {
            prop_assert!(volume.voxels().len() <= 48);
            prop_assert_eq!(probe(&path).unwrap().grid, *volume.grid());
        }
    }
}
