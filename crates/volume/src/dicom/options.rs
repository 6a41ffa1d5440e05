//! What may be asked of a DICOM series, and what is let through.

use crate::ReadLimits;

/// How far slices may lie from where an even spacing would put them, as a share of the slice spacing,
/// before the series counts as unevenly spaced. Positions are written with one to six decimals: a
/// spacing of 0.625 mm with positions to 0.01 mm is off by 0.008 of it at most, and a missing slice by
/// half a spacing at least.
const SPACING_TOLERANCE: f64 = 0.05;

/// How a DICOM series is read.
///
/// ```
/// use organseg_volume::DicomOptions;
/// let options = DicomOptions::default();
/// assert!(!options.accept_irregular);
/// assert!(options.with_accept_irregular(true).accept_irregular);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct DicomOptions {
    /// Memory that the voxels may take.
    pub limits: ReadLimits,
    /// Whether a series is read although slices are missing, unevenly spaced or doubled, or files of it
    /// are damaged: what would be an error stays a finding. See [`DicomSeries::grid`] for what the grid is
    /// then.
    ///
    /// [`DicomSeries::grid`]: crate::DicomSeries::grid
    pub accept_irregular: bool,
    /// How far a slice may lie from where an even spacing would put it, as a share of the spacing. Above
    /// a thousandth it is reported, above this it is an error.
    pub spacing_tolerance: f64,
}

impl Default for DicomOptions {
    /// Nothing irregular, 5 % of the spacing, the limits of [`ReadLimits::default`].
    fn default() -> Self {
        Self { limits: ReadLimits::default(), accept_irregular: false, spacing_tolerance: SPACING_TOLERANCE }
    }
}

impl DicomOptions {
    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: ReadLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The same, accepting irregular series or not.
    #[must_use]
    pub fn with_accept_irregular(mut self, accept: bool) -> Self {
        self.accept_irregular = accept;
        self
    }

    /// The same with another tolerance of uneven spacing.
    #[must_use]
    pub fn with_spacing_tolerance(mut self, share: f64) -> Self {
        self.spacing_tolerance = share;
        self
    }
}
