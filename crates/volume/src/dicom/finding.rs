//! What is out of the ordinary in a DICOM series.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// Something about a series that whoever uses it should know. Nothing of it is mended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DicomFinding {
    /// Gaps that are multiples of the slice spacing. Irregular.
    MissingSlices {
        /// Distance between slices where none is missing.
        spacing_mm: f64,
        /// Where slices should be, in millimetres along the normal.
        positions_mm: Vec<f64>,
    },
    /// Slices that lie elsewhere than an even spacing would put them. Irregular beyond the tolerance.
    UnevenSpacing {
        /// Mean distance between slices.
        spacing_mm: f64,
        /// Smallest distance between neighbours.
        smallest_mm: f64,
        /// Largest distance between neighbours.
        largest_mm: f64,
        /// How far the slice that is furthest off lies from its even place.
        deviation_mm: f64,
        /// The file of that slice.
        file: PathBuf,
    },
    /// Several slices at one place. Irregular.
    DuplicatePositions {
        /// The files, those at one place together.
        files: Vec<Vec<PathBuf>>,
    },
    /// Slices of several sizes. Never readable.
    MixedSizes {
        /// Columns and rows, how many slices have them, and the first such file.
        sizes: Vec<([usize; 2], usize, PathBuf)>,
    },
    /// Files that are DICOM and in the folder of this series, but could not be read. Irregular, for they
    /// may be slices of it.
    DamagedFiles {
        /// Each file and what is wrong with it.
        files: Vec<(PathBuf, String)>,
    },
    /// The slices are stacked at an angle to their normal; the affine keeps it.
    GantryTilt {
        /// Angle between the normal and the direction from slice to slice.
        degrees: f64,
    },
    /// The slices have several rescale slopes or intercepts; each is applied to its own.
    MixedRescale {
        /// How many pairs of slope and intercept there are.
        count: usize,
    },
    /// Photometric interpretation MONOCHROME1: small values are shown bright. Values are kept.
    Inverted,
    /// The pixels have been through a lossy compression.
    Lossy,
    /// The series is one slice, whose thickness stands for the spacing.
    SingleSlice {
        /// Millimetres along the normal.
        spacing_mm: f64,
        /// The attribute that says so, or `nothing` if it is a guess.
        from: &'static str,
    },
}

impl DicomFinding {
    /// Whether a grid made from the slices may be wrong: then it takes
    /// [`DicomOptions::accept_irregular`](crate::DicomOptions::accept_irregular) to read them. Uneven
    /// spacing within the tolerance is a finding, but not irregular: this takes the default tolerance.
    #[must_use]
    pub fn is_irregular(&self) -> bool {
        match self {
            Self::MissingSlices { .. }
            | Self::DuplicatePositions { .. }
            | Self::MixedSizes { .. }
            | Self::DamagedFiles { .. } => true,
            Self::UnevenSpacing { spacing_mm, deviation_mm, .. } => *deviation_mm > 0.05 * spacing_mm,
            _ => false,
        }
    }
}

impl fmt::Display for DicomFinding {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}
