//! Values: every type, both byte orders, every kind of file, slope and intercept.

use organseg_volume::{
    Affine, Grid, ImageFormat, ReadLimits, Spacing, Volume, VolumeError, Voxel, probe, read, read_image,
    read_labels, read_with_limits, write,
};

use crate::raw_file::{RawFile, field, gzip};

/// Calls `check` for every type with its NIfTI code, values that have its limits among them, and how the
/// type looks most significant byte first.
macro_rules! for_every_type {
    ($check:ident) => {
        for_every_type!($check integer: u8 2, i16 4, i32 8, i8 256, u16 512, u32 768, i64 1024, u64 1280);
        for_every_type!($check float: f32 16, f64 64);
    };
    ($check:ident integer: $($type:ident $code:expr),*) => {
        $($check::<$type>($code, &[$type::MIN, $type::MAX, 1, 0], |v| v.to_be_bytes().to_vec());)*
    };
    ($check:ident float: $($type:ident $code:expr),*) => {$(
        let values = [$type::MIN, $type::MIN_POSITIVE / 2.0, -0.1, $type::INFINITY];
        $check::<$type>($code, &values, |v| v.to_be_bytes().to_vec());
    )*};
}

fn oblique_grid() -> Grid {
    let affine = Affine::new([
        [-0.75, 0.125, 0.0, 90.5],
        [0.125, 0.75, 0.5, -126.25],
        [0.0625, 0.0, 2.5, -72.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    Grid::new([3, 2, 2], affine.expect("it is invertible")).expect("it has voxels")
}

#[test]
fn every_type_survives_every_kind_of_file() {
    fn check<T: Voxel>(_: i16, values: &[T], _: fn(T) -> Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::from_vec(oblique_grid(), values.repeat(3)).unwrap();
        for ending in ["nii", "nii.gz", "hdr", "hdr.gz", "img", "img.gz", "NII.GZ"] {
            let path = folder.path().join(format!("scan.1.{ending}"));
            write(&path, &volume).unwrap();
            assert_eq!(read::<T>(&path).unwrap(), volume, "{ending}");
            let info = probe(&path).unwrap();
            assert_eq!((info.data_type, info.grid), (T::DATA_TYPE, oblique_grid()));
            let single = ending.to_lowercase().starts_with("nii");
            assert_eq!(info.format, if single { ImageFormat::Nifti1 } else { ImageFormat::Nifti1Pair });
        }
    }
    for_every_type!(check);
}

#[test]
fn every_type_is_read_in_both_byte_orders() {
    fn check<T: Voxel>(code: i16, values: &[T], big_endian_bytes: fn(T) -> Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        for big_endian in [false, true] {
            let mut file = RawFile::new(big_endian, &[2, 2], code, 8 * size_of::<T>() as i16);
            for &value in values {
                let mut bytes = big_endian_bytes(value);
                if !big_endian {
                    bytes.reverse();
                }
                file.bytes.extend(bytes);
            }
            let path = folder.path().join("scan.nii");
            std::fs::write(&path, &file.bytes).unwrap();
            let volume = read::<T>(&path).unwrap();
            assert_eq!(volume.voxels(), values);
            assert_eq!(volume.size(), [2, 2, 1]);
            // The name does not decide whether it is compressed.
            std::fs::write(&path, gzip(&file.bytes)).unwrap();
            assert_eq!(read::<T>(&path).unwrap(), volume);
        }
    }
    for_every_type!(check);
}

#[test]
fn another_reader_reads_what_is_written() {
    use nifti::{NiftiObject, NiftiVolume, RandomAccessNiftiVolume, ReaderOptions};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    let volume = Volume::from_fn(oblique_grid(), |[x, y, z]| (x + 10 * y + 100 * z) as i16 - 7);
    write(&path, &volume).unwrap();
    let object = ReaderOptions::new().read_file(&path).unwrap();
    let header = object.header();
    assert_eq!(header.srow_y, [0.125, 0.75, 0.5, -126.25]);
    assert_eq!((header.dim, header.bitpix), ([3, 3, 2, 2, 1, 1, 1, 1], 16));
    assert_eq!((header.xyzt_units, header.scl_slope, header.vox_offset), (10, 1.0, 352.0));
    assert_eq!(object.volume().dim(), [3, 2, 2]);
    assert_eq!(object.volume().get_i16(&[2, 1, 1]).unwrap(), 105);
    assert_eq!(object.volume().get_i16(&[1, 0, 1]).unwrap(), 94);
}

#[test]
fn equal_volumes_give_equal_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let volume = Volume::from_fn(oblique_grid(), |[x, y, z]| (x * y + z) as f32);
    let bytes = ["a.nii.gz", "b.nii.gz"].map(|name| {
        write(folder.path().join(name), &volume).unwrap();
        std::fs::read(folder.path().join(name)).unwrap()
    });
    assert_eq!(bytes[0], bytes[1]);
}

#[test]
fn slope_and_intercept_apply_unless_the_slope_is_no_number_to_scale_by() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii");
    let third_voxel = |slope: f32, intercept: f32| {
        let mut file = RawFile::sound();
        file.f32s(field::SCL_SLOPE, &[slope]).f32s(field::SCL_INTER, &[intercept]);
        std::fs::write(&path, &file.bytes).unwrap();
        read_image(&path).unwrap().voxels()[2]
    };
    assert_eq!(third_voxel(2.5, -1024.0), -1019.0);
    assert_eq!(third_voxel(1.0, 0.0), 2.0);
    assert_eq!(third_voxel(0.0, 7.0), 2.0);
    assert_eq!(third_voxel(f32::NAN, 7.0), 2.0);
    assert_eq!(third_voxel(f32::INFINITY, 7.0), 2.0);
    for intercept in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(third_voxel(2.5, intercept), 5.0, "an intercept that is none is 0");
    }
}

