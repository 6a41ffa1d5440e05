//! The pancreas: a bent tube from the duodenum to the spleen.

use super::Draft;
use crate::Organ;
use crate::curve::{Node, arc_lengths, direction, smooth, tube};
use crate::layer::Layer;
use crate::random::Sampler;
use crate::vector::{Vector, add, scale, unit, without};

/// How deep the clefts between the lobules are, and how wide a lobule is; millimetres.
const LOBULE_DEPTH_MM: f32 = 1.6;
const LOBULE_SIZE_MM: f32 = 7.0;

/// Its centre line and tissue. What lies around it is drawn after it.
#[derive(Clone, Debug)]
pub(super) struct Pancreas {
    /// From the uncinate process over head, neck and body to the tail.
    curve: Vec<Node>,
    head: Node,
    hu: f32,
}

impl Pancreas {
    pub(super) fn new(sampler: &mut Sampler) -> Self {
        let head_radius = sampler.between(11.0, 14.0);
        let size = sampler.around(1.05, 0.06);
        let drift = sampler.near([0.0; 3], 4.0);
        // How steeply it climbs to the spleen differs most between people.
        let climb = sampler.between(0.6, 1.35);
        let nodes = [
            ([17.0, 3.0, -36.0], 0.66 * head_radius),
            ([24.0, 9.0, -26.0], 0.9 * head_radius),
            ([26.0, 14.0, -15.0], head_radius),
            ([17.0, 22.0, -5.0], sampler.between(8.0, 9.5)),
            ([4.0, 26.0, 1.0], sampler.between(6.8, 7.8)),
            ([-17.0, 22.0, 1.0 + 7.0 * climb], sampler.between(8.0, 9.0)),
            ([-40.0, 7.0, 1.0 + 14.0 * climb], sampler.between(7.8, 9.0)),
            ([-60.0, -12.0, 1.0 + 24.0 * climb], sampler.between(7.0, 8.8)),
        ];
        let nodes = nodes.map(|(point, radius)| {
            let moved = add(scale(point, size), drift);
            Node::new(sampler.near(moved, 2.5), radius)
        });
        let mut curve = smooth(&nodes);
        bend(&mut curve, sampler);
        Self { curve, head: nodes[2], hu: sampler.between(35.0, 50.0) }
    }

    /// Mean density.
    pub(super) fn hu(&self) -> f32 {
        self.hu
    }

    /// Middle and radius of the head.
    pub(super) fn head(&self) -> Node {
        self.head
    }

    /// The tail's end.
    pub(super) fn tail(&self) -> Node {
        self.curve[self.curve.len() - 1]
    }

    /// The lowest end, behind the superior mesenteric vein.
    pub(super) fn uncinate(&self) -> Node {
        self.curve[0]
    }

    /// A tube of radius `radius` that runs along the pancreas at `gap_mm` from its surface, on the side
    /// that `side` points to, between the fractions `from` and `to` of its length.
    pub(super) fn beside(&self, from: f32, to: f32, side: Vector, radius: f32, gap_mm: f32) -> Vec<Node> {
        let last = self.curve.len() - 1;
        let index = |fraction: f32| (fraction * last as f32) as usize;
        (index(from)..=index(to))
            .step_by(3)
            .map(|i| {
                let node = self.curve[i];
                let outwards = unit(without(side, direction(&self.curve, i)));
                Node::new(add(node.point, scale(outwards, node.radius + gap_mm + radius)), radius)
            })
            .collect()
    }

    pub(super) fn draw(&self, draft: &mut Draft) {
        let filling = draft.solid(self.hu, 22.0, 4.5);
        // Fat all around but for a third of the surface, where bowel, vein or stomach touch it.
        let rim = draft.rim(2.4, -0.05);
        let layer = Layer::new(Organ::Pancreas, tube(&self.curve), filling)
            .with_lobules(&mut draft.sampler, LOBULE_DEPTH_MM, LOBULE_SIZE_MM)
            .with_rim(rim);
        draft.layers.push(layer);
    }
}

/// Waves up and down and back and forth along neck, body and tail; the head stays where it is.
fn bend(curve: &mut [Node], sampler: &mut Sampler) {
    let lengths = arc_lengths(curve);
    let whole = lengths[lengths.len() - 1];
    for axis in [1, 2] {
        let amplitude = sampler.between(2.0, 5.0);
        let wave = std::f32::consts::TAU / sampler.between(48.0, 75.0);
        let phase = sampler.between(0.0, std::f32::consts::TAU);
        for (node, s) in curve.iter_mut().zip(&lengths) {
            let grows = ((s / whole - 0.25) / 0.2).clamp(0.0, 1.0);
            node.point[axis] += amplitude * grows * (wave * s + phase).sin();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::{length, subtract};

    #[test]
    fn every_pancreas_is_long_and_thin_with_a_thick_head() {
        for seed in 0..200 {
            let pancreas = Pancreas::new(&mut Sampler::new(seed));
            let whole = *arc_lengths(&pancreas.curve).last().unwrap();
            assert!((120.0..200.0).contains(&whole), "seed {seed}: {whole} mm");
            assert!((11.0..=14.0).contains(&pancreas.head.radius));
            let distal = &pancreas.curve[24..];
            assert!(distal.iter().all(|n| (6.0..=9.0).contains(&n.radius)));
        }
    }

    #[test]
    fn what_runs_beside_it_keeps_its_distance() {
        let pancreas = Pancreas::new(&mut Sampler::new(3));
        for node in pancreas.beside(0.4, 0.9, [0.0, 0.0, -1.0], 8.0, 2.0) {
            let nearest = pancreas
                .curve
                .iter()
                .map(|n| length(subtract(n.point, node.point)) - n.radius - node.radius)
                .fold(f32::INFINITY, f32::min);
            assert!((-1.5..=3.5).contains(&nearest), "{nearest}");
        }
    }
}
