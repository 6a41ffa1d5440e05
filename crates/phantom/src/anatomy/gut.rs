//! Stomach, duodenum, small bowel and colon: walls around mixed contents, some with gas.

use super::Draft;
use super::pancreas::Pancreas;
use crate::Organ;
use crate::curve::{Node, smooth, tube};
use crate::layer::{Filling, Layer};
use crate::shape::Primitive;
use crate::vector::{Vector, add, scale, turned};

pub(super) fn draw(draft: &mut Draft, pancreas: &Pancreas) {
    draw_mesenteric_vessels(draft);
    draw_colon(draft);
    for _ in 0..11 {
        draw_loop(draft, [-72.0, 2.0, -100.0], [58.0, 58.0, -26.0]);
    }
    // Jejunum under the stomach, on the left.
    for _ in 0..4 {
        draw_loop(draft, [-84.0, 6.0, -34.0], [-22.0, 48.0, 22.0]);
    }
    draw_stomach(draft, pancreas);
    draw_duodenum(draft, pancreas);
    draw_loops_beside(draft, pancreas);
}

/// What a bowel holds.
enum Contents {
    /// Empty: the wall all through, as bright as pancreas.
    Collapsed,
    Water,
    Mixed,
    /// With contrast medium that was drunk.
    Bright,
}

fn filling(draft: &mut Draft, contents: &Contents, wall_hu: f32, gas_above: Option<f32>) -> Filling {
    let wall = draft.tissue(wall_hu, 16.0, 5.0);
    let (hu, varies_hu) = match contents {
        Contents::Collapsed => (wall_hu + draft.sampler.around(0.0, 5.0), 20.0),
        Contents::Water => (draft.sampler.between(4.0, 24.0), 16.0),
        Contents::Mixed => (draft.sampler.between(24.0, 52.0), 45.0),
        Contents::Bright => (draft.sampler.between(110.0, 200.0), 40.0),
    };
    let contents = draft.tissue(hu, varies_hu, 6.0);
    Filling::Hollow { wall_mm: draft.sampler.between(2.4, 3.4), wall, contents, gas_above }
}

fn any_contents(draft: &mut Draft) -> Contents {
    match draft.sampler.between(0.0, 1.0) {
        p if p < 0.3 => Contents::Collapsed,
        p if p < 0.55 => Contents::Water,
        p if p < 0.92 => Contents::Mixed,
        _ => Contents::Bright,
    }
}

/// Threads in the fat of the mesentery.
fn draw_mesenteric_vessels(draft: &mut Draft) {
    let solids = (0..26).map(|_| {
        let from = draft.sampler.near([-5.0, 25.0, -45.0], 45.0);
        let to = draft.sampler.near(from, 22.0);
        let radius = draft.sampler.between(1.2, 2.2);
        Primitive::Cone { from: Node::new(from, radius), to: Node::new(to, radius) }
    });
    let solids = solids.collect();
    let filling = draft.solid(45.0 + 30.0 * draft.contrast, 6.0, 6.0);
    draft.layers.push(Layer::new(Organ::PortalVein, solids, filling));
}

