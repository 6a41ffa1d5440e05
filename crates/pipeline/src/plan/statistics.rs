//! Medians and percentiles of a few numbers, as numpy has them.

/// Below which `percent` per cent of `values` lie, linear between neighbours; 0 without values.
pub(super) fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = percent / 100.0 * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + place.fract() * (above - below)
}

/// The middle of `values`.
pub(super) fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The middle size along each axis, the larger one between two.
pub(super) fn median_size(sizes: &[[usize; 3]]) -> [usize; 3] {
    [0, 1, 2].map(|a| {
        let mut all: Vec<_> = sizes.iter().map(|size| size[a]).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied().unwrap_or(1)
    })
}
