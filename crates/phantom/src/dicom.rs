//! A scan as a DICOM series: one file a slice, as a CT scanner writes them.
//!
//! Unsigned or signed 16-bit pixels in explicit VR little endian, positions and orientation from the
//! volume's affine (RAS turned into DICOM's LPS). UIDs are made from the configuration's text and numbers:
//! the same volume and configuration give the same bytes.

use std::path::{Path, PathBuf};

use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use organseg_volume::Volume;
use rayon::prelude::*;

use crate::PhantomError;

/// Root of UIDs made from UUIDs or other 128-bit numbers.
const UID_ROOT: &str = "2.25";

/// What a DICOM series says about itself, and how its pixels are stored.
///
/// ```
/// use organseg_phantom::DicomSeriesConfig;
/// let config = DicomSeriesConfig::default().with_patient_id("PANCREAS_0001");
/// assert_eq!((config.intercept, config.signed), (-1024, false));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DicomSeriesConfig {
    /// PatientID and PatientName.
    pub patient_id: String,
    /// SeriesDescription.
    pub description: String,
    /// SeriesNumber. Series of one patient with different numbers have different UIDs.
    pub number: i32,
    /// Modality.
    pub modality: String,
    /// RescaleIntercept: a pixel holds the voxel less this.
    pub intercept: i16,
    /// Whether pixels are signed.
    pub signed: bool,
    /// Whether slices are numbered, and files named, from the last to the first, as scans from the head
    /// down are.
    pub reversed: bool,
}

impl Default for DicomSeriesConfig {
    /// A CT with 16-bit unsigned pixels and the intercept −1024.
    fn default() -> Self {
        Self {
            patient_id: "PHANTOM".to_string(),
            description: "phantom".to_string(),
            number: 1,
            modality: "CT".to_string(),
            intercept: -1024,
            signed: false,
            reversed: false,
        }
    }
}

impl DicomSeriesConfig {
    /// The same for another patient.
    #[must_use]
    pub fn with_patient_id(mut self, patient_id: impl Into<String>) -> Self {
        self.patient_id = patient_id.into();
        self
    }

    /// The same with another description.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// The same with another number.
    #[must_use]
    pub fn with_number(mut self, number: i32) -> Self {
        self.number = number;
        self
    }

    /// The same with another modality.
    #[must_use]
    pub fn with_modality(mut self, modality: impl Into<String>) -> Self {
        self.modality = modality.into();
        self
    }

    /// The same with another intercept.
    #[must_use]
    pub fn with_intercept(mut self, intercept: i16) -> Self {
        self.intercept = intercept;
        self
    }

    /// The same with signed pixels or unsigned ones.
    #[must_use]
    pub fn with_signed(mut self, signed: bool) -> Self {
        self.signed = signed;
        self
    }

    /// The same, numbered from the last slice to the first or not.
    #[must_use]
    pub fn with_reversed(mut self, reversed: bool) -> Self {
        self.reversed = reversed;
        self
    }
}

/// Writes `volume` into `folder` (made as needed) as `1-001.dcm`, `1-002.dcm` and so on, the names that the
/// TCIA gives, and returns the files in the order of their slices. Files of these names are overwritten.
///
/// Rows are along the volume's x axis and columns along its y axis; slices follow its z axis, wherever
/// that leads.
///
/// # Errors
/// [`PhantomError::Pixel`] for a voxel that the pixels cannot hold, [`PhantomError::Dicom`] or
/// [`PhantomError::Io`] if a file cannot be written.
///
/// ```
/// use organseg_phantom::{DicomSeriesConfig, write_dicom_series};
/// use organseg_volume::{DicomOptions, Grid, Spacing, Volume, find_dicom_series};
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// let grid = Grid::with_spacing([4, 3, 2], Spacing::new([0.7, 0.7, 2.5])?)?;
/// let scan = Volume::from_fn(grid, |[x, y, z]| (100 * x + 10 * y + z) as i16 - 500);
/// let files = write_dicom_series(folder, &scan, &DicomSeriesConfig::default())?;
/// assert_eq!(files.len(), 2);
/// let series = find_dicom_series(folder)?;
/// assert_eq!(series[0].read::<i16>(&DicomOptions::default())?.voxels(), scan.voxels());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_dicom_series(
    folder: impl AsRef<Path>,
    volume: &Volume<i16>,
    config: &DicomSeriesConfig,
) -> Result<Vec<PathBuf>, PhantomError> {
    let folder = folder.as_ref();
    std::fs::create_dir_all(folder)
        .map_err(|source| PhantomError::Io { path: folder.to_path_buf(), source })?;
    (0..volume.size()[2])
        .into_par_iter()
        .map(|z| {
            let slice = Slice { volume, config, z };
            let path = folder.join(format!("1-{:03}.dcm", slice.number()));
            slice.write(&path)?;
            Ok(path)
        })
        .collect()
}

