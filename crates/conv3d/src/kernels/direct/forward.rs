//! Direct convolution, forward.

use rayon::prelude::*;

use super::lanes::{Lanes, Width};
use super::padded::Padded;
use crate::kernels::disjoint::Disjoint;
use crate::params::ConvShape;

/// Output channels of a block: with two vectors of voxels, twelve sums that stay in registers beside two
/// inputs and a weight, in the sixteen registers of AVX2 too.
const BLOCK: usize = 6;

/// Vectors of voxels of a tile.
const VECTORS: usize = 2;

/// `input` (N, C, D, H, W) convolved with `weight` (C_out, C, kD, kH, kW), plus `bias` (C_out).
pub(crate) fn forward(shape: &ConvShape, input: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
    run(shape, input, weight, bias, Width::detect())
}

fn run(shape: &ConvShape, input: &[f32], weight: &[f32], bias: Option<&[f32]>, width: Width) -> Vec<f32> {
    let [od, oh, ow] = shape.output;
    let [kd, kh, kw] = shape.kernel;
    let tile = VECTORS * width.lanes();
    // Rows that whole tiles fit in, and what the kernel reads beyond.
    let padded = [od + kd - 1, oh + kh - 1, ow.next_multiple_of(tile) + kw - 1];
    let packed = pack(shape, weight);
    let mut output = vec![0.0; shape.batch * shape.outputs * shape.output_voxels()];
    let shared = Disjoint::new(&mut output);
    let sample = shape.inputs * shape.input_voxels();
    for n in 0..shape.batch {
        let input = Padded::new(&input[n * sample..(n + 1) * sample], shape.input, shape.padding, padded);
        (0..od * oh).into_par_iter().for_each(|row| {
            let job = Row { shape, input: &input, packed: &packed, bias, shared: &shared, n, row };
            match width {
                // SAFETY: `Width::detect` found this vector on this CPU.
                #[cfg(target_arch = "x86_64")]
                Width::Avx512 => unsafe { avx512(&job) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Width::Avx2 => unsafe { avx2(&job) },
                // SAFETY: every CPU has arrays.
                Width::Portable => unsafe { job.run::<[f32; 4]>() },
            }
        });
    }
    output
}

/// # Safety
/// The CPU has AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(job: &Row<'_>) {
    // SAFETY: the caller answers for the CPU.
    unsafe { job.run::<std::arch::x86_64::__m512>() }
}

/// # Safety
/// The CPU has AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(job: &Row<'_>) {
    // SAFETY: the caller answers for the CPU.
    unsafe { job.run::<std::arch::x86_64::__m256>() }
}

/// Weights in the order in which the kernel reads them: block of outputs, input channel, kernel voxel,
/// output within the block; zeros fill the last block.
fn pack(shape: &ConvShape, weight: &[f32]) -> Vec<f32> {
    let products = shape.products();
    let mut packed = vec![0.0; shape.outputs.next_multiple_of(BLOCK) * products];
    for (o, weight) in weight.chunks_exact(products).enumerate() {
        let block = &mut packed[o / BLOCK * BLOCK * products..];
        for (p, &value) in weight.iter().enumerate() {
            block[p * BLOCK + o % BLOCK] = value;
        }
    }
    packed
}

/// One row of voxels of all output channels of a sample.
struct Row<'a> {
    shape: &'a ConvShape,
    input: &'a Padded,
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    shared: &'a Disjoint<'a, f32>,
    n: usize,
    /// z · H + y of the output.
    row: usize,
}

