//! Values that are computed as they are read give what the same values give that were stored, in every
//! instruction set and every kind of convolution.

use crate::blocked::{
    Affine, Channels, Convolution, Input, InputPart, LANES, Line, Output, OutputPart, Source, Weights,
};
use crate::memory::Buffer;
use crate::params::{Algorithm, Conv3dParams};
use crate::simd::{Isa, Kernel, Simd};
use crate::source::{Lines, WithLines};
use crate::test_support::{assert_near, normal};

/// The formulas are the same and their rounding may differ by the order of one product and sum.
const TOLERANCE: f64 = 2e-5;

fn lines(count: usize, seed: u64) -> Vec<Line> {
    let values = normal(count * LANES, seed);
    values.chunks_exact(LANES).map(|v| Line(v.try_into().expect("a line has its lanes"))).collect()
}

fn wide(lines: &[Line]) -> Vec<f64> {
    lines.iter().flat_map(|line| line.0).map(f64::from).collect()
}

fn narrow(lines: &[Line]) -> Vec<f32> {
    lines.iter().flat_map(|line| line.0).collect()
}

/// What `source` says of `blocks` blocks in all, by its formula.
fn stored(source: &Source<'_>, blocks: usize) -> Vec<Line> {
    let voxels = source.len() / blocks;
    let at = |i: usize, lane: usize| match source {
        Source::Plain(values) => values[i].0[lane],
        Source::Activated { values, map } => {
            let z = map.scale[i / voxels].0[lane] * values[i].0[lane] + map.shift[i / voxels].0[lane];
            if z > 0.0 { z } else { map.slope * z }
        }
        Source::Gradient { gradient, values, map, linear, constant } => {
            let (y, g, block) = (values[i].0[lane], gradient[i].0[lane], i / voxels);
            let z = map.scale[block].0[lane] * y + map.shift[block].0[lane];
            let through = if z > 0.0 { g } else { map.slope * g };
            map.scale[block].0[lane] * through + linear[block].0[lane] * y + constant[block].0[lane]
        }
    };
    (0..source.len()).map(|i| Line(std::array::from_fn(|lane| at(i, lane)))).collect()
}

