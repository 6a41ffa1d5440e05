//! Max pooling by one or two along each axis, on blocks.
//!
//! As [`max_pool3d`](crate::max_pool3d()): of equal values the first in memory gets the gradient, and NaN counts as
//! largest.

use rayon::prelude::*;

use crate::line::Line;
use crate::memory::Buffer;
use crate::simd::{Isa, Kernel, Simd};
use crate::source::{Lines, Source, WithLines};

/// The largest value of each window of `factors` voxels, 1 or 2 along each axis, of blocks of `size`, both (D, H, W);
/// of an axis halved an odd last voxel is left out.
///
/// # Panics
/// If the source has no whole blocks, or for other factors.
#[must_use]
pub fn max_pool(source: &Source<'_>, size: [usize; 3], factors: [usize; 3]) -> Buffer {
    let to = pooled_size(size, factors);
    let (voxels, pooled) = (size.iter().product::<usize>(), to.iter().product::<usize>());
    let blocks = whole_blocks(source, voxels);
    let mut out = Buffer::new(blocks * pooled);
    let isa = Isa::detect();
    let row = to[2];
    out.par_chunks_mut(row.max(1)).enumerate().for_each(|(task, out)| {
        let (block, place) = (task / (to[0] * to[1]), task % (to[0] * to[1]));
        isa.run(Rows {
            source,
            block,
            size,
            factors,
            z: place / to[1],
            y: place % to[1],
            what: Pool { out },
        });
    });
    out
}

/// Adds the gradient of [`max_pool`]'s result to that of its source.
///
/// # Panics
/// As [`max_pool`], or if the gradients do not fit.
pub fn max_pool_gradient(
    source: &Source<'_>,
    size: [usize; 3],
    factors: [usize; 3],
    gradient: &[Line],
    sum: &mut [Line],
) {
    let to = pooled_size(size, factors);
    let (voxels, pooled) = (size.iter().product::<usize>(), to.iter().product::<usize>());
    let blocks = whole_blocks(source, voxels);
    assert_eq!((gradient.len(), sum.len()), (blocks * pooled, blocks * voxels), "gradients fit the pooling");
    let isa = Isa::detect();
    // The slices of the source that one slice of windows looks at. An odd last slice gets nothing.
    let slice = size[1] * size[2];
    sum.par_chunks_mut(voxels.max(1)).enumerate().for_each(|(block, sum)| {
        sum.par_chunks_exact_mut((factors[0] * slice).max(1)).enumerate().take(to[0]).for_each(|(z, sum)| {
            for y in 0..to[1] {
                let row = &gradient[block * pooled + (z * to[1] + y) * to[2]..][..to[2]];
                let out = &mut sum[factors[1] * y * size[2]..];
                let apart = apart(size, factors);
                let what = Unpool { gradient: row, sum: out, apart, step: factors[2] };
                isa.run(Rows { source, block, size, factors, z, y, what });
            }
        });
    });
}

/// Blocks of `voxels` lines that `source` has.
pub(crate) fn whole_blocks(source: &Source<'_>, voxels: usize) -> usize {
    let lines = source.len();
    assert!(
        lines == 0 || (voxels > 0 && lines.is_multiple_of(voxels)),
        "{lines} lines are no blocks of {voxels} voxels"
    );
    lines.checked_div(voxels).unwrap_or(0)
}

/// (D, H, W) of what windows of `factors` make of `size`.
fn pooled_size(size: [usize; 3], factors: [usize; 3]) -> [usize; 3] {
    assert!(
        factors.iter().all(|f| (1..=2).contains(f)),
        "pooling by {factors:?}, expected 1 or 2 along each axis"
    );
    [0, 1, 2].map(|a| size[a] / factors[a])
}

/// How far the second voxel of a window lies from the first along each axis, in memory: 0 where there is none, and the
/// first is read twice, which changes no maximum.
fn apart([_, h, w]: [usize; 3], factors: [usize; 3]) -> [usize; 3] {
    [(factors[0] - 1) * h * w, (factors[1] - 1) * w, factors[2] - 1]
}

/// Where voxel `i` of the eight of window `x` of a row lies from the row's first.
#[inline(always)]
fn place(i: usize, x: usize, apart: [usize; 3], step: usize) -> usize {
    i / 4 * apart[0] + i / 2 % 2 * apart[1] + step * x + i % 2 * apart[2]
}

/// The windows of row (z, y).
struct Rows<'a, W> {
    source: &'a Source<'a>,
    block: usize,
    size: [usize; 3],
    factors: [usize; 3],
    z: usize,
    y: usize,
    what: W,
}

/// What is done with the eight values of window x.
trait Windows {
    fn window<S: Simd>(&mut self, s: S, x: usize, values: [S::V; 8]);
    fn count(&self) -> usize;
}

impl<W: Windows> Kernel for Rows<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ([d, h, w], [fz, fy, step]) = (self.size, self.factors);
        let start = (fz * self.z * h + fy * self.y) * w;
        let walk = Walk { s, start, apart: apart(self.size, self.factors), step, what: self.what };
        self.source.block(s, self.block, d * h * w, walk);
    }
}

