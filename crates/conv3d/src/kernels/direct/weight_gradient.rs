//! Direct convolution, gradient for the weights.
//!
//! ```text
//! for each slab of output rows, block of output channels, input channel c, kernel row (i, j):
//!   sums = what the slabs before left               (channels × kernel voxels l, vectors along x)
//!   for each row of the slab and vector of voxels along x:
//!     v[l] = input[c, z + i, y + j, x + l ..]
//!     for each output channel o: sums[o, l] += gradient[o, z, y, x ..] · v[l]
//! ```
//! Lanes are added up at the very end.

use rayon::prelude::*;

use super::lanes::{Lanes, Width};
use super::padded::Padded;
use crate::params::ConvShape;

/// Output channels of a block; with kernels of three voxels along x, twelve sums.
const BLOCK: usize = 4;

/// Kernel voxels along x that are summed at once.
const TAPS: usize = 3;

/// Rows of a slab: what they hold of a block of channels stays in the first-level cache while every
/// kernel voxel goes over it.
const SLAB: usize = 8;

/// Sums that are kept apart and added in order at the end: fixed, so that threads change no bit.
const GROUPS: usize = 8;

/// Gradient (C_out, C, kD, kH, kW) for the weight from the `input` and the `gradient` of the output.
pub(crate) fn weight_gradient(shape: &ConvShape, input: &[f32], gradient: &[f32]) -> Vec<f32> {
    run(shape, input, gradient, Width::detect())
}

fn run(shape: &ConvShape, input: &[f32], gradient: &[f32], width: Width) -> Vec<f32> {
    let [od, oh, ow] = shape.output;
    let [kd, kh, kw] = shape.kernel;
    let whole = ow.next_multiple_of(width.lanes());
    let in_frame = [od + kd - 1, oh + kh - 1, whole + kw.next_multiple_of(TAPS) - 1];
    let lanes = shape.outputs.next_multiple_of(BLOCK) * shape.products() * width.lanes();
    let slabs = od * oh.div_ceil(SLAB);
    let groups = GROUPS.min(slabs);
    let mut sums = vec![vec![0.0f32; lanes + width.lanes() * TAPS]; groups];
    let (in_sample, out_sample) =
        (shape.inputs * shape.input_voxels(), shape.outputs * shape.output_voxels());
    for n in 0..shape.batch {
        let input = &input[n * in_sample..(n + 1) * in_sample];
        let input = Padded::new(input, shape.input, shape.padding, in_frame);
        let gradient = &gradient[n * out_sample..(n + 1) * out_sample];
        let gradient = Padded::new(gradient, shape.output, [0; 3], [od, oh, whole]);
        sums.par_iter_mut().enumerate().for_each(|(group, sums)| {
            for slab in group * slabs / groups..(group + 1) * slabs / groups {
                let (z, first) = (slab / oh.div_ceil(SLAB), slab % oh.div_ceil(SLAB) * SLAB);
                let job = Slab {
                    shape,
                    input: &input,
                    gradient: &gradient,
                    z,
                    rows: first..(first + SLAB).min(oh),
                };
                match width {
                    // SAFETY: `Width::detect` found this vector on this CPU.
                    #[cfg(target_arch = "x86_64")]
                    Width::Avx512 => unsafe { avx512(&job, sums) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Width::Avx2 => unsafe { avx2(&job, sums) },
                    // SAFETY: every CPU has arrays.
                    Width::Portable => unsafe { job.run::<[f32; 4]>(sums) },
                }
            }
        });
    }
    gather(shape, &sums, width.lanes())
}

/// # Safety
/// The CPU has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(job: &Slab<'_>, sums: &mut [f32]) {
    // SAFETY: the caller answers for the CPU.
    unsafe { job.run::<std::arch::x86_64::__m512>(sums) }
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &Slab<'_>, sums: &mut [f32]) {
    // SAFETY: the caller answers for the CPU.
    unsafe { job.run::<std::arch::x86_64::__m256>(sums) }
}

/// Rows of one plane of a sample.
struct Slab<'a> {
    shape: &'a ConvShape,
    input: &'a Padded,
    gradient: &'a Padded,
    z: usize,
    rows: std::ops::Range<usize>,
}

