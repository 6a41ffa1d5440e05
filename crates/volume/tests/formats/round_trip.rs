//! From format to format and back: every value to the bit, every voxel in its place.

use organseg_volume::{Affine, Grid, NiftiVersion, Volume, Voxel, WriteConfig, read, write_with};
use proptest::prelude::*;

use crate::files::Files;

/// Largest change of a number in the affine, in millimetres: MetaImage multiplies a direction by a spacing.
const AFFINE_TOLERANCE_MM: f64 = 1e-6;

/// One of each way to write an image, and some twice, so that each is read and written after each other kind;
/// `2.` in front for NIfTI-2.
const ENDINGS: [&str; 14] = [
    "nrrd", "nii.gz", "mha", "nhdr", "nii", "mhd", "2.hdr", "nrrd", "2.nii.gz", "mha", "nii", "nrrd",
    "2.nii", "mhd",
];

/// Writes `volume` in the way of `ending` and reads it again.
fn through<T: Voxel>(files: &Files, ending: &str, volume: &Volume<T>) -> Volume<T> {
    let version = if ending.starts_with("2.") { NiftiVersion::Two } else { NiftiVersion::default() };
    let path = files.path(&format!("scan.{ending}"));
    let config = WriteConfig::default().with_nifti_version(version);
    write_with(&path, volume, &config).expect("it can be written");
    read(&path).expect("it can be read")
}

/// Random affines: any rotation, flips, spacings from 0.1 to 10 mm, axes up to some 25° off the right angle,
/// origins up to a metre away. The numbers are those that NIfTI-1 holds, which has single precision.
fn affines() -> impl Strategy<Value = Affine> {
    let turns = prop::array::uniform3(-3.2f64..3.2);
    let spacings = prop::array::uniform3(0.1f64..10.0);
    let flips = prop::array::uniform3(any::<bool>());
    let shears = prop_oneof![Just([0.0; 3]), prop::array::uniform3(-0.4f64..0.4)];
    let origins = prop::array::uniform3(-1000.0f64..1000.0);
    (turns, spacings, flips, shears, origins).prop_map(|(turns, spacings, flips, shears, origin)| {
        let mut m = [[1.0, shears[0], shears[1]], [0.0, 1.0, shears[2]], [0.0, 0.0, 1.0]];
        for (axis, angle) in turns.into_iter().enumerate() {
            m = product(rotation(axis, angle), m);
        }
        let step = |r: usize, c: usize| m[r][c] * if flips[c] { -spacings[c] } else { spacings[c] };
        let row = |r: usize| [step(r, 0), step(r, 1), step(r, 2), origin[r]].map(|v| f64::from(v as f32));
        Affine::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]).expect("it is far from singular")
    })
}

fn rotation(axis: usize, angle: f64) -> [[f64; 3]; 3] {
    let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
    let mut m = [[0.0; 3]; 3];
    m[axis][axis] = 1.0;
    (m[a][a], m[a][b]) = (angle.cos(), -angle.sin());
    (m[b][a], m[b][b]) = (angle.sin(), angle.cos());
    m
}

fn product(a: [[f64; 3]; 3], b: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    a.map(|row| [0, 1, 2].map(|c| (0..3).map(|k| row[k] * b[k][c]).sum()))
}

/// The bytes of `voxels`, which tell NaN from NaN and −0 from 0.
fn bytes_of<T: Voxel>(voxels: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    voxels.iter().for_each(|voxel| voxel.push_le_bytes(&mut bytes));
    bytes
}

