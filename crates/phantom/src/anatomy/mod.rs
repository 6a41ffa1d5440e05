//! The anatomy of one phantom: a torso and the organs in it, in painting order.
//!
//! Drawn in millimetres for a field of view of 280 × 240 × 198 mm with the origin in its middle; x runs
//! to the patient's right, y to the front, z to the head. Radii of the large organs are some four fifths
//! of an adult's, so that an abdomen fits; the pancreas keeps its thickness. Every number is jittered by
//! the seed: positions by some millimetres to 15, sizes by a tenth.

mod gut;
mod pancreas;
mod solid_organs;
mod spine;
mod torso;
mod vessels;

pub(crate) use torso::Torso;

use crate::Organ;
use crate::layer::{Filling, Layer, Rim, Tissue};
use crate::random::{Sampler, Texture};
use crate::shape::Primitive;

/// What a seed decides about a phantom, but for the noise.
#[derive(Clone, Debug)]
pub(crate) struct Anatomy {
    pub(crate) torso: Torso,
    /// Painted in this order, the later over the earlier; the pancreas is last.
    pub(crate) layers: Vec<Layer>,
}

impl Anatomy {
    pub(crate) fn new(seed: u64) -> Self {
        let mut sampler = Sampler::new(seed);
        let torso = Torso::new(&mut sampler);
        let contrast = sampler.between(0.1, 1.0);
        let mut draft = Draft { fat_hu: torso.fat_hu(), contrast, sampler, layers: Vec::new() };
        let pancreas = pancreas::Pancreas::new(&mut draft.sampler);
        spine::draw(&mut draft);
        solid_organs::draw(&mut draft, &pancreas);
        vessels::draw_great_vessels(&mut draft);
        gut::draw(&mut draft, &pancreas);
        vessels::draw_around_pancreas(&mut draft, &pancreas);
        pancreas.draw(&mut draft);
        let mut layers = draft.layers;
        for solid in layers.iter_mut().flat_map(|layer| &mut layer.solids) {
            *solid = solid.placed(torso.roll(), torso.shift());
        }
        Self { torso, layers }
    }
}

/// An anatomy being drawn.
struct Draft {
    sampler: Sampler,
    fat_hu: f32,
    /// How much contrast medium there is, 0 to 1: vessels and kidneys take it up most.
    contrast: f32,
    layers: Vec<Layer>,
}

impl Draft {
    fn tissue(&mut self, hu: f32, varies_hu: f32, size_mm: f32) -> Tissue {
        Tissue::new(&mut self.sampler, hu, varies_hu, size_mm)
    }

    fn solid(&mut self, hu: f32, varies_hu: f32, size_mm: f32) -> Filling {
        Filling::Solid(self.tissue(hu, varies_hu, size_mm))
    }

    /// Fat about `mm` thick; `extent` from −1, rare patches, to 1, everywhere.
    fn rim(&mut self, mm: f32, extent: f32) -> Rim {
        Rim { mm, hu: self.fat_hu, extent, texture: Texture::new(self.sampler.bits(), 14.0) }
    }

    /// Adds a smooth organ with a fat rim `rim_mm` thick nearly everywhere.
    fn add_rimmed(&mut self, organ: Organ, solids: Vec<Primitive>, filling: Filling, rim_mm: f32) {
        let rim = self.rim(rim_mm, 0.5);
        self.layers.push(Layer::new(organ, solids, filling).with_rim(rim));
    }
}
