//! Reversing an axis.

/// Reverses `voxels` (x fastest) along `axis`.
pub(super) fn mirror<T: Copy>(voxels: &mut [T], size: [usize; 3], axis: usize) {
    let stride: usize = size[..axis].iter().product();
    let n = size[axis];
    if stride == 1 {
        voxels.chunks_exact_mut(n).for_each(<[T]>::reverse);
        return;
    }
    for block in voxels.chunks_exact_mut(stride * n) {
        for i in 0..n / 2 {
            let (front, back) = block.split_at_mut((n - 1 - i) * stride);
            front[i * stride..(i + 1) * stride].swap_with_slice(&mut back[..stride]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mirror;

    #[test]
    fn mirroring_reverses_one_axis_and_undoes_itself() {
        let size = [4, 3, 5];
        let original: Vec<usize> = (0..60).collect();
        for axis in 0..3 {
            let mut mirrored = original.clone();
            mirror(&mut mirrored, size, axis);
            for (place, &value) in mirrored.iter().enumerate() {
                let index = |offset: usize| [offset % 4, offset / 4 % 3, offset / 12];
                let mut expected = index(place);
                expected[axis] = size[axis] - 1 - expected[axis];
                assert_eq!(index(value), expected);
            }
            mirror(&mut mirrored, size, axis);
            assert_eq!(mirrored, original);
        }
    }
}
