//! Trilinear upsampling by one or two along each axis, on blocks.
//!
//! As [`upsample_trilinear3d`](crate::upsample_trilinear3d): outputs 2i and 2i + 1 take three quarters of
//! input i and a quarter of its neighbour on their side, or of itself at the border.

use rayon::prelude::*;

use crate::line::Line;
use crate::memory::Buffer;
use crate::pool_blocks::whole_blocks;
use crate::simd::{Isa, Kernel, Simd};
use crate::source::{Lines, Source, WithLines};

/// Inputs and weights of an output (or the reverse) along one axis.
type Taps = Vec<(usize, f32)>;

/// Blocks of `size` at `factors` times the resolution, 1 or 2 along each axis, both (D, H, W).
///
/// # Panics
/// If the source has no whole blocks, or for other factors.
#[must_use]
pub fn upsample(source: &Source<'_>, size: [usize; 3], factors: [usize; 3]) -> Buffer {
    let to = upsampled_size(size, factors);
    let axes = [0, 1, 2].map(|a| (0..to[a]).map(|i| taps(i, size[a], factors[a])).collect());
    resample(source, size, to, &axes)
}

/// The gradient for the source of [`upsample`], of `size`, from that of its result.
///
/// # Panics
/// If the gradient has no whole blocks, or as [`upsample`].
#[must_use]
pub fn upsample_gradient(gradient: &[Line], size: [usize; 3], factors: [usize; 3]) -> Buffer {
    let from = upsampled_size(size, factors);
    let axes = [0, 1, 2].map(|a| {
        let mut adjoint: Vec<Taps> = vec![Vec::new(); size[a]];
        for i in 0..from[a] {
            for (below, weight) in taps(i, size[a], factors[a]) {
                adjoint[below].push((i, weight));
            }
        }
        adjoint
    });
    resample(&Source::Plain(gradient), from, size, &axes)
}

fn upsampled_size(size: [usize; 3], factors: [usize; 3]) -> [usize; 3] {
    assert!(
        factors.iter().all(|f| (1..=2).contains(f)),
        "upsampling by {factors:?}, expected 1 or 2 along each axis"
    );
    [0, 1, 2].map(|a| size[a] * factors[a])
}

/// Inputs of output `i` of an axis of `n` voxels.
fn taps(i: usize, n: usize, factor: usize) -> Taps {
    if factor == 1 {
        return vec![(i, 1.0)];
    }
    let near = i / 2;
    let far = if i.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(n - 1) };
    if near == far { vec![(near, 1.0)] } else { vec![(near, 0.75), (far, 0.25)] }
}

fn resample(source: &Source<'_>, from: [usize; 3], to: [usize; 3], axes: &[Vec<Taps>; 3]) -> Buffer {
    let (voxels, outputs) = (from.iter().product::<usize>(), to.iter().product::<usize>());
    let mut out = Buffer::new(whole_blocks(source, voxels) * outputs);
    let isa = Isa::detect();
    out.par_chunks_mut(to[2].max(1)).enumerate().for_each(|(task, out)| {
        let (block, place) = (task / (to[0] * to[1]), task % (to[0] * to[1]));
        let taps = [&axes[0][place / to[1]], &axes[1][place % to[1]]];
        isa.run(Row { source, block, from, taps, columns: &axes[2], out });
    });
    out
}

/// One output row.
struct Row<'a> {
    source: &'a Source<'a>,
    block: usize,
    from: [usize; 3],
    /// Along D and H.
    taps: [&'a Taps; 2],
    columns: &'a [Taps],
    out: &'a mut [Line],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let voxels = self.from.iter().product();
        self.source.block(s, self.block, voxels, Sum { s, row: self });
    }
}

struct Sum<'a, S> {
    s: S,
    row: Row<'a>,
}

impl<S: Simd> WithLines<S> for Sum<'_, S> {
    #[inline(always)]
    fn with<L: Lines<S>>(self, lines: L) {
        let Sum { s, row } = self;
        for (taps, out) in row.columns.iter().zip(row.out) {
            let mut sum = s.zero();
            for &(z, wz) in row.taps[0] {
                for &(y, wy) in row.taps[1] {
                    let start = (z * row.from[1] + y) * row.from[2];
                    for &(x, wx) in taps {
                        // SAFETY: taps are below the sizes of their axes.
                        sum = s.mul_add(s.splat(wz * wy * wx), unsafe { lines.get(s, start + x) }, sum);
                    }
                }
            }
            // SAFETY: a mutable reference to a line can be written.
            unsafe { s.store(&raw mut *out, sum) };
        }
    }
}
