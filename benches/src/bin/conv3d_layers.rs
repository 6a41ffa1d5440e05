//! Times 3×3×3 convolutions of any size: forward, gradient for the input, gradient for the weights.
//!
//! `cargo run --release -p organseg-benches --bin conv3d_layers -- --layer 16,16,64,96,96 --rounds 20`
//!
//! In the blocked layout, as a network runs them. `forward` and `input_gradient` are with weights that were
//! prepared before, as for a network whose weights do not change; `forward_changing` prepares them too, as in
//! training. `--ncdhw` times candle's layout instead, with the conversions. `benches/peers/conv3d_layers.py` times PyTorch with the same options.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use candle_core::{Device, Tensor};
use clap::Parser;
use organseg::conv3d::blocked::{
    Buffer, Channels, Convolution, Input, InputPart, Output, OutputPart, Source, Weights, to_blocks,
};
use organseg::conv3d::{Algorithm, Conv3dParams, conv3d};
use organseg_benches::{Layer, median, random};
use serde_json::json;

/// Layers that a U-Net of 16 to 256 channels is made of.
const LAYERS: [&str; 9] = [
    "1,16,64,96,96",
    "16,16,64,96,96",
    "32,16,64,96,96",
    "32,32,64,96,96",
    "32,32,32,48,48",
    "64,64,16,24,24",
    "128,128,16,24,24",
    "256,256,8,12,12",
    "128,128,5,7,5",
];

/// Times 3×3×3 convolutions of padding 1 on the CPU.
#[derive(Parser)]
struct Options {
    /// A layer; may be given several times. All layers of a common U-Net if none is.
    #[arg(long = "layer", value_name = "IN,OUT,D,H,W")]
    layers: Vec<Layer>,
    /// How often each is run; times are medians.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Stride along each axis; D, H, W of a layer are those of the input.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    stride: u8,
    /// auto, direct or winograd.
    #[arg(long, default_value = "auto")]
    algorithm: String,
    /// One sample in (N, C, D, H, W), conversions included, forward only.
    #[arg(long)]
    ncdhw: bool,
    /// Print JSON with all times in milliseconds.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let algorithm = match options.algorithm.as_str() {
        "auto" => Algorithm::Auto,
        "direct" => Algorithm::Direct,
        "winograd" => Algorithm::Winograd,
        other => return Err(format!("--algorithm {other}: expected auto, direct or winograd").into()),
    };
    let stride = [usize::from(options.stride); 3];
    let params = Conv3dParams { algorithm, stride, ..Conv3dParams::same([3; 3]) };
    let defaults = LAYERS.iter().map(|layer| layer.parse()).collect::<Result<Vec<Layer>, _>>()?;
    let layers = if options.layers.is_empty() { defaults } else { options.layers };
    let mut all = Vec::new();
    for layer in layers {
        let times = if options.ncdhw {
            ncdhw(layer, params, options.rounds)?
        } else {
            blocked(layer, params, options.rounds)
        };
        let operations = layer.operations() / f64::from(options.stride).powi(3);
        if options.json {
            let threads = rayon::current_num_threads();
            let mut line = json!({ "layer": layer.to_string(), "threads": threads });
            for (name, times) in &times {
                line[*name] = json!(times);
            }
            all.push(line);
        } else {
            print!("{:<20}", layer.to_string());
            for (name, times) in &times {
                let time = median(times);
                let rate = operations / time / 1e6;
                print!("  {name} {time:>8.3} ms");
                print!(" ({rate:>5.0} GF/s)");
            }
            println!();
        }
    }
    if options.json {
        println!("{}", json!(all));
    }
    Ok(())
}

type Times = Vec<(&'static str, Vec<f64>)>;

/// Milliseconds that `work` takes, each of `rounds` times after one that warms up.
fn repeated(rounds: usize, mut work: impl FnMut()) -> Vec<f64> {
    let mut times = Vec::with_capacity(rounds + 1);
    for _ in 0..=rounds {
        let started = Instant::now();
        work();
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.split_off(1)
}

fn blocked(layer: Layer, params: Conv3dParams, rounds: usize) -> Times {
    let voxels = layer.size.iter().product::<usize>();
    let (inputs, outputs) = (Channels::new(&[layer.inputs]), Channels::new(&[layer.outputs]));
    let mut convolution = Convolution::new([3; 3], params, inputs.clone(), outputs.clone());
    let planar = layer.inputs < 5;
    if planar {
        convolution = convolution.with_planar_input();
    }
    let x = random(layer.inputs * voxels, 1);
    let weight = random(27 * layer.inputs * layer.outputs, 2);
    let blocks = to_blocks(&x, &inputs, voxels);
    let to = convolution.output_size(layer.size).iter().product::<usize>();
    let gradient = to_blocks(&random(layer.outputs * to, 3), &outputs, to);
    let mut y = Buffer::zeros(outputs.blocks() * to);
    let mut for_x = Buffer::zeros(inputs.blocks() * voxels);
    let parts = [InputPart { source: Source::Plain(&blocks), blocks: inputs.blocks() }];
    let input = if planar { Input::Planar(&x) } else { Input::Blocks(&parts) };
    let gradient_parts = [InputPart { source: Source::Plain(&gradient), blocks: outputs.blocks() }];
    let kept = convolution.weights_to_keep(&weight, layer.size);
    let turned = convolution.adjoint_weights_to_keep(&weight, layer.size);
    let mut run = |weights: &Weights<'_>| {
        let output = OutputPart { values: &mut y, blocks: outputs.blocks(), add: false };
        convolution.forward(weights, 1, layer.size, input, Output::Blocks(vec![output]), None);
    };
    // Each by itself, again and again, as the PyTorch script does.
    vec![
        ("forward", repeated(rounds, || run(&kept))),
        ("forward_changing", repeated(rounds, || run(&convolution.weights(&weight, layer.size)))),
        (
            "input_gradient",
            repeated(rounds, || {
                let output = OutputPart { values: &mut for_x, blocks: inputs.blocks(), add: false };
                let gradient = Input::Blocks(&gradient_parts);
                convolution.adjoint(&turned, 1, layer.size, gradient, Output::Blocks(vec![output]), None);
            }),
        ),
        (
            "weight_gradient",
            repeated(rounds, || {
                black_box(convolution.weight_gradient(1, layer.size, input, Source::Plain(&gradient)));
            }),
        ),
    ]
}

fn ncdhw(layer: Layer, params: Conv3dParams, rounds: usize) -> Result<Times, candle_core::Error> {
    let [d, h, w] = layer.size;
    let x = random(layer.inputs * d * h * w, 1);
    let x = Tensor::from_vec(x, (1, layer.inputs, d, h, w), &Device::Cpu)?;
    let weight = random(27 * layer.inputs * layer.outputs, 2);
    let weight = Tensor::from_vec(weight, (layer.outputs, layer.inputs, 3, 3, 3), &Device::Cpu)?;
    let mut forward = Vec::new();
    for round in 0..=rounds {
        let started = Instant::now();
        black_box(conv3d(&x, &weight, None, &params)?);
        if round > 0 {
            forward.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    Ok(vec![("forward", forward)])
}