/// Result, gradient for the input and gradient for the weights, where `x` and `g` are read so.
fn results(
    convolution: &Convolution,
    weights: [&Weights<'_>; 2],
    (batch, size): (usize, [usize; 3]),
    [c, o]: [&Channels; 2],
    [x, g]: [Source<'_>; 2],
) -> [Vec<Line>; 2] {
    let mut y = Buffer::new(g.len());
    let mut for_x = Buffer::new(x.len());
    let (x, g) =
        ([InputPart { source: x, blocks: c.blocks() }], [InputPart { source: g, blocks: o.blocks() }]);
    let output = |values| Output::Blocks(vec![values]);
    let to = OutputPart { values: &mut y, blocks: o.blocks(), add: false };
    convolution.forward(weights[0], batch, size, Input::Blocks(&x), output(to), None);
    let to = OutputPart { values: &mut for_x, blocks: c.blocks(), add: false };
    convolution.adjoint(weights[1], batch, size, Input::Blocks(&g), output(to), None);
    [y.to_vec(), for_x.to_vec()]
}

#[test]
fn computed_values_are_read_as_stored_ones_are() {
    let strided = Conv3dParams { stride: [2, 1, 2], ..Conv3dParams::same([3; 3]) };
    let direct = Conv3dParams { algorithm: Algorithm::Direct, ..Conv3dParams::same([3; 3]) };
    for (channels, batch, size, params) in [
        ([16, 32], 2, [5, 9, 14], Conv3dParams::same([3; 3])),
        ([64, 64], 1, [4, 6, 5], Conv3dParams::same([3; 3])),
        ([48, 64], 1, [9, 17, 14], Conv3dParams::same([3; 3])),
        ([32, 16], 2, [4, 5, 9], strided),
        ([16, 32], 1, [4, 5, 9], direct),
    ] {
        let [c, o] = channels.map(|count| Channels::new(&[count]));
        for isa in Isa::all() {
            let what = format!("{isa:?} {channels:?} {size:?}");
            let convolution = Convolution::new([3; 3], params, c.clone(), o.clone()).with_isa(isa);
            let w = normal(27 * channels[0] * channels[1], 1);
            let (forward, adjoint) = (convolution.weights(&w, size), convolution.adjoint_weights(&w, size));
            let voxels = size.iter().product::<usize>();
            let out_voxels = convolution.output_size(size).iter().product::<usize>();
            let (x_blocks, g_blocks) = (batch * c.blocks(), batch * o.blocks());
            let values = [lines(x_blocks * voxels, 2), lines(g_blocks * out_voxels, 3)];
            let gradient = lines(g_blocks * out_voxels, 4);
            let constants: Vec<Vec<Line>> = (0..4).map(|i| lines(x_blocks.max(g_blocks), 5 + i)).collect();
            let map = Affine { scale: &constants[0], shift: &constants[1], slope: 0.01 };
            let x = Source::Activated { values: &values[0], map };
            let g = Source::Gradient {
                gradient: &gradient,
                values: &values[1],
                map,
                linear: &constants[2],
                constant: &constants[3],
            };
            let (plain_x, plain_g) = (stored(&x, x_blocks), stored(&g, g_blocks));
            let plain = [Source::Plain(&plain_x), Source::Plain(&plain_g)];
            let run = |sources| results(&convolution, [&forward, &adjoint], (batch, size), [&c, &o], sources);
            for (found, expected) in run([x, g]).iter().zip(run(plain)) {
                assert_near(&narrow(found), &wide(&expected), TOLERANCE, &what);
            }
            let for_weights = |[x, g]: [Source<'_>; 2]| {
                let part = [InputPart { source: x, blocks: c.blocks() }];
                convolution.weight_gradient(batch, size, Input::Blocks(&part), g)
            };
            let expected: Vec<f64> = for_weights(plain).into_iter().map(f64::from).collect();
            assert_near(&for_weights([x, g]), &expected, 1e-4, &format!("{what}: for the weights"));
        }
    }
}

/// One line as it is read.
struct Read<'a>(&'a Source<'a>);

impl Kernel for Read<'_> {
    type Output = Line;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Line {
        let mut line = Line::ZERO;
        self.0.block(s, 0, 1, Keep { s, line: &mut line });
        line
    }
}

struct Keep<'a, S> {
    s: S,
    line: &'a mut Line,
}

impl<S: Simd> WithLines<S> for Keep<'_, S> {
    #[inline(always)]
    fn with<L: Lines<S>>(self, lines: L) {
        // SAFETY: the block has line 0, and a mutable reference to a line can be written.
        unsafe { self.s.store(&raw mut *self.line, lines.get(self.s, 0)) };
    }
}

#[test]
fn an_activation_keeps_what_is_no_number_and_leaves_infinity() {
    let mut values = [1.5, -1.5, 0.0, -0.0, f32::INFINITY, f32::NAN, 3e38, 1e-40].repeat(2);
    values[15] = -2e-40;
    let line = Line(values.clone().try_into().expect("sixteen values"));
    let (ones, zeros) = ([Line([1.0; LANES])], [Line::ZERO]);
    for slope in [0.0, 0.01, 1.0, -1.0] {
        let map = Affine { scale: &ones, shift: &zeros, slope };
        let source = Source::Activated { values: &[line], map };
        for isa in Isa::all() {
            let found = isa.run(Read(&source));
            for (&z, found) in values.iter().zip(found.0) {
                let expected = if z > 0.0 { z } else { slope * z };
                let same = found == expected || (found.is_nan() && expected.is_nan());
                assert!(same, "{isa:?}, slope {slope}: {found} for {z}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "the slope of an activation is 1.5, not at most 1")]
fn a_slope_above_one_is_refused() {
    let line = [Line::ZERO];
    let map = Affine { scale: &line, shift: &line, slope: 1.5 };
    Isa::Portable.run(Read(&Source::Activated { values: &line, map }));
}
