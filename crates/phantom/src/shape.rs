//! Shapes in millimetres, as signed distances: negative inside, and about right near the surface.

/// A point or direction in RAS millimetres.
pub(crate) type Point = [f64; 3];

/// A solid.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    /// An ellipse drawn along z from end to end: radii along x and y.
    Column { center: [f64; 2], radii: [f64; 2] },
    /// An ellipsoid, turned about z by an angle in radians.
    Ellipsoid { center: Point, radii: Point, angle: f64 },
    /// Balls along a polyline, their radii linear between its points.
    Tube { points: Vec<Point>, radii: Vec<f64> },
}

impl Shape {
    /// Distance of `p` from the surface in millimetres, negative inside.
    pub(crate) fn distance(&self, p: Point) -> f64 {
        match self {
            Self::Column { center, radii } => {
                ellipse_distance([p[0] - center[0], p[1] - center[1], 0.0], [radii[0], radii[1], 1.0])
            }
            Self::Ellipsoid { center, radii, angle } => {
                let (s, c) = angle.sin_cos();
                let d = [0, 1, 2].map(|a| p[a] - center[a]);
                ellipse_distance([c * d[0] + s * d[1], c * d[1] - s * d[0], d[2]], *radii)
            }
            Self::Tube { points, radii } => (0..points.len() - 1)
                .map(|i| capsule_distance(p, [points[i], points[i + 1]], [radii[i], radii[i + 1]]))
                .fold(f64::INFINITY, f64::min),
        }
    }

    /// Lowest and highest corner of a box around the shape; infinite along z for a column.
    pub(crate) fn bounds(&self) -> [Point; 2] {
        match self {
            Self::Column { center, radii } => [
                [center[0] - radii[0], center[1] - radii[1], f64::NEG_INFINITY],
                [center[0] + radii[0], center[1] + radii[1], f64::INFINITY],
            ],
            Self::Ellipsoid { center, radii, .. } => {
                let widest = radii[0].max(radii[1]);
                let reach = [widest, widest, radii[2]];
                [[0, 1, 2].map(|a| center[a] - reach[a]), [0, 1, 2].map(|a| center[a] + reach[a])]
            }
            Self::Tube { points, radii } => {
                let mut bounds = [[f64::INFINITY; 3], [f64::NEG_INFINITY; 3]];
                for (point, radius) in points.iter().zip(radii) {
                    for a in 0..3 {
                        bounds[0][a] = bounds[0][a].min(point[a] - radius);
                        bounds[1][a] = bounds[1][a].max(point[a] + radius);
                    }
                }
                bounds
            }
        }
    }

    /// The shape with its surface moved outwards by `by` millimetres.
    pub(crate) fn grown(&self, by: f64) -> Self {
        match self.clone() {
            Self::Column { center, radii } => Self::Column { center, radii: radii.map(|r| r + by) },
            Self::Ellipsoid { center, radii, angle } => {
                Self::Ellipsoid { center, radii: radii.map(|r| r + by), angle }
            }
            Self::Tube { points, radii } => {
                Self::Tube { points, radii: radii.iter().map(|r| (r + by).max(0.1)).collect() }
            }
        }
    }
}

/// First-order distance to an ellipsoid: k (k − 1) / |∇k|, k the length of d in units of the radii.
fn ellipse_distance(d: Point, radii: Point) -> f64 {
    let length = |v: [f64; 3]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let k = length([0, 1, 2].map(|a| d[a] / radii[a]));
    let slope = length([0, 1, 2].map(|a| d[a] / (radii[a] * radii[a])));
    if slope > 0.0 { k * (k - 1.0) / slope } else { -radii.iter().fold(f64::INFINITY, |m, r| m.min(*r)) }
}

fn capsule_distance(p: Point, [a, b]: [Point; 2], [ra, rb]: [f64; 2]) -> f64 {
    let dot = |u: Point, v: Point| (0..3).map(|i| u[i] * v[i]).sum::<f64>();
    let along = [0, 1, 2].map(|i| b[i] - a[i]);
    let from_a = [0, 1, 2].map(|i| p[i] - a[i]);
    let t = (dot(from_a, along) / dot(along, along).max(1e-12)).clamp(0.0, 1.0);
    let off = [0, 1, 2].map(|i| from_a[i] - t * along[i]);
    dot(off, off).sqrt() - (ra + t * (rb - ra))
}

/// `steps` points on a smooth curve through `knots` (Catmull–Rom), and the radii between `radii`.
pub(crate) fn smooth_curve(knots: &[Point], radii: &[f64], steps: usize) -> (Vec<Point>, Vec<f64>) {
    let last = knots.len() - 1;
    let at = |i: isize| knots[i.clamp(0, last as isize) as usize];
    (0..steps)
        .map(|s| {
            let place = s as f64 / (steps - 1) as f64 * last as f64;
            let i = (place.floor() as usize).min(last - 1);
            let t = place - i as f64;
            let k = [-1, 0, 1, 2].map(|o| at(i as isize + o));
            let point = [0, 1, 2].map(|a| {
                let [p, q, r, s] = k.map(|v| v[a]);
                let slope = r - p;
                let bend = 2.0 * p - 5.0 * q + 4.0 * r - s;
                let twist = 3.0 * (q - r) + s - p;
                q + 0.5 * t * (slope + t * (bend + t * twist))
            });
            (point, radii[i] + t * (radii[i + 1] - radii[i]))
        })
        .unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_a_ball_are_exact_for_each_shape_that_can_be_one() {
        let ball = Shape::Ellipsoid { center: [1.0, 2.0, 3.0], radii: [5.0; 3], angle: 0.3 };
        let bead = Shape::Tube { points: vec![[1.0, 2.0, 3.0]; 2], radii: vec![5.0; 2] };
        for shape in [ball, bead] {
            assert!((shape.distance([1.0, 2.0, 11.0]) - 3.0).abs() < 1e-9);
            assert!((shape.distance([1.0, 5.0, 3.0]) + 2.0).abs() < 1e-9);
            assert!((shape.grown(2.0).distance([1.0, 2.0, 11.0]) - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn a_curve_passes_through_its_knots() {
        let knots = [[0.0; 3], [1.0, 2.0, 0.0], [3.0, 1.0, 1.0]];
        let (points, radii) = smooth_curve(&knots, &[1.0, 2.0, 3.0], 9);
        assert_eq!((points[0], points[4], points[8]), (knots[0], knots[1], knots[2]));
        assert_eq!((radii[2], radii[6]), (1.5, 2.5));
    }
}
