//! The affine: sform, qform, neither, units, and what survives being written.

use organseg_volume::{
    Affine, Grid, NiftiVersion, Volume, VolumeError, WriteConfig, probe, read, write, write_with,
};
use proptest::prelude::*;

use crate::raw_file::{RawFile, field};

/// Precision of a header's numbers, relative to their size: half a unit in the last place of an `f32`.
const SINGLE_PRECISION: f64 = 6e-8;

/// A quaternion in single precision leaves this much doubt about a direction; near half turns, where its
/// first part is the root of a small difference, some 1e-3.
const QUATERNION_TOLERANCE: f64 = 2e-3;

fn probed(file: &RawFile) -> Result<organseg_volume::ImageInfo, VolumeError> {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let path = folder.path().join("scan.nii");
    std::fs::write(&path, &file.bytes).expect("the folder can be written");
    probe(&path)
}

fn rows(file: &RawFile) -> [[f64; 4]; 4] {
    probed(file).expect("the file is sound").grid.affine().to_rows()
}

fn put_sform(file: &mut RawFile) {
    file.i16s(field::SFORM_CODE, &[1]);
    file.f32s(field::SROW, &[-2.0, 0.0, 0.0, 90.0, 0.0, 2.0, 0.0, -126.0, 0.0, 0.0, 4.0, -72.0]);
}

/// A quarter turn about z: x runs to the front, y to the left; z runs down for qfac −1.
fn put_qform(file: &mut RawFile, qfac: f32) {
    file.i16s(field::QFORM_CODE, &[1]).f32s(field::PIXDIM, &[qfac, 1.0, 2.0, 3.0]);
    file.f32s(field::QUATERN, &[0.0, 0.0, 0.5f32.sqrt(), 10.0, 20.0, 30.0]);
}

#[test]
fn the_sform_goes_before_the_qform() {
    let mut file = RawFile::sound();
    put_qform(&mut file, 1.0);
    assert_eq!(probed(&file).unwrap().affine_source, "qform");
    put_sform(&mut file);
    let info = probed(&file).unwrap();
    assert_eq!((info.affine_source, info.orientation.to_string()), ("sform", "LAS".to_string()));
    let expected = [[-2.0, 0.0, 0.0, 90.0], [0.0, 2.0, 0.0, -126.0], [0.0, 0.0, 4.0, -72.0]];
    assert_eq!(info.grid.affine().to_rows()[..3], expected);
    // The affine decides how far voxels are apart, whatever pixdim says beside it.
    assert_eq!(info.grid.spacing().to_array(), [2.0, 2.0, 4.0]);
}

#[test]
fn a_qform_turns_and_mirrors() {
    for (qfac, down) in [(1.0, 3.0), (0.0, 3.0), (-1.0, -3.0)] {
        let mut file = RawFile::sound();
        put_qform(&mut file, qfac);
        let expected = [[0.0, -2.0, 0.0, 10.0], [1.0, 0.0, 0.0, 20.0], [0.0, 0.0, down, 30.0]];
        for (found, expected) in rows(&file).iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "qfac {qfac}: {found}, expected {expected}");
        }
    }
}

#[test]
fn a_sform_needs_no_spacing_beside_it() {
    for spacing in [0.0, -1.5, f32::NAN, f32::INFINITY] {
        let mut file = RawFile::sound();
        put_qform(&mut file, 1.0);
        put_sform(&mut file);
        file.f32s(field::PIXDIM + 8, &[spacing]);
        let info = probed(&file).unwrap();
        assert_eq!((info.affine_source, info.grid.spacing().to_array()), ("sform", [2.0, 2.0, 4.0]));
        assert_eq!(info.qform, None, "a qform without a spacing is none");
    }
}

#[test]
fn a_quaternion_rounded_past_one_is_a_half_turn() {
    let mut file = RawFile::sound();
    put_qform(&mut file, 1.0);
    file.f32s(field::QUATERN, &[0.0, 0.0, 1.000_000_1]);
    let expected = [[-1.0, 0.0, 0.0, 10.0], [0.0, -2.0, 0.0, 20.0], [0.0, 0.0, 3.0, 30.0]];
    assert_eq!(rows(&file)[..3], expected);
}

#[test]
fn without_either_form_the_axes_are_the_world_s() {
    let mut file = RawFile::sound();
    file.f32s(field::PIXDIM, &[-1.0, 0.5, 2.0, 3.0]);
    assert_eq!(probed(&file).unwrap().affine_source, "pixdim");
    assert_eq!(rows(&file)[..3], [[0.5, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0]]);
}

#[test]
fn metres_and_micrometres_become_millimetres() {
    for (unit, scale) in [(0, 1.0), (1, 1e3), (2, 1.0), (3, 1e-3), (1 | 8, 1e3)] {
        let mut file = RawFile::sound();
        file.put(field::XYZT_UNITS, &[unit]);
        assert_eq!(rows(&file)[1], [0.0, scale, 0.0, 0.0]);
        put_sform(&mut file);
        assert_eq!(rows(&file)[0], [-2.0 * scale, 0.0, 0.0, 90.0 * scale]);
        put_qform(&mut file, 1.0);
        file.i16s(field::SFORM_CODE, &[0]);
        assert!((rows(&file)[0][3] - 10.0 * scale).abs() < 1e-9);
    }
}

