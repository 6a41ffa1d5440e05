//! Every instruction set against the plain loops.

use proptest::prelude::*;

use super::forward::{Epilogue, Forward, moment_pieces};
use super::{Direction, Filter, WeightGradient, WinogradWeights};
use crate::channels::Channels;
use crate::kernels::disjoint::Disjoint;
use crate::layout::{from_blocks, to_blocks};
use crate::memory::Buffer;
use crate::moments::{Piece, join};
use crate::params::{Algorithm, Conv3dParams};
use crate::parts::{InputPart, OutputPart, STREAMED, SharedOutput};
use crate::reference;
use crate::simd::Isa;
use crate::source::Source;
use crate::test_support::{array, assert_near, normal};

/// Error relative to the rms of the result: twice what a search over shapes found (1.4e-5).
const TOLERANCE: f64 = 3e-5;
const GRADIENT_TOLERANCE: f64 = 1e-4;

fn forward(isa: Isa, batch: usize, channels: [&Channels; 2], size: [usize; 3], x: &[f32], w: &[f32]) {
    let voxels = size.iter().product();
    let [inputs, outputs] = channels;
    let (c, o) = (inputs.count(), outputs.count());
    let x_dims = [batch, c, size[0], size[1], size[2]];
    let expected =
        reference::conv3d(&array(x_dims, x), &array([o, c, 3, 3, 3], w), None, &Conv3dParams::same([3; 3]));
    let blocks = to_blocks(x, inputs, voxels);
    let weights = WinogradWeights::new(isa, w, Direction::Forward, Filter::Unit, inputs, outputs);
    let mut y = Buffer::new(batch * outputs.blocks() * voxels);
    let pieces = moment_pieces(size);
    let mut moments = vec![Piece::default(); batch * outputs.blocks() * pieces];
    Forward {
        isa,
        batch,
        size,
        inputs: &[InputPart { source: Source::Plain(&blocks), blocks: inputs.blocks() }],
        weights: &weights,
        output: &SharedOutput::new(
            vec![OutputPart { values: &mut y, blocks: outputs.blocks(), add: false }],
            batch * voxels,
        ),
        epilogue: Epilogue { moments: Some(&Disjoint::new(&mut moments)) },
    }
    .run();
    let found = from_blocks(&y, outputs, voxels);
    assert_near(&found, &expected.values, TOLERANCE, &format!("{isa:?} {x_dims:?} to {o}"));
    for (channel, values) in found.chunks(voxels).enumerate() {
        let (n, channel) = (channel / o, channel % o);
        let block = outputs.iter().position(|b| (b.start..b.start + b.count).contains(&channel)).unwrap();
        let pieces = &moments[(n * outputs.blocks() + block) * pieces..][..pieces];
        assert_eq!(pieces.iter().map(|p| p.count).sum::<usize>(), voxels);
        let found = join(pieces.iter());
        let lane = channel - outputs.block(block).start;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / voxels as f64;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / voxels as f64;
        assert!((found.mean[lane] - mean).abs() < 1e-5 * (1.0 + mean.abs() + variance), "{channel}: mean");
        assert!((found.variance[lane] - variance).abs() < 1e-5 * (1.0 + variance), "{channel}: variance");
    }
}

