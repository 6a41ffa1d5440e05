//! An anatomy becomes voxels, slice by slice.
//!
//! ```text
//! for each slice, in parallel:
//!     paint the torso
//!     for each layer that reaches the slice, in order:
//!         distance := +∞ over the layer's rectangle
//!         for each solid of the layer: distance := union(distance, solid)
//!         where the rim's or the organ's coverage is positive: blend it over what is there
//!     add noise, smooth within the slice; round to whole Hounsfield units
//! ```
//!
//! A voxel's coverage goes from 0 to 1 over an edge somewhat wider than a voxel: partial volume and the
//! scanner's blur. Its label is the last organ that covers more than half of it. No slice looks at
//! another, so the number of threads cannot change a bit.

use organseg_volume::{Grid, Label};
use rayon::prelude::*;

use crate::Organ;
use crate::anatomy::Anatomy;
use crate::config::REFERENCE_FOV_MM;
use crate::layer::{Layer, mix, ramp};
use crate::random::{hash, nearly_normal};
use crate::shape::smooth_union;
use crate::vector::Vector;

/// Width of an edge in voxels: one for partial volume, the rest for the scanner's blur.
const EDGE_VOXELS: f32 = 1.4;

/// Organs end this far inside the abdominal wall.
const WALL_GAP_MM: f32 = 1.5;

/// What scanners write at most and at least, 12 bits.
const HU_RANGE: (f32, f32) = (-1024.0, 3071.0);

/// From voxel indices to the millimetres that the anatomy is drawn in.
#[derive(Clone, Copy, Debug)]
struct Frame {
    size: [usize; 3],
    step_mm: Vector,
}

impl Frame {
    fn new(grid: &Grid) -> Self {
        let size = grid.size();
        Self { size, step_mm: [0, 1, 2].map(|a| (REFERENCE_FOV_MM[a] / size[a] as f64) as f32) }
    }

    /// The middle of the field of view is the origin.
    fn point(&self, voxel: [usize; 3]) -> Vector {
        [0, 1, 2].map(|a| (voxel[a] as f32 + 0.5 - self.size[a] as f32 / 2.0) * self.step_mm[a])
    }

    /// Voxels along `axis` whose centres may lie between `low` and `high`.
    fn voxels_between(&self, axis: usize, low: f32, high: f32) -> std::ops::Range<usize> {
        let index = |mm: f32| mm / self.step_mm[axis] + self.size[axis] as f32 / 2.0 - 0.5;
        // Casts to usize saturate: below the first voxel is 0.
        let start = index(low).floor() as usize;
        let end = (index(high).ceil() + 1.0).max(0.0) as usize;
        start.min(self.size[axis])..end.min(self.size[axis])
    }

    fn edge_mm(&self) -> f32 {
        EDGE_VOXELS * self.step_mm.iter().sum::<f32>() / 3.0
    }
}

/// Hounsfield units and labels of every voxel of `grid`, x fastest.
pub(crate) fn render(
    anatomy: &Anatomy,
    grid: &Grid,
    noise_hu: f32,
    noise_seed: u64,
) -> (Vec<f32>, Vec<Label>) {
    let frame = Frame::new(grid);
    let [nx, ny, _] = frame.size;
    let mut hu = vec![0.0f32; grid.voxel_count()];
    let mut labels: Vec<Label> = vec![0; grid.voxel_count()];
    hu.par_chunks_mut(nx * ny).zip(labels.par_chunks_mut(nx * ny)).enumerate().for_each(
        |(z, (hu, labels))| {
            let mut slice = Slice::new(frame, z, hu, labels);
            slice.paint_torso(anatomy);
            for layer in &anatomy.layers {
                slice.paint(layer);
            }
            slice.finish(noise_hu, hash(noise_seed, z as u64));
        },
    );
    (hu, labels)
}

struct Slice<'a> {
    frame: Frame,
    z: usize,
    hu: &'a mut [f32],
    labels: &'a mut [Label],
    to_wall_mm: Vec<f32>,
    /// Distance to the layer that is being painted.
    distance: Vec<f32>,
}

impl<'a> Slice<'a> {
    fn new(frame: Frame, z: usize, hu: &'a mut [f32], labels: &'a mut [Label]) -> Self {
        let to_wall_mm = vec![0.0; hu.len()];
        let distance = vec![0.0; hu.len()];
        Self { frame, z, hu, labels, to_wall_mm, distance }
    }

