//! Intensities brought to the range that networks like.

use rayon::prelude::*;

use crate::{Volume, VolumeError};

/// Voxels that a thread takes at a time.
const PIECE: usize = 1 << 16;

/// Clips to `low`‥`high` and scales that to 0‥1: (min(max(v, low), high) − low) / (high − low).
///
/// The window −100‥240 HU shows the abdomen's soft organs and is the one of Zhao et al. 2019.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, window_to_unit};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0)?)?;
/// let scan = Volume::from_vec(grid, vec![-1000.0, 70.0, 3000.0])?;
/// assert_eq!(window_to_unit(&scan, -100.0, 240.0)?.voxels(), [0.0, 0.5, 1.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
///
/// # Errors
/// [`VolumeError::InvalidWindow`] unless low < high, both finite.
pub fn window_to_unit(volume: &Volume<f32>, low: f32, high: f32) -> Result<Volume<f32>, VolumeError> {
    let mut scaled = volume.clone();
    window_to_unit_in_place(&mut scaled, low, high)?;
    Ok(scaled)
}

/// [`window_to_unit`] for one who does not need the old intensities: no second image is made.
///
/// # Errors
/// As [`window_to_unit`]; the volume is then as it was.
pub fn window_to_unit_in_place(volume: &mut Volume<f32>, low: f32, high: f32) -> Result<(), VolumeError> {
    if !(low.is_finite() && high.is_finite() && low < high) {
        return Err(VolumeError::InvalidWindow { low, high });
    }
    let scale = 1.0 / (high - low);
    change_each(volume, |v| (v.clamp(low, high) - low) * scale);
    Ok(())
}

/// Shifts and scales to mean 0 and standard deviation 1 over all voxels; an image of one value becomes 0. Voxels that are
/// NaN or infinite do not count, and are not finite afterwards.
#[must_use]
pub fn z_score(volume: &Volume<f32>) -> Volume<f32> {
    let mut scored = volume.clone();
    z_score_in_place(&mut scored);
    scored
}

/// [`z_score`] for one who does not need the old intensities: no second image is made.
pub fn z_score_in_place(volume: &mut Volume<f32>) {
    z_score_of(volume, |_| true);
}

/// [`z_score_in_place`] over the voxels that are not exactly 0; those that are stay 0, and an image of nothing else does.
/// For scans of which everything but an organ was cut away.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, z_score_of_nonzero_in_place};
/// let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mut brain = Volume::from_vec(grid, vec![0.0, 2.0, 6.0, 0.0])?;
/// z_score_of_nonzero_in_place(&mut brain);
/// assert_eq!(brain.voxels(), [0.0, -1.0, 1.0, 0.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
pub fn z_score_of_nonzero_in_place(volume: &mut Volume<f32>) {
    z_score_of(volume, |v| v != 0.0);
}

/// Changes the voxels for which `counts` holds by their own mean and deviation.
fn z_score_of(volume: &mut Volume<f32>, counts: impl Fn(f32) -> bool + Sync) {
    // Sums of fixed pieces in a fixed order: the same bits for any number of threads.
    let sum = |of: &(dyn Fn(f32) -> f64 + Sync)| -> f64 {
        let finite = |&v: &f32| if v.is_finite() && counts(v) { of(v) } else { 0.0 };
        let pieces: Vec<f64> =
            volume.voxels().par_chunks(PIECE).map(|piece| piece.iter().map(finite).sum()).collect();
        pieces.iter().sum()
    };
    let finite = |piece: &[f32]| piece.iter().filter(|v| v.is_finite() && counts(**v)).count();
    let count = volume.voxels().par_chunks(PIECE).map(finite).sum::<usize>() as f64;
    let mean = sum(&f64::from) / count;
    let deviation = (sum(&|v| (f64::from(v) - mean).powi(2)) / count).sqrt();
    let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
    change_each(volume, |v| if counts(v) { ((f64::from(v) - mean) * scale) as f32 } else { v });
}

/// Scales so that the smallest value becomes 0 and the largest 1; an image of one value becomes 0. Voxels that are NaN
/// or infinite do not count, and are not finite afterwards.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, min_max_to_unit_in_place};
/// let grid = Grid::with_spacing([3, 1, 1], Spacing::isotropic(1.0)?)?;
/// let mut scan = Volume::from_vec(grid, vec![-2.0, 0.0, 6.0])?;
/// min_max_to_unit_in_place(&mut scan);
/// assert_eq!(scan.voxels(), [0.0, 0.25, 1.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
pub fn min_max_to_unit_in_place(volume: &mut Volume<f32>) {
    let finite = || volume.voxels().par_iter().copied().filter(|v| v.is_finite());
    let low = finite().reduce(|| f32::INFINITY, f32::min);
    let high = finite().reduce(|| f32::NEG_INFINITY, f32::max);
    // Doubles, in which no range of floats overflows.
    let (low, range) = (f64::from(low), f64::from(high) - f64::from(low));
    change_each(volume, |v| {
        let above = f64::from(v) - low;
        if range > 0.0 { (above / range) as f32 } else { (0.0 * above) as f32 }
    });
}