/// A frame around the small bowel: up on the right, across in front, down on the left.
fn draw_colon(draft: &mut Draft) {
    let sag = draft.sampler.between(-28.0, 6.0);
    let path: [Vector; 10] = [
        [78.0, -4.0, -125.0],
        [82.0, -6.0, -75.0],
        [82.0, 4.0, -42.0],
        [66.0, 32.0, -28.0],
        [32.0, 58.0, -30.0 + sag],
        [-16.0, 64.0, -34.0 + sag],
        [-62.0, 48.0, -12.0 + 0.5 * sag],
        [-85.0, 8.0, 8.0],
        [-88.0, -10.0, -35.0],
        [-84.0, -12.0, -125.0],
    ];
    let size = draft.sampler.around(1.0, 0.12);
    let nodes: Vec<Node> = path
        .iter()
        .map(|&p| Node::new(draft.sampler.near(p, 5.0), size * draft.sampler.between(11.0, 16.0)))
        .collect();
    let wall_hu = draft.sampler.between(32.0, 52.0);
    // Gas gathers in front, in the transverse colon.
    let gas_above = draft.sampler.chance(0.75).then(|| draft.sampler.between(50.0, 68.0));
    let wall = draft.tissue(wall_hu, 16.0, 5.0);
    let stool_hu = draft.sampler.between(0.0, 40.0);
    let stool = draft.tissue(stool_hu, 150.0, 6.0);
    let filling = Filling::Hollow { wall_mm: 2.6, wall, contents: stool, gas_above };
    let rim = draft.rim(3.0, 0.4);
    let colon = Layer::new(Organ::Colon, tube(&smooth(&nodes)), filling)
        .with_lobules(&mut draft.sampler, 3.0, 14.0)
        .with_rim(rim);
    draft.layers.push(colon);
}

/// A loop of small bowel that wanders between `low` and `high`.
fn draw_loop(draft: &mut Draft, low: Vector, high: Vector) {
    let radius = draft.sampler.between(8.0, 13.0);
    let mut at = [0, 1, 2].map(|k| draft.sampler.between(low[k], high[k]));
    let mut heading = draft.sampler.between(0.0, std::f32::consts::TAU);
    let mut nodes = Vec::new();
    for _ in 0..6 {
        nodes.push(Node::new(at, radius * draft.sampler.around(1.0, 0.12)));
        heading += draft.sampler.around(0.0, 1.2);
        let rise = draft.sampler.around(0.0, 8.0);
        let step = turned([draft.sampler.between(16.0, 26.0), 0.0, rise], heading);
        at = [0, 1, 2].map(|k| (at[k] + step[k]).clamp(low[k], high[k]));
    }
    let contents = any_contents(draft);
    let wall_hu = draft.sampler.between(30.0, 54.0);
    let gas_above = draft.sampler.chance(0.3).then(|| nodes[2].point[1] + 0.3 * radius);
    add_bowel(draft, Organ::SmallBowel, &nodes, &contents, wall_hu, gas_above);
}

fn add_bowel(
    draft: &mut Draft,
    organ: Organ,
    nodes: &[Node],
    contents: &Contents,
    wall_hu: f32,
    gas_above: Option<f32>,
) {
    let filling = filling(draft, contents, wall_hu, gas_above);
    let rim = draft.rim(2.4, 0.15);
    let layer = Layer::new(organ, tube(&smooth(nodes)), filling)
        .with_lobules(&mut draft.sampler, 1.4, 7.0)
        .with_rim(rim);
    draft.layers.push(layer);
}

/// From the fundus under the diaphragm forward and across to the pylorus, in front of the pancreas.
fn draw_stomach(draft: &mut Draft, pancreas: &Pancreas) {
    let size = draft.sampler.around(1.0, 0.12);
    let pylorus = pylorus(pancreas);
    let path: [(Vector, f32); 6] = [
        ([-44.0, -2.0, 88.0], 19.0),
        ([-56.0, 8.0, 72.0], 26.0),
        ([-56.0, 30.0, 46.0], 25.0),
        ([-40.0, 48.0, 20.0], 18.0),
        ([-10.0, 55.0, 6.0], 14.0),
        (add(pylorus, [-8.0, 6.0, 0.0]), 10.0),
    ];
    let mut nodes: Vec<Node> =
        path.iter().map(|&(p, radius)| Node::new(draft.sampler.near(p, 4.0), radius * size)).collect();
    nodes.push(Node::new(pylorus, 7.5));
    let wall_hu = draft.sampler.between(34.0, 52.0);
    let gas_above = draft.sampler.chance(0.65).then(|| draft.sampler.between(30.0, 52.0));
    let contents = if draft.sampler.chance(0.5) { Contents::Water } else { Contents::Mixed };
    let mut filling = filling(draft, &contents, wall_hu, gas_above);
    if let Filling::Hollow { wall_mm, .. } = &mut filling {
        *wall_mm += 1.2;
    }
    let rim = draft.rim(2.4, 0.15);
    let stomach = Layer::new(Organ::Stomach, tube(&smooth(&nodes)), filling)
        .with_lobules(&mut draft.sampler, 2.0, 11.0)
        .with_rim(rim);
    draft.layers.push(stomach);
}

