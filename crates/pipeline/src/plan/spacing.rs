//! The spacing that scans are resampled to, and from how far off.

use organseg_train::{CaseFingerprint, Fingerprint};

use super::statistics::{median, percentile};

/// Scans whose spacing differs by no more than this factor along every axis are left as they are: interpolation would
/// cost more sharpness than the network has trouble with a tenth in size.
pub(super) const KEEP_WITHIN: f64 = 1.1;

/// An axis is coarse if its spacing is more than so many times the others', and its size less than so many times
/// smaller (nnU-Net's rule and number).
const COARSE: f64 = 3.0;

/// The percentile of a coarse axis's spacings that is taken instead of the median: finer slices would be thrown
/// away at the median (nnU-Net's number).
const COARSE_PERCENTILE: f64 = 10.0;

/// Significant digits of a planned spacing: as many as files of single precision have, so that 0.9765625 mm stays what it is
/// and 0.7 does not become 0.699999988.
const DIGITS: i32 = 7;

/// The spacing to resample to, and why.
pub(super) fn working_spacing(fingerprint: &Fingerprint) -> ([f64; 3], String) {
    let along = |a: usize| fingerprint.cases.iter().map(|case| case.spacing_mm[a]).collect::<Vec<_>>();
    let spread = |a: usize| {
        let all = along(a);
        let (low, high) = all.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &v| (l.min(v), h.max(v)));
        high / low
    };
    let mut spacing = [0, 1, 2].map(|a| median(&along(a)));
    let mut why = "the median along each axis".to_string();
    if (0..3).all(|a| spread(a) <= KEEP_WITHIN) {
        why.push_str(&format!(
            "; every scan measured keeps its own, for they differ by a factor of {KEEP_WITHIN} at most"
        ));
        return (spacing.map(rounded), why);
    }
    let coarsest = (0..3).max_by(|&a, &b| spacing[a].total_cmp(&spacing[b])).expect("there are three axes");
    let others = [(coarsest + 1) % 3, (coarsest + 2) % 3];
    let size = |a: usize| {
        median(&fingerprint.cases.iter().map(|case| size_at(case, spacing)[a] as f64).collect::<Vec<_>>())
    };
    if others.iter().all(|&a| spacing[coarsest] > COARSE * spacing[a] && COARSE * size(coarsest) < size(a)) {
        let finest_other = others.iter().map(|&a| spacing[a]).fold(0.0, f64::max);
        spacing[coarsest] = percentile(&along(coarsest), COARSE_PERCENTILE).max(finest_other);
        why = format!(
            "the median along each axis, but the {COARSE_PERCENTILE}th percentile along {}, which is coarse: more \
             than {COARSE} times the other axes' spacing",
            ["x", "y", "z"][coarsest]
        );
    }
    (spacing.map(rounded), why)
}

/// To [`DIGITS`] significant digits.
fn rounded(mm: f64) -> f64 {
    let scale = 10f64.powi(DIGITS - 1 - mm.log10().floor() as i32);
    (mm * scale).round() / scale
}

/// Voxels of a case at `spacing_mm`: ⌊n s / s′ + ½⌋, at least 1.
pub(super) fn size_at(case: &CaseFingerprint, spacing_mm: [f64; 3]) -> [usize; 3] {
    [0, 1, 2].map(|a| at_spacing(case.size[a], case.spacing_mm[a], spacing_mm[a]))
}

pub(super) fn at_spacing(n: usize, from_mm: f64, to_mm: f64) -> usize {
    ((n as f64 * from_mm / to_mm + 0.5).floor() as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn spacings_are_as_exact_as_files_have_them() {
        for (mm, expected) in [
            (0.976_562_5, 0.976_562_5),
            (0.859_375, 0.859_375),
            (3.0, 3.0),
            (0.1, 0.1),
            (0.1 + 0.2, 0.3),
            (0.699_999_988, 0.7),
            (0.012_345_678_9, 0.012_345_68),
            (0.000_65, 0.000_65),
        ] {
            assert_eq!(rounded(mm), expected);
        }
    }
}
