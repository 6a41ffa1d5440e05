//! The surface of a mask as a list of small elements, each with a place and an area.
//!
//! An element sits where eight voxels meet: at a voxel corner, of which an n-voxel line has n + 1. It
//! exists if some but not all of its eight voxels are in the mask, and its area is that of the piece of
//! surface between those voxels (see `surface_area`). Beyond the volume everything is empty, so a mask
//! that touches the edge of the scan has a surface there too.

use organseg_volume::{Label, LabelVolume};
use rayon::prelude::*;

/// A block of voxels of a volume: the first, and how many along each axis. It lies inside the volume.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    pub(crate) start: [usize; 3],
    pub(crate) size: [usize; 3],
}

impl Region {
    /// Voxel corners along each axis.
    pub(crate) fn corners(&self) -> [usize; 3] {
        self.size.map(|n| n + 1)
    }
}

/// Surface elements of a mask on the voxel corners of a region, in memory order (x fastest).
pub(crate) struct Surface {
    /// Place of each element: index of the corner, x + X (y + Y z) with X × Y × Z corners.
    pub(crate) corners: Vec<usize>,
    /// Area of each element in mm².
    pub(crate) areas_mm2: Vec<f64>,
}

impl Surface {
    /// Surface of `label` inside `region`; voxels outside the region count as empty.
    pub(crate) fn of_label(
        volume: &LabelVolume,
        label: Label,
        region: Region,
        area_by_code: &[f64; 256],
    ) -> Self {
        let [_, ny, nz] = region.corners();
        // Rows are independent and are put together in order.
        let rows: Vec<Vec<(usize, f64)>> = (0..ny * nz)
            .into_par_iter()
            .map(|row| row_elements(volume, label, region, row, area_by_code))
            .collect();
        let (corners, areas_mm2) = rows.into_iter().flatten().unzip();
        Self { corners, areas_mm2 }
    }
}

/// Elements of the row of corners number `row` = y + Y z.
fn row_elements(
    volume: &LabelVolume,
    label: Label,
    region: Region,
    row: usize,
    area_by_code: &[f64; 256],
) -> Vec<(usize, f64)> {
    let [nx, ny, _] = region.corners();
    let (y, z) = (row % ny, row / ny);
    // One byte per voxel column of the four voxel rows that meet at this row of corners: the bits that a
    // neighbour code has for x = 0.
    let mut columns = vec![0u8; region.size[0]];
    for (bit, [below_y, below_z]) in [(0, [1, 1]), (2, [0, 1]), (4, [1, 0]), (6, [0, 0])] {
        let (Some(vy), Some(vz)) = (y.checked_sub(below_y), z.checked_sub(below_z)) else { continue };
        if vy >= region.size[1] || vz >= region.size[2] {
            continue;
        }
        let first = volume.grid().offset([region.start[0], region.start[1] + vy, region.start[2] + vz]);
        let voxels = &volume.voxels()[first..first + region.size[0]];
        for (column, &voxel) in columns.iter_mut().zip(voxels) {
            *column |= u8::from(voxel == label) << bit;
        }
    }
    let mut elements = Vec::new();
    let mut left = 0;
    for x in 0..nx {
        let right = columns.get(x).copied().unwrap_or(0);
        let code = left | right << 1;
        if code != 0 && code != u8::MAX {
            elements.push((row * nx + x, area_by_code[usize::from(code)]));
        }
        left = right;
    }
    elements
}

#[cfg(test)]
mod tests {
    use organseg_volume::{Grid, Spacing, Volume};

    use super::*;
    use crate::surface_area::area_by_code;

    fn surface(volume: &LabelVolume, spacing_mm: [f64; 3]) -> Surface {
        let region = Region { start: [0; 3], size: volume.size() };
        Surface::of_label(volume, 1, region, &area_by_code(spacing_mm))
    }

    #[test]
    fn a_single_voxel_has_eight_elements_with_the_area_of_an_octahedron() {
        let grid = Grid::with_spacing([1, 1, 1], Spacing::isotropic(1.0).unwrap()).unwrap();
        let surface = surface(&Volume::filled(grid, 1u8), [1.0; 3]);
        assert_eq!(surface.corners, [0, 1, 2, 3, 4, 5, 6, 7]);
        // Octahedron of edge a = √2/2: 2 √3 a².
        let area: f64 = surface.areas_mm2.iter().sum();
        assert!((area - 3f64.sqrt()).abs() < 1e-14);
    }

    #[test]
    fn a_box_at_the_edge_of_the_scan_is_closed() {
        let spacing_mm = [1.0, 2.0, 3.0];
        let grid = Grid::with_spacing([4, 5, 6], Spacing::new(spacing_mm).unwrap()).unwrap();
        let surface = surface(&Volume::filled(grid, 1u8), spacing_mm);
        // All 5×6×7 corners but the 3×4×5 inner ones.
        assert_eq!(surface.corners.len(), 210 - 60);
        // Faces between the outermost voxel centres, edges as half-voxel chamfers, corners cut off.
        let [a, b, c] = [3.0 * 1.0, 4.0 * 2.0, 5.0 * 3.0];
        let faces = 2.0 * (a * b + b * c + c * a);
        let chamfers = 4.0 * (a * 1.0f64.hypot(1.5) + b * 0.5f64.hypot(1.5) + c * 0.5f64.hypot(1.0));
        let corner = 0.5 * ((1.0 * 1.5f64).powi(2) + (0.5 * 1.5f64).powi(2) + 0.5f64.powi(2)).sqrt();
        let area: f64 = surface.areas_mm2.iter().sum();
        assert!((area - (faces + chamfers + 8.0 * corner)).abs() < 1e-10, "{area}");
    }

    #[test]
    fn the_codes_follow_the_axes() {
        // A rod along x: its long sides are edges along x, so the area tells the axes apart.
        let spacing_mm = [1.0, 2.0, 5.0];
        let grid = Grid::with_spacing([3, 1, 1], Spacing::new(spacing_mm).unwrap()).unwrap();
        let surface = surface(&Volume::filled(grid, 1u8), spacing_mm);
        let area: f64 = surface.areas_mm2.iter().sum();
        let corner = 0.5 * ((1.0 * 2.5f64).powi(2) + (0.5 * 2.5f64).powi(2) + 0.5f64.powi(2)).sqrt();
        assert!((area - (8.0 * corner + 4.0 * 2.0 * 1.0f64.hypot(2.5))).abs() < 1e-12);
    }
}
