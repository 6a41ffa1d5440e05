//! Area of the surface inside a 2×2×2 block of voxels, for each of the 256 ways to fill it.
//!
//! The surface between the filled and the empty voxels of a block is that of marching cubes: a cube
//! whose eight corners are the voxel centres, cut at the middle of every edge between a filled and an
//! empty corner. On each face of the cube the cuts are joined by segments; the segments of all six
//! faces close to loops of three to six cuts; each loop is filled with triangles.
//!
//! Two choices are open, and are made so that the areas equal those of the `surface-distance` package
//! (Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck
//! anatomy for radiotherapy", 2018), which our figures are to be compared with:
//!
//! - A face with two filled corners on one diagonal can be joined in two ways. The side that has fewer
//!   corners in the whole block is cut apart (the filled one if there are four of each), so a block and
//!   its negative have the same surface.
//! - A loop that is not flat can be filled in several ways. The one of the largest area in a cube of
//!   side 1 is taken, whatever the spacing: the choice is the shape's, the spacing only stretches it.

/// A point of the cube's edges in half edge lengths: 0 and 2 are corners, 1 is a middle.
type Cut = [u8; 3];

/// Three cuts of a surface.
type Triangle = [Cut; 3];

/// Surface area in mm² for each neighbour code, with the voxels `spacing_mm` apart.
///
/// Bit `x + 2 y + 4 z` of a code says whether voxel (x, y, z) of the block is filled. Codes 0 and 255
/// have no surface.
pub(crate) fn area_by_code(spacing_mm: [f64; 3]) -> [f64; 256] {
    let mut areas = [0.0; 256];
    for (code, area) in areas.iter_mut().enumerate() {
        *area = triangles(code as u8).iter().map(|t| triangle_area(t, spacing_mm)).sum();
    }
    areas
}

/// The surface of a block, as triangles.
fn triangles(code: u8) -> Vec<Triangle> {
    // The side with fewer corners is the one that is cut apart.
    let minority = if code.count_ones() > 4 { !code } else { code };
    loops(segments(minority)).iter().flat_map(|cuts| widest_filling(cuts).1).collect()
}

/// Segments in which the surface meets the six faces; corners that are set are cut apart.
fn segments(code: u8) -> Vec<[Cut; 2]> {
    let filled = |corner: Cut| code >> (corner[0] / 2 + corner[1] + 2 * corner[2]) & 1 == 1;
    let mut segments = Vec::new();
    for axis in 0..3 {
        let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
        for side in [0, 2] {
            // The face's corners in turn, and the middles of the edges that leave them.
            let corners = [[0, 0], [2, 0], [2, 2], [0, 2]].map(|[at_u, at_v]| {
                let mut corner = [0; 3];
                (corner[axis], corner[u], corner[v]) = (side, at_u, at_v);
                corner
            });
            let middle = |k: usize| {
                let (a, b) = (corners[k % 4], corners[(k + 1) % 4]);
                [0, 1, 2].map(|i| (a[i] + b[i]) / 2)
            };
            let is_cut = |k: &usize| filled(corners[*k]) != filled(corners[(k + 1) % 4]);
            let cut_edges: Vec<usize> = (0..4).filter(is_cut).collect();
            match cut_edges[..] {
                [] => {}
                [a, b] => segments.push([middle(a), middle(b)]),
                // All four edges: each filled corner k lies between edges k − 1 and k.
                _ => segments
                    .extend((0..4).filter(|&k| filled(corners[k])).map(|k| [middle(k + 3), middle(k)])),
            }
        }
    }
    segments
}

/// Joins segments end to end. Every cut lies on two faces, hence on two segments.
fn loops(mut segments: Vec<[Cut; 2]>) -> Vec<Vec<Cut>> {
    let mut loops = Vec::new();
    while let Some([first, mut end]) = segments.pop() {
        let mut cuts = vec![first];
        while end != first {
            cuts.push(end);
            let next = segments.iter().position(|s| s.contains(&end)).expect("a cut lies on two segments");
            let [a, b] = segments.swap_remove(next);
            end = if a == end { b } else { a };
        }
        loops.push(cuts);
    }
    loops
}

/// The triangles that fill a loop with the largest area in a cube of side 1 (edge length 2 in cuts), and
/// that area. Tries every triangle on the side from last to first; loops are short.
fn widest_filling(cuts: &[Cut]) -> (f64, Vec<Triangle>) {
    let mut best = (0.0, Vec::new());
    let last = cuts.len() - 1;
    for k in 1..last {
        let (left_area, left) = widest_filling(&cuts[..=k]);
        let (right_area, right) = widest_filling(&cuts[k..]);
        let triangle = [cuts[0], cuts[k], cuts[last]];
        let area = left_area + right_area + triangle_area(&triangle, [1.0; 3]);
        if area > best.0 {
            best = (area, [left, right, vec![triangle]].concat());
        }
    }
    best
}

