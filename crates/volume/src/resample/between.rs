//! The grid between source and target where their axes run along different lines.
//!
//! Means and blurring work along the source's axes. So the source is put on a grid that has its directions and the
//! target's spacing, and the target takes from there. That grid is about the same middle as the source and covers all
//! of it; the centres of its voxels lie within. It is known by coordinates of the source alone: nothing goes
//! through the world, which for grids of very unlike spacing would turn it by rounding.

use super::Interpolation;
use super::kernel::{ROUNDING, Taps, is_within, taps_within};
use crate::{Affine, Grid};

/// The grid between.
pub(super) struct Between {
    axes: [AxisBetween; 3],
}

/// One of its axes, in voxels of the source.
struct AxisBetween {
    /// Voxels of the source.
    old: usize,
    /// Voxels of the grid between.
    size: usize,
    /// Distance between their centres, at least 1.
    scale: f64,
    /// Centre of the first one.
    offset: f64,
    /// How far beyond the source the centre of a voxel of the target may lie.
    beyond: f64,
}

impl Between {
    /// For a `target` whose axes are in the order of those of `source`, which `map` leads to; each axis of the source
    /// has its own of the `ways`.
    pub(super) fn new(source: &Grid, target: &Grid, map: &Affine, ways: [Interpolation; 3]) -> Self {
        let (own, wanted) = (source.spacing().to_array(), target.spacing().to_array());
        let rows = map.to_rows();
        let axis = |a: usize| {
            let old = source.size()[a];
            let n = old as f64;
            let scale = (wanted[a] / own[a]).max(1.0);
            let size = ((n / scale - ROUNDING).ceil() as usize).max(1);
            // A mean is of whatever the voxel touches; other values are of its centre.
            let reach = rows[a][..3].iter().map(|v| v.abs()).sum::<f64>() / 2.0;
            let beyond = if ways[a] == Interpolation::Area { reach - ROUNDING } else { ROUNDING };
            AxisBetween { old, size, scale, offset: ((n - 1.0) - (size - 1) as f64 * scale) / 2.0, beyond }
        };
        Self { axes: [0, 1, 2].map(axis) }
    }

    pub(super) fn size(&self) -> [usize; 3] {
        [0, 1, 2].map(|a| self.axes[a].size)
    }

    /// Of each axis, scale and offset: voxel i lies at the coordinate scale · i + offset of the source.
    pub(super) fn maps(&self) -> [(f64, f64); 3] {
        [0, 1, 2].map(|a| (self.axes[a].scale, self.axes[a].offset))
    }

    /// What lies at the coordinate `at` of the source's axis `a`: linear between centres, the border's value beyond.
    pub(super) fn taps(&self, a: usize, at: f64) -> Option<Taps> {
        let axis = &self.axes[a];
        let there = || taps_within((at - axis.offset) / axis.scale, axis.size, Interpolation::Linear);
        is_within(at, axis.old, axis.beyond).then(there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Spacing;

    #[test]
    fn the_source_is_covered_and_the_centres_lie_within() {
        let grid = |size, spacing| Grid::with_spacing(size, Spacing::new(spacing).unwrap()).unwrap();
        let source = grid([7, 6, 5], [1.0; 3]);
        for spacing in [[0.5, 1.0, 1.1], [2.0, 3.0, 4.0], [7.0, 6.1, 4.9], [1e9, 1e30, 1e60]] {
            let map = *grid([1; 3], spacing).affine();
            let between = Between::new(&source, &grid([1; 3], spacing), &map, [Interpolation::Area; 3]);
            for (a, (scale, offset)) in between.maps().into_iter().enumerate() {
                let (n, last) = (source.size()[a] as f64, (between.size()[a] - 1) as f64);
                assert_eq!(scale, spacing[a].max(1.0));
                assert!(offset >= -0.5 && offset + last * scale <= n - 0.5, "{spacing:?}");
                assert!(
                    offset - scale / 2.0 <= -0.5 && offset + (last + 0.5) * scale >= n - 0.5,
                    "{spacing:?}"
                );
            }
        }
    }
}
