//! One organ as it is painted: its shape, its fat rim, what it is filled with.

use crate::Organ;
use crate::random::{Sampler, Texture};
use crate::shape::Primitive;
use crate::vector::Vector;

/// Radiodensity of gas in stomach and bowel: a little above air, as the wall's blur reaches in.
const GAS_HU: f32 = -900.0;

/// Layers are painted one over the other: what comes later displaces what was there.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) organ: Organ,
    pub(crate) solids: Vec<Primitive>,
    /// Width, in millimetres, over which the seams between the solids are rounded.
    pub(crate) seam_mm: f32,
    /// How far the surface goes in and out, in millimetres, and where.
    pub(crate) lobules: Option<(f32, Texture)>,
    /// Fat that is painted around the organ first.
    pub(crate) rim: Option<Rim>,
    /// Whether the organ ends at the abdominal wall.
    pub(crate) inside_cavity: bool,
    pub(crate) filling: Filling,
}

/// Fat around an organ: `mm` thick in places, none in others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rim {
    pub(crate) mm: f32,
    pub(crate) hu: f32,
    /// Between −1 (rare patches of fat) and 1 (fat everywhere).
    pub(crate) extent: f32,
    pub(crate) texture: Texture,
}

impl Rim {
    pub(crate) fn thickness_mm(&self, point: Vector) -> f32 {
        self.mm * (0.5 + self.extent + 2.0 * self.texture.at(point)).clamp(0.0, 1.0)
    }
}

/// What an organ shows inside its outline, in Hounsfield units.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filling {
    /// The same tissue throughout.
    Solid(Tissue),
    /// A wall around contents: bowel, and bone with its cortex.
    Hollow {
        wall_mm: f32,
        wall: Tissue,
        contents: Tissue,
        /// Height (y) above which there is gas; the patient lies on the back.
        gas_above: Option<f32>,
    },
}

/// A tissue: its mean, and how much and how finely it varies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tissue {
    hu: f32,
    varies_hu: f32,
    texture: Texture,
}

impl Tissue {
    pub(crate) fn new(sampler: &mut Sampler, hu: f32, varies_hu: f32, size_mm: f32) -> Self {
        Self { hu, varies_hu, texture: Texture::new(sampler.bits(), size_mm) }
    }

    pub(crate) fn hu_at(&self, point: Vector) -> f32 {
        self.hu + self.varies_hu * self.texture.at(point)
    }
}

impl Filling {
    /// Density at `point`, `depth_mm` below the surface, with borders blurred over `edge_mm`.
    pub(crate) fn hu_at(&self, point: Vector, depth_mm: f32, edge_mm: f32) -> f32 {
        match self {
            Self::Solid(tissue) => tissue.hu_at(point),
            Self::Hollow { wall_mm, wall, contents, gas_above } => {
                let inner = ramp(depth_mm - wall_mm, edge_mm);
                if inner == 0.0 {
                    return wall.hu_at(point);
                }
                let gas = gas_above.map_or(0.0, |level| ramp(point[1] - level, edge_mm));
                let inside = mix(contents.hu_at(point), GAS_HU, gas);
                mix(wall.hu_at(point), inside, inner)
            }
        }
    }
}

impl Layer {
    /// A smooth solid inside the abdominal cavity.
    pub(crate) fn new(organ: Organ, solids: Vec<Primitive>, filling: Filling) -> Self {
        Self { organ, solids, seam_mm: 0.0, lobules: None, rim: None, inside_cavity: true, filling }
    }

    pub(crate) fn with_seam(mut self, seam_mm: f32) -> Self {
        self.seam_mm = seam_mm;
        self
    }

    pub(crate) fn with_lobules(mut self, sampler: &mut Sampler, depth_mm: f32, size_mm: f32) -> Self {
        self.lobules = Some((depth_mm, Texture::new(sampler.bits(), size_mm)));
        self
    }

    pub(crate) fn with_rim(mut self, rim: Rim) -> Self {
        self.rim = Some(rim);
        self
    }

    pub(crate) fn through_the_wall(mut self) -> Self {
        self.inside_cavity = false;
        self
    }

    /// How far from its solids the layer may paint, in millimetres.
    pub(crate) fn reach_mm(&self, edge_mm: f32) -> f32 {
        let lobules = self.lobules.map_or(0.0, |(depth, _)| depth);
        let rim = self.rim.map_or(0.0, |rim| rim.mm);
        self.seam_mm / 4.0 + lobules + rim + edge_mm
    }
}

/// 0 below −`width`/2, 1 above `width`/2, straight between: the part of a voxel that is past a border.
pub(crate) fn ramp(past_mm: f32, width: f32) -> f32 {
    (0.5 + past_mm / width).clamp(0.0, 1.0)
}

pub(crate) fn mix(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hollow_organ_shows_wall_then_contents_then_gas_on_top() {
        let mut sampler = Sampler::new(1);
        let mut tissue = |hu| Tissue::new(&mut sampler, hu, 0.0, 5.0);
        let (wall, contents) = (tissue(40.0), tissue(10.0));
        let filling = Filling::Hollow { wall_mm: 3.0, wall, contents, gas_above: Some(20.0) };
        assert_eq!(filling.hu_at([0.0; 3], 0.0, 2.0), 40.0);
        assert_eq!(filling.hu_at([0.0; 3], 3.0, 2.0), 25.0);
        assert_eq!(filling.hu_at([0.0; 3], 8.0, 2.0), 10.0);
        assert_eq!(filling.hu_at([0.0, 30.0, 0.0], 8.0, 2.0), GAS_HU);
    }
}