    fn paint_torso(&mut self, anatomy: &Anatomy) {
        let [nx, ny, _] = self.frame.size;
        let edge = self.frame.edge_mm();
        for y in 0..ny {
            for x in 0..nx {
                let at = anatomy.torso.at(self.frame.point([x, y, self.z]), edge);
                let i = x + nx * y;
                self.hu[i] = at.hu;
                self.labels[i] = at.organ.label();
                self.to_wall_mm[i] = at.to_wall_mm;
            }
        }
    }

    fn paint(&mut self, layer: &Layer) {
        let (frame, z, nx) = (self.frame, self.z, self.frame.size[0]);
        let edge = frame.edge_mm();
        let reach = layer.reach_mm(edge) + layer.seam_mm;
        let height = frame.point([0, 0, z])[2];
        let rectangles: Vec<_> = layer
            .solids
            .iter()
            .filter_map(|solid| {
                let [low, high] = solid.bounds();
                let reached = low[2] - reach <= height && height <= high[2] + reach;
                let span = |axis: usize| frame.voxels_between(axis, low[axis] - reach, high[axis] + reach);
                reached.then(|| (solid, span(0), span(1)))
            })
            .filter(|(_, xs, ys)| !xs.is_empty() && !ys.is_empty())
            .collect();
        let Some((xs, ys)) = rectangles
            .iter()
            .map(|(_, xs, ys)| (xs.clone(), ys.clone()))
            .reduce(|(ax, ay), (bx, by)| (hull(&ax, &bx), hull(&ay, &by)))
        else {
            return;
        };
        for y in ys.clone() {
            self.distance[nx * y + xs.start..nx * y + xs.end].fill(f32::INFINITY);
        }
        for (solid, xs, ys) in rectangles {
            for y in ys {
                for x in xs.clone() {
                    let distance = &mut self.distance[x + nx * y];
                    *distance =
                        smooth_union(*distance, solid.distance(frame.point([x, y, z])), layer.seam_mm);
                }
            }
        }
        for y in ys {
            for x in xs.clone() {
                self.blend(layer, x, y, edge);
            }
        }
    }

    fn blend(&mut self, layer: &Layer, x: usize, y: usize, edge: f32) {
        let i = x + self.frame.size[0] * y;
        let mut distance = self.distance[i];
        if layer.inside_cavity {
            distance = distance.max(self.to_wall_mm[i] + WALL_GAP_MM);
        }
        if distance > layer.reach_mm(edge) {
            return;
        }
        let point = self.frame.point([x, y, self.z]);
        if let Some((depth, texture)) = layer.lobules {
            distance += depth * texture.at(point);
        }
        // The rim must not eat into the wall itself.
        if let Some(rim) = layer.rim.filter(|_| !layer.inside_cavity || self.to_wall_mm[i] < 0.0) {
            self.cover(i, ramp(rim.thickness_mm(point) - distance, edge), rim.hu, Organ::Fat);
        }
        let coverage = ramp(-distance, edge);
        if coverage > 0.0 {
            self.cover(i, coverage, layer.filling.hu_at(point, -distance, edge), layer.organ);
        }
    }

    fn cover(&mut self, i: usize, coverage: f32, hu: f32, organ: Organ) {
        self.hu[i] = mix(self.hu[i], hu, coverage);
        if coverage > 0.5 {
            self.labels[i] = organ.label();
        }
    }

    /// Adds noise and rounds. White noise goes through (1 2 1)/4 along x and y, which leaves about the
    /// correlation of a soft-tissue reconstruction kernel, and is then scaled back to `noise_hu`.
    fn finish(&mut self, noise_hu: f32, seed: u64) {
        let [nx, ny, _] = self.frame.size;
        let (wx, wy) = (nx + 2, ny + 2);
        let white: Vec<f32> = (0..wx * wy).map(|i| nearly_normal(hash(seed, i as u64))).collect();
        let along_x: Vec<f32> = (0..wy)
            .flat_map(|y| white[y * wx..(y + 1) * wx].windows(3).map(|w| w[0] + 2.0 * w[1] + w[2]))
            .collect();
        // Weights 1 2 1 twice: the variance is (1 + 4 + 1)² = 36, the standard deviation 6.
        let amplitude = noise_hu / 6.0;
        for y in 0..ny {
            for x in 0..nx {
                let at = |row: usize| along_x[row * nx + x];
                let noise = amplitude * (at(y) + 2.0 * at(y + 1) + at(y + 2));
                let hu = &mut self.hu[x + nx * y];
                *hu = (*hu + noise).round().clamp(HU_RANGE.0, HU_RANGE.1);
            }
        }
    }
}

fn hull(a: &std::ops::Range<usize>, b: &std::ops::Range<usize>) -> std::ops::Range<usize> {
    a.start.min(b.start)..a.end.max(b.end)
}