impl Slab<'_> {
    /// Adds this slab's part to `sums`, which hold, for each output channel and product, one vector.
    ///
    /// # Safety
    /// The CPU has the vector `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self, sums: &mut [f32]) {
        let [kd, kh, kw] = self.shape.kernel;
        for first in (0..self.shape.outputs).step_by(BLOCK) {
            for c in 0..self.shape.inputs {
                for i in 0..kd {
                    for j in 0..kh {
                        for l in (0..kw).step_by(TAPS) {
                            // SAFETY: the caller answers for the CPU.
                            unsafe { self.kernel_row::<V>(first, c, [i, j, l], sums) };
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// The CPU has the vector `V`.
    #[inline(always)]
    unsafe fn kernel_row<V: Lanes>(&self, first: usize, c: usize, [i, j, l]: [usize; 3], sums: &mut [f32]) {
        let [_, kh, kw] = self.shape.kernel;
        let products = self.shape.products();
        let [_, ih, iw] = self.input.size;
        let [_, gh, gw] = self.gradient.size;
        // The last block's missing channels read the last channel again, into sums that nobody gathers.
        let channel: [usize; BLOCK] = std::array::from_fn(|o| (first + o).min(self.shape.outputs - 1));
        let place = |o: usize, t: usize| {
            ((first + o) * products + c * self.shape.taps() + (i * kh + j) * kw + l + t) * V::COUNT
        };
        let taps = TAPS.min(kw - l);
        let inputs = &self.input.values()[c * self.input.channel()..][..self.input.channel()];
        // SAFETY: the caller answers for the CPU. The slices taken of `sums`, `line` and `rows` are as
        // long as what is loaded and stored through them.
        unsafe {
            let mut parts = [[V::zero(); TAPS]; BLOCK];
            for (o, parts) in parts.iter_mut().enumerate() {
                for (t, part) in parts.iter_mut().enumerate().take(taps) {
                    *part = V::load(sums[place(o, t)..][..V::COUNT].as_ptr());
                }
            }
            for y in self.rows.clone() {
                let line = &inputs[((self.z + i) * ih + y + j) * iw + l..][..gw + TAPS - 1];
                let rows: [&[f32]; BLOCK] = std::array::from_fn(|o| {
                    &self.gradient.values()[channel[o] * self.gradient.channel() + (self.z * gh + y) * gw..]
                        [..gw]
                });
                for x in (0..gw).step_by(V::COUNT) {
                    let inputs: [V; TAPS] = std::array::from_fn(|t| V::load(line.as_ptr().add(x + t)));
                    for (parts, row) in parts.iter_mut().zip(rows) {
                        let gradient = V::load(row.as_ptr().add(x));
                        for (part, input) in parts.iter_mut().zip(inputs) {
                            *part = part.add_product(gradient, input);
                        }
                    }
                }
            }
            for (o, parts) in parts.into_iter().enumerate() {
                for (t, part) in parts.into_iter().enumerate().take(taps) {
                    part.store(sums[place(o, t)..][..V::COUNT].as_mut_ptr());
                }
            }
        }
    }
}

/// Adds up groups and lanes, in order.
fn gather(shape: &ConvShape, sums: &[Vec<f32>], lanes: usize) -> Vec<f32> {
    (0..shape.outputs * shape.products())
        .into_par_iter()
        .map(|p| {
            let total: f64 = sums
                .iter()
                .map(|sums| sums[p * lanes..(p + 1) * lanes].iter().map(|&v| f64::from(v)).sum::<f64>())
                .sum();
            total as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::weight_gradient::by_matrices;
    use crate::params::Conv3dParams;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Every width agrees with the product of matrices in f64.
        #[test]
        fn every_width_agrees_with_the_matrices(
            batch in 1usize..3, inputs in 1usize..4, outputs in 1usize..7,
            size in (1usize..4, 1usize..12, 1usize..50), kernel in prop::array::uniform3(1usize..6),
            padding in prop::array::uniform3(0usize..3),
        ) {
            let input = [size.0, size.1, size.2];
            prop_assume!((0..3).all(|a| input[a] + 2 * padding[a] >= kernel[a]));
            let params = Conv3dParams { stride: [1; 3], padding };
            let x_dims = [batch, inputs, size.0, size.1, size.2];
            let w_dims = [outputs, inputs, kernel[0], kernel[1], kernel[2]];
            let shape = ConvShape::new(&x_dims, &w_dims, &params).unwrap();
            let numbers = |count: usize, seed: usize| -> Vec<f32> {
                (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
            };
            let x = numbers(x_dims.iter().product(), 1);
            let g = numbers(batch * outputs * shape.output_voxels(), 2);
            let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
            let expected = by_matrices(&shape, &wide(&x), &wide(&g));
            for width in Width::all() {
                for (found, expected) in run(&shape, &x, &g, width).iter().zip(&expected) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-3, "{width:?}: {found}, {expected}");
                }
            }
        }
    }
}
