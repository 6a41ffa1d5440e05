//! Distance from every point of a grid to the nearest of a set of points, exact.
//!
//! Squared distances separate by axis, so three passes of one-dimensional transforms give the
//! three-dimensional one (Felzenszwalb & Huttenlocher, "Distance transforms of sampled functions", 2012):
//!
//! ```text
//! along z:  f(x, y, z) = (distance in z to the nearest point of column (x, y))²        two sweeps
//! along y:  g(x, y, z) = min over y' of f(x, y', z) + (sy (y − y'))²                    lower envelope
//! along x:  h(x, y, z) = min over x' of g(x', y, z) + (sx (x − x'))²                    lower envelope
//! ```
//!
//! The lower envelope of a line's parabolas is built left to right, each new parabola dropping those it
//! hides; reading it costs one more walk. So the time is linear in the number of grid points. After the
//! first pass every plane z is worked on by itself, in place: planes run in parallel and the result does
//! not depend on the number of threads.

use rayon::prelude::*;

/// Squared distance in mm² from each point of a grid of `size` points, `spacing_mm` apart, to the nearest
/// point in `sites` (indices x + X (y + Y z)); infinite everywhere if there is none.
pub(crate) fn squared_distances(size: [usize; 3], spacing_mm: [f64; 3], sites: &[usize]) -> Vec<f64> {
    let [nx, ny, nz] = size;
    let plane = nx * ny;
    let mut field = vec![f64::INFINITY; plane * nz];
    if sites.is_empty() {
        return field;
    }
    for &site in sites {
        field[site] = 0.0;
    }
    steps_along_z(&mut field, plane);
    field.par_chunks_mut(plane).for_each_init(
        || (Envelope::default(), vec![0.0; ny]),
        |(envelope, column), plane| {
            for steps in plane.iter_mut() {
                *steps = (*steps * spacing_mm[2]).powi(2);
            }
            for x in 0..nx {
                for (value, row) in column.iter_mut().zip(plane.chunks(nx)) {
                    *value = row[x];
                }
                envelope.transform(column, spacing_mm[1]);
                for (value, row) in column.iter().zip(plane.chunks_mut(nx)) {
                    row[x] = *value;
                }
            }
            for row in plane.chunks_mut(nx) {
                envelope.transform(row, spacing_mm[0]);
            }
        },
    );
    field
}

/// Turns zeros (sites) and infinities into steps to the nearest site of the same column: one sweep up
/// and one sweep down.
fn steps_along_z(field: &mut [f64], plane: usize) {
    let nz = field.len() / plane;
    for z in 1..nz {
        let (below, here) = field.split_at_mut(z * plane);
        nearer(&mut here[..plane], &below[(z - 1) * plane..]);
    }
    for z in (1..nz).rev() {
        let (below, here) = field.split_at_mut(z * plane);
        nearer(&mut below[(z - 1) * plane..], &here[..plane]);
    }
}

fn nearer(here: &mut [f64], neighbour: &[f64]) {
    for (steps, &other) in here.iter_mut().zip(neighbour) {
        *steps = steps.min(other + 1.0);
    }
}

/// Lower envelope of the parabolas f(q) + (s (x − q))² of one line; kept between lines for its memory.
#[derive(Default)]
struct Envelope {
    /// Vertices q of the parabolas that are lowest somewhere, and their heights f(q), left to right.
    vertices: Vec<(usize, f64)>,
    /// `from[i]` is where parabola i becomes the lowest, in points.
    from: Vec<f64>,
}

impl Envelope {
    /// Replaces f(x) by the minimum over q of f(q) + (s (x − q))².
    fn transform(&mut self, line: &mut [f64], spacing: f64) {
        self.vertices.clear();
        self.from.clear();
        for (q, &height) in line.iter().enumerate() {
            if height.is_finite() {
                self.push(q, height, spacing);
            }
        }
        if self.vertices.is_empty() {
            return; // no site in reach of this line: it stays infinite
        }
        let mut lowest = 0;
        for (x, value) in line.iter_mut().enumerate() {
            while self.from.get(lowest + 1).is_some_and(|&from| from <= x as f64) {
                lowest += 1;
            }
            let (q, height) = self.vertices[lowest];
            *value = height + (x.abs_diff(q) as f64 * spacing).powi(2);
        }
    }

    /// Adds a parabola right of all others.
    fn push(&mut self, q: usize, height: f64, spacing: f64) {
        let from = loop {
            let (Some(&(p, other)), Some(&since)) = (self.vertices.last(), self.from.last()) else {
                break f64::NEG_INFINITY;
            };
            // Where the two are equally high: solve height + s² (x − q)² = other + s² (x − p)².
            let rise = (height - other) / (spacing * spacing * (q - p) as f64);
            let meet = 0.5 * (rise + (p + q) as f64);
            if meet > since {
                break meet;
            }
            self.vertices.pop();
            self.from.pop();
        };
        self.vertices.push((q, height));
        self.from.push(from);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every pair of points, in f64.
    fn reference(size: [usize; 3], spacing_mm: [f64; 3], sites: &[usize]) -> Vec<f64> {
        let place = |i: usize| [i % size[0], i / size[0] % size[1], i / (size[0] * size[1])];
        let squared = |a: usize, b: usize| {
            let (a, b) = (place(a), place(b));
            (0..3).map(|i| (a[i].abs_diff(b[i]) as f64 * spacing_mm[i]).powi(2)).sum::<f64>()
        };
        (0..size.iter().product())
            .map(|i| sites.iter().map(|&s| squared(i, s)).fold(f64::INFINITY, f64::min))
            .collect()
    }

    #[test]
    fn distances_to_one_point_are_pythagoras() {
        let squared = squared_distances([3, 4, 2], [1.0, 2.0, 5.0], &[0]);
        assert_eq!(squared[2 + 3 * (3 + 4)], 2.0 * 2.0 + 6.0 * 6.0 + 5.0 * 5.0);
        assert_eq!(squared[0], 0.0);
    }

    #[test]
    fn without_points_every_distance_is_infinite() {
        assert!(squared_distances([2, 2, 2], [1.0; 3], &[]).iter().all(|d| d.is_infinite()));
    }

    proptest! {
        #[test]
        fn distances_equal_those_of_a_search_through_all_points(
            size in [1usize..9, 1usize..9, 1usize..9],
            spacing_mm in [0.3f64..6.0, 0.3f64..6.0, 0.3f64..6.0],
            picks in proptest::collection::vec(0.0f64..1.0, 1..12),
        ) {
            let count = size.iter().product::<usize>();
            let sites: Vec<usize> = picks.iter().map(|p| (p * count as f64) as usize).collect();
            let fast = squared_distances(size, spacing_mm, &sites);
            for (fast, slow) in fast.iter().zip(reference(size, spacing_mm, &sites)) {
                prop_assert!((fast - slow).abs() <= 1e-12 * slow, "{} and {}", fast, slow);
            }
        }
    }
}