fn gradient(isa: Isa, batch: usize, channels: [&Channels; 2], size: [usize; 3], x: &[f32], g: &[f32]) {
    let voxels = size.iter().product();
    let [inputs, outputs] = channels;
    let (c, o) = (inputs.count(), outputs.count());
    let (x_dims, g_dims) = ([batch, c, size[0], size[1], size[2]], [batch, o, size[0], size[1], size[2]]);
    let same = Conv3dParams::same([3; 3]);
    let expected = reference::conv3d_weight_gradient(&array(x_dims, x), &array(g_dims, g), [3; 3], &same);
    let (x, g) = (to_blocks(x, inputs, voxels), to_blocks(g, outputs, voxels));
    let found = WeightGradient {
        isa,
        batch,
        size,
        inputs: &[InputPart { source: Source::Plain(&x), blocks: inputs.blocks() }],
        gradient: Source::Plain(&g),
        input_channels: inputs,
        output_channels: outputs,
    }
    .run();
    assert_near(&found, &expected.values, GRADIENT_TOLERANCE, &format!("{isa:?} gradient {x_dims:?} to {o}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 16 }))]
    #[test]
    fn every_instruction_set_agrees_with_the_reference(
        batch in 1usize..3, inputs in 1usize..70, outputs in 1usize..40,
        size in (1usize..10, 1usize..12, 1usize..30), seed in any::<u64>(),
    ) {
        let size = [size.0, size.1, size.2];
        let (inputs, outputs) = (Channels::new(&[inputs]), Channels::new(&[outputs]));
        let x = normal(batch * inputs.count() * size.iter().product::<usize>(), seed);
        let w = normal(27 * inputs.count() * outputs.count(), seed ^ 1);
        let g = normal(batch * outputs.count() * size.iter().product::<usize>(), seed ^ 2);
        for isa in Isa::all() {
            forward(isa, batch, [&inputs, &outputs], size, &x, &w);
            gradient(isa, batch, [&inputs, &outputs], size, &x, &g);
        }
    }
}

#[test]
fn a_row_wider_than_a_task_agrees_with_the_reference() {
    let (inputs, outputs) = (Channels::new(&[3]), Channels::new(&[2]));
    let size = [2, 5, 131];
    let x = normal(3 * size.iter().product::<usize>(), 5);
    for isa in Isa::all() {
        forward(isa, 1, [&inputs, &outputs], size, &x, &normal(27 * 6, 6));
    }
}

/// Few tiles of many channels: forward, with moments, and its adjoint added to what is there.
#[test]
fn few_tiles_of_many_channels_agree_with_the_reference() {
    use crate::blocked::{Convolution, Input, Output};
    let same = Conv3dParams::same([3; 3]);
    for (batch, inputs, outputs, size) in [(1, 64, 70, [5, 3, 6]), (2, 72, 63, [4, 5, 2])] {
        let (c, o) = (Channels::new(&[inputs - 20, 20]), Channels::new(&[outputs]));
        let voxels: usize = size.iter().product();
        let x = normal(batch * inputs * voxels, 1);
        let g = normal(batch * outputs * voxels, 2);
        let w = normal(27 * inputs * outputs, 3);
        let wide_w = array([outputs, inputs, 3, 3, 3], &w);
        let wide_x = array([batch, inputs, size[0], size[1], size[2]], &x);
        let wide_g = array([batch, outputs, size[0], size[1], size[2]], &g);
        let (lines_x, lines_g) = (to_blocks(&x, &c, voxels), to_blocks(&g, &o, voxels));
        for isa in Isa::all() {
            let convolution = Convolution::new([3; 3], same, c.clone(), o.clone()).with_isa(isa);
            let mut y = Buffer::new(batch * o.blocks() * voxels);
            let weights = convolution.weights(&w, size);
            let input = [InputPart { source: Source::Plain(&lines_x), blocks: c.blocks() }];
            let moments =
                convolution.forward_with_moments(&weights, batch, size, Input::Blocks(&input), &mut y);
            let found = from_blocks(&y, &o, voxels);
            let expected = reference::conv3d(&wide_x, &wide_w, None, &same);
            assert_near(&found, &expected.values, TOLERANCE, &format!("{isa:?} few tiles"));
            let mean = found[..voxels].iter().map(|&v| f64::from(v)).sum::<f64>() / voxels as f64;
            assert!((moments[0].mean[0] - mean).abs() < 1e-4);

            let mut for_x = lines_x.clone();
            let weights = convolution.adjoint_weights(&w, size);
            let input = [InputPart { source: Source::Plain(&lines_g), blocks: o.blocks() }];
            let output = vec![OutputPart { values: &mut for_x, blocks: c.blocks(), add: true }];
            convolution.adjoint(&weights, batch, size, Input::Blocks(&input), Output::Blocks(output), None);
            let expected = reference::conv3d_input_gradient(&wide_g, &wide_w, size, &same);
            let sum: Vec<f64> = expected.values.iter().zip(&x).map(|(&e, &x)| e + f64::from(x)).collect();
            assert_near(
                &from_blocks(&for_x, &c, voxels),
                &sum,
                TOLERANCE,
                &format!("{isa:?} few tiles, adjoint"),
            );
        }
    }
}

/// More tiles than a chunk has, for more pairs of blocks than stay in the cache. Blocks of a few channels each
/// spare the reference.
#[test]
fn a_gradient_in_chunks_agrees_with_the_reference() {
    let (inputs, outputs) = (Channels::new(&[2, 1, 2]), Channels::new(&[3, 1, 2]));
    for (batch, size) in [(1, [9, 33, 34]), (2, [3, 18, 19])] {
        let voxels = batch * size.iter().product::<usize>();
        let (x, g) = (normal(5 * voxels, 1), normal(6 * voxels, 2));
        for isa in Isa::all() {
            gradient(isa, batch, [&inputs, &outputs], size, &x, &g);
        }
    }
}

/// Weights that are prepared as far as can be, of many blocks, for few tiles and for many.
#[test]
fn weights_that_are_kept_agree_with_the_reference() {
    let (inputs, outputs) = (Channels::new(&[3; 8]), Channels::new(&[2; 9]));
    let w = normal(27 * inputs.count() * outputs.count(), 3);
    for size in [[4, 5, 3], [3, 10, 9]] {
        let x = normal(inputs.count() * size.iter().product::<usize>(), 4);
        for isa in Isa::all() {
            forward(isa, 1, [&inputs, &outputs], size, &x, &w);
        }
    }
}

/// An output that goes past the caches, in two parts, one of them added to what is there.
#[test]
fn a_large_output_in_parts_agrees_with_the_reference() {
    use crate::blocked::{Convolution, Input, Output};
    let same = Conv3dParams { algorithm: Algorithm::Winograd, ..Conv3dParams::same([3; 3]) };
    let (inputs, outputs) = (Channels::new(&[3]), Channels::new(&[2, 1]));
    let size = [9, 58, 63];
    let voxels: usize = size.iter().product();
    assert!(voxels * outputs.blocks() >= STREAMED);
    let (x, w, before) = (normal(3 * voxels, 1), normal(27 * 9, 2), normal(voxels, 3));
    let mut expected = reference::conv3d(
        &array([1, 3, size[0], size[1], size[2]], &x),
        &array([3, 3, 3, 3, 3], &w),
        None,
        &same,
    )
    .values;
    for (sum, &old) in expected[2 * voxels..].iter_mut().zip(&before) {
        *sum += f64::from(old);
    }
    let lines = to_blocks(&x, &inputs, voxels);
    let old = to_blocks(&before, &Channels::new(&[1]), voxels);
    for isa in Isa::all() {
        let convolution = Convolution::new([3; 3], same, inputs.clone(), outputs.clone()).with_isa(isa);
        let weights = convolution.weights(&w, size);
        let input = [InputPart { source: Source::Plain(&lines), blocks: 1 }];
        let mut first = Buffer::new(voxels);
        let mut second = old.clone();
        let output = vec![
            OutputPart { values: &mut first, blocks: 1, add: false },
            OutputPart { values: &mut second, blocks: 1, add: true },
        ];
        convolution.forward(&weights, 1, size, Input::Blocks(&input), Output::Blocks(output), None);
        let mut found = from_blocks(&first, &Channels::new(&[2]), voxels);
        found.extend(from_blocks(&second, &Channels::new(&[1]), voxels));
        assert_near(&found, &expected, TOLERANCE, &format!("{isa:?} in parts"));
    }
}

/// Stride 2 with moments, and its adjoint added to what is there.
fn strided(isa: Isa, batch: usize, channels: [&Channels; 2], size: [usize; 3], seed: u64) {
    use crate::blocked::{Convolution, Input, Output};
    let by_two =
        Conv3dParams { stride: [2; 3], algorithm: Algorithm::Winograd, ..Conv3dParams::same([3; 3]) };
    let [inputs, outputs] = channels;
    let (c, o) = (inputs.count(), outputs.count());
    let convolution = Convolution::new([3; 3], by_two, inputs.clone(), outputs.clone()).with_isa(isa);
    let half = convolution.output_size(size);
    let (voxels, fewer) = (size.iter().product::<usize>(), half.iter().product::<usize>());
    let (x, g) = (normal(batch * c * voxels, seed), normal(batch * o * fewer, seed ^ 1));
    let w = normal(27 * c * o, seed ^ 2);
    let what = format!("{isa:?} {batch}x{c}x{size:?} to {o}");
    let wide_w = array([o, c, 3, 3, 3], &w);
    let blocks = to_blocks(&x, inputs, voxels);
    let mut y = Buffer::new(batch * outputs.blocks() * fewer);
    let weights = convolution.weights_to_keep(&w, size);
    let input = [InputPart { source: Source::Plain(&blocks), blocks: inputs.blocks() }];
    let moments = convolution.forward_with_moments(&weights, batch, size, Input::Blocks(&input), &mut y);
    let found = from_blocks(&y, outputs, fewer);
    let expected =
        reference::conv3d(&array([batch, c, size[0], size[1], size[2]], &x), &wide_w, None, &by_two);
    assert_near(&found, &expected.values, TOLERANCE, &what);
    for n in 0..batch {
        let values = &found[n * o * fewer..][..fewer];
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / fewer as f64;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / fewer as f64;
        let moments = &moments[n * outputs.blocks()];
        assert!((moments.mean[0] - mean).abs() < 1e-5 * (1.0 + mean.abs() + variance), "{what}: mean");
        assert!((moments.variance[0] - variance).abs() < 1e-5 * (1.0 + variance), "{what}: variance");
    }
    let mut for_x = blocks.clone();
    let weights = convolution.adjoint_weights_to_keep(&w, size);
    let lines = to_blocks(&g, outputs, fewer);
    let input = [InputPart { source: Source::Plain(&lines), blocks: outputs.blocks() }];
    let output = vec![OutputPart { values: &mut for_x, blocks: inputs.blocks(), add: true }];
    convolution.adjoint(&weights, batch, size, Input::Blocks(&input), Output::Blocks(output), None);
    let wide_g = array([batch, o, half[0], half[1], half[2]], &g);
    let expected = reference::conv3d_input_gradient(&wide_g, &wide_w, size, &by_two);
    let sum: Vec<f64> = expected.values.iter().zip(&x).map(|(&e, &x)| e + f64::from(x)).collect();
    assert_near(&from_blocks(&for_x, inputs, voxels), &sum, TOLERANCE, &format!("{what}, adjoint"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 16 }))]
    #[test]
    fn strides_of_two_agree_with_the_reference(
        batch in 1usize..3, inputs in 1usize..40, outputs in 1usize..40,
        size in (1usize..19, 1usize..20, 1usize..40), seed in any::<u64>(),
    ) {
        for isa in Isa::all() {
            let channels = [&Channels::new(&[inputs]), &Channels::new(&[outputs])];
            strided(isa, batch, channels, [size.0, size.1, size.2], seed);
        }
    }
}

/// Wider than a task, and more rows than go through the depth together.
#[test]
fn a_wide_image_by_strides_of_two_agrees_with_the_reference() {
    for isa in Isa::all() {
        strided(isa, 1, [&Channels::new(&[3, 1]), &Channels::new(&[2])], [7, 37, 213], 9);
    }
}
