//! What is in a folder, and which of it is meant.

use dicom_core::{PrimitiveValue, VR};
use dicom_dictionary_std::tags;
use organseg_volume::{DicomFolder, DicomOptions, DicomSeries, find_dicom_series, probe, read};

use super::writer::{Slice, series, write_series};

fn keys(series: &[DicomSeries]) -> Vec<&str> {
    series.iter().map(|series| series.key.as_str()).collect()
}

#[test]
fn other_files_are_passed_over_and_counted() {
    let folder = series(3, |_, _| {});
    let deeper = folder.path().join("a/b");
    std::fs::create_dir_all(&deeper).unwrap();
    std::fs::write(deeper.join("notes.txt"), "no image").unwrap();
    std::fs::write(folder.path().join("empty.dcm"), "").unwrap();
    std::fs::write(folder.path().join("thumb.jpg"), [0xFF, 0xD8, 0xFF, 0xE0].repeat(100)).unwrap();
    Slice::new(0).remove(tags::PIXEL_DATA).write(folder.path(), "DICOMDIR");
    let found = DicomFolder::open(folder.path()).unwrap();
    assert_eq!((found.series.len(), found.other_files, found.without_pixels), (1, 3, 1));
    assert!(found.series[0].findings().is_empty());
}

#[test]
fn series_in_folders_within_are_found_and_sorted_by_number() {
    let folder = tempfile::tempdir().unwrap();
    for (name, number) in [("x", "12"), ("a", "3"), ("b/c", "")] {
        let inner = folder.path().join(name);
        std::fs::create_dir_all(&inner).unwrap();
        write_series(&inner, 2, |_, slice| {
            slice.text(tags::SERIES_INSTANCE_UID, VR::UI, &format!("1.2.3.{}", name.len())).text(
                tags::SERIES_NUMBER,
                VR::IS,
                number,
            );
            if name == "a" {
                slice.text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.9");
            }
        });
    }
    assert_eq!(keys(&find_dicom_series(folder.path()).unwrap()), ["3", "12", "1.2.3.3"]);
}

#[test]
fn several_series_are_listed_and_chosen_by_number_or_uid() {
    let folder = tempfile::tempdir().unwrap();
    for (uid, number) in [("1.2.8", "5"), ("1.2.9", "6"), ("1.2.7", "6")] {
        let inner = folder.path().join(uid);
        std::fs::create_dir(&inner).unwrap();
        write_series(&inner, 2, |_, slice| {
            slice
                .text(tags::SERIES_INSTANCE_UID, VR::UI, uid)
                .text(tags::SERIES_NUMBER, VR::IS, number)
                .rescale(1.0, number.parse().unwrap());
        });
    }
    let error = read::<i16>(folder.path()).unwrap_err().to_string();
    for words in ["holds 3 series", "5 (UID 1.2.8): CT Abdomen 2.5, 2 slices", "1.2.7: CT", "1.2.9: CT"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    let found = DicomFolder::open(folder.path()).unwrap();
    assert_eq!(found.choose(Some("5")).unwrap().uid, "1.2.8");
    assert_eq!(found.choose(Some("1.2.9")).unwrap().uid, "1.2.9");
    let error = found.choose(Some("6")).unwrap_err().to_string();
    assert!(error.contains("2 series are called `6`"), "{error}");
    assert!(found.choose(Some("7")).unwrap_err().to_string().contains("no series is called `7`"));
}

#[test]
fn echoes_at_one_place_are_stacks_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    for echo in [2, 1] {
        for z in 0..3 {
            let mut slice = Slice::new(z);
            slice
                .text(tags::ECHO_NUMBERS, VR::IS, &echo.to_string())
                .text(tags::INSTANCE_NUMBER, VR::IS, &(10 * z + echo).to_string())
                .rescale(1.0, (1000 * echo) as f64)
                .write(folder.path(), &format!("{echo}{z}"));
        }
    }
    let found = DicomFolder::open(folder.path()).unwrap();
    assert_eq!(keys(&found.series), ["4/1", "4/2"]);
    for (echo, series) in found.series.iter().enumerate() {
        assert_eq!(series.stack.as_deref(), Some(format!("EchoNumbers {}", echo + 1).as_str()));
        assert!(series.findings().is_empty());
        let volume = series.read::<i16>(&DicomOptions::default()).unwrap();
        assert_eq!(volume[[0, 0, 2]], 1200 + 1000 * echo as i16);
    }
    assert!(found.choose(Some("4")).unwrap_err().to_string().contains("2 series are called `4`"));
    assert_eq!(found.choose(Some("4/2")).unwrap().stack.as_deref(), Some("EchoNumbers 2"));
}

/// Some programs compute positions echo by echo: they differ by rounding, which is no distance between slices.
#[test]
fn echoes_whose_positions_differ_by_rounding_are_at_one_place() {
    // The last with two echoes of one slice, which has no distance to others to compare with.
    for (jitter, slices) in [(1e-5, 4), (1e-3, 4), (1e-5, 1)] {
        let folder = tempfile::tempdir().unwrap();
        for echo in [1, 2] {
            for z in 0..slices {
                let off = if (z + echo) % 2 == 0 { jitter } else { 0.0 };
                Slice::new(z)
                    .text(tags::ECHO_NUMBERS, VR::IS, &echo.to_string())
                    .position([-10.0, -20.0, 30.0 + 2.5 * z as f64 + off])
                    .write(folder.path(), &format!("{echo}{z}"));
            }
        }
        let found = find_dicom_series(folder.path()).unwrap();
        assert_eq!(keys(&found), ["4/1", "4/2"], "{jitter} mm, {slices} slices");
        assert!(found.iter().all(|series| series.grid(&DicomOptions::default()).is_ok()));
    }
}

