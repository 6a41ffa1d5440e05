//! Slices written with the `dicom-object` crate, sound until a test changes them.

use std::path::{Path, PathBuf};

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

/// Columns and rows of the slices.
pub(crate) const SIZE: [usize; 2] = [4, 3];

/// Millimetres between columns and between rows.
pub(crate) const PIXEL_SPACING: [f64; 2] = [0.5, 0.75];

/// Distance between slices.
pub(crate) const STEP: f64 = 2.5;

/// Retired from the standard, and found in archives.
pub(crate) const EXPLICIT_VR_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// One slice in the making.
#[derive(Clone)]
pub(crate) struct Slice {
    pub(crate) object: InMemDicomObject,
    syntax: &'static str,
}

impl Slice {
    /// Slice `z` of an axial CT: signed pixels of 16 bits, pixel (x, y) holding 100 z + 10 y + x.
    pub(crate) fn new(z: usize) -> Self {
        let mut slice =
            Self { object: InMemDicomObject::new_empty(), syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN };
        let [nx, ny] = SIZE;
        let pixels = (0..ny).flat_map(|y| (0..nx).map(move |x| (100 * z + 10 * y + x) as u16)).collect();
        slice
            .text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE)
            .text(tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.1.{z}"))
            .text(tags::IMAGE_TYPE, VR::CS, r"ORIGINAL\PRIMARY\AXIAL")
            .text(tags::MODALITY, VR::CS, "CT")
            .text(tags::SERIES_DESCRIPTION, VR::LO, "Abdomen 2.5")
            .text(tags::PATIENT_ID, VR::LO, "P7")
            .text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3")
            .text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.1")
            .text(tags::SERIES_NUMBER, VR::IS, "4")
            .text(tags::INSTANCE_NUMBER, VR::IS, &format!("{}", z + 1))
            .decimals(tags::IMAGE_POSITION_PATIENT, &[-10.0, -20.0, 30.0 + STEP * z as f64])
            .decimals(tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
            .decimals(tags::PIXEL_SPACING, &[PIXEL_SPACING[1], PIXEL_SPACING[0]])
            .decimals(tags::SLICE_THICKNESS, &[3.0])
            .unsigned(tags::SAMPLES_PER_PIXEL, 1)
            .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
            .unsigned(tags::ROWS, ny as u16)
            .unsigned(tags::COLUMNS, nx as u16)
            .bits(16, 16, true)
            .rescale(1.0, 0.0)
            .pixels(pixels);
        slice
    }

    pub(crate) fn put(&mut self, tag: Tag, vr: VR, value: PrimitiveValue) -> &mut Self {
        self.object.put(DataElement::new(tag, vr, value));
        self
    }

    pub(crate) fn text(&mut self, tag: Tag, vr: VR, text: &str) -> &mut Self {
        self.put(tag, vr, text.into())
    }

    pub(crate) fn decimals(&mut self, tag: Tag, values: &[f64]) -> &mut Self {
        let texts: Vec<String> = values.iter().map(f64::to_string).collect();
        self.text(tag, VR::DS, &texts.join(r"\"))
    }

    pub(crate) fn unsigned(&mut self, tag: Tag, value: u16) -> &mut Self {
        self.put(tag, VR::US, PrimitiveValue::from(value))
    }

    pub(crate) fn bits(&mut self, allocated: u16, stored: u16, signed: bool) -> &mut Self {
        self.unsigned(tags::BITS_ALLOCATED, allocated)
            .unsigned(tags::BITS_STORED, stored)
            .unsigned(tags::HIGH_BIT, stored - 1)
            .unsigned(tags::PIXEL_REPRESENTATION, signed.into())
    }

    pub(crate) fn pixels(&mut self, pixels: Vec<u16>) -> &mut Self {
        self.put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()))
    }

    pub(crate) fn position(&mut self, position: [f64; 3]) -> &mut Self {
        self.decimals(tags::IMAGE_POSITION_PATIENT, &position)
    }

    pub(crate) fn rescale(&mut self, slope: f64, intercept: f64) -> &mut Self {
        self.decimals(tags::RESCALE_SLOPE, &[slope]).decimals(tags::RESCALE_INTERCEPT, &[intercept])
    }

    /// A sequence of one item, which holds a description.
    pub(crate) fn sequence(&mut self, tag: Tag) -> &mut Self {
        let text = DataElement::new(tags::LUT_EXPLANATION, VR::LO, PrimitiveValue::from("table"));
        let item = InMemDicomObject::from_element_iter([text]);
        self.object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(vec![item])));
        self
    }

    pub(crate) fn remove(&mut self, tag: Tag) -> &mut Self {
        self.object.remove_element(tag);
        self
    }

    pub(crate) fn syntax(&mut self, uid: &'static str) -> &mut Self {
        self.syntax = uid;
        self
    }

    /// Writes it as `name` in `folder`.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(self.syntax)
            .media_storage_sop_class_uid(uids::CT_IMAGE_STORAGE)
            .media_storage_sop_instance_uid("1.2.3.1.1");
        let path = folder.join(name);
        let file = self.object.clone().with_meta(meta).expect("the header is sound");
        file.write_to_file(&path).expect("the folder can be written");
        path
    }
}

/// Writes `n` slices into a new folder, each changed by `change`, in names that say nothing of their order.
pub(crate) fn series(n: usize, change: impl Fn(usize, &mut Slice)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("there is room for temporary files");
    write_series(folder.path(), n, change);
    folder
}

/// Writes `n` slices into `folder`.
pub(crate) fn write_series(folder: &Path, n: usize, change: impl Fn(usize, &mut Slice)) {
    for z in 0..n {
        let mut slice = Slice::new(z);
        change(z, &mut slice);
        slice.write(folder, &format!("{:03}", (7 * z + 3) % 101));
    }
}
