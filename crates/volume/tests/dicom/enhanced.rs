//! Enhanced images: all slices in one file, described frame by frame.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use organseg_volume::{DicomOptions, find_dicom_series, read};

use super::writer::{EXPLICIT_VR_BIG_ENDIAN, SIZE, STEP, Slice};

fn group(inner: Vec<DataElement<InMemDicomObject>>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(inner)
}

fn sequence(tag: Tag, item: InMemDicomObject) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item]))
}

fn decimals(tag: Tag, text: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::DS, PrimitiveValue::from(text))
}

/// Frames at `places` (in steps along z), each with the intercept −1000 · place, at echo times `echoes`.
fn enhanced(places: &[usize], echoes: &[f64]) -> Slice {
    let [nx, ny] = SIZE;
    let mut slice = Slice::new(0);
    for tag in [tags::IMAGE_POSITION_PATIENT, tags::IMAGE_ORIENTATION_PATIENT, tags::PIXEL_SPACING] {
        slice.remove(tag);
    }
    let shared = group(vec![
        sequence(
            tags::PLANE_ORIENTATION_SEQUENCE,
            group(vec![decimals(tags::IMAGE_ORIENTATION_PATIENT, r"1\0\0\0\1\0")]),
        ),
        sequence(tags::PIXEL_MEASURES_SEQUENCE, group(vec![decimals(tags::PIXEL_SPACING, r"0.75\0.5")])),
    ]);
    let frame = |(&place, &echo): (&usize, &f64)| {
        let position = format!(r"-10\-20\{}", 30.0 + STEP * place as f64);
        group(vec![
            sequence(
                tags::PLANE_POSITION_SEQUENCE,
                group(vec![decimals(tags::IMAGE_POSITION_PATIENT, &position)]),
            ),
            sequence(
                tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
                group(vec![
                    decimals(tags::RESCALE_SLOPE, "1"),
                    decimals(tags::RESCALE_INTERCEPT, &format!("{}", -1000 * place as i32)),
                ]),
            ),
            sequence(
                tags::MR_ECHO_SEQUENCE,
                group(vec![DataElement::new(tags::EFFECTIVE_ECHO_TIME, VR::FD, PrimitiveValue::from(echo))]),
            ),
        ])
    };
    let frames: Vec<InMemDicomObject> = places.iter().zip(echoes).map(frame).collect();
    let pixels = (0..places.len()).flat_map(|k| (0..nx * ny).map(move |i| (100 * k + i) as u16)).collect();
    slice
        .text(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_MR_IMAGE_STORAGE)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, &places.len().to_string())
        .pixels(pixels);
    slice.object.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, shared));
    slice.object.put(DataElement::new(
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        VR::SQ,
        DataSetSequence::from(frames),
    ));
    slice
}

#[test]
fn frames_are_sorted_by_their_own_positions_and_rescaled_each() {
    for syntax in [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN] {
        let folder = tempfile::tempdir().unwrap();
        enhanced(&[2, 0, 1], &[5.0; 3]).syntax(syntax).write(folder.path(), "all");
        let volume = read::<i32>(folder.path()).unwrap();
        assert_eq!(volume.size(), [4, 3, 3]);
        assert_eq!([0, 1, 2].map(|z| volume[[1, 0, z]]), [101, 201 - 1000, 1 - 2000]);
        assert_eq!(volume.grid().voxel_to_world([0.0, 0.0, 2.0]), [10.0, 20.0, 30.0 + 2.0 * STEP]);
        assert_eq!(volume.grid().spacing().to_array(), [0.5, 0.75, STEP]);
        assert_eq!(find_dicom_series(folder.path()).unwrap()[0].files.len(), 3);
    }
}

#[test]
fn echoes_in_one_file_are_stacks_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    enhanced(&[0, 0, 1, 1], &[5.0, 12.5, 5.0, 12.5]).write(folder.path(), "all");
    let found = find_dicom_series(folder.path()).unwrap();
    let stacks: Vec<_> = found.iter().map(|series| series.stack.clone().unwrap()).collect();
    assert_eq!(stacks, ["EffectiveEchoTime 5", "EffectiveEchoTime 12.5"]);
    let second = found[1].read::<i32>(&DicomOptions::default()).unwrap();
    assert_eq!([0, 1].map(|z| second[[0, 0, z]]), [100, 300 - 1000]);
}

#[test]
fn groups_for_another_number_of_frames_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut slice = enhanced(&[0, 1], &[5.0; 2]);
    slice.text(tags::NUMBER_OF_FRAMES, VR::IS, "2000000000").write(folder.path(), "all");
    let error = read::<i32>(folder.path()).unwrap_err().to_string();
    assert!(error.contains("2000000000 frames and functional groups for 2"), "{error}");
    let mut slice = enhanced(&[0, 1, 2], &[5.0; 3]);
    slice.pixels(vec![0; 30]).write(folder.path(), "all");
    let error = read::<i32>(folder.path()).unwrap_err().to_string();
    assert!(error.contains("promises 72 bytes of voxels, the file holds 60"), "{error}");
}