#[test]
fn axes_of_one_entry_may_follow_and_missing_ones_are_one_voxel_thick() {
    for (size, expected) in [(&[6i16, 4, 1, 1, 1][..], [6, 4, 1]), (&[6, 4], [6, 4, 1]), (&[24], [24, 1, 1])]
    {
        let mut file = RawFile::new(true, size, 4, 16);
        file.f32s(field::PIXDIM + 4 * (size.len() + 1), &[0.0]);
        assert_eq!(probed(&file).unwrap().grid.size(), expected);
    }
}

#[test]
fn more_than_a_header_can_say_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.nii");
    let far = [[1.0, 0.0, 0.0, 1e39], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]];
    let grid = Grid::new([1, 1, 1], Affine::new(far).unwrap()).unwrap();
    assert!(matches!(write(&path, &Volume::filled(grid, 0u8)), Err(VolumeError::InFile { .. })));
    let near = Affine::new([1.0, 1.0, 1e-60, 1.0].map(|v: f64| [v, 0.0, 0.0, 0.0]));
    assert!(near.is_err());
    let long = Grid::new([40_000, 1, 1], *Grid::with_spacing([1; 3], unit()).unwrap().affine()).unwrap();
    let one = WriteConfig::default().with_nifti_version(NiftiVersion::One);
    let error = write_with(&path, &Volume::filled(long, 0u8), &one).unwrap_err();
    assert!(matches!(error, VolumeError::InFile { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

fn unit() -> organseg_volume::Spacing {
    organseg_volume::Spacing::isotropic(1.0).expect("1 mm is a spacing")
}

/// Rotation about the axis and angle that the quaternion says, times spacing, mirrored or not.
fn turned(quaternion: [f64; 4], spacing: [f64; 3], mirrored: bool, origin: [f64; 3]) -> Option<Affine> {
    let length = quaternion.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length < 0.1 {
        return None;
    }
    let [a, b, c, d] = quaternion.map(|v| v / length);
    let rotation = [
        [1.0 - 2.0 * (c * c + d * d), 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), 1.0 - 2.0 * (b * b + d * d), 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), 1.0 - 2.0 * (b * b + c * c)],
    ];
    let sign = if mirrored { -1.0 } else { 1.0 };
    let row = |r: usize| {
        let [x, y, z] = rotation[r];
        [x * spacing[0], y * spacing[1], z * spacing[2] * sign, origin[r]]
    };
    Affine::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// To single precision always; to the bit once it has been through a file.
    #[test]
    fn any_affine_survives(
        linear in prop::array::uniform9(-4.0f64..4.0),
        origin in prop::array::uniform3(-500.0f64..500.0),
    ) {
        let row = |r: usize| [linear[3 * r], linear[3 * r + 1], linear[3 * r + 2], origin[r]];
        let affine = Affine::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]]);
        prop_assume!(affine.is_ok());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.nii.gz");
        let volume = Volume::filled(Grid::new([1, 2, 1], affine.unwrap()).unwrap(), 1u8);
        write(&path, &volume).unwrap();
        let once = read::<u8>(&path).unwrap();
        let pairs = once.grid().affine().to_rows().into_iter().flatten()
            .zip(volume.grid().affine().to_rows().into_iter().flatten());
        for (found, expected) in pairs {
            prop_assert!((found - expected).abs() <= SINGLE_PRECISION * expected.abs());
        }
        write(&path, &once).unwrap();
        prop_assert_eq!(read::<u8>(&path).unwrap(), once);
    }

    /// A reader that knows only the qform finds the same place.
    #[test]
    fn the_qform_says_the_same_as_the_sform(
        quaternion in prop::array::uniform4(-1.0f64..1.0),
        spacing in prop::array::uniform3(0.3f64..5.0),
        mirrored in any::<bool>(),
        origin in prop::array::uniform3(-500.0f64..500.0),
    ) {
        let affine = turned(quaternion, spacing, mirrored, origin);
        prop_assume!(affine.is_some());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scan.nii");
        let volume = Volume::filled(Grid::new([1, 1, 1], affine.unwrap()).unwrap(), 1u8);
        write(&path, &volume).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[field::SFORM_CODE..field::SFORM_CODE + 2].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let info = probe(&path).unwrap();
        prop_assert_eq!(info.affine_source, "qform");
        for (k, length) in spacing.into_iter().enumerate() {
            let (found, expected) = (info.grid.affine().column(k), volume.grid().affine().column(k));
            for (found, expected) in found.into_iter().zip(expected) {
                prop_assert!((found - expected).abs() <= QUATERNION_TOLERANCE * length);
            }
        }
    }
}
