//! From axes as a header lists them to a grid of three.

use crate::{Affine, Grid, VolumeError};

/// One axis that runs through space.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Axis {
    /// Voxels along it.
    pub(crate) size: usize,
    /// The step from one voxel to the next, in RAS millimetres.
    pub(crate) step_mm: [f64; 3],
}

/// The grid of two or three axes whose first voxel is at `origin_mm`. A single slice is one voxel thick and
/// gets the third axis at right angles to its two, one millimetre long.
pub(crate) fn grid_of(axes: &[Axis], origin_mm: [f64; 3]) -> Result<Grid, VolumeError> {
    let third = match axes {
        [_, _, third] => *third,
        [x, y] => Axis { size: 1, step_mm: normal(x.step_mm, y.step_mm) },
        _ => {
            let reason = format!("{} axes run through space, expected 2 or 3", axes.len());
            return Err(VolumeError::InvalidAffine { reason });
        }
    };
    let axes = [axes[0], axes[1], third];
    let row = |r: usize| [axes[0].step_mm[r], axes[1].step_mm[r], axes[2].step_mm[r], origin_mm[r]];
    let affine = Affine::new([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]])?;
    Grid::new(axes.map(|axis| axis.size), affine)
}

/// The unit vector along u × v; NaN if there is none, which makes no affine.
fn normal(u: [f64; 3], v: [f64; 3]) -> [f64; 3] {
    let cross = [0, 1, 2].map(|a| {
        let (b, c) = ((a + 1) % 3, (a + 2) % 3);
        u[b] * v[c] - u[c] * v[b]
    });
    let length = cross.iter().map(|x| x * x).sum::<f64>().sqrt();
    cross.map(|x| x / length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_gets_a_third_axis_at_right_angles() {
        let axes = [Axis { size: 4, step_mm: [0.0, 0.0, -2.0] }, Axis { size: 3, step_mm: [0.0, 0.5, 0.0] }];
        let grid = grid_of(&axes, [7.0, 8.0, 9.0]).unwrap();
        assert_eq!(grid.size(), [4, 3, 1]);
        assert_eq!(grid.affine().column(2), [1.0, 0.0, 0.0]);
        assert_eq!(grid.affine().origin_mm(), [7.0, 8.0, 9.0]);
    }

    #[test]
    fn axes_in_one_line_are_refused() {
        let axis = Axis { size: 4, step_mm: [0.0, 0.0, -2.0] };
        assert!(grid_of(&[axis; 2], [0.0; 3]).is_err());
        assert!(grid_of(&[axis; 3], [0.0; 3]).is_err());
        assert!(grid_of(&[axis], [0.0; 3]).is_err());
    }
}