/// A slice to be written.
struct Slice<'a> {
    volume: &'a Volume<i16>,
    config: &'a DicomSeriesConfig,
    z: usize,
}

impl Slice<'_> {
    /// InstanceNumber, from 1.
    fn number(&self) -> usize {
        if self.config.reversed { self.volume.size()[2] - self.z } else { self.z + 1 }
    }

    fn write(&self, path: &Path) -> Result<(), PhantomError> {
        let pixels = self.pixels()?;
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(self.class())
            .media_storage_sop_instance_uid(self.uid("instance"));
        let dicom = |error: &dyn std::error::Error| PhantomError::Dicom {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let object = self.object(pixels).with_meta(meta).map_err(|error| dicom(&error))?;
        object.write_to_file(path).map_err(|error| dicom(&error))
    }

    fn class(&self) -> &'static str {
        if self.config.modality == "MR" { uids::MR_IMAGE_STORAGE } else { uids::CT_IMAGE_STORAGE }
    }

    /// A UID for the study, the series, the frame of reference or this instance of it.
    fn uid(&self, what: &str) -> String {
        let config = self.config;
        let slice = if what == "instance" { self.number() } else { 0 };
        let series = if matches!(what, "instance" | "series") { config.number } else { 0 };
        let text = format!("{what} {} {series} {slice}", config.patient_id);
        format!("{UID_ROOT}.{}", fnv1a(text.as_bytes()))
    }

    fn pixels(&self) -> Result<Vec<u16>, PhantomError> {
        let [nx, ny, _] = self.volume.size();
        let range = if self.config.signed { -0x8000..=0x7fff } else { 0..=0xffff };
        let slice = &self.volume.voxels()[self.z * nx * ny..][..nx * ny];
        let pixel = |(i, &value): (usize, &i16)| {
            let pixel = i32::from(value) - i32::from(self.config.intercept);
            if range.contains(&pixel) {
                return Ok(pixel as u16);
            }
            let (voxel, intercept) = ([i % nx, i / nx, self.z], self.config.intercept);
            Err(PhantomError::Pixel { voxel, value, intercept, signed: self.config.signed })
        };
        slice.iter().enumerate().map(pixel).collect()
    }

    fn object(&self, pixels: Vec<u16>) -> InMemDicomObject {
        let (config, affine) = (self.config, self.volume.grid().affine());
        let [nx, ny, _] = self.volume.size();
        let [dx, dy, dz] = self.volume.grid().spacing().to_array();
        let cosines = |axis: usize, length: f64| lps(affine.column(axis)).map(|v| v / length);
        let orientation = [cosines(0, dx), cosines(1, dy)].concat();
        let position = lps(affine.apply([0.0, 0.0, self.z as f64]));
        let mut object = InMemDicomObject::new_empty();
        let mut put = |tag: Tag, vr: VR, value: PrimitiveValue| {
            object.put(DataElement::new(tag, vr, value));
        };
        put(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192".into());
        put(tags::IMAGE_TYPE, VR::CS, texts(["ORIGINAL", "PRIMARY", "AXIAL"]));
        put(tags::SOP_CLASS_UID, VR::UI, self.class().into());
        put(tags::SOP_INSTANCE_UID, VR::UI, self.uid("instance").into());
        put(tags::MODALITY, VR::CS, config.modality.as_str().into());
        put(tags::SERIES_DESCRIPTION, VR::LO, config.description.as_str().into());
        put(tags::PATIENT_NAME, VR::PN, config.patient_id.as_str().into());
        put(tags::PATIENT_ID, VR::LO, config.patient_id.as_str().into());
        put(tags::SLICE_THICKNESS, VR::DS, decimals(&[dz]));
        put(tags::STUDY_INSTANCE_UID, VR::UI, self.uid("study").into());
        put(tags::SERIES_INSTANCE_UID, VR::UI, self.uid("series").into());
        put(tags::SERIES_NUMBER, VR::IS, config.number.to_string().into());
        put(tags::INSTANCE_NUMBER, VR::IS, self.number().to_string().into());
        put(tags::IMAGE_POSITION_PATIENT, VR::DS, decimals(&position));
        put(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, decimals(&orientation));
        put(tags::FRAME_OF_REFERENCE_UID, VR::UI, self.uid("frame").into());
        put(tags::SAMPLES_PER_PIXEL, VR::US, PrimitiveValue::from(1u16));
        put(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".into());
        put(tags::ROWS, VR::US, PrimitiveValue::from(ny as u16));
        put(tags::COLUMNS, VR::US, PrimitiveValue::from(nx as u16));
        put(tags::PIXEL_SPACING, VR::DS, decimals(&[dy, dx]));
        put(tags::BITS_ALLOCATED, VR::US, PrimitiveValue::from(16u16));
        put(tags::BITS_STORED, VR::US, PrimitiveValue::from(16u16));
        put(tags::HIGH_BIT, VR::US, PrimitiveValue::from(15u16));
        put(tags::PIXEL_REPRESENTATION, VR::US, PrimitiveValue::from(u16::from(config.signed)));
        put(tags::RESCALE_INTERCEPT, VR::DS, config.intercept.to_string().into());
        put(tags::RESCALE_SLOPE, VR::DS, "1".into());
        put(tags::RESCALE_TYPE, VR::LO, "HU".into());
        put(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels.into()));
        object
    }
}