/// Reads the windows of a row.
struct Walk<S, W> {
    s: S,
    start: usize,
    apart: [usize; 3],
    step: usize,
    what: W,
}

impl<S: Simd, W: Windows> WithLines<S> for Walk<S, W> {
    #[inline(always)]
    fn with<L: Lines<S>>(mut self, lines: L) {
        for x in 0..self.what.count() {
            let mut values = [self.s.zero(); 8];
            for (i, value) in values.iter_mut().enumerate() {
                let at = self.start + place(i, x, self.apart, self.step);
                // SAFETY: windows lie within the block: all voxels along each axis are below its size.
                *value = unsafe { lines.get(self.s, at) };
            }
            self.what.window(self.s, x, values);
        }
    }
}

struct Pool<'a> {
    out: &'a mut [Line],
}

impl Windows for Pool<'_> {
    #[inline(always)]
    fn window<S: Simd>(&mut self, s: S, x: usize, values: [S::V; 8]) {
        let mut largest = values[0];
        for &value in &values[1..] {
            largest = s.where_above([value, largest], value, largest);
        }
        // SAFETY: a mutable reference to a line can be written.
        unsafe { s.store(&raw mut self.out[x], largest) };
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.out.len()
    }
}

struct Unpool<'a> {
    gradient: &'a [Line],
    sum: &'a mut [Line],
    apart: [usize; 3],
    step: usize,
}

impl Windows for Unpool<'_> {
    #[inline(always)]
    fn window<S: Simd>(&mut self, s: S, x: usize, values: [S::V; 8]) {
        // SAFETY: references to lines can be read and written.
        unsafe {
            let gradient = s.load(&raw const self.gradient[x]);
            let (mut largest, mut chosen) = (values[0], s.zero());
            for (i, &value) in values.iter().enumerate().skip(1) {
                chosen = s.where_above([value, largest], s.splat(i as f32), chosen);
                largest = s.where_above([value, largest], value, largest);
            }
            for i in 0..values.len() {
                let to = &raw mut self.sum[place(i, x, self.apart, self.step)];
                // Above zero for all but the chosen one.
                let apart = s.sub(chosen, s.splat(i as f32));
                let share = s.where_positive(s.mul(apart, apart), s.zero(), gradient);
                s.store(to, s.add(s.load(to), share));
            }
        }
    }

    #[inline(always)]
    fn count(&self) -> usize {
        self.gradient.len()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::*;
    use crate::blocked::{Channels, from_blocks, to_blocks};
    use crate::max_pool3d;
    use crate::test_support::normal;

    /// Values of few kinds, so that windows have several largest ones, some infinite and some no numbers.
    fn values(count: usize) -> Vec<f32> {
        let odd = |v: f32| match v {
            v if v > 1.8 => f32::NAN,
            v if v > 1.5 => f32::INFINITY,
            v if v < -1.5 => f32::NEG_INFINITY,
            v => v.round(),
        };
        normal(count, 3).into_iter().map(odd).collect()
    }

    #[test]
    fn blocks_are_pooled_like_any_tensor_whatever_the_numbers() {
        let (size, channels) = ([4, 5, 6], Channels::new(&[20]));
        let voxels = size.iter().product::<usize>();
        let x = values(2 * 20 * voxels);
        let [d, h, w] = size;
        let bits = |values: &[f32]| -> Vec<u32> {
            values.iter().map(|v| if v.is_nan() { f32::NAN.to_bits() } else { v.to_bits() }).collect()
        };
        for factors in [[2, 2, 2], [1, 2, 2], [2, 1, 1]] {
            let tensor = Tensor::from_slice(&x, (2, 20, d, h, w), &Device::Cpu).unwrap();
            let tensor = Var::from_tensor(&tensor).unwrap();
            let y = max_pool3d(&tensor, factors, factors).unwrap();
            let gradient = normal(y.elem_count(), 4);
            let wanted = Tensor::from_slice(&gradient, y.shape(), &Device::Cpu).unwrap();
            // What a product hands on to y is the other factor, a number everywhere.
            let gradients = (&y * wanted).unwrap().sum_all().unwrap().backward().unwrap();
            let gradients = gradients.get(&tensor).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let expected = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();

            let blocks = to_blocks(&x, &channels, voxels);
            let pooled = max_pool(&Source::Plain(&blocks), size, factors);
            let to = pooled_size(size, factors).iter().product();
            assert_eq!(bits(&from_blocks(&pooled, &channels, to)), bits(&expected), "{factors:?}");
            let mut sum = Buffer::new(blocks.len());
            sum.fill(Line::ZERO);
            let gradient = to_blocks(&gradient, &channels, to);
            max_pool_gradient(&Source::Plain(&blocks), size, factors, &gradient, &mut sum);
            assert_eq!(from_blocks(&sum, &channels, voxels), gradients, "{factors:?}");
        }
    }
}
