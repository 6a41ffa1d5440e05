//! What is around the organs: skin, fat, the muscular wall, and the fat of the cavity within.

use crate::Organ;
use crate::layer::{Tissue, mix, ramp};
use crate::random::{Sampler, Texture};
use crate::shape::to_ellipse;
use crate::vector::{Vector, add, subtract, turned};

const AIR_HU: f32 = -1000.0;
const SKIN_MM: f32 = 2.0;

/// Ellipses one in the other, the same at all heights but for a slow swelling.
#[derive(Clone, Debug)]
pub(crate) struct Torso {
    roll: f32,
    shift: Vector,
    /// Half width and half depth of the body, of the muscular wall's outside and of its inside.
    body: [f32; 2],
    wall: [f32; 2],
    cavity: [f32; 2],
    fat_hu: f32,
    skin: Tissue,
    fat: Tissue,
    muscle: Tissue,
    visceral_fat: Tissue,
    unevenness: Texture,
    swelling_phase: f32,
}

/// The torso at one point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TorsoPoint {
    pub(crate) hu: f32,
    pub(crate) organ: Organ,
    /// Signed distance to the inside of the abdominal wall, negative in the cavity.
    pub(crate) to_wall_mm: f32,
}

/// Depth (y) of the middle of the body, and of the cavity: behind it is the thick muscle of the back.
const BODY_Y: f32 = -4.0;
const CAVITY_Y: f32 = 10.0;

impl Torso {
    pub(crate) fn new(sampler: &mut Sampler) -> Self {
        let body = [sampler.between(121.0, 130.0), sampler.between(97.0, 105.0)];
        let fat = sampler.between(9.0, 17.0);
        let wall = [body[0] - fat, body[1] - fat - sampler.between(0.0, 4.0)];
        let cavity = [wall[0] - sampler.between(8.0, 11.0), wall[1] - sampler.between(17.0, 20.0)];
        let fat_hu = sampler.between(-108.0, -94.0);
        let muscle_hu = sampler.between(47.0, 58.0);
        Self {
            roll: sampler.around(0.0, 0.08),
            shift: [sampler.around(0.0, 5.0), sampler.around(0.0, 4.0), sampler.around(0.0, 7.0)],
            body,
            wall,
            cavity,
            fat_hu,
            skin: Tissue::new(sampler, 10.0, 20.0, 12.0),
            fat: Tissue::new(sampler, fat_hu, 14.0, 9.0),
            muscle: Tissue::new(sampler, muscle_hu, 18.0, 6.0),
            visceral_fat: Tissue::new(sampler, fat_hu, 26.0, 7.0),
            unevenness: Texture::new(sampler.bits(), 40.0),
            swelling_phase: sampler.between(0.0, std::f32::consts::TAU),
        }
    }

    /// Mean density of fat in this body.
    pub(crate) fn fat_hu(&self) -> f32 {
        self.fat_hu
    }

    /// How far the patient is turned about z, in radians.
    pub(crate) fn roll(&self) -> f32 {
        self.roll
    }

    /// How far the patient lies from the middle of the field of view.
    pub(crate) fn shift(&self) -> Vector {
        self.shift
    }

    /// What the torso shows at `point`, with borders blurred over `edge_mm`.
    pub(crate) fn at(&self, point: Vector, edge_mm: f32) -> TorsoPoint {
        let [x, y, z] = turned(subtract(point, self.shift), -self.roll);
        let swelling = 1.0 + 0.02 * (z / 45.0 + self.swelling_phase).sin();
        let to = |radii: [f32; 2], middle: f32| to_ellipse(&[x, y - middle], &radii.map(|r| r * swelling));
        let to_body = to(self.body, BODY_Y);
        if to_body > edge_mm {
            return TorsoPoint { hu: AIR_HU, organ: Organ::Outside, to_wall_mm: f32::INFINITY };
        }
        let uneven = 4.0 * self.unevenness.at(add(point, [0.0, 0.0, 500.0]));
        let to_wall = to(self.wall, BODY_Y) + 0.7 * uneven;
        let to_cavity = to(self.cavity, CAVITY_Y) + uneven;
        let mut hu = AIR_HU;
        let mut organ = Organ::Outside;
        let shells = [
            (to_body, &self.skin, Organ::Skin),
            (to_body + SKIN_MM, &self.fat, Organ::Fat),
            (to_wall, &self.muscle, Organ::Muscle),
            (to_cavity, &self.visceral_fat, Organ::Fat),
        ];
        for (distance, tissue, name) in shells {
            let coverage = ramp(-distance, edge_mm);
            if coverage > 0.0 {
                hu = mix(hu, tissue.hu_at(point), coverage);
            }
            if coverage > 0.5 {
                organ = name;
            }
        }
        TorsoPoint { hu, organ, to_wall_mm: to_cavity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_the_side_meets_air_skin_fat_muscle_and_the_cavity() {
        for seed in 0..20 {
            let torso = Torso::new(&mut Sampler::new(seed));
            let mut met = Vec::new();
            for step in 0..700 {
                let sample = torso.at([140.0 - 0.2 * step as f32, 0.0, 0.0], 0.5);
                if met.last() != Some(&sample.organ) {
                    met.push(sample.organ);
                }
            }
            assert_eq!(met, [Organ::Outside, Organ::Skin, Organ::Fat, Organ::Muscle, Organ::Fat]);
        }
    }
}