impl Row<'_> {
    /// # Safety
    /// The CPU has the vector `V`.
    #[inline(always)]
    unsafe fn run<V: Lanes>(&self) {
        let shape = self.shape;
        let [_, oh, ow] = shape.output;
        let voxels = shape.output_voxels();
        let tile = VECTORS * V::COUNT;
        let mut sums = [[0.0f32; 64]; BLOCK];
        for first in (0..shape.outputs).step_by(BLOCK) {
            for x in (0..ow).step_by(tile) {
                // SAFETY: the caller answers for the CPU.
                unsafe { self.tile::<V>(first, [self.row / oh, self.row % oh, x], &mut sums) };
                let count = tile.min(ow - x);
                for (o, sums) in sums.iter().enumerate().take(shape.outputs - first) {
                    let channel = self.n * shape.outputs + first + o;
                    // SAFETY: this task alone writes this row, and here this part of it alone.
                    let out = unsafe { self.shared.part(channel * voxels + self.row * ow + x, count) };
                    let bias = self.bias.map_or(0.0, |bias| bias[first + o]);
                    for (out, sum) in out.iter_mut().zip(sums) {
                        *out = sum + bias;
                    }
                }
            }
        }
    }

    /// The sums of the block of outputs from `first` on, for the tile of voxels that begins at `place`.
    ///
    /// # Safety
    /// The CPU has the vector `V`.
    #[inline(always)]
    unsafe fn tile<V: Lanes>(&self, first: usize, [z, y, x]: [usize; 3], out: &mut [[f32; 64]; BLOCK]) {
        let [kd, kh, kw] = self.shape.kernel;
        let [_, ph, pw] = self.input.size;
        let mut weights = self.packed[first * self.shape.products()..][..BLOCK * self.shape.products()]
            .chunks_exact(BLOCK * kw);
        // SAFETY: the caller answers for the CPU. Loads: `line` has VECTORS · COUNT + kw − 1 numbers, the
        // last of which is the last that the loop reads; `weights` has kw · BLOCK. Stores: a row of `out`
        // has 64 numbers, four times the widest vector.
        unsafe {
            let mut sums = [[V::zero(); VECTORS]; BLOCK];
            for c in 0..self.shape.inputs {
                let channel = &self.input.values()[c * self.input.channel()..][..self.input.channel()];
                for i in 0..kd {
                    for j in 0..kh {
                        let line = &channel[((z + i) * ph + y + j) * pw + x..][..VECTORS * V::COUNT + kw - 1];
                        let weights = weights.next().expect("there are weights for every kernel row");
                        for l in 0..kw {
                            let inputs: [V; VECTORS] =
                                std::array::from_fn(|v| V::load(line.as_ptr().add(v * V::COUNT + l)));
                            for (o, sums) in sums.iter_mut().enumerate() {
                                let weight = *weights.as_ptr().add(l * BLOCK + o);
                                for (sum, input) in sums.iter_mut().zip(inputs) {
                                    *sum = sum.add_scaled(input, weight);
                                }
                            }
                        }
                    }
                }
            }
            for (out, sums) in out.iter_mut().zip(sums) {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(out.as_mut_ptr().add(v * V::COUNT));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Conv3dParams;
    use crate::reference::{self, Array5};
    use proptest::prelude::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0).collect()
    }

    fn array(dims: [usize; 5], values: &[f32]) -> Array5 {
        Array5 { dims, values: values.iter().map(|&v| f64::from(v)).collect() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// Every width agrees with the plain loops: ragged rows, any odd or even kernel, any padding.
        #[test]
        fn every_width_agrees_with_the_reference(
            batch in 1usize..3, inputs in 1usize..4, outputs in 1usize..9,
            size in (1usize..4, 1usize..5, 1usize..70), kernel in prop::array::uniform3(1usize..4),
            padding in prop::array::uniform3(0usize..3), biased in any::<bool>(),
        ) {
            let input = [size.0, size.1, size.2];
            prop_assume!((0..3).all(|a| input[a] + 2 * padding[a] >= kernel[a]));
            let params = Conv3dParams { stride: [1; 3], padding };
            let x_dims = [batch, inputs, size.0, size.1, size.2];
            let w_dims = [outputs, inputs, kernel[0], kernel[1], kernel[2]];
            let shape = ConvShape::new(&x_dims, &w_dims, &params).unwrap();
            let x = numbers(x_dims.iter().product(), 1);
            let w = numbers(w_dims.iter().product(), 2);
            let bias = numbers(outputs, 3);
            let wide: Vec<f64> = bias.iter().map(|&v| f64::from(v)).collect();
            let expected =
                reference::conv3d(&array(x_dims, &x), &array(w_dims, &w), biased.then_some(&wide), &params);
            for width in Width::all() {
                let found = run(&shape, &x, &w, biased.then_some(&bias), width);
                for (found, expected) in found.iter().zip(&expected.values) {
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-4, "{width:?}: {found}, {expected}");
                }
            }
        }
    }
}