/// RAS into LPS, or back: the first two axes point the other way.
fn lps([x, y, z]: [f64; 3]) -> [f64; 3] {
    [-x, -y, z]
}

fn texts<const N: usize>(values: [&str; N]) -> PrimitiveValue {
    PrimitiveValue::Strs(values.iter().map(ToString::to_string).collect())
}

fn decimals(values: &[f64]) -> PrimitiveValue {
    PrimitiveValue::Strs(values.iter().map(|&v| decimal(v)).collect())
}

/// `value` in at most the 16 characters of a DS.
fn decimal(value: f64) -> String {
    // Adding 0 makes −0 positive.
    let value = value + 0.0;
    let whole = format!("{value}");
    if whole.len() <= 16 {
        return whole;
    }
    let rounded = |digits: usize| format!("{value:.digits$}");
    let fixed = (0..15).rev().map(rounded).find(|text| text.len() <= 16);
    fixed.unwrap_or_else(|| format!("{value:.8e}"))
}

/// FNV-1a of 128 bits: names that are equal give equal UIDs, others different ones.
fn fnv1a(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, &byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    #[test]
    fn decimals_fit_sixteen_characters() {
        for value in [0.1 + 0.2, -1.0 / 3.0, 1e-17, -177.956_329_345_702_13, 1e300, -0.0, 5e-324, -1e15 / 3.0]
        {
            let text = decimal(value);
            assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap();
            assert!((back - value).abs() <= 1e-8 * value.abs().max(1.0), "{value}: {text}");
        }
        assert_eq!(decimal(-0.0), "0");
        assert_eq!(decimal(0.703_125), "0.703125");
    }

    #[test]
    fn a_voxel_that_the_pixels_cannot_hold_is_named() {
        let grid = Grid::with_spacing([2, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let volume = Volume::from_vec(grid, vec![0i16, -1025]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let error = write_dicom_series(folder.path(), &volume, &DicomSeriesConfig::default()).unwrap_err();
        assert!(error.to_string().contains("[1, 0, 0] holds -1025"), "{error}");
        write_dicom_series(folder.path(), &volume, &DicomSeriesConfig::default().with_signed(true)).unwrap();
    }

    #[test]
    fn the_same_scan_gives_the_same_bytes() {
        let grid = Grid::with_spacing([2, 2, 2], Spacing::isotropic(1.0).unwrap()).unwrap();
        let volume = Volume::filled(grid, 7i16);
        let bytes = || {
            let folder = tempfile::tempdir().unwrap();
            let files = write_dicom_series(folder.path(), &volume, &DicomSeriesConfig::default()).unwrap();
            files.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(bytes(), bytes());
        assert_ne!(bytes()[0], bytes()[1]);
    }
}