fn pylorus(pancreas: &Pancreas) -> Vector {
    add(pancreas.head().point, [-2.0, 27.0, 17.0])
}

/// Around the head on three sides, then across under it to the left.
fn draw_duodenum(draft: &mut Draft, pancreas: &Pancreas) {
    let head = pancreas.head();
    let radius = draft.sampler.between(8.0, 11.0);
    let aside = head.radius + radius + draft.sampler.between(-0.5, 1.8);
    let lowest = pancreas.uncinate();
    let below = lowest.point[2] - lowest.radius - radius - draft.sampler.between(-0.5, 2.0);
    let at = |offset: Vector| add(head.point, offset);
    let nodes = [
        Node::new(pylorus(pancreas), 7.5),
        Node::new(at([13.0, 19.0, 15.0]), radius),
        Node::new(at([aside * 0.86, 4.0, aside * 0.5]), radius),
        Node::new(at([aside, -4.0, -6.0]), radius),
        Node::new(at([aside * 0.9, -9.0, -22.0]), radius),
        Node::new([lowest.point[0] + 8.0, lowest.point[1] + 1.0, below], radius),
        Node::new([-8.0, lowest.point[1] + 5.0, below + 3.0], radius * 0.9),
        Node::new([-32.0, lowest.point[1] + 6.0, below + 12.0], radius * 0.95),
    ];
    let wall_hu = pancreas.hu() + draft.sampler.around(0.0, 8.0);
    let contents = match draft.sampler.between(0.0, 1.0) {
        p if p < 0.35 => Contents::Collapsed,
        p if p < 0.7 => Contents::Mixed,
        _ => Contents::Water,
    };
    let gas_above = draft.sampler.chance(0.25).then(|| head.point[1] + 18.0);
    add_bowel(draft, Organ::Duodenum, &nodes, &contents, wall_hu, gas_above);
}

/// Jejunum along the body and tail, close and as bright: what a coarse look takes for pancreas.
fn draw_loops_beside(draft: &mut Draft, pancreas: &Pancreas) {
    // Below, below in front, and above: how far along, and which way it leaves.
    let places: [(f32, f32, Vector, Vector, f32); 3] = [
        (0.56, 0.78, [0.0, 0.2, -1.0], [14.0, 6.0, -24.0], 1.0),
        (0.74, 0.97, [0.0, 0.75, -0.65], [-8.0, 16.0, -22.0], 0.9),
        (0.58, 0.8, [0.0, 0.35, 1.0], [12.0, 12.0, 14.0], 0.7),
    ];
    for (from, to, side, leaves, probability) in places {
        if !draft.sampler.chance(probability) {
            continue;
        }
        let radius = draft.sampler.between(7.0, 10.5);
        let gap = draft.sampler.between(-0.5, 2.0);
        let from = from + draft.sampler.around(0.0, 0.03);
        let mut nodes = pancreas.beside(from, to, side, radius, gap);
        let (first, last) = (nodes[0].point, nodes[nodes.len() - 1].point);
        nodes.insert(0, Node::new(draft.sampler.near(add(first, leaves), 4.0), radius));
        let on = draft.sampler.near(add(last, scale(leaves, 0.8)), 4.0);
        nodes.push(Node::new(add(on, [-8.0, 0.0, 0.0]), radius));
        let contents = if draft.sampler.chance(0.6) { Contents::Collapsed } else { any_contents(draft) };
        let wall_hu = pancreas.hu() + draft.sampler.around(0.0, 6.0);
        add_bowel(draft, Organ::SmallBowel, &nodes, &contents, wall_hu, None);
    }
}
