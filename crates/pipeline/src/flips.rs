//! Images seen mirrored.

/// All combinations of mirroring along the axes (x, y, z) that `axes` allows, none of them first.
pub(crate) fn combinations(axes: [bool; 3]) -> Vec<[bool; 3]> {
    let all = (0..8).map(|number: usize| [0, 1, 2].map(|a| number >> a & 1 == 1));
    all.filter(|flip| (0..3).all(|a| axes[a] || !flip[a])).collect()
}

/// `values` (x fastest) reversed along the axes of `flip`.
pub(crate) fn flipped(values: &[f32], size: [usize; 3], flip: [bool; 3]) -> Vec<f32> {
    let [nx, ny, nz] = size;
    let mut result = Vec::with_capacity(values.len());
    for (z, y) in (0..nz).flat_map(|z| (0..ny).map(move |y| (z, y))) {
        let (z, y) = (if flip[2] { nz - 1 - z } else { z }, if flip[1] { ny - 1 - y } else { y });
        let row = &values[nx * (y + ny * z)..][..nx];
        if flip[0] { result.extend(row.iter().rev()) } else { result.extend_from_slice(row) }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_axes_alone_are_flipped_in_all_combinations() {
        assert_eq!(combinations([false; 3]), [[false; 3]]);
        let found = combinations([true, false, true]);
        assert_eq!(found.len(), 4);
        assert!(found[0] == [false; 3] && found.iter().all(|flip| !flip[1]));
        assert_eq!(combinations([true; 3]).len(), 8);
    }

    #[test]
    fn flipping_reverses_each_axis_and_undoes_itself() {
        let size = [3, 2, 4];
        let values: Vec<f32> = (0..24).map(|v| v as f32).collect();
        for flip in combinations([true; 3]) {
            let once = flipped(&values, size, flip);
            for (place, &value) in once.iter().enumerate() {
                let index = |offset: usize| [offset % 3, offset / 3 % 2, offset / 6];
                let expected =
                    [0, 1, 2].map(|a| if flip[a] { size[a] - 1 - index(place)[a] } else { index(place)[a] });
                assert_eq!(index(value as usize), expected);
            }
            assert_eq!(flipped(&once, size, flip), values);
        }
    }
}
