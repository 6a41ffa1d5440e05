//! Slices of scans beside each other, with the outlines of masks drawn over them.

use std::path::Path;

use image::imageops::{FilterType, resize};
use image::{GenericImage, Rgb, RgbImage};
use organseg_volume::{LabelVolume, Orientation, Volume, reorient};

use crate::PipelineError;

/// Darkest and brightest density of soft tissue in HU.
const SOFT_TISSUE: [f32; 2] = [-100.0, 240.0];

/// Voxels are drawn this many pixels wide at most …
const ZOOM: u32 = 4;

/// … and fewer where a slice would become wider or higher than this.
const SIDE_PIXELS: u32 = 512;

/// Rows of slices, a scan each.
pub struct Montage {
    window: [f32; 2],
    rows: Vec<Vec<RgbImage>>,
}

impl Default for Montage {
    /// For CT: soft tissue, −100 to 240 HU.
    fn default() -> Self {
        Self { window: SOFT_TISSUE, rows: Vec::new() }
    }
}

impl Montage {
    /// For scans whose intensities from `window[0]`, black, to `window[1]`, white, are to be seen.
    #[must_use]
    pub fn with_window(window: [f32; 2]) -> Self {
        Self { window, rows: Vec::new() }
    }

    /// Adds a row: `columns` axial slices of `scan` through `outlines[0]`, or through all of the scan if there are none,
    /// the outline of each mask in its colour. The patient's right is on the left, as radiologists look.
    ///
    /// # Panics
    /// If a mask has not the scan's size once both are turned to RAS.
    pub fn add_row(&mut self, scan: &Volume<f32>, outlines: &[(&LabelVolume, [u8; 3])], columns: usize) {
        let scan = reorient(scan, Orientation::RAS);
        let masks: Vec<_> =
            outlines.iter().map(|(mask, color)| (reorient(mask, Orientation::RAS), *color)).collect();
        for (mask, _) in &masks {
            assert_eq!(mask.size(), scan.size(), "a mask has the size of its scan");
        }
        let all = [0, scan.size()[2] - 1];
        let ends = masks.first().and_then(|(mask, _)| slices_of(mask)).unwrap_or(all);
        let row = spread_over(ends, columns)
            .map(|z| {
                let small = slice(&scan, z, self.window);
                let zoom = (SIDE_PIXELS / small.width().max(small.height()).max(1)).clamp(1, ZOOM);
                let mut large =
                    resize(&small, small.width() * zoom, small.height() * zoom, FilterType::CatmullRom);
                for (mask, color) in &masks {
                    draw_outline(&mut large, mask, z, *color, zoom);
                }
                large
            })
            .collect();
        self.rows.push(row);
    }

    /// Writes the montage as PNG.
    ///
    /// # Errors
    /// [`PipelineError::Picture`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), PipelineError> {
        self.draw()
            .and_then(|whole| whole.save(path))
            .map_err(|source| PipelineError::Picture { path: path.to_path_buf(), source: Box::new(source) })
    }

    fn draw(&self) -> image::ImageResult<RgbImage> {
        let width: u32 = self.rows.iter().map(|row| row.iter().map(RgbImage::width).sum()).max().unwrap_or(1);
        let heights: Vec<u32> =
            self.rows.iter().map(|row| row.iter().map(RgbImage::height).max().unwrap_or(0)).collect();
        let mut whole = RgbImage::new(width, heights.iter().sum::<u32>().max(1));
        let mut y = 0;
        for (row, height) in self.rows.iter().zip(heights) {
            let mut x = 0;
            for picture in row {
                whole.copy_from(picture, x, y)?;
                x += picture.width();
            }
            y += height;
        }
        Ok(whole)
    }
}

/// The first and the last slice in which `mask` has voxels.
fn slices_of(mask: &LabelVolume) -> Option<[usize; 2]> {
    let [nx, ny, nz] = mask.size();
    let filled = |z: &usize| mask.voxels()[z * nx * ny..(z + 1) * nx * ny].iter().any(|&label| label != 0);
    Some([(0..nz).find(filled)?, (0..nz).rfind(filled)?])
}

/// `count` slices from `first` to `last`.
fn spread_over([first, last]: [usize; 2], count: usize) -> impl Iterator<Item = usize> {
    (1..=count).map(move |i| first + (last - first) * i / (count + 1))
}

/// Slice `z` in grey, x to the left and y upwards.
fn slice(scan: &Volume<f32>, z: usize, [low, high]: [f32; 2]) -> RgbImage {
    let [nx, ny, _] = scan.size();
    RgbImage::from_fn(nx as u32, ny as u32, |x, y| {
        let value = scan[[nx - 1 - x as usize, ny - 1 - y as usize, z]];
        let grey = ((value - low) / (high - low)).clamp(0.0, 1.0) * 255.0;
        Rgb([grey as u8; 3])
    })
}

/// Draws a line wherever a voxel of `mask` has a neighbour of another label in its slice.
fn draw_outline(picture: &mut RgbImage, mask: &LabelVolume, z: usize, color: [u8; 3], zoom: u32) {
    let [nx, ny, _] = mask.size();
    let label = |x: i64, y: i64| {
        let inside = (0..nx as i64).contains(&x) && (0..ny as i64).contains(&y);
        if inside { mask[[nx - 1 - x as usize, ny - 1 - y as usize, z]] } else { 0 }
    };
    for y in 0..ny as i64 {
        for x in 0..nx as i64 {
            let here = label(x, y);
            if here == 0 {
                continue;
            }
            let (left, top) = (x as u32 * zoom, y as u32 * zoom);
            for i in 0..zoom {
                let sides = [
                    ((-1, 0), (left, top + i)),
                    ((1, 0), (left + zoom - 1, top + i)),
                    ((0, -1), (left + i, top)),
                    ((0, 1), (left + i, top + zoom - 1)),
                ];
                for ((dx, dy), (px, py)) in sides {
                    if label(x + dx, y + dy) != here {
                        picture.put_pixel(px, py, Rgb(color));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use organseg_volume::{Grid, Spacing};

    #[test]
    fn a_mask_s_outline_lies_where_the_mask_is_seen_from_the_feet() {
        let grid = Grid::with_spacing([5, 4, 3], Spacing::isotropic(1.0).unwrap()).unwrap();
        let scan = Volume::filled(grid, 70.0);
        let mask = LabelVolume::from_fn(grid, |at| u8::from(at == [1, 0, 1]));
        let mut montage = Montage::default();
        montage.add_row(&scan, &[(&mask, [255, 0, 0])], 1);
        let picture = montage.draw().unwrap();
        assert_eq!((picture.width(), picture.height()), (5 * ZOOM, 4 * ZOOM));
        // x runs to the left, y upwards: voxel (1, 0) is the fourth from the left, in the lowest row.
        let red: Vec<_> = picture.enumerate_pixels().filter(|(_, _, p)| p.0 == [255, 0, 0]).collect();
        assert_eq!(red.len() as u32, 4 * (ZOOM - 1));
        assert!(red.iter().all(|(x, y, _)| x / ZOOM == 3 && y / ZOOM == 3));
        assert!(picture.pixels().any(|p| p.0 == [127; 3]), "the middle of the window is grey");
    }
}
