//! Aorta and vena cava, and the vessels that run along the pancreas.

use super::Draft;
use super::pancreas::Pancreas;
use crate::Organ;
use crate::curve::{Node, smooth, tube};
use crate::layer::Layer;
use crate::vector::add;

/// Beyond the field of view: vessels that run through it are cut, not ended.
const BEYOND: f32 = 125.0;

pub(super) fn draw_great_vessels(draft: &mut Draft) {
    let vena_hu = draft.sampler.between(40.0, 50.0) + 55.0 * draft.contrast;
    let aorta_hu = draft.sampler.between(42.0, 50.0) + 75.0 * draft.contrast;
    for (organ, x, y, low, high, hu) in [
        (Organ::VenaCava, 19.0, -15.0, 9.0, 12.0, vena_hu),
        (Organ::Artery, -8.0, -18.0, 8.0, 10.5, aorta_hu),
    ] {
        let middle = draft.sampler.near([x, y, 0.0], 3.0);
        let radius = draft.sampler.between(low, high);
        let nodes = [-BEYOND, -60.0, 0.0, 60.0, BEYOND].map(|z| {
            let point = draft.sampler.near([middle[0], middle[1], z], 2.0);
            Node::new(point, radius * draft.sampler.around(1.0, 0.06))
        });
        let filling = draft.solid(hu, 6.0, 6.0);
        let rim = draft.rim(1.8, -0.25);
        draft.layers.push(Layer::new(organ, tube(&smooth(&nodes)), filling).with_rim(rim));
    }
}

/// Splenic vein behind the body, its confluence with the mesenteric vein behind the neck, the portal
/// vein on to the liver; the arteries above and behind.
pub(super) fn draw_around_pancreas(draft: &mut Draft, pancreas: &Pancreas) {
    let behind = [0.0, -1.0, -0.25];
    let radius = draft.sampler.between(3.4, 4.6);
    let gap = draft.sampler.between(0.0, 1.2);
    let splenic = pancreas.beside(0.55, 0.97, behind, radius, gap);
    let confluence = pancreas.beside(0.5, 0.5, behind, 5.5, 0.8)[0];
    let mut vein = vec![confluence];
    vein.extend(splenic);
    vein.push(Node::new(add(pancreas.tail().point, [-14.0, -6.0, 10.0]), radius * 0.8));

    let uncinate = pancreas.uncinate().point;
    let beside_head = add(uncinate, [-19.0, 12.0, 10.0]);
    let mesenteric = [
        confluence,
        Node::new(draft.sampler.near(beside_head, 2.0), 5.2),
        Node::new(draft.sampler.near(add(beside_head, [2.0, 4.0, -30.0]), 3.0), 4.6),
        Node::new(draft.sampler.near(add(beside_head, [6.0, 8.0, -70.0]), 6.0), 3.5),
    ];
    let portal = [
        confluence,
        Node::new(add(confluence.point, [12.0, -2.0, 16.0]), 6.0),
        Node::new(draft.sampler.near([34.0, 14.0, 36.0], 4.0), 5.5),
        Node::new(draft.sampler.near([56.0, 16.0, 44.0], 4.0), 3.5),
    ];
    let mut solids = tube(&smooth(&vein));
    solids.extend(tube(&smooth(&mesenteric)));
    solids.extend(tube(&smooth(&portal)));
    let hu = draft.sampler.between(40.0, 48.0) + 45.0 * draft.contrast;
    let filling = draft.solid(hu, 6.0, 6.0);
    draft.add_rimmed(Organ::PortalVein, solids, filling, 1.6);

    let above = [0.0, -0.35, 1.0];
    let splenic_artery = pancreas.beside(0.55, 0.95, above, 2.4, 1.5);
    let splenic_artery: Vec<Node> =
        splenic_artery.iter().map(|n| Node::new(draft.sampler.near(n.point, 1.5), n.radius)).collect();
    let mesenteric_artery = [
        Node::new([-7.0, -14.0, 8.0], 4.5),
        Node::new(draft.sampler.near([-8.0, -3.0, -4.0], 1.5), 4.0),
        Node::new(draft.sampler.near(add(beside_head, [-14.0, -4.0, -12.0]), 2.0), 3.8),
        Node::new(draft.sampler.near(add(beside_head, [-12.0, 2.0, -60.0]), 5.0), 3.0),
    ];
    let mut solids = tube(&smooth(&splenic_artery));
    solids.extend(tube(&smooth(&mesenteric_artery)));
    let hu = draft.sampler.between(42.0, 50.0) + 75.0 * draft.contrast;
    let filling = draft.solid(hu, 6.0, 6.0);
    let rim = draft.rim(2.0, 0.5);
    draft.layers.push(Layer::new(Organ::Artery, solids, filling).with_rim(rim));
}
