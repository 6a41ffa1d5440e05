//! How far beyond a sample the places lie that it can show: what of a scan must be kept for it.

use super::AugmentConfig;

impl AugmentConfig {
    /// Voxels along (x, y, z) by which a place that a sample of `size` voxels, `spacing_mm` apart, shows may lie outside
    /// the sample's box. A turn about all three axes by up to θ each moves an offset v (in millimetres, from the
    /// sample's centre) along an axis to at most v there plus sin θ (1 + sin θ) of it along the two others, and to no
    /// more than its length; a magnification s divides that; a deformation adds what control points move. Of [thick
    /// slices](super::ThickSlices) no other is shown, and a turn within them brings sin θ of the one axis to the other.
    ///
    /// ```
    /// use organseg_train::AugmentConfig;
    /// let half_as_large = AugmentConfig {
    ///     spatial_probability: 1.0,
    ///     rotation_degrees: 0.0,
    ///     scale_range: [0.5, 1.0],
    ///     ..AugmentConfig::none()
    /// };
    /// // From 10 voxels on either side of the centre to 20.
    /// assert_eq!(half_as_large.reach_voxels([21, 1, 11], [1.0; 3]), [10, 0, 5]);
    /// // Some samples are not enlarged, but all may be deformed.
    /// let enlarged = AugmentConfig {
    ///     scale_range: [2.0, 2.0],
    ///     elastic_probability: 1.0,
    ///     elastic_voxels: 3.0,
    ///     ..half_as_large
    /// };
    /// assert_eq!(enlarged.reach_voxels([21, 1, 11], [1.0; 3]), [3; 3]);
    /// assert_eq!(AugmentConfig::none().reach_voxels([21, 1, 11], [1.0; 3]), [0; 3]);
    /// // Half of 4 voxels beside 10, and no slice beside those of the sample.
    /// use organseg_train::ThickSlices;
    /// let turned = AugmentConfig {
    ///     spatial_probability: 1.0,
    ///     rotation_degrees: 30.0,
    ///     scale_range: [1.0, 1.0],
    ///     thick_slices: ThickSlices::Z,
    ///     ..AugmentConfig::none()
    /// };
    /// assert_eq!(turned.reach_voxels([21, 9, 5], [1.0, 1.0, 5.0]), [1, 5, 0]);
    /// ```
    #[must_use]
    pub fn reach_voxels(&self, size: [usize; 3], spacing_mm: [f64; 3]) -> [usize; 3] {
        let spatial = self.spatial_probability > 0.0;
        let angle = if spatial { self.rotation_degrees } else { 0.0 };
        let sin = angle.min(90.0).to_radians().sin();
        let slices = self.thick_slices;
        // One turn, or one after the other about all axes.
        let turned = if slices.axis().is_some() { sin } else { (sin * (1.0 + sin)).min(1.0) };
        // A sample that is deformed alone is not magnified.
        let scale = if spatial { self.scale_range[0].min(1.0) } else { 1.0 };
        let moved = if self.elastic_probability > 0.0 { self.elastic_voxels } else { 0.0 };
        let finest = spacing_mm.into_iter().fold(f64::INFINITY, f64::min);
        let half = size.map(|n| n.saturating_sub(1) as f64 / 2.0);
        let offset = |a: usize| half[a] * spacing_mm[a] + moved * finest;
        let offset_mm = [0, 1, 2].map(|a| if slices.vary_along(a) { offset(a) } else { 0.0 });
        let sum: f64 = offset_mm.iter().sum();
        let length = offset_mm.iter().map(|v| v * v).sum::<f64>().sqrt();
        [0, 1, 2].map(|a| {
            if !slices.vary_along(a) {
                return 0;
            }
            let farthest = (offset_mm[a] + turned * (sum - offset_mm[a])).min(length) / scale;
            // Less than any place is moved by rounding.
            (farthest / spacing_mm[a] - half[a] - 1e-6).ceil().max(0.0) as usize
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::ThickSlices;
    use super::super::elastic::Elastic;
    use super::super::transform::{RowPlaces, Transform};
    use super::*;
    use crate::sample_rng;

    #[test]
    fn no_place_that_a_sample_shows_is_out_of_reach_and_some_come_near() {
        let spacing_mm = [0.8, 1.0, 2.5];
        let mut nearest = f64::INFINITY;
        for round in 0..200 {
            let mut rng = sample_rng(5, 0, round);
            let size = [0; 3].map(|_| rng.random_range(1..=12usize));
            let config = AugmentConfig {
                spatial_probability: 1.0,
                elastic_probability: 1.0,
                rotation_degrees: [0.0, 10.0, 30.0, 180.0][round % 4],
                elastic_voxels: [0.0, 3.0][round % 2],
                thick_slices: if round % 3 == 0 {
                    ThickSlices::along(round % 9 / 3)
                } else {
                    ThickSlices::None
                },
                ..AugmentConfig::strong()
            };
            let most = config.rotation_degrees;
            let mut elastic = Elastic::draw(size, spacing_mm, 8.0, config.elastic_voxels, &mut rng);
            let slices = config.thick_slices;
            if let Some(axis) = slices.axis() {
                elastic = elastic.still_along(axis);
            }
            let transform = Transform {
                // The corners of what can be drawn.
                angles_degrees: [0, 1, 2].map(|axis| {
                    let angle = if rng.random_bool(0.5) { most } else { -most };
                    if slices.turn_about(axis) { angle } else { 0.0 }
                }),
                scale: [0, 1, 2]
                    .map(|axis| if slices.vary_along(axis) { config.scale_range[0] } else { 1.0 }),
                mirrored: [0; 3].map(|_| rng.random_bool(0.5)),
                elastic: Some(elastic),
            };
            let centre = size.map(|n| (n - 1) as f64 / 2.0);
            let field = transform.field(size, centre, spacing_mm);
            let reach = config.reach_voxels(size, spacing_mm);
            assert!(slices.axis().is_none_or(|axis| reach[axis] == 0), "{reach:?}");
            let mut places = RowPlaces::default();
            for (z, y) in (0..size[2]).flat_map(|z| (0..size[1]).map(move |y| (z, y))) {
                field.row(y, z, &mut places);
                for a in 0..3 {
                    let limits = [-(reach[a] as f64), (size[a] - 1 + reach[a]) as f64];
                    for &place in &places.along[a] {
                        let inside = (f64::from(place) - limits[0]).min(limits[1] - f64::from(place));
                        assert!(inside > -1e-4, "{size:?} axis {a}: {place} of {limits:?}");
                        nearest = nearest.min(inside);
                    }
                }
            }
        }
        assert!(nearest < 0.5, "{nearest}");
    }
}