/// Sends a volume through every format in turn.
fn check<T: Voxel>(
    size: [usize; 3],
    affine: Affine,
    values: impl Fn(usize) -> T,
) -> Result<(), TestCaseError> {
    let files = Files::new();
    let grid = Grid::new(size, affine).expect("it has voxels");
    let first =
        Volume::from_vec(grid, (0..grid.voxel_count()).map(values).collect()).expect("as many as places");
    let mut volume = first.clone();
    for ending in ENDINGS {
        volume = through(&files, ending, &volume);
        prop_assert_eq!(bytes_of(volume.voxels()), bytes_of(first.voxels()), "{}", ending);
        prop_assert_eq!(volume.size(), size);
        let (found, expected) = (volume.grid().affine().to_rows().concat(), affine.to_rows().concat());
        for (found, expected) in found.into_iter().zip(expected) {
            prop_assert!(
                (found - expected).abs() <= AFFINE_TOLERANCE_MM,
                "{}: {} {}",
                ending,
                found,
                expected
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The values are the bits of a random row of bytes, read as each type in turn.
    #[test]
    fn every_type_goes_through_every_format_unchanged(
        size in prop::array::uniform3(1usize..6),
        affine in affines(),
        bytes in prop::collection::vec(any::<u8>(), 97),
    ) {
        let eight = |i: usize| [0, 1, 2, 3, 4, 5, 6, 7].map(|k| bytes[(8 * i + k) % bytes.len()]);
        let four = |i: usize| [0, 1, 2, 3].map(|k| bytes[(4 * i + k) % bytes.len()]);
        let two = |i: usize| [0, 1].map(|k| bytes[(2 * i + k) % bytes.len()]);
        let one = |i: usize| [bytes[i % bytes.len()]];
        check(size, affine, |i| u8::from_le_bytes(one(i)))?;
        check(size, affine, |i| i8::from_le_bytes(one(i)))?;
        check(size, affine, |i| u16::from_le_bytes(two(i)))?;
        check(size, affine, |i| i16::from_le_bytes(two(i)))?;
        check(size, affine, |i| u32::from_le_bytes(four(i)))?;
        check(size, affine, |i| i32::from_le_bytes(four(i)))?;
        check(size, affine, |i| u64::from_le_bytes(eight(i)))?;
        check(size, affine, |i| i64::from_le_bytes(eight(i)))?;
        check(size, affine, |i| f32::from_le_bytes(four(i)))?;
        check(size, affine, |i| f64::from_le_bytes(eight(i)))?;
    }
}

#[test]
fn all_but_nifti_1_keep_double_precision() {
    let files = Files::new();
    let affine = Affine::new([
        [0.1, 1.0 / 3.0, 0.0, 1e8 + 0.1],
        [-0.7, 0.2, 0.0, -1.0 / 7.0],
        [0.0, 0.0, std::f64::consts::PI, 1e-12],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let volume = Volume::filled(Grid::new([2, 2, 2], affine.unwrap()).unwrap(), 7u8);
    for ending in ["nrrd", "nhdr", "2.nii", "2.hdr"] {
        assert_eq!(through(&files, ending, &volume), volume, "{ending}");
    }
    for ending in ["mha", "mhd"] {
        let found = through(&files, ending, &volume).grid().affine().to_rows().concat();
        for (found, expected) in found.into_iter().zip(volume.grid().affine().to_rows().concat()) {
            assert!((found - expected).abs() <= 4.0 * f64::EPSILON * expected.abs(), "{found} {expected}");
        }
    }
}

/// DICOM is a source only: a series goes through the other formats.
#[cfg(feature = "dicom")]
#[test]
fn a_dicom_series_goes_through_every_format_unchanged() {
    use dicom_dictionary_std::tags;
    let (turned, third) = ((0.6f64, 0.8), 1.0 / 3.0);
    let folder = crate::writer::series(5, |z, slice| {
        // Rows run obliquely through the patient, columns down.
        slice.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[turned.0, turned.1, 0.0, 0.0, 0.0, -1.0]);
        let along = z as f64 * third;
        slice.position([1.5 - turned.1 * along, -7.25 + turned.0 * along, 3.0 + third]);
    });
    let series = read::<i16>(folder.path()).expect("the series is sound");
    let files = Files::new();
    let mut volume = series.clone();
    for ending in ENDINGS {
        volume = through(&files, ending, &volume);
        assert_eq!(volume.voxels(), series.voxels(), "{ending}");
        let (found, expected) = (volume.grid().affine().to_rows(), series.grid().affine().to_rows());
        for (found, expected) in found.concat().into_iter().zip(expected.concat()) {
            assert!((found - expected).abs() <= AFFINE_TOLERANCE_MM, "{ending}: {found} {expected}");
        }
    }
}
