//! Where slices lie, and what is said of those that do not lie where they should.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use organseg_volume::{DicomFinding, DicomOptions, DicomSeries, VolumeError, find_dicom_series};

use super::writer::{STEP, Slice, series, write_series};

fn only(folder: &tempfile::TempDir) -> DicomSeries {
    let mut series = find_dicom_series(folder.path()).expect("it is sound");
    assert_eq!(series.len(), 1, "{:?}", series.iter().map(DicomSeries::summary).collect::<Vec<_>>());
    series.remove(0)
}

fn refused(folder: &tempfile::TempDir) -> String {
    let error = only(folder).grid(&DicomOptions::default()).expect_err("it is refused");
    assert!(matches!(error, VolumeError::IrregularSeries { .. }), "{error}");
    error.to_string()
}

fn accepted() -> DicomOptions {
    DicomOptions::default().with_accept_irregular(true)
}

#[test]
fn names_and_numbers_do_not_matter_positions_do() {
    let folder = series(5, |z, slice| {
        slice.text(tags::INSTANCE_NUMBER, VR::IS, &format!("{}", [9, 2, 5, 1, 7][z]));
    });
    let series = only(&folder);
    assert!(series.findings().is_empty(), "{:?}", series.findings());
    let volume = series.read::<i16>(&DicomOptions::default()).unwrap();
    assert_eq!(volume.size(), [4, 3, 5]);
    for z in 0..5 {
        assert_eq!(volume[[3, 2, z]], (100 * z + 23) as i16);
    }
    // LPS became RAS: x and y change sign.
    assert_eq!(volume.grid().voxel_to_world([0.0; 3]), [10.0, 20.0, 30.0]);
    assert_eq!(volume.grid().voxel_to_world([1.0, 0.0, 0.0]), [9.5, 20.0, 30.0]);
    assert_eq!(volume.grid().voxel_to_world([0.0, 1.0, 0.0]), [10.0, 19.25, 30.0]);
    assert_eq!(volume.grid().voxel_to_world([0.0, 0.0, 4.0]), [10.0, 20.0, 30.0 + 4.0 * STEP]);
    assert_eq!((series.number, series.key.as_str()), (Some(4), "4"));
    assert_eq!((series.patient_id.as_str(), series.modality.as_str()), ("P7", "CT"));
    assert_eq!(series.description, "Abdomen 2.5");
}

#[test]
fn an_oblique_series_keeps_its_orientation() {
    // Turned by 30 degrees about the patient's x axis.
    let (s, c) = (0.5, 0.75f64.sqrt());
    let folder = series(4, |z, slice| {
        let along = STEP * z as f64;
        slice.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, c, s]).position([
            1.0,
            2.0 - s * along,
            3.0 + c * along,
        ]);
    });
    let series = only(&folder);
    assert!(series.findings().is_empty(), "{:?}", series.findings());
    let affine = *series.grid(&DicomOptions::default()).unwrap().affine();
    let close = |found: [f64; 3], expected: [f64; 3]| {
        found
            .iter()
            .zip(expected)
            .for_each(|(f, e)| assert!((f - e).abs() < 1e-12, "{found:?} {expected:?}"));
    };
    close(affine.column(0), [-0.5, 0.0, 0.0]);
    close(affine.column(1), [0.0, -0.75 * c, 0.75 * s]);
    close(affine.column(2), [0.0, STEP * s, STEP * c]);
    close(affine.origin_mm(), [-1.0, -2.0, 3.0]);
    assert!(affine.orthogonality_residual() < 1e-12);
}

#[test]
fn slices_are_sorted_along_the_normal_whichever_way_it_points() {
    // Rows that run to the left: the normal points to the feet.
    let folder = series(3, |_, slice| {
        slice.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    });
    let volume = only(&folder).read::<i16>(&DicomOptions::default()).unwrap();
    assert_eq!([0, 1, 2].map(|z| volume[[0, 0, z]]), [200, 100, 0]);
    assert_eq!(volume.grid().affine().column(2), [0.0, 0.0, -STEP]);
    assert!(volume.grid().affine().determinant() > 0.0);
}

#[test]
fn a_gantry_tilt_is_kept_and_reported() {
    let folder = series(4, |z, slice| {
        slice.position([-10.0, -20.0 + z as f64, 30.0 + STEP * z as f64]);
    });
    let series = only(&folder);
    let [DicomFinding::GantryTilt { degrees }] = series.findings() else { panic!("{:?}", series.findings()) };
    assert!((degrees - (1.0f64 / STEP).atan().to_degrees()).abs() < 1e-9);
    let affine = *series.grid(&DicomOptions::default()).unwrap().affine();
    assert_eq!(affine.column(2), [0.0, -1.0, STEP]);
    assert!(affine.orthogonality_residual() > 0.3);
}

#[test]
fn missing_slices_are_named_by_their_positions() {
    let folder = series(9, |z, slice| {
        let step = [0, 1, 2, 4, 5, 6, 9, 10, 11][z];
        slice.position([0.0, 0.0, STEP * f64::from(step)]);
    });
    let error = refused(&folder);
    assert!(error.contains("3 slices are missing, 2.5000 mm apart, at 7.50, 17.50, 20.00 mm"), "{error}");
    let series = only(&folder);
    assert!(matches!(series.findings(), [DicomFinding::MissingSlices { .. }]), "{:?}", series.findings());
    let grid = series.grid(&accepted()).unwrap();
    assert_eq!(grid.size(), [4, 3, 9]);
    assert_eq!(grid.voxel_to_world([0.0, 0.0, 8.0])[2], 11.0 * STEP);
}

