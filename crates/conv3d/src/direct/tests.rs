//! Every instruction set against the plain loops: any kernel, stride, padding, in blocks and not.

use proptest::prelude::*;

use crate::blocked::{
    Channels, Convolution, Input, InputPart, Output, OutputPart, Source, from_blocks, to_blocks,
};
use crate::memory::Buffer;
use crate::params::{Algorithm, Conv3dParams};
use crate::reference::{self, Array5};
use crate::simd::Isa;
use crate::test_support::{array, assert_near, normal};

/// Sums of a few hundred products, relative to the rms of the results.
const TOLERANCE: f64 = 2e-5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 32 }))]
    #[test]
    fn every_instruction_set_agrees_with_the_reference(
        batch in 1usize..3, inputs in 1usize..36, outputs in 1usize..36, planar in prop::array::uniform2(any::<bool>()),
        size in (1usize..6, 1usize..8, 1usize..28), kernel in prop::array::uniform3(1usize..4),
        stride in prop::array::uniform3(1usize..4), padding in prop::array::uniform3(0usize..3),
        biased in any::<bool>(), cut in prop::array::uniform2(0usize..20), seed in any::<u64>(),
    ) {
        let size = [size.0, size.1, size.2];
        prop_assume!((0..3).all(|a| size[a] + 2 * padding[a] >= kernel[a]));
        let params = Conv3dParams { stride, padding, algorithm: Algorithm::Direct };
        for isa in Isa::all() {
            check(isa, [batch, inputs, outputs], cut, planar, size, kernel, params, biased, seed);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "what a convolution is made of")]
fn check(
    isa: Isa,
    [batch, inputs, outputs]: [usize; 3],
    cut: [usize; 2],
    planar: [bool; 2],
    size: [usize; 3],
    kernel: [usize; 3],
    params: Conv3dParams,
    biased: bool,
    seed: u64,
) {
    let what = format!("{isa:?} {cut:?} {size:?} {kernel:?} {params:?}");
    // Of one tensor or of two side by side.
    let side_by_side = |count: usize, cut: usize| Channels::new(&[count - cut.min(count), cut.min(count)]);
    let (c, o) = (side_by_side(inputs, cut[0]), side_by_side(outputs, cut[1]));
    let mut convolution = Convolution::new(kernel, params, c.clone(), o.clone()).with_isa(isa);
    if planar[0] {
        convolution = convolution.with_planar_input();
    }
    if planar[1] {
        convolution = convolution.with_planar_output();
    }
    let to = convolution.output_size(size);
    let (from_voxels, to_voxels) = (size.iter().product::<usize>(), to.iter().product::<usize>());
    let x_dims = [batch, inputs, size[0], size[1], size[2]];
    let w_dims = [outputs, inputs, kernel[0], kernel[1], kernel[2]];
    let g_dims = [batch, outputs, to[0], to[1], to[2]];
    let random = |dims: [usize; 5], i: u64| normal(dims.iter().product(), seed ^ i);
    let (x, w, g) = (random(x_dims, 1), random(w_dims, 2), random(g_dims, 3));
    let bias = normal(outputs, seed ^ 4);
    let (wide_x, wide_w, wide_g) = (array(x_dims, &x), array(w_dims, &w), array(g_dims, &g));
    let (blocks_x, blocks_g) = (to_blocks(&x, &c, from_voxels), to_blocks(&g, &o, to_voxels));
    let part = |lines, blocks| [InputPart { source: Source::Plain(lines), blocks }];
    let (part_x, part_g) = (part(&blocks_x, c.blocks()), part(&blocks_g, o.blocks()));
    let input_x = if planar[0] { Input::Planar(&x) } else { Input::Blocks(&part_x) };
    let input_g = if planar[1] { Input::Planar(&g) } else { Input::Blocks(&part_g) };

    let wide_bias: Vec<f64> = bias.iter().map(|&v| f64::from(v)).collect();
    let lines_bias = to_blocks(&bias, &o, 1);
    let expected = reference::conv3d(&wide_x, &wide_w, biased.then_some(&wide_bias), &params);
    let weights = convolution.weights(&w, size);
    let mut y = Buffer::new(batch * o.blocks() * to_voxels);
    let output = vec![OutputPart { values: &mut y, blocks: o.blocks(), add: false }];
    convolution.forward(
        &weights,
        batch,
        size,
        input_x,
        Output::Blocks(output),
        biased.then_some(&lines_bias),
    );
    let found = from_blocks(&y, &o, to_voxels);
    assert_near(&found, &expected.values, TOLERANCE, &what);
    let expected_biased = found;
    let moments = convolution.forward_with_moments(&weights, batch, size, input_x, &mut y);
    let found = from_blocks(&y, &o, to_voxels);
    let mean = found[..to_voxels].iter().map(|&v| f64::from(v)).sum::<f64>() / to_voxels as f64;
    assert!((moments[0].mean[0] - mean).abs() < 1e-4, "{what}: mean");
    let found = expected_biased;
    let mut planar = vec![0.0; found.len()];
    convolution.forward(
        &weights,
        batch,
        size,
        input_x,
        Output::Planar(&mut planar),
        biased.then_some(&lines_bias),
    );
    assert_eq!(planar, found, "{what}: not in blocks");

    let expected = reference::conv3d_input_gradient(&wide_g, &wide_w, size, &params);
    let weights = convolution.adjoint_weights(&w, size);
    let mut for_x = to_blocks(&x, &c, from_voxels);
    let output = vec![OutputPart { values: &mut for_x, blocks: c.blocks(), add: true }];
    convolution.adjoint(&weights, batch, size, input_g, Output::Blocks(output), None);
    let sum: Vec<f64> = expected.values.iter().zip(&x).map(|(&e, &x)| e + f64::from(x)).collect();
    assert_near(
        &from_blocks(&for_x, &c, from_voxels),
        &sum,
        TOLERANCE,
        &format!("{what}: for the input, added"),
    );
    let mut planar = vec![0.0; x.len()];
    convolution.adjoint(&weights, batch, size, input_g, Output::Planar(&mut planar), None);
    assert_near(&planar, &expected.values, TOLERANCE, &format!("{what}: for the input, not in blocks"));

    let expected: Array5 = reference::conv3d_weight_gradient(&wide_x, &wide_g, kernel, &params);
    let found = convolution.weight_gradient(batch, size, input_x, Source::Plain(&blocks_g));
    assert_near(&found, &expected.values, TOLERANCE, &format!("{what}: for the weights"));
}
