//! NIfTI-2: longer axes and affines to the bit.

use organseg_volume::{
    Affine, Grid, ImageFormat, NiftiVersion, Spacing, Volume, VolumeError, WriteConfig, probe, read,
    read_image, write, write_smallest, write_with,
};
use proptest::prelude::*;

use crate::raw_file::gzip;

fn two() -> WriteConfig {
    WriteConfig::default().with_nifti_version(NiftiVersion::Two)
}

fn written(
    volume: &Volume<i16>,
    name: &str,
    config: &WriteConfig,
) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join(name);
    write_with(&path, volume, config).expect("the folder can be written");
    (folder, path)
}

#[test]
fn an_axis_too_long_for_nifti_1_goes_into_nifti_2_by_itself() {
    let spacing = Spacing::isotropic(1.0).unwrap();
    for (length, format) in [(32767, ImageFormat::Nifti1), (32768, ImageFormat::Nifti2)] {
        let grid = Grid::with_spacing([1, length, 2], spacing).unwrap();
        let volume = Volume::from_fn(grid, |[_, y, z]| (y + z) as i16);
        let (_folder, path) = written(&volume, "long.nii.gz", &WriteConfig::default());
        assert_eq!(probe(&path).unwrap().format, format);
        assert_eq!(read::<i16>(&path).unwrap(), volume);
    }
}

#[test]
fn every_kind_of_file_holds_it() {
    let grid = Grid::with_spacing([2, 3, 4], Spacing::new([0.1, 0.2, 0.3]).unwrap()).unwrap();
    let volume = Volume::from_fn(grid, |[x, y, z]| (x + 10 * y + 100 * z) as i16);
    for name in ["a.nii", "a.nii.gz", "a.hdr", "a.img.gz"] {
        let (_folder, path) = written(&volume, name, &two());
        let pair = !name.contains("nii");
        let format = if pair { ImageFormat::Nifti2Pair } else { ImageFormat::Nifti2 };
        assert_eq!(probe(&path).unwrap().format, format, "{name}");
        assert_eq!(read::<i16>(&path).unwrap(), volume, "{name}");
    }
}

/// `nibabel.Nifti2Image(numpy.arange(2, dtype="i2").reshape(2, 1, 1), [[0, -1.1, 0, 500.123456789], [2.2, 0,
/// 0, -3], [0, 0, 3.3, 4], [0, 0, 0, 1]])`: the fields that are not zero, in both byte orders.
#[test]
fn another_writer_s_header_is_read_in_both_byte_orders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii");
    for big_endian in [false, true] {
        let mut bytes = vec![0; 544];
        let mut put = |at: usize, little: &[u8]| {
            bytes[at..at + little.len()].copy_from_slice(little);
            if big_endian {
                bytes[at..at + little.len()].reverse();
            }
        };
        put(0, &540i32.to_le_bytes());
        put(12, &4i16.to_le_bytes());
        put(14, &16i16.to_le_bytes());
        for (i, n) in [3i64, 2, 1, 1, 1, 1, 1, 1].into_iter().enumerate() {
            put(16 + 8 * i, &n.to_le_bytes());
        }
        for (i, v) in [1.0f64, 2.2, 1.1, 3.3].into_iter().enumerate() {
            put(104 + 8 * i, &v.to_le_bytes());
        }
        put(168, &544i64.to_le_bytes());
        put(176, &f64::NAN.to_le_bytes());
        put(348, &2i32.to_le_bytes());
        let rows = [[0.0, -1.1, 0.0, 500.123456789], [2.2, 0.0, 0.0, -3.0], [0.0, 0.0, 3.3, 4.0]];
        for (i, v) in rows.into_iter().flatten().enumerate() {
            put(400 + 8 * i, &f64::to_le_bytes(v));
        }
        put(500, &10i32.to_le_bytes());
        bytes[4..12].copy_from_slice(b"n+2\0\r\n\x1a\n");
        bytes.extend(
            [0i16, 1].into_iter().flat_map(|v| if big_endian { v.to_be_bytes() } else { v.to_le_bytes() }),
        );
        std::fs::write(&path, &bytes).unwrap();
        let volume = read_image(&path).unwrap();
        assert_eq!(volume.voxels(), [0.0, 1.0]);
        assert_eq!(volume.grid().affine().to_rows()[..3], rows);
        // Anything cut off or changed is found out.
        for length in 0..bytes.len() {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(read_image(&path).is_err(), "{length} bytes");
        }
        bytes[10] = b'x';
        std::fs::write(&path, &bytes).unwrap();
        let error = read_image(&path).unwrap_err();
        assert!(error.to_string().contains("it is not a NIfTI-2 file: magic"), "{error}");
    }
}