#[test]
fn uneven_spacing_is_a_finding_up_to_the_tolerance_and_an_error_beyond() {
    let off_by = |mm: f64| {
        series(5, move |z, slice| {
            slice.position([0.0, 0.0, STEP * z as f64 + if z == 2 { mm } else { 0.0 }]);
        })
    };
    assert!(only(&off_by(0.002)).findings().is_empty());
    let slightly = only(&off_by(0.1));
    assert!(matches!(slightly.findings(), [DicomFinding::UnevenSpacing { .. }]));
    assert!(slightly.grid(&DicomOptions::default()).is_ok());
    let folder = off_by(0.5);
    let error = refused(&folder);
    assert!(error.contains("2.0000 to 3.0000 mm apart") && error.contains("017 lies 0.5000 mm"), "{error}");
    assert!(only(&folder).grid(&accepted()).is_ok());
    assert!(only(&folder).grid(&DicomOptions::default().with_spacing_tolerance(0.3)).is_ok());
}

#[test]
fn slices_at_one_place_are_named_together() {
    let folder = series(4, |_, _| {});
    Slice::new(2).write(folder.path(), "copy");
    let error = refused(&folder);
    assert!(error.contains("several slices lie at one place, 1 times: 017 = copy"), "{error}");
    let volume = only(&folder).read::<i16>(&accepted()).unwrap();
    assert_eq!(volume.size(), [4, 3, 4]);
}

#[test]
fn slices_of_several_sizes_are_never_one_volume() {
    let folder = series(3, |z, slice| {
        if z == 1 {
            slice.unsigned(tags::ROWS, 2).unsigned(tags::COLUMNS, 6);
        }
    });
    let error = refused(&folder);
    assert!(error.contains("2 slices of 4×3 (first 003), 1 slices of 6×2 (first 010)"), "{error}");
    assert!(only(&folder).grid(&accepted()).is_err());
    let folder = series(3, |z, slice| {
        slice.decimals(tags::PIXEL_SPACING, &[0.75, if z == 1 { 0.6 } else { 0.5 }]);
    });
    assert!(refused(&folder).contains("several pixel spacings"));
}

#[test]
fn a_single_slice_takes_its_thickness_as_spacing_and_says_so() {
    let folder = series(1, |_, _| {});
    let found = only(&folder);
    assert_eq!(found.findings(), [DicomFinding::SingleSlice { spacing_mm: 3.0, from: "SliceThickness" }]);
    assert_eq!(found.grid(&DicomOptions::default()).unwrap().spacing().to_array(), [0.5, 0.75, 3.0]);
}

#[test]
fn a_damaged_file_is_part_of_the_series_until_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    write_series(folder.path(), 3, |_, _| {});
    let path = Slice::new(3).write(folder.path(), "cut");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..300]).unwrap();
    let error = refused(&folder);
    assert!(error.contains("1 files cannot be read: cut: "), "{error}");
    assert_eq!(only(&folder).read::<i16>(&accepted()).unwrap().size(), [4, 3, 3]);
}

/// Two phases of a contrast agent, the second half a step above the first: one even stack by its positions.
#[test]
fn two_acquisitions_between_each_other_are_refused_and_one_after_the_other_is_a_finding() {
    let by = |number: fn(usize) -> usize| {
        series(6, move |z, slice| {
            slice.text(tags::ACQUISITION_NUMBER, VR::IS, &number(z).to_string());
        })
    };
    let folder = by(|z| 1 + z % 2);
    let error = refused(&folder);
    let expected =
        "AcquisitionNumber has several values, taking turns along the normal: 1 in 3 slices, 2 in 3 slices";
    assert!(error.contains(expected), "{error}");
    assert_eq!(only(&folder).grid(&accepted()).unwrap().size(), [4, 3, 6]);
    let blocks = only(&by(|z| 1 + z / 3));
    let [finding @ DicomFinding::MixedAcquisitions { alternating: false, .. }] = blocks.findings() else {
        panic!("{:?}", blocks.findings())
    };
    assert_eq!(finding.to_string(), "AcquisitionNumber has several values: 1 in 3 slices, 2 in 3 slices");
    assert!(blocks.grid(&DicomOptions::default()).is_ok());
    assert!(only(&by(|z| z)).findings().is_empty());
}

#[test]
fn direction_cosines_become_unit_vectors_at_right_angles_and_a_moved_corner_is_reported() {
    let with = |cosines: [f64; 6]| {
        series(2, move |_, slice| {
            slice.decimals(tags::IMAGE_ORIENTATION_PATIENT, &cosines);
        })
    };
    let moved = only(&with([1.009, 0.0, 0.0, 0.009, 1.009, 0.0]));
    let affine = *moved.grid(&DicomOptions::default()).unwrap().affine();
    assert_eq!(moved.grid(&DicomOptions::default()).unwrap().spacing().to_array(), [0.5, 0.75, STEP]);
    assert!(affine.orthogonality_residual() < 1e-12);
    // Four columns and three rows of such small slices move by less than a tenth of a pixel.
    assert!(moved.findings().is_empty(), "{:?}", moved.findings());
    let wide = series(2, |_, slice| {
        slice.decimals(tags::IMAGE_ORIENTATION_PATIENT, &[1.009, 0.0, 0.0, 0.0, 1.0, 0.0]);
        slice.unsigned(tags::ROWS, 1).unsigned(tags::COLUMNS, 24).pixels(vec![0; 24]);
    });
    let wide = only(&wide);
    // 24 columns: 23 steps, each longer by 0.009 pixels.
    let [DicomFinding::InexactDirections { moved_pixels }] = wide.findings() else {
        panic!("{:?}", wide.findings())
    };
    assert!((moved_pixels - 23.0 * 0.009).abs() < 1e-9, "{moved_pixels}");
}
