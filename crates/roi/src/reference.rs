//! Slow and obvious twins of the fast algorithms, and random masks to compare them on.

use std::ops::Range;

use organseg_volume::{Grid, Label, LabelVolume, Spacing};
use proptest::prelude::*;

use crate::Connectivity;

pub(crate) const ALL_CONNECTIVITIES: [Connectivity; 3] =
    [Connectivity::Six, Connectivity::Eighteen, Connectivity::TwentySix];

/// The pieces of the foreground: piece by piece, voxel by voxel, with a stack. The number of each voxel's
/// piece, and the sizes.
pub(crate) fn flood(mask: &LabelVolume, connectivity: Connectivity) -> (Vec<u32>, Vec<usize>) {
    let size = mask.size();
    let reach = match connectivity {
        Connectivity::Six => 1,
        Connectivity::Eighteen => 2,
        Connectivity::TwentySix => 3,
    };
    let (mut ids, mut sizes) = (vec![0; mask.voxels().len()], Vec::new());
    for start in 0..ids.len() {
        if mask.voxels()[start] == 0 || ids[start] != 0 {
            continue;
        }
        sizes.push(0);
        let mut stack = vec![start];
        ids[start] = sizes.len() as u32;
        while let Some(at) = stack.pop() {
            *sizes.last_mut().unwrap() += 1;
            let v = [at % size[0], at / size[0] % size[1], at / size[0] / size[1]].map(|i| i as i64);
            for d in 0..27i64 {
                let step = [d % 3 - 1, d / 3 % 3 - 1, d / 9 - 1];
                let n = [0, 1, 2].map(|a| v[a] + step[a]);
                let inside = (0..3).all(|a| (0..size[a] as i64).contains(&n[a]));
                if inside && step.iter().map(|s| s.abs()).sum::<i64>() <= reach {
                    let at = mask.grid().offset(n.map(|i| i as usize));
                    if mask.voxels()[at] != 0 && ids[at] == 0 {
                        ids[at] = sizes.len() as u32;
                        stack.push(at);
                    }
                }
            }
        }
    }
    (ids, sizes)
}

/// Whether two numberings tell the same pieces apart, whatever their numbers.
pub(crate) fn same_pieces(a: &[u32], b: &[u32]) -> bool {
    let (mut there, mut back) = (std::collections::HashMap::new(), std::collections::HashMap::new());
    a.iter().zip(b).all(|(&a, &b)| {
        (a == 0) == (b == 0) && *there.entry(a).or_insert(b) == b && *back.entry(b).or_insert(a) == a
    })
}

/// Masks of labels 0 to 3, sparse to dense, of a size in `sizes` along (x, y, z).
pub(crate) fn masks([x, y, z]: [Range<usize>; 3]) -> impl Strategy<Value = LabelVolume> {
    ((x, y, z), any::<u64>(), 1u64..9).prop_map(|((x, y, z), seed, tenths)| {
        let grid = Grid::with_spacing([x, y, z], Spacing::isotropic(1.0).unwrap()).unwrap();
        let mut state = seed | 1;
        LabelVolume::from_fn(grid, |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let draw = state >> 33;
            if draw % 10 < tenths { (draw / 10 % 3 + 1) as Label } else { 0 }
        })
    })
}