fn change_each(volume: &mut Volume<f32>, change: impl Fn(f32) -> f32 + Sync) {
    volume.voxels_mut().par_chunks_mut(PIECE).for_each(|piece| {
        for value in piece {
            *value = change(*value);
        }
    });
}

/// The values below which `percents` of the voxels lie, linear between neighbouring ones as numpy's
/// `percentile` has it. NaN voxels are left out; NaN if there are no others.
///
/// ```
/// use organseg_volume::{Grid, Spacing, Volume, percentiles};
/// let grid = Grid::with_spacing([4, 1, 1], Spacing::isotropic(1.0)?)?;
/// let volume = Volume::from_vec(grid, vec![4.0, 1.0, 3.0, 2.0])?;
/// assert_eq!(percentiles(&volume, &[0.0, 50.0, 100.0]), [1.0, 2.5, 4.0]);
/// # Ok::<(), organseg_volume::VolumeError>(())
/// ```
#[must_use]
pub fn percentiles(volume: &Volume<f32>, percents: &[f64]) -> Vec<f32> {
    let mut sorted: Vec<f32> = volume.voxels().iter().copied().filter(|v| !v.is_nan()).collect();
    if sorted.is_empty() {
        return vec![f32::NAN; percents.len()];
    }
    sorted.par_sort_unstable_by(f32::total_cmp);
    let last = (sorted.len() - 1) as f64;
    let at = |percent: &f64| {
        let place = (percent / 100.0).clamp(0.0, 1.0) * last;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        (f64::from(below) + place.fract() * (f64::from(above) - f64::from(below))) as f32
    };
    percents.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Grid, Spacing};

    fn volume(values: Vec<f32>) -> Volume<f32> {
        let grid = Grid::with_spacing([values.len(), 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        Volume::from_vec(grid, values).unwrap()
    }

    #[test]
    fn z_scores_have_mean_0_and_deviation_1() {
        let scored = z_score(&volume((0..1000).map(|i| (i * i % 997) as f32 + 5000.0).collect()));
        let mean: f64 = scored.voxels().iter().map(|&v| f64::from(v)).sum::<f64>() / 1000.0;
        let square: f64 = scored.voxels().iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / 1000.0;
        assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6);
        assert_eq!(z_score(&volume(vec![3.0; 4])).voxels(), [0.0; 4]);
    }

    #[test]
    fn z_scores_are_those_of_the_finite_voxels() {
        let scored = z_score(&volume(vec![1.0, f32::NAN, 3.0, f32::INFINITY]));
        assert!(scored.voxels()[1].is_nan());
        assert_eq!([0, 2, 3].map(|i| scored.voxels()[i]), [-1.0, 1.0, f32::INFINITY]);
        assert!(z_score(&volume(vec![f32::NAN; 2])).voxels().iter().all(|v| v.is_nan()));
    }

    #[test]
    fn zeros_count_in_no_z_score_of_the_rest() {
        let of = |values: &[f32]| {
            let mut scored = volume(values.to_vec());
            z_score_of_nonzero_in_place(&mut scored);
            scored.into_vec()
        };
        let rest = of(&[5.0, 7.0, 9.0, 3.0]);
        let with_zeros = of(&[0.0, 5.0, 0.0, 0.0, 7.0, 9.0, 3.0, -0.0]);
        assert_eq!([1, 4, 5, 6].map(|i| with_zeros[i]), rest[..]);
        assert_eq!([0, 2, 3, 7].map(|i| with_zeros[i]), [0.0; 4]);
        assert_eq!(of(&[0.0; 3]), [0.0; 3]);
        assert_eq!(of(&[0.0, 4.0]), [0.0; 2], "one value has no deviation");
    }

    #[test]
    fn smallest_and_largest_become_0_and_1() {
        let of = |values: &[f32]| {
            let mut scaled = volume(values.to_vec());
            min_max_to_unit_in_place(&mut scaled);
            scaled.into_vec()
        };
        assert_eq!(of(&[f32::MIN, 0.0, f32::MAX]), [0.0, 0.5, 1.0]);
        assert_eq!(of(&[3.0; 2]), [0.0; 2]);
        let found = of(&[1.0, f32::NAN, 3.0, f32::INFINITY]);
        assert_eq!([found[0], found[2], found[3]], [0.0, 1.0, f32::INFINITY]);
        assert!(found[1].is_nan());
    }

    #[test]
    fn an_empty_window_is_refused() {
        for (low, high) in [(1.0, 1.0), (2.0, 1.0), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
            assert!(window_to_unit(&volume(vec![0.0]), low, high).is_err());
        }
    }

    /// `numpy.percentile([0, 1, 4, 9, 16, 25, 36], [10, 33, 99.5])`
    #[test]
    fn percentiles_are_numpy_s() {
        let found = percentiles(&volume(vec![25.0, 0.0, 9.0, 1.0, 36.0, 4.0, 16.0]), &[10.0, 33.0, 99.5]);
        for (found, expected) in found.iter().zip([0.6, 3.94, 35.67]) {
            assert!((found - expected).abs() < 1e-5, "{found}, expected {expected}");
        }
    }
}
