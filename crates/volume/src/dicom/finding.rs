//! What is out of the ordinary in a DICOM series.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Items of a list that a message names; the rest is counted.
const NAMED: usize = 5;

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
    /// Slices of several sizes. There is no grid for them.
    MixedSizes {
        /// Columns and rows, how many slices have them, and the first such file.
        sizes: Vec<([usize; 2], usize, PathBuf)>,
    },
    /// Slices with several distances between pixels. There is no grid for them.
    MixedPixelSpacing {
        /// Millimetres between columns and rows, how many slices have them, and the first such file.
        spacings: Vec<([f64; 2], usize, PathBuf)>,
    },
    /// Files that are DICOM and of this series, or of no series that can be told but in its folder, which
    /// could not be read: slices of it, maybe. Irregular.
    DamagedFiles {
        /// Each file and what is wrong with it.
        files: Vec<(PathBuf, String)>,
    },
    /// An attribute that sets images of one series apart has several values in a stack: maybe two points in time, or
    /// two echoes. Irregular if the values take turns along the normal, as they do where the slices of one lie
    /// between those of the other.
    MixedAcquisitions {
        /// Its name in the standard.
        attribute: &'static str,
        /// The values, or `none`, and how many slices have each.
        values: Vec<(String, usize)>,
        /// Whether the values take turns along the normal.
        alternating: bool,
    },
    /// Slices with a Modality LUT, a table of what stored values mean, which is not applied. Irregular.
    ValueTable {
        /// How many slices have one.
        count: usize,
    },
    /// Slices of CT without rescale slope or intercept: their values are taken as they are stored, and may not be in
    /// Hounsfield units.
    NoRescale {
        /// How many slices lack them.
        count: usize,
    },
    /// The direction cosines were not quite unit vectors at right angles, and have been made so.
    InexactDirections {
        /// By how many pixels the corner opposite the first pixel moved, where it is most.
        moved_pixels: f64,
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
    /// Whether a grid made of the slices may be wrong, so that it takes
    /// [`DicomOptions::accept_irregular`](crate::DicomOptions::accept_irregular) to read them.
    /// `spacing_tolerance` is that of the options.
    #[must_use]
    pub fn is_irregular(&self, spacing_tolerance: f64) -> bool {
        match self {
            Self::MissingSlices { .. }
            | Self::DuplicatePositions { .. }
            | Self::DamagedFiles { .. }
            | Self::ValueTable { .. } => true,
            Self::MixedAcquisitions { alternating, .. } => *alternating,
            Self::UnevenSpacing { spacing_mm, deviation_mm, .. } => {
                *deviation_mm > spacing_tolerance * spacing_mm || spacing_tolerance.is_nan()
            }
            other => other.is_unreadable(),
        }
    }

    /// Whether no option helps.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::MixedSizes { .. } | Self::MixedPixelSpacing { .. })
    }
}

impl fmt::Display for DicomFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingSlices { spacing_mm, positions_mm } => {
                let n = positions_mm.len();
                let places = list(positions_mm.iter().map(|position| format!("{position:.2}")));
                let (slices, are) = if n == 1 { ("slice", "is") } else { ("slices", "are") };
                write!(
                    f,
                    "{n} {slices} {are} missing, {spacing_mm:.4} mm apart, at {places} mm along the normal"
                )
            }
            Self::UnevenSpacing { spacing_mm, smallest_mm, largest_mm, deviation_mm, file } => write!(
                f,
                "slices are {smallest_mm:.4} to {largest_mm:.4} mm apart (mean {spacing_mm:.4} mm), {} lies \
                 {deviation_mm:.4} mm from its even place",
                name(file)
            ),
            Self::DuplicatePositions { files } => {
                let places =
                    list(files.iter().map(|files| list_with(files.iter().map(|file| name(file)), " = ")));
                write!(f, "several slices lie at one place, {} times: {places}", files.len())
            }
            Self::MixedSizes { sizes } => {
                let of = |([x, y], n, file): &([usize; 2], usize, PathBuf)| {
                    format!("{n} slices of {x}×{y} (first {})", name(file))
                };
                write!(f, "slices have several sizes: {}", list(sizes.iter().map(of)))
            }
            Self::MixedPixelSpacing { spacings } => {
                let of = |([x, y], n, file): &([f64; 2], usize, PathBuf)| {
                    format!("{n} slices of {x}×{y} mm (first {})", name(file))
                };
                write!(f, "slices have several pixel spacings: {}", list(spacings.iter().map(of)))
            }
            Self::DamagedFiles { files } => {
                let of = |(file, reason): &(PathBuf, String)| format!("{}: {reason}", name(file));
                write!(f, "{} files cannot be read: {}", files.len(), list(files.iter().map(of)))
            }
            Self::MixedAcquisitions { attribute, values, alternating } => {
                let of = |(value, n): &(String, usize)| format!("{value} in {n} slices");
                let how = if *alternating { ", taking turns along the normal" } else { "" };
                write!(f, "{attribute} has several values{how}: {}", list(values.iter().map(of)))
            }
            Self::ValueTable { count } => {
                write!(f, "{count} slices have a Modality LUT (0028,3000), which is not applied")
            }
            Self::NoRescale { count } => write!(
                f,
                "{count} slices of CT lack RescaleSlope or RescaleIntercept: values may not be in Hounsfield units"
            ),
            Self::InexactDirections { moved_pixels } => write!(
                f,
                "direction cosines are not quite unit vectors at right angles; made so, the far corner moves by \
                 {moved_pixels:.2} pixels"
            ),
            Self::GantryTilt { degrees } => {
                write!(f, "slices are stacked {degrees:.3} degrees off their normal (gantry tilt)")
            }
            Self::MixedRescale { count } => {
                write!(f, "slices have {count} different rescale slopes or intercepts")
            }
            Self::Inverted => write!(f, "small values are shown bright (MONOCHROME1)"),
            Self::Lossy => write!(f, "pixels were compressed with loss"),
            Self::SingleSlice { spacing_mm, from } => {
                write!(f, "it is a single slice, taken as {spacing_mm} mm thick ({from} says so)")
            }
        }
    }
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

fn list(items: impl ExactSizeIterator<Item = String>) -> String {
    list_with(items, ", ")
}

/// The first items, and how many there are beyond.
fn list_with(items: impl ExactSizeIterator<Item = String>, between: &str) -> String {
    let more = items.len().saturating_sub(NAMED);
    let first: Vec<String> = items.take(NAMED).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    first.join(between) + &rest
}