#[test]
fn scaled_values_are_read_as_integers_where_they_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii");
    let mut file = RawFile::sound();
    file.f32s(field::SCL_SLOPE, &[2.0, -10.0]);
    std::fs::write(&path, &file.bytes).unwrap();
    assert_eq!(read::<i16>(&path).unwrap().voxels()[..3], [-10, -8, -6]);
    file.f32s(field::SCL_SLOPE, &[0.5, 0.0]);
    std::fs::write(&path, &file.bytes).unwrap();
    let error = read::<i16>(&path).unwrap_err();
    assert!(matches!(&error, VolumeError::Value { voxel: [1, 0, 0], .. }), "{error}");
    assert!(error.to_string().ends_with("holds 0.5, expected a value that i16 holds exactly"), "{error}");
}

#[test]
fn labels_may_be_stored_as_any_type_but_must_be_whole_numbers_to_255() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.nii");
    let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
    write(&path, &Volume::from_vec(grid, vec![0.0f32, 7.0, 255.0]).unwrap()).unwrap();
    assert_eq!(read_labels(&path).unwrap().voxels(), [0, 7, 255]);
    write(&path, &Volume::from_vec(grid, vec![0i64, 7, 255]).unwrap()).unwrap();
    assert_eq!(read_labels(&path).unwrap().voxels(), [0, 7, 255]);
    for (value, shown) in [(256.0, "256.0"), (-1.0, "-1.0"), (0.5, "0.5"), (f64::NAN, "NaN")] {
        write(&path, &Volume::from_vec(grid, vec![0.0, value, 1.0]).unwrap()).unwrap();
        let message = read_labels(&path).unwrap_err().to_string();
        let expected =
            format!("voxel [1, 0, 0] holds {shown}, expected a label, a whole number from 0 to 255");
        assert_eq!(message, format!("{}: {expected}", path.display()));
    }
}

/// A mask of floats that nibabel saves under a header for integers is scaled by a slope in single precision, and the
/// label 1 comes back as 1.0000000591389835 or 0.9999999997671694.
#[test]
fn labels_that_the_rounding_of_a_slope_has_moved_are_read_as_labels_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("labels.nii");
    let put = |code: i16, bits: i16, voxels: &[u8], slope: f32, intercept: f32| {
        let mut file = RawFile::new(false, &[2, 1, 1], code, bits);
        file.f32s(field::SCL_SLOPE, &[slope, intercept]);
        file.bytes.extend(voxels);
        std::fs::write(&path, &file.bytes).unwrap();
    };
    put(2, 8, &[0, 255], 1.0 / 255.0, 0.0);
    assert_eq!(read_labels(&path).unwrap().voxels(), [0, 1]);
    let message = read::<u8>(&path).unwrap_err().to_string();
    assert!(
        message.ends_with("holds 1.0000000591389835, expected a value that u8 holds exactly"),
        "{message}"
    );
    let ends = [i16::MIN, i16::MAX].map(i16::to_le_bytes).concat();
    put(4, 16, &ends, 1.0 / 65535.0, 32768.0 / 65535.0);
    assert_eq!(read_labels(&path).unwrap().voxels(), [0, 1]);
    // Labels 0 to 4 in eight bits: 1 became 64 · 4 / 255, which is no rounding of the slope.
    put(2, 8, &[0, 64], 4.0 / 255.0, 0.0);
    let message = read_labels(&path).unwrap_err().to_string();
    assert!(message.contains("holds 1.003921"), "{message}");
    // Beyond a label, and without a slope to blame.
    put(2, 8, &[0, 255], 256.0 / 255.0, 0.0);
    assert!(read_labels(&path).is_err());
    put(16, 32, &[0.0f32, 0.999_99].map(f32::to_le_bytes).concat(), 1.0, 0.0);
    assert!(read_labels(&path).is_err());
}

#[test]
fn the_limit_counts_stored_and_converted_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii.gz");
    std::fs::write(&path, gzip(&RawFile::sound().bytes)).unwrap();
    let limit = |max_bytes| ReadLimits { max_bytes };
    // 24 voxels of 2 bytes in the file and 4 in memory.
    assert!(read_with_limits::<f32>(&path, limit(144)).is_ok());
    let error = read_with_limits::<f32>(&path, limit(143)).unwrap_err();
    assert!(matches!(error, VolumeError::TooLarge { bytes: 144, limit: 143, .. }), "{error}");
}
