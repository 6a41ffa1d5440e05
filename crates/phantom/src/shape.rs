//! Solids by their signed distance: negative inside, in millimetres.

use crate::curve::Node;
use crate::vector::{Vector, add, dot, length, scale, subtract, turned};

/// A solid that organs are put together from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Primitive {
    /// Ellipsoid with `radii` along its three `axes`, unit vectors at right angles.
    Ellipsoid { center: Vector, axes: [Vector; 3], radii: Vector },
    /// Upright cylinder, elliptic: `radii` across, half as high as `half_height` on either side.
    Cylinder { center: Vector, axes: [Vector; 2], radii: [f32; 2], half_height: f32 },
    /// Cone with round ends.
    Cone { from: Node, to: Node },
}

impl Primitive {
    /// Ellipsoid with its axes along the body's.
    pub(crate) fn ellipsoid(center: Vector, radii: Vector) -> Self {
        Self::Ellipsoid { center, axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], radii }
    }

    /// Ellipsoid turned about z by `roll`, after its long axis z was leant towards x by `lean`; radians.
    pub(crate) fn leaning(center: Vector, radii: Vector, lean: f32, roll: f32) -> Self {
        let (sin, cos) = lean.sin_cos();
        let axes = [[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]].map(|axis| turned(axis, roll));
        Self::Ellipsoid { center, axes, radii }
    }

    /// Elliptic cylinder from z − `half_height` to z + `half_height`.
    pub(crate) fn cylinder(center: Vector, radii: [f32; 2], half_height: f32) -> Self {
        Self::Cylinder { center, axes: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], radii, half_height }
    }

    /// The solid turned about the z axis by `radians`, then moved.
    pub(crate) fn placed(self, radians: f32, shift: Vector) -> Self {
        let place = |point: Vector| add(turned(point, radians), shift);
        let node = |node: Node| Node { point: place(node.point), ..node };
        match self {
            Self::Ellipsoid { center, axes, radii } => {
                Self::Ellipsoid { center: place(center), axes: axes.map(|a| turned(a, radians)), radii }
            }
            Self::Cylinder { center, axes, radii, half_height } => {
                let axes = axes.map(|a| turned(a, radians));
                Self::Cylinder { center: place(center), axes, radii, half_height }
            }
            Self::Cone { from, to } => Self::Cone { from: node(from), to: node(to) },
        }
    }

    /// Signed distance of `point`: exact for cones, to first order near the surface for the others.
    pub(crate) fn distance(&self, point: Vector) -> f32 {
        match self {
            Self::Ellipsoid { center, axes, radii } => {
                let p = subtract(point, *center);
                to_ellipse(&[0, 1, 2].map(|a| dot(p, axes[a])), radii)
            }
            Self::Cylinder { center, axes, radii, half_height } => {
                let p = subtract(point, *center);
                let across = to_ellipse(&[dot(p, axes[0]), dot(p, axes[1])], radii);
                across.max(p[2].abs() - half_height)
            }
            Self::Cone { from, to } => {
                let (p, axis) = (subtract(point, from.point), subtract(to.point, from.point));
                let t = (dot(p, axis) / dot(axis, axis).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
                length(subtract(p, scale(axis, t))) - (from.radius + t * (to.radius - from.radius))
            }
        }
    }

    /// Corners of a box, along the axes, that holds the solid.
    pub(crate) fn bounds(&self) -> [Vector; 2] {
        match self {
            Self::Ellipsoid { center, axes, radii } => {
                let reach = [0, 1, 2].map(|k| length([0, 1, 2].map(|a| axes[a][k] * radii[a])));
                [subtract(*center, reach), add(*center, reach)]
            }
            Self::Cylinder { center, radii, half_height, .. } => {
                let across = radii[0].max(radii[1]);
                let reach = [across, across, *half_height];
                [subtract(*center, reach), add(*center, reach)]
            }
            Self::Cone { from, to } => {
                let low = [0, 1, 2].map(|k| (from.point[k] - from.radius).min(to.point[k] - to.radius));
                let high = [0, 1, 2].map(|k| (from.point[k] + from.radius).max(to.point[k] + to.radius));
                [low, high]
            }
        }
    }
}

/// Distance to an ellipse or ellipsoid, to first order near its surface: (|p/r| − 1)·|p/r| / |p/r²|.
pub(crate) fn to_ellipse<const N: usize>(p: &[f32; N], radii: &[f32; N]) -> f32 {
    let (mut first, mut second) = (0.0f32, 0.0f32);
    for (v, r) in p.iter().zip(radii) {
        let q = v / r;
        first += q * q;
        second += (q / r) * (q / r);
    }
    if second == 0.0 {
        return -radii.iter().copied().fold(f32::INFINITY, f32::min);
    }
    let first = first.sqrt();
    (first - 1.0) * first / second.sqrt()
}

/// Distance to the union of two solids whose seam is rounded over `width` millimetres.
pub(crate) fn smooth_union(a: f32, b: f32, width: f32) -> f32 {
    if width <= 0.0 {
        return a.min(b);
    }
    let h = (width - (a - b).abs()).max(0.0) / width;
    a.min(b) - h * h * width / 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_zero_on_the_surface_and_negative_inside() {
        let ellipsoid = Primitive::ellipsoid([1.0, 2.0, 3.0], [10.0, 20.0, 30.0]);
        assert!(ellipsoid.distance([11.0, 2.0, 3.0]).abs() < 1e-5);
        assert!((ellipsoid.distance([1.0, 24.0, 3.0]) - 2.2).abs() < 0.3);
        assert_eq!(ellipsoid.distance([1.0, 2.0, 3.0]), -10.0);
        let cone = Primitive::Cone { from: Node::new([0.0; 3], 2.0), to: Node::new([10.0, 0.0, 0.0], 4.0) };
        assert!((cone.distance([5.0, 7.0, 0.0]) - 4.0).abs() < 1e-6);
        assert!((cone.distance([17.0, 0.0, 0.0]) - 3.0).abs() < 1e-6);
        let cylinder = Primitive::cylinder([0.0; 3], [5.0, 5.0], 10.0);
        assert!((cylinder.distance([0.0, 0.0, 12.0]) - 2.0).abs() < 1e-6);
        assert!((cylinder.distance([8.0, 0.0, 0.0]) - 3.0).abs() < 1e-5);
    }

    #[test]
    fn bounds_hold_the_solid_however_it_is_turned() {
        let solids = [
            Primitive::leaning([1.0, 2.0, 3.0], [10.0, 20.0, 30.0], 0.4, 0.7),
            Primitive::cylinder([0.0; 3], [5.0, 9.0], 10.0),
            Primitive::Cone { from: Node::new([0.0; 3], 2.0), to: Node::new([10.0, 5.0, 0.0], 4.0) },
        ];
        for solid in solids.map(|s| s.placed(0.5, [3.0, -4.0, 5.0])) {
            let [low, high] = solid.bounds();
            for i in 0..64_000usize {
                let p = [i % 40, i / 40 % 40, i / 1600].map(|v| v as f32 * 2.0 - 40.0);
                if solid.distance(p) <= 0.0 {
                    assert!((0..3).all(|k| low[k] <= p[k] && p[k] <= high[k]), "{p:?} of {solid:?}");
                }
            }
        }
    }

    #[test]
    fn a_rounded_union_adds_nothing_far_from_the_seam() {
        assert_eq!(smooth_union(1.0, 20.0, 10.0), 1.0);
        assert_eq!(smooth_union(f32::INFINITY, 2.0, 10.0), 2.0);
        assert_eq!(smooth_union(3.0, 3.0, 8.0), 1.0);
    }
}