#[test]
fn thin_slices_with_one_far_away_stay_apart() {
    let folder = series(5, |z, slice| {
        slice.position([-10.0, -20.0, if z == 4 { 400.0 } else { 0.6 * z as f64 }]);
    });
    let found = find_dicom_series(folder.path()).unwrap();
    assert_eq!((found.len(), found[0].files.len()), (1, 5));
    let error = found[0].grid(&DicomOptions::default()).unwrap_err().to_string();
    assert!(error.contains("apart") && !error.contains("one place"), "{error}");
}

#[test]
fn points_in_time_are_told_apart_only_where_slices_coincide() {
    let folder = tempfile::tempdir().unwrap();
    for time in 0..3 {
        for z in 0..4 {
            Slice::new(z)
                .text(tags::TEMPORAL_POSITION_IDENTIFIER, VR::IS, &time.to_string())
                .write(folder.path(), &format!("{time}{z}"));
        }
    }
    assert_eq!(keys(&find_dicom_series(folder.path()).unwrap()), ["4/1", "4/2", "4/3"]);
    // An attribute that runs along with the slices does not tear the stack apart.
    let folder = series(4, |z, slice| {
        slice.text(tags::ACQUISITION_NUMBER, VR::IS, &z.to_string());
    });
    assert_eq!(keys(&find_dicom_series(folder.path()).unwrap()), ["4"]);
}

#[test]
fn localizers_and_other_orientations_are_stacks_of_their_own() {
    let folder = series(3, |_, _| {});
    for z in 0..2 {
        let along = 5.0 * z as f64;
        Slice::new(z)
            .decimals(tags::IMAGE_ORIENTATION_PATIENT, &[0.0, 1.0, 0.0, 0.0, 0.0, -1.0])
            .position([along, 0.0, 0.0])
            .text(tags::INSTANCE_NUMBER, VR::IS, &(20 + z).to_string())
            .write(folder.path(), &format!("sagittal{z}"));
    }
    Slice::new(0).text(tags::IMAGE_TYPE, VR::CS, r"ORIGINAL\PRIMARY\LOCALIZER").write(folder.path(), "scout");
    let found = find_dicom_series(folder.path()).unwrap();
    let stacks: Vec<_> =
        found.iter().map(|series| (series.stack.clone().unwrap(), series.files.len())).collect();
    let expected = [("orientation 1", 3), ("orientation 2", 2), ("localizer", 1)];
    assert_eq!(stacks, expected.map(|(name, n)| (name.to_string(), n)));
}

/// A parametric map beside the scan that it was made from.
#[test]
fn an_image_of_floats_is_a_series_that_cannot_be_read_and_no_harm_to_others() {
    for (tag, vr, pixels) in [
        (tags::FLOAT_PIXEL_DATA, VR::OF, PrimitiveValue::F32([0.5; 12].into_iter().collect())),
        (tags::DOUBLE_FLOAT_PIXEL_DATA, VR::OD, PrimitiveValue::F64([0.5; 12].into_iter().collect())),
    ] {
        let folder = series(3, |_, _| {});
        let map = Slice::new(0)
            .text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.2")
            .text(tags::SERIES_NUMBER, VR::IS, "5")
            .remove(tags::PIXEL_DATA)
            .put(tag, vr, pixels)
            .write(folder.path(), "map");
        let found = DicomFolder::open(folder.path()).unwrap();
        assert_eq!((keys(&found.series), found.damaged.len()), (vec!["4", "5"], 0));
        assert!(found.series[0].findings().is_empty(), "{:?}", found.series[0].findings());
        assert_eq!(found.series[0].read::<i16>(&DicomOptions::default()).unwrap().size(), [4, 3, 3]);
        for error in
            [found.series[1].grid(&DicomOptions::default()).unwrap_err(), read::<f32>(&map).unwrap_err()]
        {
            let error = error.to_string();
            assert!(error.starts_with(&map.display().to_string()), "{error}");
            assert!(error.contains("floating point numbers, expected integers"), "{error}");
        }
    }
}

#[test]
fn a_single_file_is_the_image_that_it_holds() {
    let folder = series(3, |_, _| {});
    assert_eq!(probe(folder.path().join("010")).unwrap().grid.size(), [4, 3, 1]);
    assert_eq!(read::<i16>(folder.path().join("010")).unwrap()[[0, 0, 0]], 100);
}

#[test]
fn a_folder_without_images_is_an_error_that_counts_its_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), "x").unwrap();
    let error = find_dicom_series(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it is a folder with no DICOM image among its 1 files"), "{error}");
    assert!(find_dicom_series(folder.path().join("nowhere")).is_err());
}

#[test]
fn text_is_decoded_by_its_character_set() {
    let folder = series(2, |_, slice| {
        slice.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192").text(
            tags::SERIES_DESCRIPTION,
            VR::LO,
            "Oberbauch transversal ‒ größer",
        );
    });
    assert_eq!(find_dicom_series(folder.path()).unwrap()[0].description, "Oberbauch transversal ‒ größer");
}