fn triangle_area(triangle: &Triangle, spacing_mm: [f64; 3]) -> f64 {
    let [a, b, c] = triangle.map(|cut| [0, 1, 2].map(|i| f64::from(cut[i]) * 0.5 * spacing_mm[i]));
    let u = [0, 1, 2].map(|i| b[i] - a[i]);
    let v = [0, 1, 2].map(|i| c[i] - a[i]);
    let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    cross.iter().map(|n| n * n).sum::<f64>().sqrt() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Areas are sums of a few square roots of order 1.
    const ROUNDING: f64 = 1e-14;

    /// Corners as bits of a code.
    fn code(corners: &[[u32; 3]]) -> usize {
        corners.iter().map(|[x, y, z]| 1 << (x + 2 * y + 4 * z)).sum()
    }

    #[track_caller]
    fn assert_area(areas: &[f64; 256], code: usize, expected: f64) {
        assert!((areas[code] - expected).abs() < ROUNDING, "code {code}: {} and {expected}", areas[code]);
    }

    #[test]
    fn unit_cube_areas_are_those_of_the_drawn_shapes() {
        let areas = area_by_code([1.0; 3]);
        // A corner is cut off by an equilateral triangle of side √2/2.
        let corner = 3f64.sqrt() / 8.0;
        assert_area(&areas, code(&[]), 0.0);
        assert_area(&areas, code(&[[0, 0, 0]]), corner);
        // An edge: a rectangle of 1 × √2/2. A face: the unit square.
        assert_area(&areas, code(&[[0, 0, 0], [1, 0, 0]]), 0.5f64.sqrt());
        assert_area(&areas, code(&[[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), 1.0);
        // Corners that do not touch along an edge are cut off one by one.
        assert_area(&areas, code(&[[0, 0, 0], [1, 1, 0]]), 2.0 * corner);
        assert_area(&areas, code(&[[0, 0, 0], [1, 1, 1]]), 2.0 * corner);
        assert_area(&areas, code(&[[0, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]]), 4.0 * corner);
        // Three of a face: half a unit square and, from its diagonal down, a trapezoid: a corner triangle of
        // twice the side, so four times the area, less the tip that the cube's edge cuts off.
        assert_area(&areas, code(&[[0, 0, 0], [1, 0, 0], [0, 1, 0]]), 0.5 + 3.0 * corner);
        // A corner and its three neighbours: a regular hexagon of side √2/2.
        let hexagon = 1.5 * 3f64.sqrt() * 0.5;
        assert_area(&areas, code(&[[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]), hexagon);
    }

    #[test]
    fn spacing_stretches_the_surface() {
        let areas = area_by_code([2.0, 3.0, 5.0]);
        // Half faces and squares lie along the axes: products of spacings.
        assert_area(&areas, code(&[[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), 6.0);
        assert_area(&areas, code(&[[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]]), 15.0);
        // An edge along x: as long as x, as wide as the diagonal of half of y and z.
        assert_area(&areas, code(&[[0, 0, 0], [1, 0, 0]]), 2.0 * 1.5f64.hypot(2.5));
    }

    #[test]
    fn a_block_and_its_negative_have_the_same_area() {
        let areas = area_by_code([0.7, 0.9, 2.5]);
        for code in 0..256 {
            assert_area(&areas, code, areas[255 - code]);
            assert_eq!(areas[code] > 0.0, (1..255).contains(&code), "code {code}");
        }
    }

    #[test]
    fn swapping_axes_swaps_codes() {
        let (areas, swapped) = (area_by_code([0.7, 0.9, 2.5]), area_by_code([2.5, 0.9, 0.7]));
        for code in 0..256usize {
            let mirrored: usize = (0..8)
                .filter(|corner| code >> corner & 1 == 1)
                .map(|c| 1 << ((c & 2) | (c & 1) << 2 | c >> 2))
                .sum();
            assert_area(&areas, code, swapped[mirrored]);
        }
    }

    /// From the `surface-distance` package (its area table at spacing 1.3, 0.7, 2.1 mm, version 0.1):
    /// blocks of three to five corners whose loop is not flat, where another filling has another area.
    const GOLDEN_BENT_LOOPS: [(usize, f64); 8] = [
        (0b0000_0111, 1.666772333196298),
        (0b0011_0001, 2.5767723331962986),
        (0b0001_0111, 2.4235446663925964),
        (0b0001_1101, 3.1102678226122906),
        (0b0011_0101, 2.7673327281830336),
        (0b0010_0111, 2.823067771156981),
        (0b1001_0011, 2.9806964442617314),
        (0b1111_1000, 1.666772333196298),
    ];

    #[test]
    fn bent_loops_are_filled_as_the_surface_distance_package_does() {
        let areas = area_by_code([1.3, 0.7, 2.1]);
        for (code, expected) in GOLDEN_BENT_LOOPS {
            assert!((areas[code] - expected).abs() < 1e-12, "code {code}: {} and {expected}", areas[code]);
        }
    }
}
