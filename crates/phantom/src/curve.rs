//! Bent tubes: a smooth curve through a few points, with a radius that changes along it.

use crate::shape::Primitive;
use crate::vector::{Vector, length, subtract, unit};

/// A point of a curve and the tube's radius there, in millimetres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) point: Vector,
    pub(crate) radius: f32,
}

impl Node {
    pub(crate) fn new(point: Vector, radius: f32) -> Self {
        Self { point, radius }
    }
}

/// Pieces that a stretch between two nodes is cut into.
const PIECES: usize = 6;

/// The Catmull–Rom curve through `nodes`, six points for each stretch; it ends where they end.
pub(crate) fn smooth(nodes: &[Node]) -> Vec<Node> {
    let at = |i: isize| nodes[i.clamp(0, nodes.len() as isize - 1) as usize];
    let mut curve = Vec::with_capacity(nodes.len() * PIECES);
    for i in 0..nodes.len() as isize - 1 {
        let [a, b, c, d] = [at(i - 1), at(i), at(i + 1), at(i + 2)];
        for piece in 0..PIECES {
            let t = piece as f32 / PIECES as f32;
            let point = [0, 1, 2].map(|k| spline([a.point[k], b.point[k], c.point[k], d.point[k]], t));
            // Radii go straight from node to node: a spline would swing below the smallest of them.
            curve.push(Node { point, radius: b.radius + (c.radius - b.radius) * t });
        }
    }
    curve.push(at(nodes.len() as isize - 1));
    curve
}

fn spline([a, b, c, d]: [f32; 4], t: f32) -> f32 {
    0.5 * (2.0 * b
        + (c - a) * t
        + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
        + (3.0 * b - a - 3.0 * c + d) * t * t * t)
}

/// Direction of the curve at its point `index`, a unit vector.
pub(crate) fn direction(curve: &[Node], index: usize) -> Vector {
    let (before, after) = (index.saturating_sub(1), (index + 1).min(curve.len() - 1));
    unit(subtract(curve[after].point, curve[before].point))
}

/// Length along the curve from its start to each of its points.
pub(crate) fn arc_lengths(curve: &[Node]) -> Vec<f32> {
    let mut sum = 0.0;
    let mut lengths = vec![0.0];
    for pair in curve.windows(2) {
        sum += length(subtract(pair[1].point, pair[0].point));
        lengths.push(sum);
    }
    lengths
}

/// The tube as a chain of cones with round ends.
pub(crate) fn tube(curve: &[Node]) -> Vec<Primitive> {
    curve.windows(2).map(|pair| Primitive::Cone { from: pair[0], to: pair[1] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_passes_through_its_nodes_and_a_straight_one_stays_straight() {
        let nodes = [0.0, 10.0, 20.0].map(|x| Node::new([x, 0.0, 5.0], 2.0 + x));
        let curve = smooth(&nodes);
        assert_eq!(curve[0], nodes[0]);
        assert_eq!(curve[PIECES], nodes[1]);
        assert_eq!(*curve.last().unwrap(), nodes[2]);
        assert!(curve.iter().all(|n| n.point[1] == 0.0 && (n.point[2] - 5.0).abs() < 1e-5));
        assert!((arc_lengths(&curve).last().unwrap() - 20.0).abs() < 1e-3);
        assert_eq!(direction(&curve, 3), [1.0, 0.0, 0.0]);
    }
}