#[test]
fn a_size_beyond_counting_is_refused() {
    let grid = Grid::with_spacing([2, 2, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
    let (_folder, path) = written(&Volume::filled(grid, 1), "a.nii", &two());
    let mut bytes = std::fs::read(&path).unwrap();
    for entries in [i64::MAX, i64::MIN, -1, 1 << 40] {
        for axis in 1..=3 {
            bytes[16 + 8 * axis..24 + 8 * axis].copy_from_slice(&entries.to_le_bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        let error = read_image(&path).unwrap_err();
        assert!(!matches!(error, VolumeError::Io { .. }), "{error}");
    }
}

#[test]
fn whole_numbers_are_written_in_the_smallest_type() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.nii.gz");
    let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
    let volume = Volume::from_vec(grid, vec![0.0f64, 7.0, 255.0]).unwrap();
    write_smallest(&path, &volume, &WriteConfig::default()).unwrap();
    assert_eq!(probe(&path).unwrap().data_type, organseg_volume::DataType::U8);
    assert_eq!(read::<f64>(&path).unwrap(), volume);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// To the bit in NIfTI-2; in NIfTI-1 to 1e-6 of the largest number of a row.
    #[test]
    fn any_affine_survives(
        linear in prop::array::uniform9(-4.0f64..4.0),
        origin in prop::array::uniform3(-500.0f64..500.0),
    ) {
        let row = |r: usize| [linear[3 * r], linear[3 * r + 1], linear[3 * r + 2], origin[r]];
        let affine = Affine::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]);
        prop_assume!(affine.is_ok());
        let volume = Volume::filled(Grid::new([1, 2, 1], affine.unwrap()).unwrap(), 3i16);
        let (_folder, path) = written(&volume, "scan.nii", &two());
        prop_assert_eq!(&read::<i16>(&path).unwrap(), &volume);
        write(&path, &volume).unwrap();
        let found = probe(&path).unwrap().grid.affine().to_rows();
        for (found, expected) in found.iter().zip(volume.grid().affine().to_rows()) {
            let largest = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((found - expected).abs() <= 1e-6 * largest);
            }
        }
    }

    /// Values of any kind and number come back through the parallel gzip writer and either way of reading.
    #[test]
    fn gzip_survives(seed in any::<u32>(), size in prop::array::uniform3(1usize..60), spread in 1u32..16) {
        let grid = Grid::with_spacing(size, Spacing::isotropic(1.0).unwrap()).unwrap();
        let mut state = seed | 1;
        let volume = Volume::from_fn(grid, |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16 >> spread) as i16
        });
        let (_folder, path) = written(&volume, "scan.nii.gz", &WriteConfig::default());
        prop_assert_eq!(&read::<i16>(&path).unwrap(), &volume);
        prop_assert_eq!(&read::<i64>(&path).unwrap(), &volume.map(i64::from));
        // Two streams in a row go through the window.
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, [gzip(&[]), bytes].concat()).unwrap();
        prop_assert_eq!(&read::<i16>(&path).unwrap(), &volume);
    }
}

/// Found by fuzzing: the square of such a spacing is zero, so that its column had no length.
#[test]
fn a_spacing_too_small_to_compute_with_is_refused() {
    let volume =
        Volume::filled(Grid::with_spacing([2, 3, 4], Spacing::isotropic(1.0).unwrap()).unwrap(), 7i16);
    let (_folder, path) = written(&volume, "scan.nii", &two());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[344..352].fill(0); // neither qform nor sform
    bytes[120..128].copy_from_slice(&1e-200f64.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = probe(&path).unwrap_err().to_string();
    assert!(error.contains("spacing [1.0, 1e-200, 1.0] mm is not valid"), "{error}");
}
