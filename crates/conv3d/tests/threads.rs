//! The same bits for any number of threads.

use organseg_conv3d::blocked::{
    Buffer, Channels, Convolution, Input, InputPart, LANES, Output, OutputPart, Source,
};
use organseg_conv3d::{Algorithm, Conv3dParams};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Channels in and out, samples, (D, H, W): few tiles and many, few channels and many, ragged ones, each form
/// of the gradient for the weights.
const SHAPES: [([usize; 2], usize, [usize; 3]); 6] = [
    ([16, 16], 2, [9, 22, 31]),
    ([40, 24], 1, [10, 13, 26]),
    ([64, 64], 1, [7, 8, 10]),
    ([64, 64], 1, [15, 18, 22]),
    ([128, 128], 2, [4, 6, 5]),
    ([17, 50], 1, [3, 5, 70]),
];

fn buffer(lines: usize, rng: &mut ChaCha8Rng) -> Buffer {
    let mut buffer = Buffer::new(lines);
    for line in buffer.iter_mut() {
        line.0 = std::array::from_fn::<f32, LANES, _>(|_| rng.random::<f32>() - 0.5);
    }
    buffer
}

/// Bits of the result, its moments, the gradient for the input and that for the weights.
fn run(
    [inputs, outputs]: [usize; 2],
    batch: usize,
    size: [usize; 3],
    params: Conv3dParams,
    keep: bool,
) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (c, o) = (Channels::new(&[inputs]), Channels::new(&[outputs]));
    let convolution = Convolution::new([3; 3], params, c.clone(), o.clone());
    let [voxels, out_voxels] =
        [size, convolution.output_size(size)].map(|size| size.iter().product::<usize>());
    let weights: Vec<f32> = (0..27 * inputs * outputs).map(|_| rng.random::<f32>() - 0.5).collect();
    let x = buffer(batch * c.blocks() * voxels, &mut rng);
    let g = buffer(batch * o.blocks() * out_voxels, &mut rng);
    let mut y = Buffer::new(g.len());
    let mut for_x = Buffer::new(x.len());

    let read = |lines, blocks| [InputPart { source: Source::Plain(lines), blocks }];
    let [forward, adjoint] = if keep {
        [convolution.weights_to_keep(&weights, size), convolution.adjoint_weights_to_keep(&weights, size)]
    } else {
        [convolution.weights(&weights, size), convolution.adjoint_weights(&weights, size)]
    };
    let input = read(&x, c.blocks());
    let input = Input::Blocks(&input);
    let moments = convolution.forward_with_moments(&forward, batch, size, input, &mut y);
    let for_weights = convolution.weight_gradient(batch, size, input, Source::Plain(&g));
    let output = vec![OutputPart { values: &mut for_x, blocks: c.blocks(), add: false }];
    let gradient = read(&g, o.blocks());
    convolution.adjoint(&adjoint, batch, size, Input::Blocks(&gradient), Output::Blocks(output), None);

    let lines = y.iter().chain(for_x.iter()).flat_map(|line| line.0);
    let moments =
        moments.iter().flat_map(|m| m.mean.into_iter().chain(m.variance)).flat_map(f64::to_ne_bytes);
    lines.chain(for_weights).map(f32::to_bits).chain(moments.map(u32::from)).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let with = |threads: usize, job: &(dyn Fn() -> Vec<u32> + Sync)| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(job)
    };
    let strided = Conv3dParams { stride: [2; 3], ..Conv3dParams::same([3; 3]) };
    let halves = Conv3dParams { algorithm: Algorithm::Winograd, ..strided };
    let same = Conv3dParams::same([3; 3]);
    for (channels, batch, size) in SHAPES {
        for (params, keep) in [(same, false), (same, true), (strided, false), (halves, true)] {
            let job = || run(channels, batch, size, params, keep);
            let one = with(1, &job);
            for threads in [2, 3, 8] {
                assert!(with(threads, &job) == one, "{channels:?} {size:?} {params:?}: {threads} threads");
            }
        }
    }
}
